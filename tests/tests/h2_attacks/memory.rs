//! What an attack can make weir hold is bounded. Each test has the machine to itself: it measures memory.

mod heavy {
    use std::time::{Duration, Instant};

    use weir_tests::h2::{Frame, Peer, code, get, hpack, post, setting};
    use weir_tests::wait;

    use crate::attack::{Target, bomb, endless};

    const MIB: u64 = 1 << 20;

    /// What `act` makes weir hold at most, above what it held before.
    #[track_caller]
    fn grows_less_than(target: &Target, bound: u64, act: impl FnOnce()) {
        target.serves();
        let before = target.weir.process().resident_bytes();
        act();
        let grown = target.weir.process().peak_bytes().saturating_sub(before);
        assert!(grown < bound, "memory grew by {} KiB, more than {}", grown >> 10, bound >> 10);
        target.serves();
    }

    #[test]
    fn a_block_that_decompresses_to_fifty_megabytes() {
        let target = Target::new("");
        grows_less_than(&target, 16 * MIB, || {
            for _ in 0..20 {
                let mut peer = target.weir.h2();
                peer.send(bomb(1));
                // 431 where the head is merely too large; far beyond, the end of the connection.
                peer.until("an answer", |peer, _| peer.message(1).is_over() || peer.went_away().is_some());
                let status = peer.message(1).status();
                let calm = peer.went_away().is_some_and(|(_, code)| code == code::ENHANCE_YOUR_CALM);
                assert!(status == 431 || calm, "{:?}", peer.seen());
            }
        });
        let booked = || target.weir.reason("headers_too_large") + target.weir.reason("h2_flood");
        wait::until("each is booked", || booked() == 20);
        assert!(target.origin.requests().iter().all(|request| request.target == "/"));
    }

    #[test]
    fn a_head_that_never_ends_on_many_connections() {
        let target = Target::new("");
        grows_less_than(&target, 32 * MIB, || {
            let mut held: Vec<Peer> = (0..100).map(|_| target.weir.h2()).collect();
            for peer in &mut held {
                let frames: Vec<_> = endless(peer, 10_000).take(4).collect();
                let _ = peer.try_send(frames);
            }
            target.serves();
        });
    }

    #[test]
    fn answers_that_nobody_reads() {
        let target = Target::new("[timeouts]\nsend = \"60s\"");
        // 200 streams with a window of 0, before a body of 4 MiB each. What waits for a stream is at most 64 KiB and what
        // one read of the origin brought, in the buffers of 128 KiB that it came in.
        grows_less_than(&target, 72 * MIB, || {
            let mut held = Vec::new();
            for _ in 0..2 {
                let mut peer = Peer::connect(target.weir.web());
                peer.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
                let streams: Vec<_> = (0..100).map(|_| peer.open(&get("/large"), true)).collect();
                for stream in streams {
                    assert_eq!(peer.head(stream).status(), 200);
                }
                held.push(peer);
            }
            // Whatever arrives late arrives now.
            wait::holds_within(Duration::from_secs(2), || false);
        });
    }

    #[test]
    fn answers_to_a_client_that_reads_nothing_at_all() {
        let target = Target::new("[timeouts]\nsend = \"60s\"");
        // What has been received of the answers lies in the worker's receive buffers, of which it has 64 MiB.
        grows_less_than(&target, 80 * MIB, || {
            let mut held = Vec::new();
            for _ in 0..10 {
                let mut peer = target.weir.h2();
                peer.manners().windows = false;
                peer.send(Frame::window_update(0, 1 << 30));
                peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]));
                for _ in 0..50 {
                    peer.open(&get("/large"), true);
                }
                held.push(peer);
            }
            wait::holds_within(Duration::from_secs(2), || false);
        });
    }

    #[test]
    fn questions_of_a_client_that_reads_no_answers() {
        // So large a budget that only the unread answers stop it.
        let target = Target::new("[http2]\nabuse_budget = 100000\n[timeouts]\nsend = \"60s\"");
        for frame in [Frame::ping([9; 8]), Frame::settings(&[(setting::MAX_FRAME_SIZE, 16_384)])] {
            grows_less_than(&target, 16 * MIB, || {
                let peer = target.weir.h2();
                peer.patience(Duration::from_secs(1));
                let many = frame.octets().repeat(1000);
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(3) && peer.try_write(&many).is_ok() {}
            });
        }
    }

    #[test]
    fn bodies_in_single_octets_that_nobody_reads() {
        let target = Target::new("[http2]\nabuse_budget = 100000");
        grows_less_than(&target, 24 * MIB, || {
            let mut peer = target.weir.h2();
            for _ in 0..20 {
                let stream = peer.next_stream();
                let head = Frame::headers(stream, hpack::block(&post("/held")), false);
                let octets = (0..20_000).map(|_| Frame::data(stream, b"x", false));
                if peer.try_send(std::iter::once(head).chain(octets)).is_err() {
                    break;
                }
            }
        });
    }

    #[test]
    fn uploads_that_the_origin_does_not_take() {
        let target = Target::new("");
        // Ten connections with the window of 1 MiB each, and no more.
        grows_less_than(&target, 40 * MIB, || {
            let mut held = Vec::new();
            for _ in 0..10 {
                let mut peer = target.weir.h2();
                peer.patience(Duration::from_millis(200));
                let streams: Vec<_> = (0..10).map(|_| peer.open(&post("/held"), false)).collect();
                let body = vec![0; 16_384];
                for stream in streams.iter().cycle().take(2000) {
                    if peer.room(*stream) >= body.len() {
                        let _ = peer.try_send([Frame::data(*stream, &body, false)]);
                    } else if peer.read().is_err() {
                        break;
                    }
                }
                held.push(peer);
            }
        });
    }

    #[test]
    fn tables_that_are_filled_and_thrown_away() {
        let target = Target::new("[http2]\nabuse_budget = 100000");
        grows_less_than(&target, 16 * MIB, || {
            let mut peer = target.weir.h2();
            for n in 0..2000 {
                let stream = peer.next_stream();
                let kept = hpack::kept(format!("x-{n}"), vec![b'v'; 3000]);
                let block = [hpack::size_update(0), hpack::size_update(4096), hpack::block(&get("/")), kept].concat();
                peer.send(Frame::headers(stream, block, true));
                assert_eq!(peer.response(stream).status(), 200);
            }
        });
    }

    #[test]
    fn connections_that_are_opened_and_left() {
        let target = Target::new("");
        let cycle = |count: usize| {
            for _ in 0..count {
                let mut peer = target.weir.h2();
                for _ in 0..20 {
                    peer.open(&get("/held"), true);
                }
                peer.ping();
            }
            wait::until("all are forgotten", || target.weir.metrics().sum("weir_connections_active", &[]) == 0.0);
        };
        cycle(50);
        let before = target.weir.process().resident_bytes();
        cycle(200);
        let grown = target.weir.process().resident_bytes().saturating_sub(before);
        assert!(grown < 8 * MIB, "{} KiB are left behind", grown >> 10);
        target.serves();
    }
}
