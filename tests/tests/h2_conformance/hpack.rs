//! RFC 7541: header compression, where both sides must stay in step.

use weir_tests::h2::hpack::{self, huffman};
use weir_tests::h2::{Frame, Peer, code, flag, get};

use super::stand::{COMPRESSION, Stand};

/// A GET's block with octets before and behind it.
fn around(before: &[u8], after: &[u8]) -> Vec<u8> {
    [before, &hpack::block(&get("/x")), after].concat()
}

/// Sends a block on a new stream, and says which status it is answered with.
#[track_caller]
fn status(peer: &mut Peer, block: Vec<u8>) -> u16 {
    let stream = peer.next_stream();
    peer.send(Frame::headers(stream, block, true));
    peer.response(stream).status()
}

/// Each block ends the connection.
fn broken(cases: &[(&str, Vec<u8>)]) {
    let stand = Stand::new();
    for (what, block) in cases {
        stand.connection_error(what, COMPRESSION, |peer| peer.send(Frame::headers(1, block, true)));
    }
    assert!(stand.origin.requests().iter().all(|request| request.target == "/other"));
}

#[test]
fn section_2_3_3_indexes_beyond_the_tables() {
    broken(&[
        ("an indexed field", around(&[], &hpack::indexed(70))),
        ("the first beyond the static table", around(&[], &hpack::indexed(62))),
        ("a name", around(&[], &hpack::kept_by_index(70, "v"))),
        ("a name that is not kept", around(&[], &[hpack::integer(0x00, 4, 70), hpack::text("v")].concat())),
        ("a name that is never kept", around(&[], &[hpack::integer(0x10, 4, 70), hpack::text("v")].concat())),
        ("the largest index of all", around(&[], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x07])),
    ]);
}

#[test]
fn section_6_1_index_0() {
    broken(&[("index 0", around(&[], &hpack::indexed(0))), ("index 0 first", around(&hpack::indexed(0), &[]))]);
}

#[test]
fn section_4_2_updates_stand_at_the_beginning_alone() {
    broken(&[
        ("at the end", around(&[], &hpack::size_update(0))),
        ("in the middle", [hpack::indexed(2), hpack::size_update(100), around(&[], &[])].concat()),
    ]);
}

#[test]
fn section_6_3_updates_beyond_the_limit() {
    broken(&[
        ("one more than the setting", around(&hpack::size_update(4097), &[])),
        ("far more", around(&hpack::size_update(1 << 30), &[])),
        ("down and too far up", around(&[hpack::size_update(0), hpack::size_update(4097)].concat(), &[])),
    ]);
}

#[test]
fn section_5_1_integers_that_overflow_or_break_off() {
    broken(&[
        ("an index of 2^63", around(&[], &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])),
        ("an index without an end", around(&[], &[0xff; 40])),
        ("a length of 2^35", around(&[], &[0x00, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x7f])),
        ("an index that breaks off", around(&[], &[0xff])),
        ("an index that breaks off later", around(&[], &[0xff, 0x80])),
        ("an update that breaks off", around(&[0x3f], &[])[..1].to_vec()),
    ]);
}

#[test]
fn section_5_2_strings_that_break_off() {
    broken(&[
        ("a name", around(&[], &[0x00, 0x05, b'a'])),
        ("a value", around(&[], &[&[0x00][..], &hpack::text("x-a"), &[0x05, b'v']].concat())),
        ("a name without a value", around(&[], &[&[0x00][..], &hpack::text("x-a")].concat())),
        ("a representation alone", around(&[], &[0x00])),
    ]);
}

#[test]
fn section_5_2_huffman_code_that_is_wrong() {
    let value = |code: Vec<u8>| around(&[], &[vec![0x00], hpack::text("x-a"), hpack::coded(code)].concat());
    let name = |code: Vec<u8>| around(&[], &[vec![0x00], hpack::coded(code), hpack::text("v")].concat());
    let a = usize::from(b'a');
    broken(&[
        ("padding of more than 7 bits", value([huffman::encode("aaaaaaaa"), vec![0xff]].concat())),
        ("padding of zeros", value(huffman::symbols([a], false))),
        ("EOS", value(huffman::symbols([a, huffman::EOS], true))),
        ("EOS first", value(huffman::symbols([huffman::EOS, a], true))),
        ("nothing but padding", value(vec![0xff, 0xff])),
        ("a name's padding", name(huffman::symbols([a], false))),
        ("EOS in a name", name(huffman::symbols([a, huffman::EOS], true))),
    ]);
}

