//! What the cases of all sections stand on: weir before an origin, a greeted connection for each case, and the two
//! kinds of errors.

use weir_tests::h2::{Peer, code, get, hpack};
use weir_tests::{Config, Gate, Origin, Weir};

/// Codes for frames of the wrong length. The codec reports what it cannot load as PROTOCOL_ERROR (RFC 9113 4.2 asks for
/// FRAME_SIZE_ERROR); that the connection ends is what protects.
pub(crate) const FRAME_SIZE: &[u32] = &[code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR];
/// Codes for blocks that do not decompress, with the same caveat (RFC 9113 4.3 asks for COMPRESSION_ERROR).
pub(crate) const COMPRESSION: &[u32] = &[code::COMPRESSION_ERROR, code::PROTOCOL_ERROR];
/// Codes for frames on a stream that has ended: what the RFC asks for depends on who still remembers the stream.
pub(crate) const CLOSED: &[u32] = &[code::STREAM_CLOSED, code::PROTOCOL_ERROR];
/// The one code for most breaks.
pub(crate) const PROTOCOL: &[u32] = &[code::PROTOCOL_ERROR];

/// How large `/large` is: more than the windows a client starts with.
pub(crate) const LARGE: usize = 200_000;

/// weir with h2c before an origin: `/held` is answered when the gate opens, `/large` with [`LARGE`] octets, everything
/// else with the request's own body.
pub(crate) struct Stand {
    pub(crate) weir: Weir,
    pub(crate) origin: Origin,
    pub(crate) gate: Gate,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(|config| config)
    }

    /// The same with a config of its own.
    pub(crate) fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            while let Some(request) = conn.request() {
                if request.target == "/held" {
                    held.pass();
                }
                let body = if request.target == "/large" { vec![b'l'; LARGE] } else { request.body };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                if !conn.send([head.as_bytes(), &body].concat()) {
                    return;
                }
            }
        });
        let weir = change(Config::forwarding(origin.url()).h2c().without_kernel()).start();
        Self { weir, origin, gate }
    }

    /// What `act` does must end the connection with GOAWAY and one of these codes.
    #[track_caller]
    pub(crate) fn connection_error(&self, what: &str, codes: &[u32], act: impl FnOnce(&mut Peer)) {
        eprintln!("case: {what}");
        let mut peer = self.weir.h2();
        act(&mut peer);
        peer.expect_goaway(codes);
        self.serves(what);
    }

    /// What `act` does must end the stream that it names with RST_STREAM and one of these codes, and nothing else.
    #[track_caller]
    pub(crate) fn stream_error(&self, what: &str, codes: &[u32], act: impl FnOnce(&mut Peer) -> u32) {
        eprintln!("case: {what}");
        let mut peer = self.weir.h2();
        let stream = act(&mut peer);
        peer.expect_reset(stream, codes);
        assert_eq!(peer.get("/after").status(), 200, "after {what}");
        self.serves(what);
    }

    /// What `act` does must end the stream or, as RFC 9113 5.4.1 allows for every stream error, the connection.
    #[track_caller]
    pub(crate) fn either_error(&self, what: &str, codes: &[u32], act: impl FnOnce(&mut Peer) -> u32) {
        eprintln!("case: {what}");
        let mut peer = self.weir.h2();
        let stream = act(&mut peer);
        peer.until(&format!("an error of {what}"), |peer, _| {
            peer.message(stream).reset.is_some() || peer.went_away().is_some()
        });
        match peer.went_away() {
            Some(_) => drop(peer.expect_goaway(codes)),
            None => peer.expect_reset(stream, codes),
        }
        self.serves(what);
    }

    /// What `act` does is allowed: the connection lives on and serves.
    #[track_caller]
    pub(crate) fn allowed(&self, what: &str, act: impl FnOnce(&mut Peer)) {
        eprintln!("case: {what}");
        let mut peer = self.weir.h2();
        act(&mut peer);
        peer.ping();
        assert_eq!(peer.get("/after").status(), 200, "after {what}");
        assert_eq!(peer.went_away(), None, "{what}");
    }

    /// A request is malformed (RFC 9113 8.1.1): its stream is reset, it is booked, and nothing of it goes upstream. The
    /// codec ends the connection where a name or a value cannot be one at all, which 5.4.1 allows.
    #[track_caller]
    pub(crate) fn malformed(&self, what: &str, fields: &[(&str, &str)]) {
        self.malformed_block(what, hpack::block(fields));
    }

    /// The same of octets that no list of fields yields.
    #[track_caller]
    pub(crate) fn malformed_block(&self, what: &str, block: Vec<u8>) {
        let (booked, seen) = (self.weir.reason("h2_malformed"), self.origin.requests().len());
        self.either_error(what, PROTOCOL, |peer| {
            let stream = peer.next_stream();
            peer.send(weir_tests::h2::Frame::headers(stream, block, true));
            stream
        });
        self.weir.wait_reason("h2_malformed", booked + 1);
        let targets: Vec<_> = self.origin.requests().split_off(seen).into_iter().map(|seen| seen.target).collect();
        assert!(targets.iter().all(|target| target == "/after" || target == "/other"), "{what}: {targets:?}");
    }

    /// Another connection is served.
    #[track_caller]
    pub(crate) fn serves(&self, what: &str) {
        assert_eq!(self.weir.h2().get("/other").status(), 200, "another connection after {what}");
    }

    /// A stream whose request is whole and whose response is held.
    #[track_caller]
    pub(crate) fn held(&self, peer: &mut Peer) -> u32 {
        let before = self.origin.requests().len();
        let stream = peer.open(&get("/held"), true);
        self.origin.wait_requests(before + 1);
        stream
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.gate.open();
    }
}
