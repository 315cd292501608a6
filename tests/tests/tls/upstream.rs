//! TLS to upstreams: who is trusted for what, what is shown, what failures mean, which connections are shared.

use std::net::TcpListener;

use weir_tests::origin::ok;
use weir_tests::tls::{Acceptor, Authority, Identity};
use weir_tests::weir::command;
use weir_tests::{Config, Origin, Weir, wait};

const ALPN: &[&str] = &["http/1.1"];

/// An origin behind TLS that says hello.
fn origin(identity: &Identity) -> Origin {
    answering(Acceptor::new(identity, ALPN))
}

fn answering(acceptor: Acceptor) -> Origin {
    Origin::secured(acceptor, |mut conn, _| while conn.request().is_some() && conn.send(ok("hello")) {})
}

/// weir before an origin, with these keys of `[route.target.tls]`.
fn before(origin: &Origin, keys: impl FnOnce(&Config) -> String) -> Config {
    let config = Config::forwarding(origin.url());
    let keys = keys(&config);
    config.with(&format!("[route.target.tls]\n{keys}"))
}

fn ca(config: &Config, authority: &Authority) -> String {
    format!("ca = \"{}\"", config.file("ca.pem", authority.pem()))
}

#[track_caller]
fn refuses(weir: &Weir, status: u16, reason: &str) {
    assert_eq!(weir.get("/").status, status);
    weir.wait_reason(reason, 1);
}

#[test]
fn a_certificate_that_is_vouched_for_and_for_the_name_is_trusted_and_its_connection_kept() {
    let authority = Authority::new();
    let origin = origin(&authority.certify(&["127.0.0.1"]));
    let weir = before(&origin, |config| ca(config, &authority)).start();
    for _ in 0..5 {
        assert_eq!(weir.get("/").text(), "hello");
    }
    assert_eq!((origin.accepted(), origin.refused()), (1, vec![]));
    assert!(origin.last().fields.first("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
    let line = weir.wait_log("the first request", |line| line["reused"] == false);
    assert!(line["phases_us"]["tls"].is_number(), "{line}");
    let line = weir.wait_log("a later request", |line| line["reused"] == true);
    assert!(line["phases_us"]["tls"].is_null(), "{line}");
}

#[test]
fn a_certificate_of_others_or_for_another_name_is_refused_unless_it_may_be() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = origin(&authority.certify(&["b.test"]));
    let elsewhere = before(&origin, |config| ca(config, &other)).start();
    refuses(&elsewhere, 502, "upstream_cert_invalid");
    let unnamed = before(&origin, |config| ca(config, &authority)).start();
    refuses(&unnamed, 502, "upstream_cert_invalid");
    wait::until("the alert", || origin.refused().iter().any(|why| why.contains("alert")));
    let named = before(&origin, |config| format!("{}\nserver_name = \"b.test\"", ca(config, &authority)));
    assert_eq!(named.start().get("/").text(), "hello");
    let unverified = before(&origin, |_| "verify = false".to_owned());
    assert_eq!(unverified.start().get("/").text(), "hello");
    // The machine's own authorities do not know it.
    refuses(&before(&origin, |_| "verify = true".to_owned()).start(), 502, "upstream_cert_invalid");
}

#[test]
fn an_origin_that_demands_a_certificate_is_shown_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let acceptor = Acceptor::demanding(&authority.certify(&["127.0.0.1"]), ALPN, &clients);
    let origin = answering(acceptor);
    let own = clients.certify_client("weir");
    let weir = before(&origin, |config| {
        let (cert, key) = (config.file("own.pem", own.certificate_pem()), config.file("own.key", own.key_pem()));
        format!("{}\nclient_cert = \"{cert}\"\nclient_key = \"{key}\"", ca(config, &authority))
    });
    assert_eq!(weir.start().get("/").text(), "hello");
    let without = before(&origin, |config| ca(config, &authority)).start();
    assert_eq!(without.get("/").status, 502);
}

#[test]
fn handshakes_that_fail_or_take_too_long_are_told_and_tried_elsewhere() {
    let authority = Authority::new();
    let plain = Origin::answering(b"HTTP/1.1 200 OK\r\n\r\n");
    let secure = format!("https://{}", plain.address());
    let weir = Config::forwarding(&secure).tables("[retry]\nattempts = 0").start();
    refuses(&weir, 502, "upstream_tls_failed");
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let secure = format!("https://{}", silent.local_addr().expect("an address"));
    let slow = "[timeouts]\nconnect_tls = \"200ms\"\n[retry]\nattempts = 0";
    let weir = Config::forwarding(&secure).tables(slow).start();
    refuses(&weir, 504, "upstream_tls_timeout");
    // A request of any method goes on elsewhere: nothing of it has left.
    let good = origin(&authority.certify(&["127.0.0.1"]));
    let config = Config::new().route(1, "path_prefix = \"/\"", &[&secure]);
    let keys = ca(&config, &authority);
    let config = config.with(&format!("[[route.target]]\nurl = \"{}\"\n[route.target.tls]\n{keys}", good.url()));
    let weir = config.tables("[timeouts]\nconnect_tls = \"200ms\"\n[retry]\nbudget = 100").start();
    for _ in 0..2 {
        assert_eq!(weir.request("POST", "/", &[], b"once").text(), "hello");
    }
    assert_eq!(good.last().body, b"once");
}

