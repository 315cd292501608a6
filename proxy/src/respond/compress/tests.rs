//! Which responses are coded, and what their heads then say.

use super::*;
use crate::config::Table;
use crate::http::{Head, HeadLimits, ResponseHead, Underscore, parse_request, parse_response};

const LIMITS: HeadLimits = HeadLimits {
    head_max: 8192,
    target_max: 1024,
    fields_max: 100,
    query_pairs_max: 16,
    connect: false,
    underscore: Underscore::Drop,
};

fn policy(toml: &str) -> Compress {
    Compress::new(&Compression::from_toml(toml).expect("a table")).expect("codings")
}

fn offered() -> Compress {
    policy("algorithms = [\"zstd\", \"br\", \"gzip\"]")
}

/// The coding that is chosen, and the lines of the head that is sent, its framing left out.
fn judged(policy: &Compress, request: &str, response: &str, before: &[(&str, &str)]) -> (Option<Coding>, Vec<String>) {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{request}\r\n");
    let mut head = Head::new();
    parse_request(request.as_bytes(), &LIMITS, &mut head).expect("a request").expect("whole");
    let request = Request::new(&head, request.as_bytes());
    let mut response_head = ResponseHead::new();
    parse_response(response.as_bytes(), &mut response_head).expect("a response").expect("whole");
    let response = Response::new(&response_head, response.as_bytes());
    let mut edits = Edits::new();
    before.iter().for_each(|(name, value)| assert!(edits.set(name.as_bytes(), value.as_bytes())));
    let length = response_head.content_length();
    let subject = Subject { request: &request, status: response.status(), head: Some(&response), length };
    let coding = policy.choose(subject, &mut edits);
    if let Some(coding) = coding {
        Compress::announce(coding, Some(&response), &mut edits);
    }
    let kept = response.fields().filter(|(name, _)| !edits.hides(name));
    let line = |(name, value): (&[u8], &[u8])| String::from_utf8([name, b": ", value].concat()).unwrap();
    let lines = kept.chain(edits.iter()).map(line).filter(|line| !line.starts_with("Content-Length"));
    (coding, lines.collect())
}

fn page(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n{fields}\r\n")
}

const ACCEPTS: &str = "Accept-Encoding: gzip, br\r\n";

#[test]
fn a_page_is_coded_and_its_head_tells_so() {
    let fields = "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nDigest: x\r\nContent-Digest: y\r\nRepr-Digest: z\r\n\
                  Content-MD5: w\r\nX-Kept: 1\r\n";
    let (coding, lines) = judged(&offered(), ACCEPTS, &page(fields), &[]);
    assert_eq!(coding, Some(Coding::Br));
    assert_eq!(
        lines,
        ["Content-Type: text/html", "X-Kept: 1", "Vary: Accept-Encoding", "Content-Encoding: br", "ETag: W/\"a\""]
    );
}

#[test]
fn entity_tags_are_weakened_once_and_only_if_they_are_any() {
    let etag = |line: &str| {
        let (_, lines) = judged(&offered(), ACCEPTS, &page(line), &[]);
        lines.into_iter().filter(|line| line.starts_with("ETag")).collect::<Vec<_>>()
    };
    assert_eq!(etag("ETag: W/\"a\"\r\n"), ["ETag: W/\"a\""]);
    assert!(etag("ETag: bare\r\n").is_empty());
    assert!(etag("").is_empty());
}

#[test]
fn vary_is_said_once_and_to_those_who_accept_nothing_too() {
    let varies = |request: &str, fields: &str| {
        let (coding, lines) = judged(&offered(), request, &page(fields), &[]);
        (coding.is_some(), lines.into_iter().filter(|line| line.starts_with("Vary")).collect::<Vec<_>>())
    };
    assert_eq!(varies("", ""), (false, vec!["Vary: Accept-Encoding".to_owned()]));
    assert_eq!(varies(ACCEPTS, "Vary: Origin, ACCEPT-encoding\r\n").1, ["Vary: Origin, ACCEPT-encoding"]);
    assert_eq!(varies(ACCEPTS, "Vary: *\r\n").1, ["Vary: *"]);
    assert_eq!(varies(ACCEPTS, "Vary: Origin\r\n").1, ["Vary: Origin", "Vary: Accept-Encoding"]);
}