#[test]
fn what_rfc_7541_allows_is_read() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let coded = |text: &str| hpack::coded(huffman::encode(text));
    let seen = |name: &str| stand.origin.last().fields.first(name).map(str::to_owned);
    for (what, after) in [
        ("Huffman code", [vec![0x00], coded("x-a"), coded("value")].concat()),
        ("Huffman code and text", [vec![0x00], coded("x-a"), hpack::text("value")].concat()),
        ("never kept", hpack::never("x-a", "value")),
        ("kept", hpack::kept("x-a", "value")),
        // It is the newest entry of the dynamic table.
        ("from the table", hpack::indexed(62)),
        ("its name from the table", hpack::kept_by_index(62, "value")),
        ("integers with octets to spare", [&[0x00][..], &[3], b"x-a", &[5], b"value"].concat()),
    ] {
        assert_eq!(status(&mut peer, around(&[], &after)), 200, "{what}");
        assert_eq!(seen("x-a").as_deref(), Some("value"), "{what}");
    }
    for (what, before) in [
        ("an update", hpack::size_update(100)),
        ("two updates", [hpack::size_update(0), hpack::size_update(4096)].concat()),
        ("an update to the limit", hpack::size_update(4096)),
    ] {
        assert_eq!(status(&mut peer, around(&before, &[])), 200, "{what}");
    }
    let all: String = (0x21..0x7f).map(char::from).chain("\u{e4}\u{20ac}\u{1f980}".chars()).collect();
    assert_eq!(status(&mut peer, around(&[], &[vec![0x00], hpack::text("x-all"), coded(&all)].concat())), 200);
    assert_eq!(seen("x-all").as_deref(), Some(all.as_str()));
}

#[test]
fn section_4_4_entries_that_are_evicted_are_gone() {
    let stand = Stand::new();
    stand.connection_error("an entry that an update evicted", COMPRESSION, |peer| {
        assert_eq!(status(peer, around(&[], &hpack::kept("x-a", "1"))), 200);
        assert_eq!(status(peer, around(&[], &hpack::indexed(62))), 200);
        peer.send(Frame::headers(99, around(&hpack::size_update(0), &hpack::indexed(62)), true));
    });
    stand.connection_error("an entry that a larger one evicted", COMPRESSION, |peer| {
        assert_eq!(status(peer, around(&[], &hpack::kept("x-a", "1"))), 200);
        // Larger than the whole table: it empties it, and is not kept itself (RFC 7541 4.4).
        assert_eq!(status(peer, around(&[], &hpack::kept("x-b", "v".repeat(4096)))), 200);
        peer.send(Frame::headers(99, around(&[], &hpack::indexed(62)), true));
    });
}

#[test]
fn section_4_4_a_name_may_refer_to_the_entry_that_it_evicts() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let table = hpack::size_update(100);
    assert_eq!(status(&mut peer, around(&table, &hpack::kept("x-name", "v".repeat(50)))), 200);
    // 32 + 6 + 55: no room for both.
    assert_eq!(status(&mut peer, around(&[], &hpack::kept_by_index(62, "w".repeat(55)))), 200);
    assert_eq!(stand.origin.last().fields.first("x-name"), Some("w".repeat(55).as_str()));
    assert_eq!(status(&mut peer, around(&[], &hpack::indexed(62))), 200);
}

/// Tables change with every block, whatever becomes of its request.
#[test]
fn section_4_3_tables_stay_in_step_over_requests_that_are_refused() {
    let stand = Stand::with(|config| config.tables("[http2]\nstreams_max = 1"));
    let mut peer = stand.weir.h2();
    let kept = |name: &str| around(&[], &hpack::kept(name, "1"));
    // Malformed, refused for its number, and reset before it was whole.
    let wrong = peer.next_stream();
    peer.send(Frame::headers(wrong, [kept("x-one"), hpack::literal("connection", "close")].concat(), true));
    peer.expect_reset(wrong, &[code::PROTOCOL_ERROR]);
    let held = stand.held(&mut peer);
    let beyond = peer.next_stream();
    peer.send(Frame::headers(beyond, kept("x-two"), true));
    peer.expect_reset(beyond, &[code::REFUSED_STREAM]);
    stand.gate.open();
    assert_eq!(peer.response(held).status(), 200);
    let large = [kept("x-three"), hpack::literal("x-large", "v".repeat(10_000))].concat();
    let wide = peer.next_stream();
    peer.send(Frame::headers(wide, large, true));
    peer.response(wide);
    let all = [hpack::indexed(62), hpack::indexed(63), hpack::indexed(64)].concat();
    assert_eq!(status(&mut peer, around(&[], &all)), 200);
    let seen = stand.origin.last();
    let names = ["x-one", "x-two", "x-three"].map(|name| seen.fields.first(name).is_some());
    assert_eq!(names, [true; 3], "{seen:?}");
}

#[test]
fn section_4_3_a_block_is_one_however_it_is_cut() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let coded = [vec![0x40], hpack::coded(huffman::encode("x-cut")), hpack::coded(huffman::encode("long value"))];
    let block = around(&hpack::size_update(4096), &coded.concat());
    for at in 0..=block.len() {
        let stream = peer.next_stream();
        peer.send_all([
            Frame::headers(stream, &block[..at], true).without(flag::END_HEADERS),
            Frame::continuation(stream, &block[at..], true),
        ]);
        assert_eq!(peer.response(stream).status(), 200, "cut at {at}");
        assert_eq!(stand.origin.last().fields.first("x-cut"), Some("long value"), "cut at {at}");
    }
}
