//! Who is the client, over headers good, bad and hostile.

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::http::{Head, HeadLimits, parse_request};

/// Addresses that are trusted in these tests: `10.0.0.0/8` and `2001:db8:1::/48`.
const PROXY: &str = "10.0.0.1";

fn trust(header: &str, mode: ClientMode) -> Trust {
    doubting(header, mode, ClientDoubt::Unknown, ClientDoubt::Reject)
}

fn doubting(header: &str, mode: ClientMode, on_missing: ClientDoubt, on_invalid: ClientDoubt) -> Trust {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse::<IpNet>().expect("a network")).collect::<Vec<_>>();
    let manner = |header: &str| Manner { header: header.into(), mode, on_missing, on_invalid };
    let entries =
        [(manner(header), nets(&["10.0.0.0/8"]), false), (manner("x-other"), nets(&["2001:db8:1::/48"]), true)];
    Trust::new(entries).expect("disjoint")
}

/// The client and the chain that a peer's header lines name.
fn resolve(trust: &Trust, peer: &str, fields: &[(&str, &str)]) -> (Result<Resolved, Reason>, Chain) {
    let mut text = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text += "\r\n";
    let mut head = Head::new();
    let limits = HeadLimits { head_max: 64 * 1024, fields_max: 1000, ..HeadLimits::default() };
    parse_request(text.as_bytes(), &limits, &mut head).expect("a good head").expect("a whole head");
    let mut chain = Chain { addresses: b"left over".to_vec(), elements: b"left over".to_vec() };
    let resolved = trust.resolve(peer.parse().ok(), &Request::new(&head, text.as_bytes()), &mut chain);
    (resolved.map_err(|fault| fault.reason), chain)
}

fn known(ip: &str, source: Source) -> Identity {
    Identity::Known { ip: ip.parse().expect("an address"), source }
}

/// What a list header from the proxy names: the client, or `400`.
fn client(mode: ClientMode, lines: &[&str]) -> String {
    let fields: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
    named(&trust("x-forwarded-for", mode), &fields)
}

fn forwarded(line: &str) -> String {
    named(&trust("forwarded", ClientMode::TrustedChain), &[("Forwarded", line)])
}

