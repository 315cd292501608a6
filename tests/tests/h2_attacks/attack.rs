//! The attacks themselves, as frames without an end.

use weir_tests::h2::{Frame, Peer, code, flag, get, hpack, kind, post, setting};
use weir_tests::{Config, Gate, Origin, Weir};

/// One attack: what is sent once, and what again and again.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) before: fn(&mut Peer),
    pub(crate) again: fn(&mut Peer) -> Vec<Frame>,
    /// Points that one round costs.
    pub(crate) points: u32,
}

fn nothing(_: &mut Peer) {}

/// Opens a stream whose body is on its way.
fn upload(peer: &mut Peer) {
    peer.open(&post("/held"), false);
}

pub(crate) const RAPID_RESET: Attack = Attack {
    name: "rapid reset",
    before: nothing,
    again: |peer| {
        let stream = peer.next_stream();
        vec![Frame::headers(stream, hpack::block(&get("/held")), true), Frame::reset(stream, code::CANCEL)]
    },
    points: 10,
};

pub(crate) const MADE_YOU_RESET: Attack = Attack {
    name: "made you reset",
    before: nothing,
    again: |peer| {
        let stream = peer.next_stream();
        let request = Frame::headers(stream, hpack::block(&get("/held")), true);
        // The window overflows: an error of the stream that weir must answer with a reset (RFC 9113 6.9.1).
        vec![request, Frame::window_update(stream, (1 << 31) - 1)]
    },
    points: 50,
};

pub(crate) const MALFORMED: Attack = Attack {
    name: "malformed requests",
    before: nothing,
    again: |peer| {
        let stream = peer.next_stream();
        vec![Frame::headers(stream, hpack::block(&[get("/"), vec![("connection", "close")]].concat()), true)]
    },
    points: 50,
};

pub(crate) const PING: Attack =
    Attack { name: "PING", before: nothing, again: |_| vec![Frame::ping([7; 8])], points: 10 };

pub(crate) const SETTINGS: Attack = Attack {
    name: "SETTINGS",
    before: nothing,
    again: |_| vec![Frame::settings(&[(setting::HEADER_TABLE_SIZE, 4096)])],
    points: 10,
};

pub(crate) const EMPTY_DATA: Attack =
    Attack { name: "empty DATA", before: upload, again: |_| vec![Frame::data(1, [], false)], points: 10 };

pub(crate) const PADDING: Attack = Attack {
    name: "DATA of padding alone",
    before: upload,
    again: |_| vec![Frame::data(1, [], false).padded(0, &[])],
    points: 10,
};

pub(crate) const PRIORITY: Attack =
    Attack { name: "PRIORITY", before: nothing, again: |_| vec![Frame::priority(1, false, 3, 7)], points: 1 };

pub(crate) const UNKNOWN: Attack =
    Attack { name: "unknown frames", before: nothing, again: |_| vec![Frame::new(0xf0, 0, 0, b"anything")], points: 1 };

pub(crate) const WINDOW_UPDATE: Attack =
    Attack { name: "WINDOW_UPDATE", before: nothing, again: |_| vec![Frame::window_update(0, 1)], points: 1 };

/// All that a budget of points stops.
pub(crate) const ALL: &[Attack] =
    &[RAPID_RESET, MADE_YOU_RESET, MALFORMED, PING, SETTINGS, EMPTY_DATA, PADDING, PRIORITY, UNKNOWN, WINDOW_UPDATE];

/// A header block that decompresses to a thousand times its size.
pub(crate) fn bomb(stream: u32) -> Frame {
    let large = hpack::kept("x-large", vec![b'v'; 4000]);
    let block = [hpack::block(&get("/bomb")), large, hpack::indexed(62).repeat(12_000)].concat();
    Frame::headers(stream, block, true)
}

/// A header block that never ends, in pieces of so many octets.
pub(crate) fn endless(peer: &mut Peer, piece: usize) -> impl Iterator<Item = Frame> + use<> {
    let stream = peer.next_stream();
    let first = Frame::headers(stream, hpack::block(&get("/endless")), true).without(flag::END_HEADERS);
    let more = Frame::new(kind::CONTINUATION, 0, stream, hpack::literal("x-more", vec![b'v'; piece]));
    std::iter::once(first).chain(std::iter::repeat(more))
}

/// weir before an origin that answers everything but `/held`, which waits for the gate and whose body nobody reads for
/// long.
pub(crate) struct Target {
    pub(crate) weir: Weir,
    pub(crate) origin: Origin,
    pub(crate) gate: Gate,
}

impl Target {
    pub(crate) fn new(keys: &str) -> Self {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            while let Some(mut request) = conn.request_head() {
                if request.target == "/held" && !held.pass_unless(|window| !conn.silent_for(window)) {
                    return;
                }
                if !conn.body(&mut request) {
                    return;
                }
                let body = if request.target == "/large" { vec![b'l'; 4 << 20] } else { b"x".to_vec() };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                if !conn.send([head.as_bytes(), &body].concat()) {
                    return;
                }
            }
        });
        let config = Config::forwarding(origin.url()).h2c().tables(keys).without_kernel().without_client_bounds();
        Self { weir: config.start(), origin, gate }
    }

    /// A greeted connection on which an attack is prepared.
    pub(crate) fn prepared(&self, attack: &Attack) -> Peer {
        let mut peer = self.weir.h2();
        (attack.before)(&mut peer);
        peer
    }

    /// Sees that others are served.
    #[track_caller]
    pub(crate) fn serves(&self) {
        assert_eq!(self.weir.h2().get("/").status(), 200);
        assert_eq!(self.weir.get("/").status, 200);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.gate.open();
    }
}
