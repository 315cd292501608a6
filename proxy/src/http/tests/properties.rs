//! Hostile and random input: nothing panics, no split changes an outcome, and what is written is read back as it was.
//! Seeds are mutated with a dictionary of what has confused parsers before.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nContent-Length: 5\r\nConnection: keep-alive, x\r\nX: y\r\n\r\nhello",
    "PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nConnection: close\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: [::1]\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nVia: 1.1 weir\r\n\r\n",
];
const CHUNKS: &[&str] = &[
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
    "A;ext=\"v\"\r\n0123456789\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n",
];
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello",
    "HTTP/1.0 404\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\n\r\n",
];
const PATHS: &[&str] = &["/", "/a/b/../c", "/%2e%2e/x", "/a//b;c/%2F%5c", "/..;/x", "/%252e/\u{e9}", "/a.b/.c/..."];
const DICTIONARY: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ": ",
    ",",
    ";",
    "\x0b",
    "\x7f",
    "\u{e9}",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Connection: host\r\n",
    "chunked",
    "0",
    "ffffffffffffffff",
    "-1",
    "HTTP/1.1",
    "HTTP/1.0",
    "GET ",
    "http://",
    "#",
    "?",
    "&",
    "%",
    "%00",
    "%2e",
    "%2F",
    "%5C",
    "%25",
    "/",
    "//",
    "\\",
    "..",
    "./",
    " folded",
    "a_b: c\r\n",
    "[::1]",
    "@",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, &'static str),
    Delete(Index, usize),
    Overwrite(Index, u8),
    Double(Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), select(DICTIONARY)).prop_map(|(at, word)| Mutation::Insert(at, word)),
        (any::<Index>(), 1..6usize).prop_map(|(at, len)| Mutation::Delete(at, len)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| Mutation::Overwrite(at, octet)),
        (any::<Index>(), 1..20usize).prop_map(|(at, len)| Mutation::Double(at, len)),
    ]
}

fn apply(input: &mut Vec<u8>, mutation: &Mutation) {
    if input.is_empty() {
        return;
    }
    let part = |input: &Vec<u8>, at: &Index, len: usize| {
        let at = at.index(input.len());
        at..input.len().min(at + len)
    };
    match mutation {
        Mutation::Insert(at, word) => {
            let at = at.index(input.len());
            input.splice(at..at, word.bytes());
        }
        Mutation::Delete(at, len) => drop(input.drain(part(input, at, *len))),
        Mutation::Overwrite(at, octet) => {
            let at = at.index(input.len());
            input[at] = *octet;
        }
        Mutation::Double(at, len) => {
            let range = part(input, at, *len);
            let copy = input[range.clone()].to_vec();
            input.splice(range.start..range.start, copy);
        }
    }
}

/// Mutated seeds, and sometimes mere noise.
fn hostile(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let mutated = (select(seeds), vec(mutation(), 0..6)).prop_map(|(seed, mutations)| {
        let mut input = seed.as_bytes().to_vec();
        mutations.iter().for_each(|mutation| apply(&mut input, mutation));
        input
    });
    prop_oneof![9 => mutated, 1 => vec(any::<u8>(), 0..80)]
}

/// Places at which parts end: sorted, the last one at the end.
fn ends(len: usize, cuts: &[Index]) -> impl Iterator<Item = usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    ends.push(len);
    ends.sort_unstable();
    ends.into_iter()
}

fn limits() -> impl Strategy<Value = HeadLimits> {
    let underscore = select(&[Underscore::Drop, Underscore::Allow, Underscore::Reject][..]);
    (16..200usize, 4..60usize, 1..6usize, 1..4usize, underscore, any::<bool>()).prop_map(
        |(head_max, target_max, fields_max, query_pairs_max, underscore, connect)| HeadLimits {
            head_max,
            target_max,
            fields_max,
            query_pairs_max,
            underscore,
            connect,
        },
    )
}

