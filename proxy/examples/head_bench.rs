//! Nanoseconds per head: parsing a request, reading its path, writing it for an upstream; parsing a response, writing it
//! for a client. Run it in release mode.

use std::hint::black_box;
use std::time::Instant;

use weir::http::{
    BodyLength, Connection, Edits, Forwarded, Forwarding, Head, HeadLimits, Method, Request, RequestOut, Response,
    ResponseHead, ResponseOut, Version, client_body, parse_request, parse_response, write_request_head,
    write_response_head,
};

const WRK: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const CURL: &[u8] =
    b"GET /api/v1/items?id=7 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: curl/8.9.1\r\nAccept: */*\r\n\r\n";
const BROWSER: &[u8] = b"GET /shop/products/12345?ref=home&sort=price HTTP/1.1\r\nHost: www.example.com\r\n\
    Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,\
    application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n\
    Referer: https://www.example.com/shop\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\n\r\n";
const NGINX: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Type: \
    text/html\r\nContent-Length: 1024\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nConnection: keep-alive\r\n\
    ETag: \"386d4380-400\"\r\nAccept-Ranges: bytes\r\n\r\n";

/// The best of several rounds: what else the machine does only adds to the others.
fn measure(what: &str, octets: usize, mut work: impl FnMut()) {
    const TURNS: u32 = 50_000;
    let best = (0..30)
        .map(|_| {
            let start = Instant::now();
            (0..TURNS).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(TURNS)
        })
        .fold(f64::MAX, f64::min);
    println!("{what:<24} {octets:>5} octets {:>8.1} ns", best);
}

fn measure_request(name: &str, input: &[u8]) {
    let limits = HeadLimits::default();
    let mut head = Head::new();
    measure(&format!("{name}: parse"), input.len(), || {
        assert!(matches!(parse_request(black_box(input), &limits, &mut head), Ok(Some(_))));
    });
    let request = Request::new(&head, input);
    measure(&format!("{name}: paths"), request.path_raw().len(), || {
        assert!(black_box(black_box(&request).paths(true)).is_ok());
    });
    let mut out = Vec::with_capacity(4096);
    let edits = Edits::new();
    measure(&format!("{name}: write"), input.len(), || {
        out.clear();
        let written = RequestOut {
            request,
            path: request.path_raw(),
            query: request.query(),
            host: b"origin:8081",
            body: request.head.body(),
            expect_continue: false,
            connection: Connection::KeepAlive,
            forwarding: Forwarding { mode: Forwarded::X, peer: "192.0.2.1", before: None, proto: "http", port: 8080 },
            client_cert: weir::http::ClientCert::Untold,
            request_id: (b"X-Request-Id", b"01234567-89ab-7fff-bfff-ffffffffffff"),
            edits: &edits,
        };
        write_request_head(&mut out, black_box(&written));
        black_box(&out);
    });
}

fn measure_response(name: &str, input: &[u8]) {
    let mut head = ResponseHead::new();
    measure(&format!("{name}: parse"), input.len(), || {
        assert!(matches!(parse_response(black_box(input), &mut head), Ok(Some(_))));
    });
    let mut out = Vec::with_capacity(4096);
    let edits = Edits::new();
    measure(&format!("{name}: write"), input.len(), || {
        out.clear();
        let written = ResponseOut {
            status: head.status(),
            upstream: Some(Response::new(&head, input)),
            body: client_body(head.body(Method::Get), Version::Http11),
            stated_length: None,
            version: Version::Http11,
            connection: Connection::KeepAlive,
            date: b"Sat, 01 Jan 2000 00:00:00 GMT",
            request_id: (b"X-Request-Id", b"01234567-89ab-7fff-bfff-ffffffffffff"),
            edits: &edits,
        };
        write_response_head(&mut out, black_box(&written));
        black_box(&out);
    });
    assert_ne!(head.body(Method::Get), BodyLength::UntilClose);
}

fn main() {
    measure_request("wrk", WRK);
    measure_request("curl", CURL);
    measure_request("browser", BROWSER);
    measure_response("nginx", NGINX);
}
