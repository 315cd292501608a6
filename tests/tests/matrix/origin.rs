//! An origin of either protocol that answers the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_tests::h2::{self, setting};
use weir_tests::message::Request;
use weir_tests::script::Conn;
use weir_tests::{Gate, websocket};

use crate::cell::Told;

/// What is answered to a request.
struct Reply {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    trailers: Vec<(&'static str, &'static str)>,
    early: bool,
    cut: bool,
}

impl Reply {
    fn to(request: &Request) -> Self {
        let mut reply =
            Self { status: 200, fields: Vec::new(), body: Vec::new(), trailers: Vec::new(), early: false, cut: false };
        let path = request.target.split('?').next().unwrap_or_default();
        match path {
            "/echo" => reply.body.clone_from(&request.body),
            "/large" => reply.body = vec![b'l'; 300_000],
            "/trailers" => {
                reply.body.clone_from(&request.body);
                reply.trailers.push(("x-down", "2"));
            }
            "/early" => reply.early = true,
            "/cut" => {
                reply.body = vec![b'c'; 1000];
                reply.cut = true;
            }
            _ => {
                let status = path.strip_prefix("/status/").and_then(|status| status.parse().ok());
                reply.status = status.unwrap_or(200);
            }
        }
        if reply.trailers.is_empty() && !matches!(reply.status, 204 | 304) {
            reply.fields.push(("content-length", reply.body.len().to_string()));
        }
        if request.method == "HEAD" {
            reply.body.clear();
        }
        reply
    }
}

const EARLY: (&str, &str) = ("link", "</style.css>; rel=preload");

/// What an origin does on each connection.
pub(crate) fn script(is_h2: bool, gate: Gate, told: Arc<Told>) -> impl Fn(Conn, usize) + Send + Sync + 'static {
    move |conn, _| if is_h2 { over_http_2(conn, &gate, &told) } else { over_http_1(conn, &gate, &told) }
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn over_http_1(mut conn: Conn, gate: &Gate, told: &Told) {
    while let Some(request) = conn.request() {
        if let Some(key) = request.fields.first("sec-websocket-key") {
            let accept = websocket::accept(key);
            conn.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            ));
            let _talking = Counted::new(&told.talking);
            while let Some(octet) = conn.take(1) {
                if !conn.send(octet.to_ascii_uppercase()) {
                    return;
                }
            }
            return;
        }
        if request.target == "/held" && !gate.pass_unless(|window| !conn.silent_for(window)) {
            told.cancelled.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if !answer_http_1(&mut conn, &Reply::to(&request)) {
            return;
        }
    }
}

fn answer_http_1(conn: &mut Conn, reply: &Reply) -> bool {
    let mut octets = Vec::new();
    if reply.early {
        octets.extend(format!("HTTP/1.1 103 Early Hints\r\n{}: {}\r\n\r\n", EARLY.0, EARLY.1).into_bytes());
    }
    let fields: String = reply.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let chunked = if reply.trailers.is_empty() { "" } else { "transfer-encoding: chunked\r\n" };
    octets.extend(format!("HTTP/1.1 {} Text\r\n{fields}{chunked}\r\n", reply.status).into_bytes());
    if reply.cut {
        octets.extend(&reply.body[..10]);
        conn.send(octets);
        return false;
    }
    if reply.trailers.is_empty() {
        octets.extend(&reply.body);
        return conn.send(octets);
    }
    let trailers: String = reply.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    octets.extend(format!("{:x}\r\n", reply.body.len()).into_bytes());
    octets.extend([&reply.body, &b"\r\n0\r\n"[..], trailers.as_bytes(), b"\r\n"].concat());
    conn.send(octets)
}

fn over_http_2(conn: Conn, gate: &Gate, told: &Told) {
    let Some(mut conn) = h2::Conn::greet(conn, &[(setting::ENABLE_CONNECT_PROTOCOL, 1)]) else { return };
    while let Some((stream, request)) = conn.request_head() {
        if request.fields.first(":protocol") == Some("websocket") {
            let _talking = Counted::new(&told.talking);
            chat(&mut conn, stream);
            continue;
        }
        let Some(request) = conn.body(stream) else { continue };
        conn.note(request.clone());
        if request.target == "/held" && !gate.pass_unless(|window| conn.is_reset(stream, window)) {
            told.cancelled.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        answer_http_2(&mut conn, stream, &Reply::to(&request));
    }
}

fn answer_http_2(conn: &mut h2::Conn, stream: u32, reply: &Reply) {
    if reply.early {
        conn.head(stream, 103, &[EARLY], false);
    }
    let fields: Vec<(&str, &str)> = reply.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let whole = reply.body.is_empty() && reply.trailers.is_empty();
    conn.head(stream, reply.status, &fields, whole);
    if reply.cut {
        conn.send(stream, &reply.body[..10], false);
        let _ = conn.peer().try_send([h2::Frame::reset(stream, h2::code::INTERNAL_ERROR)]);
    } else if !whole {
        conn.send(stream, &reply.body, reply.trailers.is_empty());
        if !reply.trailers.is_empty() {
            conn.trailers(stream, &reply.trailers);
        }
    }
}

/// Says everything in capitals, until the other side ends.
fn chat(conn: &mut h2::Conn, stream: u32) {
    conn.head(stream, 200, &[], false);
    let mut said = 0;
    loop {
        let message = conn.peer().message(stream);
        if message.body.len() > said {
            conn.send(stream, message.body[said..].to_ascii_uppercase(), false);
            said = message.body.len();
        } else if message.is_over() {
            conn.send(stream, [], true);
            return;
        } else if conn.read().is_none() {
            return;
        }
    }
}
