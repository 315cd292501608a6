//! Many exchanges, good and bad in turn, then nothing is left of them.

mod heavy {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use weir_tests::exchange::bytes;
    use weir_tests::origin::ok;
    use weir_tests::{Client, Config, Origin, Weir, wait};

    const EXCHANGES: usize = 100_000;
    const CLIENTS: usize = 16;

    /// An origin that does what the request's path says.
    fn obedient() -> Origin {
        Origin::scripted(|mut conn, _| {
            while let Some(request) = conn.request() {
                let sent = match request.target.as_str() {
                    "/close" => return conn.close(),
                    "/reset" => return conn.reset(),
                    "/garbage" => {
                        conn.send([0xfe_u8; 64]);
                        return conn.close();
                    }
                    "/cut" => {
                        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                        return conn.close();
                    }
                    "/large" => conn.send(ok(&"l".repeat(200_000))),
                    "/chunked" => conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
                    _ => conn.send(ok("x")),
                };
                if !sent {
                    return;
                }
            }
        })
    }

    /// One exchange of kind `n`; the connection, if it may be used again.
    fn exchange(weir: std::net::SocketAddr, kept: Option<Client>, n: usize) -> Option<Client> {
        let mut client = kept.unwrap_or_else(|| Client::connect(weir));
        let path = ["/", "/large", "/chunked", "/close", "/reset", "/garbage", "/cut", "/"][n / 8 % 8];
        match n % 8 {
            // The client's own faults.
            6 if n.is_multiple_of(5) => {
                let _ = client.try_write(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
                let _ = client.try_response("GET");
                return None;
            }
            7 if n.is_multiple_of(7) => {
                let _ = client.try_write(&bytes("GET", "/large", &[], b""));
                client.reset();
                return None;
            }
            5 => client.try_write(&bytes("POST", path, &[], b"body")).ok()?,
            _ => client.try_write(&bytes("GET", path, &[], b"")).ok()?,
        }
        let response = client.try_response("GET").ok()?;
        (!response.fields.names("connection", "close")).then_some(client)
    }

    #[test]
    fn after_a_hundred_thousand_mixed_exchanges_nothing_is_leaked() {
        let origin = obedient();
        let weir = Config::forwarding(origin.url()).tables("[pool]\nidle_timeout = \"1s\"").start();
        let run = |from: usize, to: usize| {
            let next = Arc::new(AtomicUsize::new(from));
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    let (next, address) = (next.clone(), weir.web());
                    scope.spawn(move || {
                        let mut kept = None;
                        loop {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if n >= to {
                                return;
                            }
                            kept = exchange(address, kept, n);
                        }
                    });
                }
            });
        };
        run(0, EXCHANGES / 10);
        let settled = settle(&weir);
        let memory = weir.process().resident_bytes();
        run(EXCHANGES / 10, EXCHANGES);
        let more = wait::holds_within(wait::SOON, || weir.process().fds() <= settled);
        assert!(more, "more than {settled} descriptors: {:?}", weir.process().fd_targets());
        let grown = weir.process().resident_bytes().saturating_sub(memory);
        assert!(grown < 16 << 20, "memory grew by {} KiB", grown >> 10);
        assert_eq!(weir.reason("internal_error"), 0);
        assert!(weir.reason("ok") > EXCHANGES as u64 / 3, "{} were good", weir.reason("ok"));
        // The accept, the timer, the wake-up and the receives of connections that have just ended; requests hold none.
        let bounds = [("weir_operations_in_flight", 16.0), ("weir_buffers_out", 0.0), ("weir_requests_active", 0.0)];
        for (gauge, most) in bounds.into_iter().chain([("weir_connections_active", 0.0)]) {
            assert!(weir.metrics().has(gauge), "no {gauge}");
            wait::until(&format!("{gauge} falls to {most}"), || weir.metrics().sum(gauge, &[]) <= most);
        }
        assert_eq!(weir.stop().code, Some(0));
    }

    /// Waits until pools have emptied and the first findings are written; the descriptors that are left.
    fn settle(weir: &Weir) -> usize {
        wait::until("idle connections have ended, and bad requests are findings on disk", || {
            let targets = weir.process().fd_targets();
            let count = |part: &str| targets.iter().filter(|path| path.to_string_lossy().contains(part)).count();
            count("socket:") <= 16 && count("/findings-") == 1
        });
        weir.process().fds()
    }
}
