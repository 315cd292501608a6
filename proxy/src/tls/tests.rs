//! Sessions against rustls's own, and against each other, octet by octet, and against what no peer should send.

mod hostile;
mod peer;

use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};

use self::peer::{Ends, Peer, accept, both, config_of, connect, outgoing, shake, suites};
use super::record::{HEADER, PLAIN_MAX, content};
use super::*;
use crate::buf::{Chunk, SendBuf};

/// Octets that tell their place.
fn octets(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

fn send(octets: &[u8]) -> SendBuf {
    SendBuf::from(octets.to_vec())
}

/// All that a session gives out by now.
fn taken(session: &mut Session) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = session.take().expect("an open session") {
        all.extend_from_slice(&chunk);
    }
    all
}

fn lengths(mut records: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(header) = records.first_chunk::<HEADER>() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        lengths.push(length);
        records = &records[HEADER + length..];
    }
    lengths
}

/// rustls's sessions are the oracle: each suite, both sides, sizes around those of records.
#[test]
fn every_suite_carries_octets_to_and_from_rustls() {
    for suite in suites() {
        let (mut server, mut client) = accept(suite);
        let (mut caller, mut called) = connect(suite);
        for size in [0, 1, 100, 4095, 4096, 4097, PLAIN_MAX, PLAIN_MAX + 1, 70_000] {
            let body = octets(size);
            for (session, peer) in [(&mut server, &mut client), (&mut caller, &mut called)] {
                peer.put(&session.seal(&send(&body)).expect("keys"));
                assert_eq!(peer.plain(), body, "{suite:?}: {size} out");
                session.put(Chunk::from(peer.say(&body)));
                assert_eq!(taken(session), body, "{suite:?}: {size} in");
            }
        }
    }
}

