//! RFC 9113 4, 5.5 and the frames of section 6 that carry messages: DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE,
//! CONTINUATION.

use weir_tests::h2::frame::head;
use weir_tests::h2::{Frame, Peer, code, flag, get, hpack, kind, post, setting};

use super::stand::{CLOSED, FRAME_SIZE, PROTOCOL, Stand};

fn block() -> Vec<u8> {
    hpack::block(&get("/"))
}

/// How large a frame may be that weir reads.
fn frame_size_max(peer: &Peer) -> usize {
    peer.setting(setting::MAX_FRAME_SIZE).unwrap_or(16_384) as usize
}

#[test]
fn section_4_1_what_is_unknown_is_ignored() {
    let stand = Stand::new();
    stand.allowed("a type", |peer| peer.send(Frame::new(0x16, 0, 0, [0; 8])));
    stand.allowed("a type on a stream", |peer| peer.send(Frame::new(0xff, 0xff, 77, [])));
    stand.allowed("flags of PING", |peer| peer.send(Frame::new(kind::PING, 0xfe, 0, [0; 8])));
    stand.allowed("flags of HEADERS", |peer| {
        let stream = peer.next_stream();
        peer.send(Frame::headers(stream, block(), true).with(0x82));
        assert_eq!(peer.response(stream).status(), 200);
    });
    stand.allowed("the reserved bit", |peer| peer.send(Frame::new(kind::PING, 0, 1 << 31, [0; 8])));
    stand.allowed("a setting", |peer| peer.send(Frame::settings(&[(0xabcd, 7), (0x10, 0), (0, u32::MAX)])));
}

#[test]
fn section_4_2_frames_may_be_as_large_as_weir_allows() {
    let stand = Stand::new();
    stand.allowed("the largest DATA", |peer| {
        let stream = peer.open(&post("/"), false);
        let body = vec![b'x'; frame_size_max(peer)];
        peer.send(Frame::data(stream, &body, true));
        assert_eq!(peer.response(stream).body.len(), body.len());
    });
    stand.allowed("the largest HEADERS, padded", |peer| {
        let stream = peer.next_stream();
        let long = hpack::literal("x-long", vec![b'v'; frame_size_max(peer) - block().len() - 16 - 101]);
        let block = [block(), long].concat();
        peer.send(Frame::headers(stream, block, true).padded(100, &[0; 100]));
        assert_eq!(peer.response(stream).status(), 200);
    });
}

#[test]
fn section_4_2_larger_frames_end_the_connection_before_they_are_whole() {
    let stand = Stand::new();
    for (name, kind, stream) in [
        ("DATA", kind::DATA, 1),
        ("HEADERS", kind::HEADERS, 1),
        ("SETTINGS", kind::SETTINGS, 0),
        ("an unknown type", 0xbb, 0),
    ] {
        stand.connection_error(name, FRAME_SIZE, |peer| {
            if kind == kind::DATA {
                peer.open(&post("/"), false);
            }
            // The head alone: nobody waits for what it announces.
            peer.write(head(frame_size_max(peer) + 1, kind, 0, stream));
        });
        stand.connection_error(name, FRAME_SIZE, |peer| peer.write(head((1 << 24) - 1, kind, 0, stream)));
    }
}

#[test]
fn section_5_5_no_frame_stands_within_a_header_block() {
    let stand = Stand::new();
    for within in [
        Frame::new(0xff, 0, 0, []),
        Frame::ping([0; 8]),
        Frame::settings(&[]),
        Frame::data(1, b"x", false),
        Frame::window_update(0, 1),
        Frame::priority(1, false, 0, 1),
        Frame::priority(3, false, 0, 1),
        Frame::reset(1, code::CANCEL),
        Frame::headers(1, [], true),
        Frame::headers(3, block(), true),
        Frame::continuation(3, [], true),
        Frame::goaway(0, code::NO_ERROR),
    ] {
        stand.connection_error(&format!("{within:?}"), PROTOCOL, |peer| {
            peer.send(Frame::headers(1, block(), true).without(flag::END_HEADERS));
            peer.send(within);
        });
    }
    assert!(stand.origin.requests().iter().all(|request| request.target == "/other"));
}

#[test]
fn section_6_1_data() {
    let stand = Stand::new();
    stand.connection_error("DATA on stream 0", PROTOCOL, |peer| peer.send(Frame::data(0, b"x", false)));
    for (what, padding, content) in [("padding of all of it", 5, &b"1234"[..]), ("more padding than frame", 200, b"1")]
    {
        stand.connection_error(what, PROTOCOL, |peer| {
            let stream = peer.open(&post("/"), false);
            peer.send(Frame::data(stream, content, true).padded(padding, &[]));
        });
    }
    stand.connection_error("padded without a length", FRAME_SIZE, |peer| {
        let stream = peer.open(&post("/"), false);
        peer.send(Frame::data(stream, [], true).with(flag::PADDED));
    });
    stand.allowed("padded DATA", |peer| {
        let stream = peer.open(&post("/"), false);
        peer.send(Frame::data(stream, b"abc", false).padded(255, &[0; 255]));
        peer.send(Frame::data(stream, [], false).padded(3, &[0; 3]));
        peer.send(Frame::data(stream, b"def", true).padded(0, &[]));
        assert_eq!(peer.response(stream).text(), "abcdef");
    });
}

