//! Shortages: of buffers, queue entries, descriptors; floods; and what they leave behind.

use super::*;

#[test]
fn flood_stops_at_the_cap_and_goes_on_when_drained() {
    for limited in [true, false] {
        let settings = Settings { recv_cap: 16 << 10, buffer_size: 16 << 10, ..small() };
        run(settings, || async {
            runtime::with(|driver| driver.recv_limit.set(limited));
            let (socket, peer) = sockets();
            let all = noise(1 << 20);
            let copy = all.clone();
            spawn(async move {
                peer.send(copy.into()).await.unwrap();
            });
            socket.listen();
            turns(5).await;
            // Without the kernel's own limit, all that is lent may be filled before the loop turns.
            let most = if limited { 16 << 10 } else { 128 << 10 };
            assert!((16 << 10..=most).contains(&socket.received()), "{}", socket.received());
            assert!(stats().recv_paused.get() > 0);
            assert!(read_all(&socket).await == all);
        });
    }
}

#[test]
fn starved_receives_wait_for_buffers_and_lose_nothing() {
    // Four buffers and a reserve of four, for forty senders whose octets are held.
    let settings = Settings { buffers_max: 4, reserve_max: 4, reserve_size: 1024, ..small() };
    run(settings, || async {
        let done = Rc::new(Cell::new(0));
        let gate = Event::new();
        for number in 0..40_usize {
            let (socket, peer) = sockets();
            let all = noise(30_000 + number);
            let copy = all.clone();
            spawn(async move { peer.send(copy.into()).await.unwrap() });
            let (done, gate) = (Rc::clone(&done), gate.clone());
            spawn(async move {
                let held = socket.recv().await.unwrap();
                gate.wait().await;
                let mut read = held.map(|chunk| chunk.to_vec()).unwrap_or_default();
                read.extend(read_all(&socket).await);
                assert!(read == all);
                done.set(done.get() + 1);
            });
        }
        turns(5).await;
        assert!(stats().enobufs.get() > 0 && stats().reserve_used.get() > 0);
        while done.get() < 40 {
            gate.notify();
            turns(1).await;
        }
        assert_eq!(stats().panics.get(), 0);
    });
}

#[test]
fn scarce_buffers_are_not_pinned_by_few_octets() {
    run(small(), || async {
        let (socket, peer) = sockets();
        let (mut kept, mut octets) = (Vec::new(), 0);
        // More than all buffers hold.
        for sent in 1..=400 {
            peer.send(vec![1; 400].into()).await.unwrap();
            while octets < sent * 400 {
                kept.push(socket.recv().await.unwrap().unwrap());
                octets += kept.last().map_or(0, |chunk| chunk.len());
            }
        }
        assert_eq!(stats().enobufs.get(), 0);
    });
}

#[test]
fn full_queues_lose_nothing() {
    let settings = Settings { entries: 4, cq_entries: 8, ..small() };
    run(settings, || async {
        let done = Rc::new(Cell::new(0));
        for number in 0..100_u8 {
            let (socket, peer) = sockets();
            spawn(async move { peer.send(vec![number; 100].into()).await.unwrap() });
            let done = Rc::clone(&done);
            spawn(async move {
                assert_eq!(read_all(&socket).await, vec![number; 100]);
                done.set(done.get() + 1);
            });
        }
        while done.get() < 100 {
            turns(1).await;
        }
        assert!(stats().sq_full.get() > 0);
        assert_eq!(stats().panics.get(), 0);
    });
}

#[test]
fn overflown_completions_are_counted_and_arrive() {
    let settings = Settings { entries: 128, cq_entries: 128, ..small() };
    run(settings, || async {
        let pairs: Vec<_> = (0..300).map(|_| pair()).collect();
        // Sends that complete as they are submitted, more than there is room for before the next look.
        for (socket, _) in &pairs {
            socket.begin_send(b"at once".to_vec().into());
        }
        for (socket, _) in &pairs {
            socket.flush().await.unwrap();
        }
        assert!(stats().cq_overflow.get() > 0);
        for (_, peer) in &pairs {
            (&mut &*peer).write_all(b"again").unwrap();
        }
        for (socket, _) in &pairs {
            assert_eq!(&*socket.recv().await.unwrap().unwrap(), b"again");
        }
    });
}

#[test]
fn ten_thousand_connections_leave_nothing() {
    let before = open_descriptors();
    run(Settings::default(), || async {
        let (listener, address) = listener();
        spawn(async move {
            while let Ok(peer) = listener.accept().await {
                spawn(async move {
                    if let Ok(Some(chunk)) = peer.recv().await {
                        let _ = peer.send(chunk.into()).await;
                    }
                });
            }
        });
        let endpoint = Rc::new(Endpoint::Tcp(address));
        let left = Rc::new(Cell::new(20));
        for _ in 0..20 {
            let (endpoint, left) = (Rc::clone(&endpoint), Rc::clone(&left));
            spawn(async move {
                for round in 0..500 {
                    let socket = connect(&endpoint).await.unwrap();
                    socket.set_linger_reset();
                    if round % 3 > 0 {
                        socket.send(b"ping".to_vec().into()).await.unwrap();
                    }
                    if round % 3 > 1 {
                        assert_eq!(&*socket.recv().await.unwrap().unwrap(), b"ping");
                    }
                }
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            turns(1).await;
        }
        assert_eq!(stats().panics.get(), 0);
    });
    assert!(open_descriptors() <= before + 16, "other tests run beside this one, but not so many");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn want_of_descriptors_pauses_accept() {
    // A process of its own: the limit is the process's.
    const CHILD: &str = "WEIR_TEST_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let name = "ring::tests::limits::want_of_descriptors_pauses_accept";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    run(small(), || async {
        let (listener, address) = listener();
        let mut peers: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        limit_descriptors(open_descriptors() as u64 + 3);
        let mut accepted = Vec::new();
        let timer = Timer::new();
        timer.set_after(Duration::from_millis(50));
        while let Ok(socket) = timer.race(listener.accept()).await {
            accepted.push(socket.unwrap());
        }
        assert!((1..8).contains(&accepted.len()), "{}", accepted.len());
        let (shortages, before) = (stats().emfile.get(), stats().turns.get());
        assert!((1..5).contains(&shortages) && before < 100, "{shortages} shortages, {before} turns");
        // A descriptor closed here is used at once, well before the next try.
        accepted.pop();
        timer.set_after(Duration::from_secs(5));
        let next = timer.race(listener.accept()).await;
        accepted.push(next.expect("accepts again").unwrap());
        peers.clear();
    });
}

fn limit_descriptors(most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: reads a structure that lives here.
    #[expect(unsafe_code, reason = "std has no way to set a limit")]
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(done, 0);
}