#[test]
fn a_handshake_split_at_every_octet_is_the_same() {
    for suite in suites() {
        let Ends { server, client, agreed } = shake(suite, &[b"h2", b"http/1.1"], 1);
        assert_eq!(agreed.0.cipher, agreed.1.cipher);
        assert_eq!(agreed.0.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!((agreed.0.resumed, agreed.0.sni.as_deref()), (false, Some("a.test")));
        assert_eq!(agreed.0.version.text(), if suite.tls13().is_some() { "1.3" } else { "1.2" });
        both(server, client);
    }
}

#[test]
fn records_split_at_every_octet_come_out_whole() {
    for suite in suites() {
        let Ends { mut server, mut client, .. } = shake(suite, &[], usize::MAX);
        let mut records = client.seal(&send(b"first")).expect("keys");
        records.extend(client.seal(&send(&octets(300))).expect("keys"));
        records.extend(client.seal(&send(b"last")).expect("keys"));
        let mut all = Vec::new();
        for octet in records {
            server.put(Chunk::from(vec![octet]));
            all.extend(taken(&mut server));
        }
        assert_eq!(all, [b"first", &octets(300)[..], b"last"].concat());
        assert!(server.is_empty());
    }
}

#[test]
fn what_comes_with_the_last_of_the_handshake_is_not_lost() {
    let config = config_of(suites()[0], &[]);
    let mut peer = Peer::client();
    let mut handshake = Handshake::server(config, peer.take()).expect("a configuration");
    let mut out = Vec::new();
    assert_eq!(handshake.advance(&mut out).expect("agreement"), Stand::Waiting);
    peer.put(&out);
    let last = [peer.take(), peer.say(b"GET / HTTP/1.1\r\n")].concat();
    // With a part of the next record behind it.
    let next = peer.say(b"Host: a.test\r\n\r\n");
    handshake.put(&[&last[..], &next[..7]].concat());
    assert_eq!(handshake.advance(&mut Vec::new()).expect("agreement"), Stand::Done);
    let (mut server, _) = handshake.finish(None).expect("a session");
    assert_eq!(taken(&mut server), b"GET / HTTP/1.1\r\n");
    server.put(Chunk::from(next[7..].to_vec()));
    assert_eq!(taken(&mut server), b"Host: a.test\r\n\r\n");
}

#[test]
fn a_burst_begins_with_small_records_and_goes_on_with_large_ones() {
    let Ends { mut server, .. } = shake(suites()[0], &[], usize::MAX);
    let sizes = |records: &[u8]| lengths(records).into_iter().map(|length| length - 17).collect::<Vec<_>>();
    let small = [4096; 4];
    let first = server.seal(&send(&octets(50_000))).expect("keys");
    assert_eq!(sizes(&first), [&small[..], &[16384, 16384, 50_000 - 49_152]].concat());
    assert_eq!(sizes(&server.seal(&send(&octets(20_000))).expect("keys")), [16384, 20_000 - 16384]);
    server.pause();
    assert_eq!(sizes(&server.seal(&send(&octets(4096))).expect("keys")), [4096]);
    assert_eq!(sizes(&server.seal(&send(&octets(9000))).expect("keys")), [4096, 4096, 808]);
}

#[test]
fn parts_of_one_send_share_records() {
    let Ends { mut server, mut client, .. } = shake(suites()[0], &[], usize::MAX);
    let mut all = send(b"head");
    all.push_static(b"");
    all.push_chunk(Chunk::from(octets(5000)));
    all.push_static(b"tail");
    let records = server.seal(&all).expect("keys");
    assert_eq!(lengths(&records).len(), 2);
    client.put(Chunk::from(records));
    assert_eq!(taken(&mut client), [b"head", &octets(5000)[..], b"tail"].concat());
}

/// Another reader of the same buffer sees what it saw before.
#[test]
fn a_buffer_that_is_shared_is_not_decrypted_in_place() {
    let Ends { mut server, mut client, .. } = shake(suites()[0], &[], usize::MAX);
    let records = client.seal(&send(b"secret")).expect("keys");
    let chunk = Chunk::from(records.clone());
    let other = chunk.clone();
    server.put(chunk);
    assert_eq!(taken(&mut server), b"secret");
    assert_eq!(&*other, records);
}

#[test]
fn keys_are_renewed_when_the_peer_renews_its_own() {
    let suite = tls13();
    let (mut server, mut client) = accept(suite);
    for _ in 0..3 {
        client.renew_keys();
        server.put(Chunk::from(client.say(b"with new keys")));
        assert_eq!(taken(&mut server), b"with new keys");
        client.put(&server.seal(&send(b"so have I")).expect("keys"));
        assert_eq!(client.plain(), b"so have I");
    }
    let (mut caller, mut called) = connect(suite);
    called.renew_keys();
    caller.put(Chunk::from(called.say(b"hello")));
    assert_eq!(taken(&mut caller), b"hello");
    called.put(&caller.seal(&send(b"hello")).expect("keys"));
    assert_eq!(called.plain(), b"hello");
}

#[test]
fn a_key_that_has_protected_enough_is_renewed_unasked() {
    let Ends { mut server, mut client, .. } = shake(tls13(), &[], usize::MAX);
    server.wear_out();
    client.expect_worn();
    let records = server.seal(&send(b"old, then new")).expect("keys");
    assert_eq!(lengths(&records).len(), 2);
    client.put(Chunk::from(records));
    assert_eq!(taken(&mut client), b"old, then new");
    assert_eq!(lengths(&server.seal(&send(b"new")).expect("keys")).len(), 1);
}

#[test]
fn keys_that_cannot_be_renewed_end_the_session() {
    let is_worn_out = |suite: &SupportedCipherSuite| suite.tls13().is_none() && suite_limit(*suite) < 1 << 30;
    let suite = suites().into_iter().find(is_worn_out).expect("one");
    let Ends { mut server, .. } = shake(suite, &[], usize::MAX);
    server.wear_out();
    let left = std::iter::from_fn(|| server.seal(&send(b"x"))).take(5000).count();
    assert_eq!(left, 1024);
}

#[test]
fn close_notify_ends_what_is_received_and_nothing_after_it_counts() {
    for suite in suites() {
        let (mut server, mut client) = accept(suite);
        let last = client.say(b"last");
        let close = client.close();
        server.put(Chunk::from([last, close].concat()));
        assert_eq!(taken(&mut server), b"last");
        assert!(server.is_ended());
        server.put(Chunk::from(octets(100)));
        assert!(taken(&mut server).is_empty());
        // It may go on to send, and says once when it does not.
        client.put(&server.seal(&send(b"answer")).expect("keys"));
        assert_eq!(client.plain(), b"answer");
        client.put(&server.alert(Alert::CLOSE_NOTIFY).expect("keys"));
        assert!(client.is_closed());
        assert_eq!(server.alert(Alert::CLOSE_NOTIFY), None);
    }
}

#[test]
fn a_session_goes_on_from_an_earlier_one() {
    for suite in [tls13(), tls12()] {
        let (config, outgoing) = (config_of(suite, &[]), outgoing(&[]));
        for resumed in [false, true] {
            let Ends { mut server, mut client, agreed } = peer::shake_with(&config, &outgoing, usize::MAX);
            assert_eq!((agreed.0.resumed, agreed.1.resumed), (resumed, resumed), "{suite:?}");
            // Tickets of TLS 1.3 come after the handshake.
            client.put(Chunk::from(server.seal(&send(b"hello")).expect("keys")));
            assert_eq!(taken(&mut client), b"hello");
        }
    }
}

fn tls13() -> SupportedCipherSuite {
    suites().into_iter().find(|suite| suite.tls13().is_some()).expect("one")
}

fn tls12() -> SupportedCipherSuite {
    suites().into_iter().find(|suite| suite.tls13().is_none()).expect("one")
}

fn suite_limit(suite: SupportedCipherSuite) -> u64 {
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
    }
}