#[test]
fn a_response_that_its_connection_ends_is_whole_only_with_a_word_of_it() {
    let authority = Authority::new();
    let acceptor = Acceptor::new(&authority.certify(&["127.0.0.1"]), ALPN);
    let origin = Origin::secured(acceptor, |mut conn, _| {
        let Some(request) = conn.request() else { return };
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart or all");
        if request.target == "/cut" { conn.cut() } else { conn.close() }
    });
    let weir = before(&origin, |config| ca(config, &authority)).start();
    assert_eq!(weir.get("/whole").text(), "part or all");
    let mut client = weir.client();
    client.write("GET /cut HTTP/1.1\r\nHost: test\r\n\r\n");
    let cut = client.try_response("GET");
    assert!(cut.is_err(), "{cut:?}");
    weir.wait_reason("upstream_body_truncated", 1);
}

#[test]
fn octets_that_nobody_asked_for_end_an_idle_connection() {
    let authority = Authority::new();
    let acceptor = Acceptor::new(&authority.certify(&["127.0.0.1"]), ALPN);
    let origin = Origin::secured(acceptor, |mut conn, number| {
        while conn.request().is_some() && conn.send(ok("hello")) {
            if number == 0 {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
            }
        }
    });
    let weir = before(&origin, |config| ca(config, &authority)).start();
    assert_eq!(weir.get("/").text(), "hello");
    let unexpected = || weir.metrics().sum("weir_upstream_unexpected_data_total", &[]);
    wait::until("the connection to be dropped", || unexpected() >= 1.0);
    assert_eq!(weir.get("/").text(), "hello");
}

#[test]
fn connections_are_shared_only_where_all_terms_are_the_same() {
    let authority = Authority::new();
    let origin = origin(&authority.certify(&["127.0.0.1", "b.test"]));
    let config = Config::new();
    let keys = ca(&config, &authority);
    let target = |id: u32, path: &str, tls: &str| {
        format!(
            "[[route]]\nid = {id}\nlistener = \"web\"\npath_prefix = \"{path}\"\n[[route.target]]\nurl = \"{}\"\n\
             [route.target.tls]\n{tls}\n",
            origin.url()
        )
    };
    let routes = [
        target(1, "/a", &keys),
        target(2, "/b", &keys),
        target(3, "/c", &format!("{keys}\nserver_name = \"b.test\"")),
        target(4, "/d", "verify = false"),
    ];
    let weir = config.tables(&routes.concat()).start();
    for (path, accepted) in [("/a", 1), ("/b", 1), ("/c", 2), ("/d", 3), ("/a", 3), ("/c", 3), ("/d", 3)] {
        assert_eq!(weir.get(path).text(), "hello");
        assert_eq!(origin.accepted(), accepted, "{path}");
    }
}

#[test]
fn probes_speak_it_too() {
    let authority = Authority::new();
    let origin = origin(&authority.certify(&["127.0.0.1"]));
    let health = "[route.health]\ninterval = \"1s\"\ntimeout = \"900ms\"\n";
    let probes =
        |weir: &Weir, result: &str| weir.metrics().sum("weir_health_probes_total", &[&format!("result=\"{result}\"")]);
    let trusted = before(&origin, |config| ca(config, &authority)).with(health).start();
    wait::until("a probe that passes", || probes(&trusted, "passed") >= 1.0);
    assert_eq!(origin.last().fields.first("user-agent"), Some("weir-health"));
    let unknown = before(&origin, |config| ca(config, &Authority::new())).with(health).start();
    wait::until("a probe that fails", || probes(&unknown, "failed") >= 1.0);
    assert_eq!((probes(&trusted, "failed"), probes(&unknown, "passed")), (0.0, 0.0));
}

#[test]
fn keys_that_make_no_sense_are_refused_by_name() {
    let target = |url: &str, keys: &str| {
        let config = Config::forwarding(url).with(&format!("[route.target.tls]\n{keys}"));
        let path = config.file("checked.toml", config.text());
        let exit = command(&["check", "--config", &path]);
        assert_ne!(exit.code, Some(0), "{keys}");
        exit.stdout + &exit.stderr
    };
    let https = "https://127.0.0.1:1";
    for (url, keys, named) in [
        ("http://127.0.0.1:1", "verify = false", "tls"),
        (https, "ca = \"/nonexistent\"", "ca"),
        (https, "ca = \"/dev/null\"", "ca"),
        (https, "verify = false\nca = \"/dev/null\"", "ca"),
        (https, "client_cert = \"/dev/null\"", "client_cert"),
        (https, "client_key = \"/dev/null\"", "client_key"),
        (https, "server_name = \"a b\"", "server_name"),
        (https, "verify = 1", "verify"),
        (https, "name = \"x\"", "name"),
    ] {
        let said = target(url, keys);
        assert!(said.contains(named), "{keys}: {said}");
    }
}