#[test]
fn what_is_not_to_be_touched_is_not() {
    let html = "Content-Type: text/html\r\nContent-Length: 5000\r\n";
    for (response, why) in [
        (page("Content-Encoding: gzip\r\n"), "coded already"),
        (page("Content-Encoding: identity\r\n"), "whatever the coding"),
        (page("Cache-Control: public,NO-transform\r\n"), "no-transform"),
        (format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4999/9999\r\n{html}\r\n"), "a part"),
        (format!("HTTP/1.1 204 No Content\r\n{html}\r\n"), "no content"),
        (format!("HTTP/1.1 205 Reset Content\r\n{html}\r\n"), "no content"),
        (format!("HTTP/1.1 304 Not Modified\r\n{html}\r\n"), "not modified"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1023\r\n\r\n".into(), "small"),
        ("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n".into(), "no type for it"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".into(), "no type"),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+json\r\nContent-Length: 5000\r\n\r\n".into(), "gRPC"),
    ] {
        let (coding, lines) = judged(&offered(), ACCEPTS, &response, &[]);
        assert_eq!(coding, None, "{why}");
        assert!(lines.iter().all(|line| !line.starts_with("Vary")), "{why}: {lines:?}");
    }
    let (coding, lines) =
        judged(&offered(), "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n", &page(""), &[]);
    assert_eq!(coding, None, "the client forbids it");
    assert!(lines.contains(&"Vary: Accept-Encoding".to_owned()));
}

#[test]
fn the_kinds_that_are_worth_it_are_the_default() {
    for kind in [
        "text/plain",
        "text/css",
        "text/javascript",
        "application/json; charset=utf-8",
        "application/ld+json",
        "application/javascript",
        "application/xml",
        "application/rss+xml",
        "image/svg+xml",
        "application/wasm",
    ] {
        let response = format!("HTTP/1.1 404 Not Found\r\nContent-Type: {kind}\r\nContent-Length: 1024\r\n\r\n");
        assert_eq!(judged(&offered(), ACCEPTS, &response, &[]).0, Some(Coding::Br), "{kind}");
    }
}

#[test]
fn an_unknown_length_is_no_small_one_and_no_minimum_is_one() {
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judged(&offered(), ACCEPTS, chunked, &[]).0, Some(Coding::Br));
    let tiny = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\n";
    let empty = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    let all = policy("algorithms = [\"gzip\"]\nsize_min = 0\ntypes = [\"text/html\"]");
    assert_eq!(judged(&all, ACCEPTS, tiny, &[]).0, Some(Coding::Gzip));
    assert_eq!(judged(&all, ACCEPTS, empty, &[]).0, None);
}

#[test]
fn edits_of_the_route_count_as_the_head_does() {
    let coding = |before: &[(&str, &str)]| judged(&offered(), ACCEPTS, &page("ETag: \"a\"\r\n"), before).0;
    assert_eq!(coding(&[("Content-Type", "image/png")]), None);
    assert_eq!(coding(&[("Cache-Control", "no-transform")]), None);
    assert_eq!(coding(&[("Content-Encoding", "gzip")]), None);
    let (_, lines) = judged(&offered(), ACCEPTS, &page("ETag: \"a\"\r\n"), &[("ETag", "\"b\""), ("Vary", "*")]);
    assert_eq!(lines, ["Content-Type: text/html", "Vary: *", "Content-Encoding: br", "ETag: W/\"b\""]);
}

#[test]
fn a_304_has_the_validator_that_the_client_asked_with() {
    let etag = |asked: &str| {
        let answer = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
        judged(&offered(), &format!("If-None-Match: {asked}\r\n"), answer, &[]).1
    };
    assert_eq!(etag("W/\"a\""), ["ETag: W/\"a\""]);
    assert_eq!(etag("\"x\", W/\"a\""), ["ETag: W/\"a\""]);
    assert_eq!(etag("\"a\", W/\"a\""), ["ETag: \"a\""]);
    assert_eq!(etag("\"a\""), ["ETag: \"a\""]);
    assert_eq!(etag("W/\"b\""), ["ETag: \"a\""]);
}

#[test]
fn codings_count_once_and_none_is_off() {
    let twice = policy("algorithms = [\"gzip\", \"gzip\", \"br\"]");
    assert_eq!(twice.codings, [Coding::Gzip, Coding::Br]);
    assert_eq!(Compress::new(&Compression::from_toml("").unwrap()), None);
}