fn named(trust: &Trust, fields: &[(&str, &str)]) -> String {
    match resolve(trust, PROXY, fields).0 {
        Ok(Resolved { identity: Identity::Known { ip, source: Source::Header }, trusted: true }) => ip.to_string(),
        Ok(Resolved { identity: Identity::Unknown, trusted: true }) => "unknown".to_owned(),
        Err(Reason::ClientIdentityInvalid) => "400".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_not_trusted_is_the_client_whatever_it_says() {
    let trust = trust("x-forwarded-for", ClientMode::TrustedChain);
    let (resolved, chain) = resolve(&trust, "192.0.2.1", &[("X-Forwarded-For", "1.2.3.4")]);
    assert_eq!(resolved, Ok(Resolved { identity: known("192.0.2.1", Source::Peer), trusted: false }));
    assert_eq!((chain.addresses(), chain.elements()), (b"".as_slice(), b"".as_slice()));
    let (mapped, _) = resolve(&Trust::default(), "::ffff:192.0.2.1", &[]);
    assert_eq!(mapped.expect("no header").identity, known("192.0.2.1", Source::Peer));
}

#[test]
fn unix_peers_are_unknown_unless_they_are_trusted() {
    let nobody = resolve(&Trust::default(), "unix", &[("X-Other", "1.2.3.4")]).0;
    assert_eq!(nobody, Ok(Resolved { identity: Identity::Unknown, trusted: false }));
    let trusted = resolve(&trust("x", ClientMode::TrustedChain), "unix", &[("X-Other", "1.2.3.4")]).0;
    assert_eq!(trusted, Ok(Resolved { identity: known("1.2.3.4", Source::Header), trusted: true }));
}

#[test]
fn chain_is_walked_from_the_right_past_trusted_peers() {
    use ClientMode::TrustedChain as Chain;
    for (lines, expected) in [
        (["203.0.113.9"].as_slice(), "203.0.113.9"),
        (&["evil, 203.0.113.9"], "203.0.113.9"),
        (&["evil, 203.0.113.9, 10.2.3.4, 2001:db8:1::7"], "203.0.113.9"),
        (&["evil", "203.0.113.9,10.2.3.4", " , 10.9.9.9 ,"], "203.0.113.9"),
        (&["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        (&["::ffff:203.0.113.9:80"], "400"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["[2001:db8::1]:443, 10.0.0.9:1"], "2001:db8::1"),
        (&["203.0.113.9, evil"], "400"),
        (&["203.0.113.9, unknown"], "400"),
        (&["fe80::1%eth0"], "400"),
        (&["[fe80::1%25eth0]"], "400"),
        (&["203.0.113.9:"], "400"),
        (&["203.0.113.9:123456"], "400"),
        (&["[203.0.113.9]"], "400"),
        (&["203.0.113.09"], "400"),
        (&["for=203.0.113.9"], "400"),
        (&[" , "], "unknown"),
        (&[""], "unknown"),
        (&[], "unknown"),
    ] {
        assert_eq!(client(Chain, lines), expected, "{lines:?}");
    }
}

#[test]
fn hops_and_octets_are_bounded() {
    let hops = |n: usize| vec!["10.0.0.2"; n].join(", ");
    assert_eq!(client(ClientMode::TrustedChain, &[&format!("x, 1.2.3.4, {}", hops(30))]), "1.2.3.4");
    assert_eq!(client(ClientMode::TrustedChain, &[&format!("x, 1.2.3.4, {}", hops(31))]), "400");
    assert_eq!(client(ClientMode::TrustedChain, &[&format!("{}, 1.2.3.4", "x,".repeat(32))]), "400");
    let padded = |n: usize| format!("{}, 1.2.3.4", "x".repeat(n));
    assert_eq!(client(ClientMode::TrustedChain, &[&padded(HEADER_MAX - 9)]), "1.2.3.4");
    assert_eq!(client(ClientMode::TrustedChain, &[&padded(HEADER_MAX - 8)]), "400");
    assert_eq!(client(ClientMode::TrustedChain, &["x", &padded(HEADER_MAX - 11)]), "400");
}

#[test]
fn single_address_stands_alone_on_its_line() {
    use ClientMode::SingleIp as Single;
    for (lines, expected) in [
        (["203.0.113.9"].as_slice(), "203.0.113.9"),
        (&["10.0.0.7"], "10.0.0.7"),
        (&["[2001:db8::1]:443"], "2001:db8::1"),
        (&["203.0.113.9:80"], "203.0.113.9"),
        (&["203.0.113.9, 10.0.0.7"], "400"),
        (&["203.0.113.9", "203.0.113.9"], "400"),
        (&["evil"], "400"),
        (&[], "unknown"),
    ] {
        assert_eq!(client(Single, lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_by_its_grammar() {
    for (line, expected) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("evil, For=203.0.113.9;proto=https, for=10.0.0.7", "203.0.113.9"),
        ("by=x;host=\"a,b;c\";for=\"[2001:db8::1]:443\"", "2001:db8::1"),
        ("for=\"203.0.113.9:_port\"; proto=http", "203.0.113.9"),
        ("for=\"evil, for=203.0.113.9", "203.0.113.9"),
        ("for=\"1.2.3.4\\\", for=203.0.113.9", "203.0.113.9"),
        ("host=\"a\\\"b\\\\\";for=203.0.113.9", "203.0.113.9"),
        ("for=203.0.113.9:80", "400"),
        ("for=203.0.113.9;for=203.0.113.9", "400"),
        ("for=unknown", "400"),
        ("for=_hidden", "400"),
        ("proto=http", "400"),
        ("203.0.113.9", "400"),
        ("for=203.0.113.9, for=\"10.0.0.7", "400"),
        ("for=203.0.113.9, f(=x", "400"),
        ("", "unknown"),
    ] {
        assert_eq!(forwarded(line), expected, "{line}");
    }
}

#[test]
fn doubt_is_settled_as_the_entry_says() {
    for (on_missing, on_invalid, missing, invalid) in [
        (ClientDoubt::Peer, ClientDoubt::Unknown, Ok(known(PROXY, Source::Peer)), Ok(Identity::Unknown)),
        (ClientDoubt::Reject, ClientDoubt::Peer, Err(Reason::ClientIdentityInvalid), Ok(known(PROXY, Source::Peer))),
    ] {
        let trust = doubting("x-real-ip", ClientMode::SingleIp, on_missing, on_invalid);
        let identity = |fields: &[(&str, &str)]| {
            let (resolved, chain) = resolve(&trust, PROXY, fields);
            let unknown = resolved.is_ok_and(|resolved| resolved.identity == Identity::Unknown);
            assert_eq!(chain.addresses(), if unknown { b"unknown".as_slice() } else { b"" });
            resolved.map(|resolved| resolved.identity)
        };
        assert_eq!(identity(&[]), missing);
        assert_eq!(identity(&[("X-Real-IP", "x")]), invalid);
        assert_eq!(identity(&[("X-Real-IP", "1.2.3.4"), ("x-real-ip", "1.2.3.4")]), invalid);
    }
}

#[test]
fn chain_begins_with_the_client_in_both_spellings() {
    let chain = |header: &str, value: &str| {
        let (resolved, chain) = resolve(&trust(header, ClientMode::TrustedChain), PROXY, &[(header, value)]);
        resolved.expect("a client");
        [chain.addresses, chain.elements].map(|text| String::from_utf8(text).expect("text"))
    };
    assert_eq!(
        chain("x-forwarded-for", "evil, [2001:db8::1]:9, 10.0.0.7:80"),
        ["2001:db8::1, 10.0.0.7", "for=\"[2001:db8::1]\", for=10.0.0.7"]
    );
    assert_eq!(
        chain("forwarded", "for=evil, for=1.2.3.4;proto=https, for=10.0.0.7"),
        ["1.2.3.4, 10.0.0.7", "for=1.2.3.4;proto=https, for=10.0.0.7"]
    );
}

const PIECES: &[&str] = &[
    "10.0.0.7",
    "203.0.113.9",
    "2001:db8::1",
    "[::1]",
    "for=",
    "For=\"",
    "\"",
    "\\",
    ",",
    ", ",
    ";",
    "=",
    ":80",
    "evil",
    "unknown",
    "_x",
    "%eth0",
    "proto=https",
    "for=10.0.0.7",
    "for=1.2.3.4",
    "::ffff:1.2.3.4",
    "\t",
    "(",
];

proptest! {
    #[test]
    fn hostile_headers_never_panic_and_what_they_name_is_canonical(
        lines in vec(vec(select(PIECES), 0..24), 0..6),
        single in any::<bool>(),
        list in any::<bool>(),
    ) {
        let mode = if single { ClientMode::SingleIp } else { ClientMode::TrustedChain };
        let header = if list { "x-forwarded-for" } else { "forwarded" };
        let lines: Vec<String> = lines.iter().map(|pieces| pieces.concat()).collect();
        let fields: Vec<_> = lines.iter().map(|line| (header, line.as_str())).collect();
        let (resolved, chain) = resolve(&trust(header, mode), PROXY, &fields);
        match resolved {
            Ok(Resolved { identity: Identity::Known { ip, source }, .. }) => {
                prop_assert_eq!(source, Source::Header);
                prop_assert_eq!(ip.to_canonical(), ip);
                let first = chain.addresses().split(|&octet| octet == b',').next().unwrap_or_default();
                prop_assert_eq!(std::str::from_utf8(first).unwrap(), ip.to_string());
            }
            Ok(_) => prop_assert_eq!((chain.addresses(), chain.elements()), (b"unknown".as_slice(), b"for=unknown".as_slice())),
            Err(reason) => prop_assert_eq!(reason, Reason::ClientIdentityInvalid),
        }
    }

    #[test]
    fn nothing_left_of_the_client_changes_who_it_is(left in "[ -+\\--~]{0,80}", list in any::<bool>()) {
        // No comma: the number of hops stays within its bound.
        let header = if list { "x-forwarded-for" } else { "forwarded" };
        let spelled = if list { "203.0.113.9, 10.0.0.7" } else { "for=203.0.113.9, for=\"10.0.0.7\"" };
        let value = format!("{left}, {spelled}");
        prop_assert_eq!(named(&trust(header, ClientMode::TrustedChain), &[(header, &value)]), "203.0.113.9");
    }
}