/// Asks a parsed request everything that stages ask, and writes it out for an upstream.
fn forward(request: &Request<'_>) -> Vec<u8> {
    let _ = (request.query_pairs().count(), request.cookie(b"a"), request.websocket(), request.authority());
    let _ = request.paths(true);
    let out = RequestOut {
        request: *request,
        path: request.path_raw(),
        query: request.query(),
        host: b"origin",
        body: request.head.body(),
        expect_continue: request.head.expect_continue(),
        connection: Connection::KeepAlive,
        forwarding: Forwarding { mode: Forwarded::Both, peer: "::1", before: None, proto: "http", port: 80 },
        client_cert: ClientCert::Untold,
        request_id: (b"X-Request-Id", b"id"),
        edits: &Edits::new(),
    };
    let mut bytes = Vec::new();
    write_request_head(&mut bytes, &out);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn request_heads_end_alike_however_split(input in hostile(HEADS), cuts in vec(any::<Index>(), 0..8), tight in limits()) {
        for limits in [HeadLimits::default(), tight] {
            let shown = |end: Result<Option<Head>, Fault>| end.map(|h| h.map(|h| facts(&Request::new(&h, &input))));
            let whole = shown(request_in_parts(&input, &limits, std::iter::once(input.len())));
            prop_assert_eq!(&whole, &shown(request_in_parts(&input, &limits, 0..=input.len())));
            prop_assert_eq!(&whole, &shown(request_in_parts(&input, &limits, ends(input.len(), &cuts))));
        }
    }

    #[test]
    fn what_leaves_for_an_upstream_is_a_strict_request_of_the_same_meaning(input in hostile(HEADS)) {
        let Ok(Some(head)) = request_in_parts(&input, &HeadLimits::default(), std::iter::once(input.len())) else {
            return Ok(());
        };
        let request = Request::new(&head, &input);
        let written = forward(&request);
        let limits = HeadLimits { underscore: Underscore::Reject, ..HeadLimits::default() };
        let again = request_in_parts(&written, &limits, std::iter::once(written.len()));
        let again = again.map_err(|fault| TestCaseError::fail(format!("{fault:?}: {}", written.escape_ascii())))?;
        let again = again.expect("a whole head was written");
        let reread = Request::new(&again, &written);
        prop_assert_eq!(again.len(), written.len());
        prop_assert_eq!((reread.method(), reread.query(), again.body()), (request.method(), request.query(), head.body()));
        prop_assert_eq!(reread.path_raw(), request.path_raw());
        prop_assert_eq!(reread.host(), "origin");
    }

    #[test]
    fn chunked_bodies_end_alike_however_split(input in hostile(CHUNKS), cuts in vec(any::<Index>(), 0..8)) {
        let whole = chunks::decode(&input, std::iter::once(input.len()));
        prop_assert_eq!(&whole, &chunks::decode(&input, 0..=input.len()));
        prop_assert_eq!(&whole, &chunks::decode(&input, ends(input.len(), &cuts)));
    }

    #[test]
    fn chunks_are_read_back_as_written(parts in vec(vec(any::<u8>(), 1..300), 0..8), rest in vec(any::<u8>(), 0..9), cuts in vec(any::<Index>(), 0..8)) {
        let mut written = Vec::new();
        for part in &parts {
            write_chunk_start(&mut written, part.len() as u64);
            written.extend_from_slice(part);
            write_chunk_end(&mut written);
        }
        write_last_chunk(&mut written, [(&b"x-t"[..], &b"v"[..])]);
        let end = written.len();
        written.extend_from_slice(&rest);
        let decoded = chunks::decode(&written, ends(written.len(), &cuts));
        prop_assert_eq!(decoded, Ok((parts.concat(), Some(end), "x-t=v;".to_string())));
    }

    #[test]
    fn response_heads_end_alike_however_split(input in hostile(RESPONSES), cuts in vec(any::<Index>(), 0..8)) {
        let shown = |end: Result<Option<ResponseHead>, Fault>| end.map(|h| h.map(|h| responses::facts(&h, &input)));
        let whole = responses::in_parts(&input, std::iter::once(input.len()));
        if let Ok(Some(head)) = &whole {
            let response = Response::new(head, &input);
            let _ = (response.keep_alive_timeout(), response.accepts_websocket(b"x"));
        }
        let whole = shown(whole);
        prop_assert_eq!(&whole, &shown(responses::in_parts(&input, 0..=input.len())));
        prop_assert_eq!(&whole, &shown(responses::in_parts(&input, ends(input.len(), &cuts))));
    }

    #[test]
    fn what_leaves_for_a_client_is_a_strict_response_of_the_same_meaning(input in hostile(RESPONSES)) {
        let Ok(Some(head)) = responses::in_parts(&input, std::iter::once(input.len())) else { return Ok(()) };
        let out = ResponseOut {
            status: head.status(),
            upstream: Some(Response::new(&head, &input)),
            body: client_body(head.body(Method::Get), Version::Http11),
            stated_length: None,
            version: Version::Http11,
            connection: Connection::KeepAlive,
            date: b"now",
            request_id: (b"X-Request-Id", b"id"),
            edits: &Edits::new(),
        };
        let mut written = Vec::new();
        write_response_head(&mut written, &out);
        let again = responses::in_parts(&written, std::iter::once(written.len()));
        let again = again.map_err(|fault| TestCaseError::fail(format!("{fault:?}: {}", written.escape_ascii())))?;
        let again = again.expect("a whole head was written");
        prop_assert_eq!((again.len(), again.status()), (written.len(), head.status()));
        prop_assert_eq!(again.body(Method::Get), out.body);
    }

    #[test]
    fn path_readings_are_safe_and_stable(raw in hostile(PATHS), merge in any::<bool>()) {
        let Ok(paths) = read_path(&raw, merge) else { return Ok(()) };
        let dotted = |path: &[u8]| path.split(|b| matches!(b, b'/' | b'\\')).any(|s| s == b"." || s == b"..");
        prop_assert!(!dotted(&paths.path) && !dotted(&paths.route_path) && !dotted(&paths.spelled));
        prop_assert!(paths.path.starts_with(b"/") && !paths.path.iter().any(u8::is_ascii_control));
        prop_assert!(paths.spelled.iter().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(b)));
        prop_assert!(!merge || !paths.path.windows(2).any(|pair| pair == b"//"));
        // The origin, reading what is spelled for it, sees what policies and routes saw.
        let again = read_path(&paths.spelled, merge).expect("stays acceptable");
        prop_assert_eq!((&again.path, &again.route_path), (&paths.path, &paths.route_path));
        if !paths.encoded_separator {
            let mut spelled = Vec::new();
            encode_path(&paths.route_path, false, &mut spelled);
            let encoded = read_path(&spelled, merge).expect("stays acceptable");
            prop_assert_eq!(&encoded.path, &paths.path);
        }
    }

    #[test]
    fn hosts_are_normalised_once_and_for_all(host in "[a-zA-Z0-9.:_\\[\\]-]{0,20}") {
        let (mut once, mut twice) = (String::new(), String::new());
        if normalise_host(host.as_bytes(), &mut once).is_ok() {
            prop_assert_eq!(normalise_host(once.as_bytes(), &mut twice), Ok(None));
            prop_assert_eq!(once, twice);
        }
    }
}