#[test]
fn section_6_2_headers() {
    let stand = Stand::new();
    stand.connection_error("HEADERS on stream 0", PROTOCOL, |peer| peer.send(Frame::headers(0, block(), true)));
    stand.connection_error("more padding than frame", PROTOCOL, |peer| {
        let length = block().len() as u8;
        peer.send(Frame::headers(1, block(), true).padded(length + 1, &[]));
    });
    stand.connection_error("priority that is cut", FRAME_SIZE, |peer| {
        peer.send(Frame::headers(1, [0; 4], true).with(flag::PRIORITY));
    });
    stand.allowed("padding and priority", |peer| {
        let stream = peer.next_stream();
        peer.send(Frame::headers(stream, block(), true).prioritised(true, 0, 255).padded(10, &[0; 10]));
        assert_eq!(peer.response(stream).status(), 200);
    });
}

#[test]
fn section_6_3_priority() {
    let stand = Stand::new();
    stand.connection_error("PRIORITY on stream 0", PROTOCOL, |peer| peer.send(Frame::priority(0, false, 1, 1)));
    for length in [0, 4, 6] {
        stand.either_error(&format!("PRIORITY of {length} octets"), FRAME_SIZE, |peer| {
            let stream = stand.held(peer);
            peer.send(Frame::new(kind::PRIORITY, 0, stream, vec![0; length]));
            stream
        });
    }
    stand.allowed("PRIORITY of streams in any state", |peer| {
        peer.send(Frame::priority(1001, true, 5, 255));
        peer.send(Frame::priority(2, false, 0, 0));
        let stream = stand.held(peer);
        peer.send(Frame::priority(stream, false, 3, 7));
        let ended = peer.open(&get("/"), true);
        peer.response(ended);
        peer.send(Frame::priority(ended, false, stream, 7));
    });
    // RFC 7540 5.3.1 made it an error of the stream; RFC 9113 5.3.2 has withdrawn the whole scheme. Neither hangs.
    let mut peer = stand.weir.h2();
    let stream = peer.next_stream();
    peer.send(Frame::headers(stream, block(), true).prioritised(false, stream, 1));
    let response = peer.response(stream);
    assert!(response.status() == 200 || response.reset == Some(code::PROTOCOL_ERROR), "{response:?}");
    assert_eq!(peer.get("/").status(), 200);
}

#[test]
fn section_6_4_rst_stream() {
    let stand = Stand::new();
    stand.connection_error("RST_STREAM on stream 0", PROTOCOL, |peer| peer.send(Frame::reset(0, code::CANCEL)));
    stand.connection_error("RST_STREAM of an idle stream", PROTOCOL, |peer| peer.send(Frame::reset(1, code::CANCEL)));
    for length in [0, 3, 5] {
        stand.connection_error(&format!("RST_STREAM of {length} octets"), FRAME_SIZE, |peer| {
            let stream = stand.held(peer);
            peer.send(Frame::new(kind::RST_STREAM, 0, stream, vec![0; length]));
        });
    }
    stand.allowed("RST_STREAM of a stream that has ended, with any code", |peer| {
        let stream = peer.open(&get("/"), true);
        peer.response(stream);
        peer.send(Frame::reset(stream, 0xdead_beef));
        peer.send(Frame::reset(stream, code::CANCEL));
    });
}

#[test]
fn section_6_4_a_reset_request_is_cancelled_upstream() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let stream = stand.held(&mut peer);
    peer.send(Frame::reset(stream, code::CANCEL));
    weir_tests::wait::until("the cancelled request is booked", || stand.weir.reason("client_cancelled") == 1);
    peer.ping();
    assert!(!peer.message(stream).has_head() && peer.message(stream).reset.is_none());
}

#[test]
fn section_6_6_clients_do_not_push() {
    let stand = Stand::new();
    stand.connection_error("PUSH_PROMISE", PROTOCOL, |peer| {
        let stream = stand.held(peer);
        let promise = [&2u32.to_be_bytes()[..], &block()].concat();
        peer.send(Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, promise));
    });
}

#[test]
fn section_6_10_continuation() {
    let stand = Stand::new();
    stand.allowed("a block in seven frames", |peer| {
        let (stream, block) = (peer.next_stream(), block());
        peer.send(Frame::headers(stream, [], true).without(flag::END_HEADERS));
        // Five that do not end it are the most that is borne.
        for at in 0..5 {
            peer.send(Frame::continuation(stream, &block[at..=at], false));
        }
        peer.send(Frame::continuation(stream, &block[5..], true));
        assert_eq!(peer.response(stream).status(), 200);
    });
    stand.connection_error("CONTINUATION on stream 0", PROTOCOL, |peer| {
        peer.send(Frame::headers(1, block(), true).without(flag::END_HEADERS));
        peer.send(Frame::continuation(0, block(), true));
    });
    stand.connection_error("CONTINUATION before HEADERS", PROTOCOL, |peer| {
        peer.send(Frame::continuation(1, block(), true));
    });
    stand.either_error("CONTINUATION after the end of the block", PROTOCOL, |peer| {
        let stream = stand.held(peer);
        peer.send(Frame::continuation(stream, block(), true));
        stream
    });
    stand.either_error("CONTINUATION after DATA", PROTOCOL, |peer| {
        let stream = peer.open(&post("/"), false);
        peer.send(Frame::data(stream, b"x", false));
        peer.send(Frame::continuation(stream, block(), true));
        stream
    });
    stand.either_error("CONTINUATION on a stream that has ended", CLOSED, |peer| {
        let stream = peer.open(&get("/"), true);
        peer.response(stream);
        peer.send(Frame::continuation(stream, block(), true));
        stream
    });
}
