//! Order, overlay, composition, placeholders, and what is refused.

use super::*;
use crate::config::{At, Problems};

type Pairs<'a> = &'a [(&'a str, &'a str)];

#[derive(Clone, Debug, Default)]
struct Spec {
    remove: Vec<String>,
    set: Vec<(String, Vec<String>)>,
    add: Vec<(String, Vec<String>)>,
    default: Vec<(String, Vec<String>)>,
}

fn spec(remove: &[&str], set: Pairs<'_>, add: Pairs<'_>, default: Pairs<'_>) -> Spec {
    let pairs = |pairs: Pairs<'_>| pairs.iter().map(|(name, value)| ((*name).into(), vec![(*value).into()])).collect();
    let remove = remove.iter().map(|name| (*name).into()).collect();
    Spec { remove, set: pairs(set), add: pairs(add), default: pairs(default) }
}

fn compile(spec: &Spec) -> Result<Edits, Problems> {
    let mut problems = Problems::new();
    let Spec { remove, set, add, default } = spec;
    let edits = Edits::compile(&raw::HeaderEdits { remove, set, add, default, at: &At::default() }, &mut problems);
    if problems.is_empty() { Ok(edits) } else { Err(problems) }
}

const FACTS: Facts<'_> = Facts {
    client_ip: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7))),
    host: "app.test",
    method: b"GET",
    path: b"/a%20b",
    route: "route-10",
    request_id: b"0193",
};

/// The fields of a message after the edits, in turn.
fn run(edits: &[&Edits], fields: Pairs<'_>) -> Vec<(String, String)> {
    let mut out = http::Edits::new();
    let has = |name: &[u8]| fields.iter().any(|(field, _)| field.as_bytes().eq_ignore_ascii_case(name));
    for edits in edits {
        assert_eq!(edits.apply(&FACTS, has, &mut b"old".to_vec(), &mut out), 0);
    }
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let stay = fields.iter().filter(|(name, _)| !out.hides(name.as_bytes()));
    let stay = stay.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    stay.chain(out.iter().map(|(name, value)| (text(name), text(value)))).collect()
}

fn owned(fields: Pairs<'_>) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn remove_set_add_default_in_order() {
    let edits = compile(&spec(
        &["x-gone", "X-Both"],
        &[("X-Set", "new"), ("X-Both", "set")],
        &[("X-Add", "2")],
        &[("X-Default", "d"), ("x-have", "d"), ("X-Gone", "d"), ("X-Set", "d")],
    ))
    .unwrap();
    let came =
        [("X-Gone", "1"), ("x-set", "old"), ("x-set", "older"), ("x-add", "1"), ("X-Have", "h"), ("x-both", "b")];
    let expected = [
        ("x-add", "1"),
        ("X-Have", "h"),
        ("X-Set", "new"),
        ("X-Both", "set"),
        ("X-Add", "2"),
        ("X-Default", "d"),
        ("X-Gone", "d"),
    ];
    assert_eq!(run(&[&edits], &came), owned(&expected));
    assert!(!edits.is_empty() && Edits::default().is_empty());
}

#[test]
fn placeholders_expand_and_json_stands_for_itself() {
    let value = "{client_ip} {host} {method} {path} {route} {request_id} {\"a\":{}} {";
    let edits = compile(&spec(&[], &[("X", value)], &[], &[])).unwrap();
    let expected = "192.0.2.7 app.test GET /a%20b route-10 0193 {\"a\":{}} {";
    assert_eq!(run(&[&edits], &[]), owned(&[("X", expected)]));
}

#[test]
fn several_values_are_several_lines() {
    let mut spec = spec(&[], &[], &[], &[]);
    spec.default = vec![("X".to_owned(), vec!["1".to_owned(), "2".to_owned()])];
    let edits = compile(&spec).unwrap();
    assert_eq!(run(&[&edits], &[]), owned(&[("X", "1"), ("X", "2")]));
    assert_eq!(run(&[&edits], &[("x", "0")]), owned(&[("x", "0")]));
}

#[test]
fn line_breaks_and_nul_in_expanded_values_are_dropped_and_counted() {
    let edits = compile(&spec(&[], &[("X", "a{path}b")], &[], &[])).unwrap();
    let mut out = http::Edits::new();
    let facts = Facts { path: b"/x\r\nEvil: 1\0", client_ip: None, ..FACTS };
    assert_eq!(edits.apply(&facts, |_| false, &mut Vec::new(), &mut out), 3);
    assert_eq!(out.iter().collect::<Vec<_>>(), [(&b"X"[..], &b"a/xEvil: 1b"[..])]);
    assert_eq!(edits.apply(&Facts { path: b"\x01", ..facts }, |_| false, &mut Vec::new(), &mut out), 1);
}

#[test]
fn edits_in_turn_do_what_each_does_alone() {
    let names = ["A", "B"];
    let mut rng = fastrand::Rng::with_seed(7);
    let mut random = || {
        let mut pick = |values: &[&str]| -> Vec<(String, Vec<String>)> {
            let values = || values.iter().map(|value| (*value).to_owned()).collect();
            names.iter().filter(|_| rng.u8(..3) == 0).map(|name| ((*name).to_owned(), values())).collect()
        };
        let remove = pick(&[]).into_iter().map(|(name, _)| name).collect();
        Spec { remove, set: pick(&["s"]), add: pick(&["a", "b"]), default: pick(&["d"]) }
    };
    for _ in 0..5_000 {
        let (first, second) = (random(), random());
        let (a, b) = (compile(&first).unwrap(), compile(&second).unwrap());
        for came in [&[][..], &[("a", "1")], &[("B", "1"), ("b", "2"), ("a", "3")]] {
            let between = run(&[&a], came);
            let between: Vec<(&str, &str)> = between.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(run(&[&a, &b], came), run(&[&b], &between), "{first:?} then {second:?} on {came:?}");
        }
    }
}

#[test]
fn wrong_edits_are_named() {
    let error = |spec: Spec| {
        let problems = compile(&spec).unwrap_err();
        problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; ")
    };
    for name in ["Connection", "content-length", "HOST", "TE", "Proxy-Authorization", "transfer-encoding", "upgrade"] {
        let expected = format!("remove: {name} cannot be edited: framing, connection and Host are weir's own");
        assert_eq!(error(spec(&[name], &[], &[], &[])), expected);
        assert!(compile(&spec(&[], &[], &[], &[(name, "x")])).is_err());
    }
    assert_eq!(error(spec(&[], &[("a b", "x")], &[], &[])), "set: \"a b\" is no header name");
    assert_eq!(error(spec(&[], &[], &[("a", "x\ny")], &[])), "add: a header value holds no control character");
    assert_eq!(
        error(spec(&[], &[], &[], &[("a", "{clientip}")])),
        "default: unknown placeholder {clientip}: {client_ip}, {host}, {method}, {path}, {route} or {request_id}"
    );
    assert_eq!(error(spec(&["a"; 65], &[], &[], &[])), ": 65 header edits; at most 64");
    assert_eq!(error(spec(&[], &[("a", &"x".repeat(8192))], &[], &[])), ": header edits of 8193 octets; at most 8 KiB");
}
