//! Whoever asks beside an attack is served as fast as ever.

mod heavy {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use weir_tests::h2::Peer;
    use weir_tests::{Neighbour, wait};

    use crate::attack::{ALL, Attack, Target, bomb, endless};

    /// How long each attack goes on.
    const WHILE: Duration = Duration::from_secs(2);
    /// What a neighbour's 99th percentile may be beside an attacker who shares the machine with it: so many times that
    /// without them, and this much at least.
    const TIMES: u32 = 5;
    const P99: Duration = Duration::from_millis(100);

    /// Attacks on one connection after the other until told to stop; counts the connections that were stopped.
    fn attack(target: &Target, before: fn(&mut Peer), round: impl Fn(&mut Peer) -> bool, stop: &AtomicBool) -> u64 {
        let mut stopped = 0;
        while !stop.load(Ordering::SeqCst) {
            let mut peer = target.weir.h2();
            before(&mut peer);
            while !stop.load(Ordering::SeqCst) && round(&mut peer) {}
            stopped += 1;
        }
        stopped
    }

    /// Many rounds of an attack in one write; false once the connection is over.
    fn round(attack: &Attack, peer: &mut Peer) -> bool {
        let frames: Vec<_> = (0..200).flat_map(|_| (attack.again)(peer)).collect();
        if peer.try_send(frames).is_err() {
            return false;
        }
        // What comes is read away, so that unread answers are not what stops it.
        peer.patience(Duration::from_millis(1));
        while peer.went_away().is_none() && peer.read().is_ok() {}
        peer.went_away().is_none()
    }

    #[track_caller]
    fn beside(target: &Target, name: &str, before: fn(&mut Peer), round: impl Fn(&mut Peer) -> bool + Sync) {
        let alone = Neighbour::start(target.weir.web(), "/");
        std::thread::sleep(WHILE / 2);
        let alone = alone.stop();
        let (stop, stopped) = (AtomicBool::new(false), AtomicU64::new(0));
        let neighbour = Neighbour::start(target.weir.web(), "/");
        std::thread::scope(|scope| {
            scope.spawn(|| stopped.fetch_add(attack(target, before, &round, &stop), Ordering::SeqCst));
            std::thread::sleep(WHILE);
            stop.store(true, Ordering::SeqCst);
        });
        let service = neighbour.stop();
        let stopped = stopped.into_inner();
        eprintln!("{name}: p99 {:?} of {}, {stopped} connections", service.p99(), service.answered());
        assert!(service.failures.is_empty(), "{name}: {:?}", service.failures);
        let bound = P99.max(alone.p99() * TIMES);
        assert!(service.p99() < bound, "{name}: p99 {:?}, alone {:?}", service.p99(), alone.p99());
        // It is over when it is over.
        let process = target.weir.process();
        wait::until(&format!("rest after {name}"), || {
            let before = process.cpu_ticks();
            std::thread::sleep(Duration::from_millis(300));
            process.cpu_ticks() - before <= 3
        });
        target.serves();
    }

    #[test]
    fn floods_harm_nobody_else() {
        let target = Target::new("");
        for attack in ALL {
            beside(&target, attack.name, attack.before, |peer| round(attack, peer));
        }
        assert!(target.weir.reason("h2_flood") > 0);
    }

    #[test]
    fn bombs_and_endless_heads_harm_nobody_else() {
        let target = Target::new("");
        beside(
            &target,
            "bombs",
            |_| {},
            |peer| {
                let stream = peer.next_stream();
                peer.try_send([bomb(stream)]).is_ok() && peer.went_away().is_none() && peer.read().is_ok()
            },
        );
        beside(
            &target,
            "endless heads",
            |_| {},
            |peer| {
                let frames: Vec<_> = endless(peer, 1000).take(20).collect();
                let _ = peer.try_send(frames);
                let _ = peer.try_until(|peer, _| peer.went_away().is_some());
                false
            },
        );
    }
}
