//! Every kind of rewrite, the check of its result, and what is refused.

use super::*;
use crate::config::{At, Problems};

fn compile(raw: &raw::Rewrite, path: PathMatch, allow: bool) -> Result<Rewrite, Problems> {
    let mut problems = Problems::new();
    let rewrite = Rewrite::compile(raw, &path, allow, &mut problems);
    if problems.is_empty() { Ok(rewrite) } else { Err(problems) }
}

fn nothing() -> raw::Rewrite {
    raw::Rewrite {
        strip_prefix: false,
        replace_prefix: None,
        add_prefix: None,
        regex: None,
        replacement: None,
        host: UpstreamHost::Target,
        at: At::default(),
    }
}

fn strip() -> raw::Rewrite {
    raw::Rewrite { strip_prefix: true, ..nothing() }
}

fn replace(with: &str) -> raw::Rewrite {
    raw::Rewrite { replace_prefix: Some(with.into()), ..nothing() }
}

fn add(prefix: &str) -> raw::Rewrite {
    raw::Rewrite { add_prefix: Some(prefix.into()), ..nothing() }
}

fn by_regex(regex: &str, replacement: &str) -> raw::Rewrite {
    raw::Rewrite { regex: Some(regex.into()), replacement: Some(replacement.into()), ..nothing() }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::prefix(text).unwrap()
}

fn raw(text: &str) -> PathMatch {
    PathMatch::raw(text).unwrap()
}

/// The route path as section 3 of the routing page reads it.
fn route_path(received: &str) -> Vec<u8> {
    let mut rest = received.as_bytes();
    let mut read = Vec::new();
    while let Some((&octet, after)) = rest.split_first() {
        let decoded = super::super::path::triplet(rest).filter(|octet| !matches!(octet, b'/' | b'\\'));
        read.push(decoded.unwrap_or(octet));
        rest = if decoded.is_some() { &rest[3..] } else { after };
    }
    read
}

/// The new path and X-Forwarded-Prefix.
fn run(rewrite: &Rewrite, received: &str) -> Result<Option<(String, String)>, Reason> {
    let route_path = route_path(received);
    let incoming = Incoming { host: "h", spelled: received.as_bytes(), route_path: &route_path, query: Some(b"q") };
    let mut out = b"kept ".to_vec();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    match rewrite.path(&incoming, &mut out).map_err(|fault| fault.reason)? {
        Rewritten::Unchanged => {
            assert_eq!(out, b"kept ");
            Ok(None)
        }
        Rewritten::Changed { stripped } => Ok(Some((text(&out[5..]), text(stripped)))),
    }
}

#[test]
fn each_kind_rewrites_as_received() {
    let cases = [
        (strip(), prefix("/api"), "/api/users", "/users", "/api"),
        (strip(), prefix("/api/service-a"), "/api/service-a/users", "/users", "/api/service-a"),
        (strip(), prefix("/api"), "/api", "/", "/api"),
        (strip(), prefix("/api"), "/api/", "/", "/api"),
        (strip(), prefix("/api/"), "/api/x", "/x", "/api"),
        (strip(), prefix("/api"), "/%61pi/%41", "/%41", "/%61pi"),
        (strip(), prefix("/"), "/x", "/x", ""),
        (strip(), raw("/api"), "/apix", "/x", "/api"),
        (strip(), raw("/api"), "/api/x", "/x", "/api"),
        (replace("/v2"), prefix("/api"), "/api/x", "/v2/x", ""),
        (replace("/v2/"), prefix("/api"), "/api", "/v2", ""),
        (replace("/"), prefix("/api"), "/api", "/", ""),
        (replace("/"), prefix("/api"), "/api/x", "/x", ""),
        (replace("/v2"), prefix("/"), "/x", "/v2/x", ""),
        (replace("/v2"), raw("/api"), "/apix", "/v2x", ""),
        (add("/v1"), PathMatch::Any, "/x", "/v1/x", ""),
        (add("/v1/"), PathMatch::Any, "/", "/v1/", ""),
        (by_regex("^/u/([0-9]+)", "/users/$1"), PathMatch::Any, "/u/7/x", "/users/7/x", ""),
        (by_regex("a", "é b"), PathMatch::Any, "/a%3Fa", "/%C3%A9%20b%3F%C3%A9%20b", ""),
        (by_regex("^/x", "/y"), PathMatch::Any, "/x%25", "/y%25", ""),
    ];
    for (spec, path, received, expected, stripped) in cases {
        let rewrite = compile(&spec, path, false).unwrap();
        assert_eq!(run(&rewrite, received), Ok(Some((expected.into(), stripped.into()))), "{spec:?} {received}");
    }
    assert_eq!(run(&compile(&by_regex("^/x", "/y"), PathMatch::Any, false).unwrap(), "/%7a"), Ok(None));
    assert_eq!(run(&compile(&add("/v1"), PathMatch::Any, false).unwrap(), "*"), Ok(None));
    assert_eq!(run(&Rewrite::default(), "/x"), Ok(None));
}

