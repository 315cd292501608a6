//! Which requests share a key.

use std::net::IpAddr;

use super::super::key::KeyPlan;
use super::*;
use crate::config::value::Protocol;
use crate::http::{Head, HeadLimits, Request, parse_request};
use crate::policy::{Facts, Source};

/// The key of a request with these header lines, in a rule with these parts.
fn key_of(parts: &str, target: &str, lines: &str, client: Option<&str>) -> Key {
    let rule = rule(&format!("key = {parts}"));
    let plan = KeyPlan::new(&rule.key, rule.ipv4_prefix, rule.ipv6_prefix, [7; 16]);
    let text = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    let mut head = Head::new();
    parse_request(text.as_bytes(), &HeadLimits::default(), &mut head).unwrap().unwrap();
    let request = Request::new(&head, text.as_bytes());
    let source = Source {
        request,
        paths: &request.paths(true).unwrap(),
        client: client.map(|client| client.parse::<IpAddr>().unwrap()),
        peer: None,
        listener: "web",
        port: 80,
        protocol: Protocol::Http,
        tls: None,
        geoip: None,
    };
    plan.key(&Facts::new(source))
}

fn by_ip(client: Option<&str>) -> Key {
    key_of("[\"client_ip\"]", "/", "", client)
}

#[test]
fn addresses_of_a_prefix_are_one_client() {
    assert_ne!(by_ip(Some("192.0.2.1")), by_ip(Some("192.0.2.2")));
    assert_eq!(by_ip(Some("192.0.2.1")), by_ip(Some("::ffff:192.0.2.1")));
    assert_eq!(by_ip(Some("2001:db8:1:2::1")), by_ip(Some("2001:db8:1:2:ffff::9")));
    assert_ne!(by_ip(Some("2001:db8:1:2::1")), by_ip(Some("2001:db8:1:3::1")));
    assert_eq!(by_ip(None), by_ip(None), "clients that nobody knows share a key");
    assert_ne!(by_ip(None), by_ip(Some("0.0.0.0")));
}

#[test]
fn absent_is_unlike_any_value() {
    let header = |lines: &str| key_of("[\"header:x-key\"]", "/", lines, None);
    assert_ne!(header(""), header("X-Key: \r\n"));
    assert_ne!(header("X-Key: \r\n"), header("X-Key: a\r\n"));
    assert_eq!(header("X-Key: a\r\n"), header("x-key: a\r\nX-Key: b\r\n"), "the first of several");
    let query = |target: &str| key_of("[\"query:q\"]", target, "", None);
    assert_ne!(query("/"), query("/?q="));
    assert_eq!(query("/?q=a%20b"), query("/?p=1&q=a+b"));
    let cookie = |lines: &str| key_of("[\"cookie:c\"]", "/", lines, None);
    assert_ne!(cookie(""), cookie("Cookie: c=\r\n"));
    assert_eq!(cookie("Cookie: c=1\r\n"), cookie("Cookie: b=2; c=1\r\n"));
}

#[test]
fn octets_never_move_from_one_part_to_the_next() {
    let both = |lines: &str| key_of("[\"header:a\", \"header:b\"]", "/", lines, None);
    assert_ne!(both("A: xy\r\nB: z\r\n"), both("A: x\r\nB: yz\r\n"));
    assert_ne!(both("A: x\r\n"), both("B: x\r\n"));
    assert_ne!(both("A: x\r\nB: \r\n"), both("A: x\r\n"));
}

#[test]
fn every_part_tells_requests_apart_and_no_part_none() {
    assert_ne!(key_of("[\"path\"]", "/a", "", None), key_of("[\"path\"]", "/b", "", None));
    assert_eq!(key_of("[\"path\"]", "/a", "", None), key_of("[\"path\"]", "/%61", "", None), "decoded");
    for part in ["host", "method", "protocol", "listener", "country"] {
        let part = format!("[\"{part}\"]");
        assert_eq!(key_of(&part, "/a", "", Some("192.0.2.1")), key_of(&part, "/b", "", Some("192.0.2.2")), "{part}");
    }
    assert_eq!(key_of("[]", "/a", "", None), key_of("[]", "/b", "X: y\r\n", Some("192.0.2.1")));
}

#[test]
fn secret_changes_every_key() {
    let rule = rule("");
    let address = "192.0.2.1".parse().unwrap();
    let key = |secret| KeyPlan::new(&rule.key, 32, 64, secret).address_key(0, address);
    assert_ne!(key([1; 16]), key([2; 16]));
}
