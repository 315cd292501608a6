//! Streams: order, ends, errors, cancellation.

use super::*;

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