#[test]
fn the_result_is_checked_as_a_received_path_is() {
    let bad = Err(Reason::InvalidRequestTarget);
    assert_eq!(run(&compile(&strip(), raw("/api"), false).unwrap(), "/api../x"), bad);
    assert_eq!(run(&compile(&strip(), raw("/a"), false).unwrap(), "/a%2e./x"), bad);
    assert_eq!(run(&compile(&by_regex("x", "../.."), PathMatch::Any, false).unwrap(), "/x"), bad);
    assert_eq!(run(&compile(&by_regex("^/", ""), PathMatch::Any, false).unwrap(), "/x"), bad);
    let long = "x".repeat(PATH_MAX);
    let grows = compile(&by_regex("x", &"y".repeat(PATH_MAX / 2)), PathMatch::Any, false).unwrap();
    assert_eq!(run(&grows, "/x").map(|_| ()), Ok(()));
    assert_eq!(run(&grows, &format!("/{long}")), Err(Reason::RewriteFailed));
    assert_eq!(
        run(&compile(&add("/v1"), PathMatch::Any, false).unwrap(), &format!("/{long}")),
        Err(Reason::RewriteFailed)
    );
}

#[test]
fn encoded_separators_stay_as_spelled_where_they_are_allowed() {
    let strict = compile(&strip(), prefix("/api"), false).unwrap();
    assert_eq!(run(&strict, "/api/a%2fb"), Err(Reason::InvalidRequestTarget));
    let allowed = compile(&strip(), prefix("/api"), true).unwrap();
    assert_eq!(run(&allowed, "/api/a%2fb"), Ok(Some(("/a%2fb".into(), "/api".into()))));
    let regex = compile(&by_regex("^/api", ""), PathMatch::Any, true).unwrap();
    assert_eq!(run(&regex, "/api/a%2fb%25"), Ok(Some(("/a%2fb%25".into(), String::new()))));
    assert_eq!(run(&regex, "/api/a%252fb"), Ok(Some(("/a%252fb".into(), String::new()))));
    // One of the two would be decoded twice, or encoded once too often.
    assert_eq!(run(&regex, "/api/a%2fb%252f"), Err(Reason::InvalidRequestTarget));
}

#[test]
fn wrong_rewrites_are_named() {
    let both = raw::Rewrite { strip_prefix: true, ..add("/x") };
    let half = raw::Rewrite { regex: Some("x".into()), ..nothing() };
    let host = raw::Rewrite { host: UpstreamHost::Set("a b".into()), ..nothing() };
    for (spec, path, expected) in [
        (both, prefix("/a"), "rewrite has one of strip_prefix, replace_prefix, add_prefix, regex"),
        (half, prefix("/a"), "rewrite needs regex and replacement together"),
        (strip(), PathMatch::Any, "strip_prefix needs path_prefix or path_prefix_raw"),
        (replace("/b"), PathMatch::exact("/a").unwrap(), "replace_prefix needs path_prefix or path_prefix_raw"),
        (add("v1"), PathMatch::Any, "add_prefix \"v1\" is no path"),
        (add("/../x"), PathMatch::Any, "add_prefix \"/../x\" is no path"),
        (
            by_regex("(a)", "$2"),
            PathMatch::Any,
            "replacement names $2, which regex does not have; ${1}x parts a group from text",
        ),
        (by_regex("(", ""), PathMatch::Any, "bad regex \"(\": unclosed group"),
        (host, PathMatch::Any, "host \"a b\" is no host name"),
    ] {
        let problems = compile(&spec, path, false).unwrap_err();
        assert_eq!(problems.iter().next().map(|problem| &*problem.message), Some(expected));
    }
    assert!(compile(&by_regex("(?P<n>a)", "$$2 ${n}x $0"), PathMatch::Any, false).is_ok());
}
