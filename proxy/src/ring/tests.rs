//! The runtime on real sockets: what it promises, and that nothing is left behind.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

fn small() -> Settings {
    Settings { entries: 64, cq_entries: 256, buffer_size: 4096, buffers_max: 16, ..Settings::default() }
}

/// Runs `test` on a runtime of its own, then demands that nothing is left.
fn run<F: Future>(settings: Settings, test: impl FnOnce() -> F) -> F::Output {
    let mut runtime = Runtime::new(settings).unwrap();
    let stats = stats();
    let output = runtime.run(test());
    drop(runtime);
    assert_eq!(stats.tasks.get(), 0, "tasks");
    assert_eq!(stats.sockets.get(), 0, "sockets");
    assert_eq!(stats.ops.get(), 0, "operations");
    assert_eq!(stats.buffers_out.get(), 0, "buffers");
    output
}

fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Socket::from_fd(OwnedFd::from(ours)), theirs)
}

fn sockets() -> (Socket, Socket) {
    let (one, other) = UnixStream::pair().unwrap();
    (Socket::from_fd(OwnedFd::from(one)), Socket::from_fd(OwnedFd::from(other)))
}

fn listener() -> (Listener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::from_fd(listener.into()), address)
}

async fn read_all(socket: &Socket) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = socket.recv().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn turns(count: usize) {
    for _ in 0..count {
        sleep_until(now() + Duration::from_millis(2)).await;
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    (0..len).map(|_| random.u8(..)).collect()
}

#[test]
fn octets_come_back_in_order_over_tcp() {
    run(small(), || async {
        let (listener, address) = listener();
        spawn(async move {
            let peer = listener.accept().await.unwrap();
            while let Some(chunk) = peer.recv().await.unwrap() {
                peer.begin_send(chunk.into());
                peer.flush_to(64 << 10).await.unwrap();
            }
            peer.flush().await.unwrap();
        });
        let socket = Rc::new(connect(&Endpoint::Tcp(address)).await.unwrap());
        assert_eq!(socket.peer_addr(), Some(address));
        let sent = noise(3 << 20);
        let writer = Rc::clone(&socket);
        let copy = sent.clone();
        spawn(async move {
            writer.send(copy.into()).await.unwrap();
            writer.shutdown(Shutdown::Write).await.unwrap();
        });
        assert!(read_all(&socket).await == sent);
        assert_eq!((socket.sent(), socket.received()), (3 << 20, 3 << 20));
        assert_eq!(socket.acknowledged().map(|acked| acked >= 3 << 20), Some(true));
        assert_ne!(socket.cookie(), 0);
    });
}

#[test]
fn parts_of_every_kind_leave_as_one_message() {
    run(small(), || async {
        let (socket, mut peer) = pair();
        let mut message = SendBuf::from(b"vec ".to_vec());
        message.push_static(b"static ");
        message.push_arc(b"arc "[..].into());
        message.push_rc(b"rc "[..].into());
        message.push_chunk(b"chunk".to_vec().into());
        socket.send(message).await.unwrap();
        let mut read = [0; 64];
        let len = peer.read(&mut read).unwrap();
        assert_eq!(&read[..len], b"vec static arc rc chunk");
    });
}

#[test]
fn more_parts_than_one_call_takes_are_all_sent_in_order() {
    run(small(), || async {
        let (socket, peer) = sockets();
        let mut message = SendBuf::new();
        for part in 0..1000_u32 {
            message.push_vec(part.to_be_bytes().to_vec());
        }
        socket.begin_send(message);
        socket.begin_send(vec![7; 5].into());
        socket.begin_send(vec![8; 5].into());
        socket.flush().await.unwrap();
        assert_eq!((socket.unsent(), socket.sent()), (0, 4010));
        drop(socket);
        let read = read_all(&peer).await;
        assert!(read[..4000].chunks(4).zip(0_u32..).all(|(octets, part)| octets == part.to_be_bytes()));
        assert_eq!(read[4000..], [7, 7, 7, 7, 7, 8, 8, 8, 8, 8]);
    });
}

#[test]
fn small_messages_share_a_buffer_and_large_ones_span_several() {
    run(small(), || async {
        let (socket, peer) = sockets();
        let mut kept = Vec::new();
        for message in 0..200_u8 {
            peer.send(vec![message; 7].into()).await.unwrap();
            kept.push(socket.recv().await.unwrap().unwrap());
        }
        assert!(kept.iter().zip(0_u8..).all(|(chunk, message)| **chunk == [message; 7]));
        turns(1).await;
        assert!(stats().buffers_out.get() <= 2, "1400 octets take one buffer, or two");
        drop(kept);
        let large = noise(20_000);
        peer.send(large.clone().into()).await.unwrap();
        drop(peer);
        assert!(read_all(&socket).await == large);
    });
}

#[test]
fn without_incremental_rings_messages_of_both_sizes_pass() {
    let settings = Settings { incremental: false, buffer_size: 128 << 10, recv_cap: 1 << 20, ..small() };
    for limited in [true, false] {
        run(settings.clone(), || async {
            runtime::with(|driver| driver.recv_limit.set(limited));
            let (listener, address) = listener();
            let socket = connect(&Endpoint::Tcp(address)).await.unwrap();
            let peer = Rc::new(listener.accept().await.unwrap());
            for round in 0..4 {
                let mut largest = 0;
                for len in [10 << 20, 100 + round, 100, 100, 100, 100] {
                    let all = noise(len);
                    let (writer, copy) = (Rc::clone(&peer), all.clone());
                    spawn(async move { writer.send(copy.into()).await.unwrap() });
                    let mut read = Vec::new();
                    while read.len() < len {
                        let chunk = socket.recv().await.unwrap().unwrap();
                        largest = largest.max(chunk.len());
                        read.extend_from_slice(&chunk);
                    }
                    assert!(read == all);
                }
                assert!(largest > 16 << 10, "a large message reaches the large buffers");
            }
        });
    }
}

#[test]
fn unread_octets_come_first() {
    run(small(), || async {
        let (socket, peer) = sockets();
        peer.send(b"hello".to_vec().into()).await.unwrap();
        let mut first = socket.recv().await.unwrap().unwrap();
        assert!(socket.is_quiet());
        first.advance(2);
        socket.unread(first);
        assert!(!socket.is_quiet());
        assert_eq!(&*socket.try_recv().unwrap().unwrap().unwrap(), b"llo");
        assert!(socket.try_recv().is_none());
        drop(peer);
        assert!(socket.recv().await.unwrap().is_none());
        assert!(socket.recv().await.unwrap().is_none(), "the end stays the end");
        assert!(!socket.is_quiet());
    });
}

#[test]
fn reset_is_an_error_on_both_directions() {
    run(small(), || async {
        let (listener, address) = listener();
        let peer = TcpStream::connect(address).unwrap();
        let socket = listener.accept().await.unwrap();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert_eq!(socket.recv().await.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        assert!(socket.send(b"late".to_vec().into()).await.is_err());
        assert!(socket.flush().await.is_err(), "a failed stream stays failed");
    });
}

#[test]
fn linger_reset_resets_the_peer() {
    run(small(), || async {
        let (listener, address) = listener();
        let mut peer = TcpStream::connect(address).unwrap();
        let socket = listener.accept().await.unwrap();
        socket.set_linger_reset();
        drop(socket);
        turns(2).await;
        assert_eq!(peer.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
    });
}

#[test]
fn refused_connect_fails_and_dropped_connect_leaves_nothing() {
    run(small(), || async {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = connect(&Endpoint::Tcp(address)).await.err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        let missing = connect(&Endpoint::Unix("/nonexistent/socket".into())).await.err().unwrap();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        // A listener whose backlog is full answers nothing.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let _fill = TcpStream::connect(address).unwrap();
        let timer = Timer::new();
        timer.set_after(Duration::from_millis(20));
        let endpoint = Endpoint::Tcp(address);
        assert_eq!(timer.race(connect(&endpoint)).await.err(), Some(Elapsed));
    });
}

#[test]
fn unix_endpoints_connect_and_have_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    run(small(), || async {
        let listener = Listener::from_fd(listener.into());
        let socket = connect(&Endpoint::Unix(path.clone())).await.unwrap();
        let peer = listener.accept().await.unwrap();
        peer.send(b"hi".to_vec().into()).await.unwrap();
        assert_eq!(&*socket.recv().await.unwrap().unwrap(), b"hi");
        assert_eq!((socket.peer_addr(), socket.acknowledged()), (None, None));
    });
}

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
fn dropped_socket_ends_what_is_in_flight() {
    run(small(), || async {
        turns(1).await;
        let before = stats().ops.get();
        let (socket, mut peer) = pair();
        // More than the pair takes: the send stays in flight, and the receive with it.
        socket.begin_send(vec![1; 4 << 20].into());
        socket.listen();
        turns(2).await;
        assert!(socket.unsent() > 0 && stats().ops.get() >= before + 2);
        drop(socket);
        turns(2).await;
        assert_eq!((stats().ops.get(), stats().sockets.get()), (before, 0));
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert!(!rest.is_empty() && rest.len() < 4 << 20);
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
        let name = "ring::tests::want_of_descriptors_pauses_accept";
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

#[test]
fn stopped_listener_hands_out_what_it_has_and_ends() {
    run(small(), || async {
        let (listener, address) = listener();
        let _peer = TcpStream::connect(address).unwrap();
        let _one = listener.accept().await.unwrap();
        let _peer = TcpStream::connect(address).unwrap();
        turns(2).await;
        listener.stop();
        let _two = listener.accept().await.unwrap();
        assert_eq!(listener.accept().await.err().unwrap().kind(), std::io::ErrorKind::NotConnected);
    });
}

#[test]
fn mailbox_carries_messages_of_other_threads() {
    run(small(), || async {
        let (mailbox, sender) = Mailbox::new(64);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for mut number in 1..=1000_u64 {
                        while let Err(back) = sender.try_send(number) {
                            number = back;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut sum = 0;
        for _ in 0..4000 {
            sum += mailbox.recv().await;
        }
        assert_eq!(sum, 4 * 500_500);
        assert!(mailbox.try_recv().is_none());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn wakers_work_and_die_on_other_threads() {
    let (wakers, woken) = mpsc::channel::<std::task::Waker>();
    let waking = thread::spawn(move || {
        for waker in woken {
            waker.wake();
        }
    });
    let late = run(small(), || async {
        let count = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let (wakers, count) = (wakers.clone(), Rc::clone(&count));
            spawn(async move {
                for _ in 0..100 {
                    let mut sent = false;
                    std::future::poll_fn(|context| {
                        if std::mem::replace(&mut sent, true) {
                            return std::task::Poll::Ready(());
                        }
                        wakers.send(context.waker().clone()).unwrap();
                        std::task::Poll::Pending
                    })
                    .await;
                }
                count.set(count.get() + 1);
            });
        }
        while count.get() < 8 {
            turns(1).await;
        }
        // Of a task that never ends, and of this one: woken after the runtime is gone.
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        spawn(async move {
            std::future::poll_fn::<(), _>(|context| {
                *keep.borrow_mut() = Some(context.waker().clone());
                std::task::Poll::Pending
            })
            .await;
        });
        turns(1).await;
        let here = std::future::poll_fn(|context| std::task::Poll::Ready(context.waker().clone())).await;
        [kept.take().unwrap(), here]
    });
    late.into_iter().for_each(|waker| wakers.send(waker).unwrap());
    drop(wakers);
    waking.join().unwrap();
}

#[test]
fn panic_ends_its_task_alone() {
    run(small(), || async {
        let flag = Rc::new(Cell::new(false));
        let dropped = Rc::clone(&flag);
        struct OnDrop(Rc<Cell<bool>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        spawn(async move {
            let _guard = OnDrop(dropped);
            yield_now().await;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        turns(1).await;
        assert_eq!((stats().panics.get(), stats().tasks.get(), flag.get()), (1, 0, true));
    });
}

#[test]
fn tasks_and_operations_left_at_the_end_are_dropped() {
    let flag = Rc::new(Cell::new(0));
    let counted = Rc::clone(&flag);
    run(small(), || async move {
        for _ in 0..10 {
            let counted = Rc::clone(&counted);
            let (socket, peer) = sockets();
            spawn(async move {
                let _peer = peer;
                let _count = counted;
                let _ = socket.recv().await;
            });
        }
        turns(1).await;
        assert_eq!(Rc::strong_count(&counted), 12);
    });
    assert_eq!(Rc::strong_count(&flag), 1);
}

#[test]
fn runtime_runs_more_than_once_and_once_per_thread() {
    let mut runtime = Runtime::new(small()).unwrap();
    assert_eq!(Runtime::new(small()).err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
    for round in 0..3 {
        let got = runtime.run(async {
            let (socket, peer) = sockets();
            peer.send(vec![round].into()).await.unwrap();
            socket.recv().await.unwrap().unwrap()
        });
        assert_eq!(*got, [round]);
    }
}

#[test]
fn chunks_outlive_the_runtime() {
    let mut runtime = Runtime::new(small()).unwrap();
    let chunk = runtime.run(async {
        let (socket, peer) = sockets();
        peer.send(b"still here".to_vec().into()).await.unwrap();
        socket.recv().await.unwrap().unwrap()
    });
    drop(runtime);
    assert_eq!(&*chunk, b"still here");
}

#[test]
fn timers_expire_in_time_and_can_be_moved() {
    run(small(), || async {
        let begin = now();
        let timer = Timer::new();
        timer.set(Some(begin + Duration::from_millis(5)));
        timer.set(Some(begin + Duration::from_millis(40)));
        timer.expired().await;
        assert!(now().since(begin) >= Duration::from_millis(40));
        timer.set(Some(begin + Duration::from_secs(3600)));
        timer.set_after(Duration::from_millis(3));
        timer.expired().await;
        timer.set(None);
        assert_eq!(timer.deadline(), None);
        assert_eq!(timer.race(async { 7 }).await, Ok(7));
        timer.set_after(Duration::from_millis(3));
        assert_eq!(timer.race(std::future::pending::<()>()).await, Err(Elapsed));
        assert!(now().since(begin) < Duration::from_secs(20));
    });
}

#[test]
fn moving_a_deadline_later_does_not_touch_the_wheel() {
    run(small(), || async {
        let timer = Timer::new();
        for ms in 1..1000 {
            timer.set_after(Duration::from_millis(1000 + ms));
            timer.set(None);
        }
        assert_eq!(runtime::with(|driver| driver.timers.len()), 1);
        drop(timer);
        assert_eq!(runtime::with(|driver| driver.timers.len()), 0);
    });
}

#[test]
fn event_wakes_all_who_wait_and_is_not_lost() {
    run(small(), || async {
        let event = Event::new();
        let woken = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (event, woken) = (event.clone(), Rc::clone(&woken));
            spawn(async move {
                event.wait().await;
                woken.set(woken.get() + 1);
            });
        }
        turns(1).await;
        event.notify();
        turns(1).await;
        assert_eq!(woken.get(), 3);
        event.notify();
        event.wait().await;
        let both = select2(event.wait(), async { 5 }).await;
        assert!(matches!(both, Either::Right(5)));
    });
}

#[test]
fn splice_moves_octets_and_ends_with_the_stream() {
    run(small(), || async {
        let (from, mut writer) = pair();
        let (to, mut reader) = pair();
        let all = noise(300_000);
        let copy = all.clone();
        let writing = thread::spawn(move || writer.write_all(&copy));
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        let pipe = Pipe::new().unwrap();
        assert_eq!(splice(&from, &to, &pipe, 1000).await.unwrap(), 1000);
        assert_eq!(splice(&from, &to, &pipe, 1 << 30).await.unwrap(), 299_000);
        to.shutdown(Shutdown::Write).await.unwrap();
        assert!(writing.join().unwrap().is_ok());
        assert!(reading.join().unwrap().unwrap() == all);
    });
}

#[test]
fn poll_tells_when_a_descriptor_can_be_read() {
    run(small(), || async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Rc::new(OwnedFd::from(ours));
        let timer = Timer::new();
        timer.set_after(Duration::from_millis(5));
        assert_eq!(timer.race(readable(Rc::clone(&ours))).await.err(), Some(Elapsed));
        theirs.write_all(b"x").unwrap();
        readable(ours).await.unwrap();
    });
}
