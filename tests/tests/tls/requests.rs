//! What requests know of the TLS that they come by, and bodies within it.

use weir_tests::exchange::bytes;
use weir_tests::tls::{Authority, Connector};
use weir_tests::weir::command;
use weir_tests::{Config, Origin};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn upstreams_logs_and_cookies_know_of_it() {
    let (origin, authority) = (Origin::ok("hello"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let weir = Config::forwarding(origin.url())
        .secured(&[&identity])
        .listener("forwarded = \"both\"")
        .with("[route.sticky]")
        .start();
    let connector = Connector::to("a.test").trusting(&authority).version(&rustls::version::TLS13);
    let mut client = weir.client_tls(&connector.offering(&["http/1.1"]));
    let response = client.exchange(GET);
    assert_eq!(response.text(), "hello");
    let cookie = response.fields.first("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("; Secure"), "{cookie}");
    let seen = origin.last();
    assert_eq!(seen.fields.first("x-forwarded-proto"), Some("https"));
    let forwarded = seen.fields.first("forwarded").expect("a chain").to_owned();
    assert!(forwarded.contains("proto=https"), "{forwarded}");
    let line = weir.wait_log("the request", |line| line["status"] == 200);
    assert_eq!((&line["tls"]["version"], &line["tls"]["alpn"]), (&"1.3".into(), &"http/1.1".into()));
    assert_eq!((&line["tls"]["resumed"], &line["sni"]), (&false.into(), &"a.test".into()));
    let cipher = line["tls"]["cipher"].as_str().expect("a cipher");
    assert!(cipher.starts_with("TLS_") && !cipher.starts_with("TLS_13"), "{cipher}");
    let fields: usize = response.fields.0.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
    let head = "HTTP/1.1 200 Text\r\n\r\n".len() + fields;
    assert_eq!(line["bytes_out"], head + 5, "octets of HTTP, not of records");
    assert_eq!(line["bytes_in"], GET.len());
}

#[test]
fn rules_match_protocol_version_and_name() {
    let (origin, authority) = (Origin::ok("hello"), Authority::new());
    let identity = authority.certify(&["a.test", "b.test"]);
    let rule = |name: &str, matching: &str| {
        format!("[[rate_limit]]\nname = \"{name}\"\nlimit = 1\nwindow = \"1h\"\nkey = []\nmatch = {{ {matching} }}\n")
    };
    let rules = [
        rule("old", "tls.version = \"1.2\""),
        rule("name", "tls.sni = \"b.test\""),
        rule("plain", "protocol = \"http\""),
    ];
    let weir = Config::forwarding(origin.url()).secured(&[&identity]).tables(&rules.concat()).start();
    let status = |connector: &Connector| weir.client_tls(connector).exchange(GET_ANY).status;
    let (new, old) = (&rustls::version::TLS13, &rustls::version::TLS12);
    let a = Connector::to("a.test").trusting(&authority);
    for _ in 0..3 {
        assert_eq!(status(&a.clone().version(new)), 200);
    }
    assert_eq!([(); 2].map(|()| status(&a.clone().version(old))), [200, 429]);
    let b = a.version(new).named("b.test");
    assert_eq!([(); 2].map(|()| status(&b)), [200, 429]);
}

const GET_ANY: &str = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";

#[test]
fn bodies_of_all_sizes_come_through_both_ways() {
    let (origin, authority) = (Origin::echo(), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let weir = Config::forwarding(origin.url()).secured(&[&identity]).start();
    for version in rustls::ALL_VERSIONS {
        let mut client = weir.client_tls(&Connector::to("a.test").trusting(&authority).version(version));
        for size in [0, 1, 4095, 4096, 16_384, 16_385, 100_000, 3 << 20] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            client.write(bytes("POST", "/", &[("Host", "a.test")], &body));
            let response = client.response_to("POST");
            assert_eq!((response.status, response.body == body), (200, true), "{size} octets");
        }
    }
}

#[test]
fn pipelined_requests_of_one_record_are_answered_in_turn() {
    let (origin, authority) = (Origin::ok("hello"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let weir = Config::forwarding(origin.url()).secured(&[&identity]).start();
    let mut client = weir.client_tls(&Connector::to("a.test").trusting(&authority));
    client.write(GET.repeat(5));
    for _ in 0..5 {
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn explain_knows_listeners_of_https() {
    let (origin, authority) = (Origin::ok("hello"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let rule = "[[rate_limit]]\nname = \"named\"\nlimit = 1\nwindow = \"1h\"\nkey = []\n\
                match = { protocol = \"https\", tls.sni = \"a.test\" }\n";
    let weir = Config::forwarding(origin.url()).secured(&[&identity]).tables(rule).start();
    let path = weir.path("weir.toml");
    let exit = command(&["explain", "GET", "https://a.test/", "--json", "--config", &path.display().to_string()]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let record: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
    assert_eq!(record["considered"][0]["verdict"], "matched", "{record:#}");
}
