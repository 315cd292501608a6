//! What no peer should send.

use proptest::prelude::*;

use super::*;

fn ends() -> Ends {
    shake(suites()[0], &[], usize::MAX)
}

fn refused(server: &mut Session, records: &[u8]) -> Broken {
    server.put(Chunk::from(records.to_vec()));
    loop {
        match server.take() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{records:?} was taken"),
            Err(broken) => return broken,
        }
    }
}

#[test]
fn a_record_with_any_bit_changed_is_refused() {
    for suite in suites() {
        let length = shake(suite, &[], usize::MAX).client.seal(&send(b"x")).expect("keys").len();
        for at in (0..length).filter(|at| !(3..5).contains(at)) {
            let Ends { mut server, mut client, .. } = shake(suite, &[], usize::MAX);
            let mut record = client.seal(&send(b"x")).expect("keys");
            record[at] ^= 1;
            let broken = refused(&mut server, &record);
            let expected = match at {
                // A handshake's record, from the outside.
                0 if suite.tls13().is_none() => Alert::BAD_RECORD_MAC,
                0..3 => Alert::UNEXPECTED_MESSAGE,
                _ => Alert::BAD_RECORD_MAC,
            };
            assert_eq!(broken, Broken::Ours(expected), "octet {at} of {suite:?}");
        }
    }
}

#[test]
fn a_record_that_comes_twice_is_refused() {
    let Ends { mut server, mut client, .. } = ends();
    let record = client.seal(&send(b"pay")).expect("keys");
    assert_eq!(refused(&mut server, &[&record[..], &record].concat()), Broken::Ours(Alert::BAD_RECORD_MAC));
}

#[test]
fn records_that_are_too_long_are_refused_by_their_header() {
    for suite in suites() {
        let Ends { mut server, .. } = shake(suite, &[], usize::MAX);
        let length = if suite.tls13().is_some() { PLAIN_MAX + 257 } else { PLAIN_MAX + 2049 };
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        let broken = refused(&mut server, &[content::APPLICATION_DATA, 3, 3, high, low]);
        assert_eq!(broken, Broken::Ours(Alert::RECORD_OVERFLOW));
    }
}

#[test]
fn octets_that_are_no_record_are_refused() {
    for start in [&b"GET / HTTP/1.1\r\n"[..], &[0; 5], &[255; 5], &[20, 3, 3, 0, 1, 1], &[23, 2, 0, 0, 1]] {
        let Ends { mut server, .. } = ends();
        assert_eq!(refused(&mut server, start), Broken::Ours(Alert::UNEXPECTED_MESSAGE), "{start:?}");
    }
}

#[test]
fn records_that_bring_nothing_are_taken_only_so_often_in_a_row() {
    let Ends { mut server, mut client, .. } = ends();
    let quiet = |client: &mut Session, times: usize| {
        (0..times).flat_map(|_| client.seal_one(content::APPLICATION_DATA, b"")).collect::<Vec<u8>>()
    };
    for _ in 0..3 {
        let records = [quiet(&mut client, 60), client.seal(&send(b"x")).expect("keys")].concat();
        server.put(Chunk::from(records));
        assert_eq!(taken(&mut server), b"x");
    }
    let flood = quiet(&mut client, 65);
    assert_eq!(refused(&mut server, &flood), Broken::Ours(Alert::UNEXPECTED_MESSAGE));
}

#[test]
fn messages_that_are_not_due_are_refused() {
    const KEY_UPDATE: u8 = 24;
    for (kind, octets, alert) in [
        // A ticket from a client, a hello anew, a message of no known type.
        (content::HANDSHAKE, &[4, 0, 0, 1, 0][..], Alert::UNEXPECTED_MESSAGE),
        (content::HANDSHAKE, &[1, 0, 0, 1, 0], Alert::UNEXPECTED_MESSAGE),
        (content::HANDSHAKE, &[99, 0, 0, 0], Alert::UNEXPECTED_MESSAGE),
        (content::HANDSHAKE, &[], Alert::UNEXPECTED_MESSAGE),
        (content::HANDSHAKE, &[KEY_UPDATE, 255, 255, 255], Alert::DECODE_ERROR),
        (content::HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2], Alert::DECODE_ERROR),
        (content::HANDSHAKE, &[KEY_UPDATE, 0, 0, 0], Alert::DECODE_ERROR),
        // What follows it in its record would have been read with other keys.
        (content::HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE], Alert::UNEXPECTED_MESSAGE),
        (content::ALERT, &[2], Alert::DECODE_ERROR),
        (content::ALERT, &[2, 40, 0], Alert::DECODE_ERROR),
        (20, &[1], Alert::UNEXPECTED_MESSAGE),
        (25, &[1], Alert::UNEXPECTED_MESSAGE),
    ] {
        let Ends { mut server, mut client, .. } = shake(tls13(), &[], usize::MAX);
        let record = client.seal_one(kind, octets);
        assert_eq!(refused(&mut server, &record), Broken::Ours(alert), "{kind}: {octets:?}");
    }
}

#[test]
fn a_message_in_parts_stands_alone() {
    let Ends { mut server, mut client, .. } = shake(tls13(), &[], usize::MAX);
    server.put(Chunk::from(client.seal_one(content::HANDSHAKE, &[24, 0, 0])));
    assert!(taken(&mut server).is_empty());
    let record = client.seal_one(content::APPLICATION_DATA, b"x");
    assert_eq!(refused(&mut server, &record), Broken::Ours(Alert::UNEXPECTED_MESSAGE));
}

#[test]
fn alerts_of_the_peer_end_the_session() {
    let Ends { mut server, mut client, .. } = ends();
    let record = client.seal_one(content::ALERT, &[2, 40]);
    assert_eq!(refused(&mut server, &record), Broken::Theirs(Alert(40)));
}

#[test]
fn a_handshake_anew_is_declined_and_the_session_goes_on() {
    let Ends { mut server, mut client, .. } = shake(tls12(), &[], usize::MAX);
    server.put(Chunk::from(client.seal_one(content::HANDSHAKE, &[1, 0, 0, 2, 3, 3])));
    assert!(taken(&mut server).is_empty());
    client.put(Chunk::from(server.due().expect("a warning")));
    assert!(taken(&mut client).is_empty());
    assert!(server.due().is_none());
    both(server, client);
}

#[test]
fn what_is_no_handshake_is_refused_with_an_alert() {
    for octets in [
        &b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..],
        &[22, 3, 1, 0, 4, 2, 0, 0, 0],
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[21, 3, 1, 0, 2, 2, 40],
        &[23, 3, 3, 0, 1, 0],
        &[22, 3, 1, 0, 0],
    ] {
        let mut handshake = Handshake::server(config_of(tls13(), &[]), octets.to_vec()).expect("a configuration");
        let mut out = Vec::new();
        let stand = handshake.advance(&mut out);
        assert!(stand.is_err(), "{octets:?}: {stand:?}");
        let is_alert = out.first() == Some(&content::ALERT);
        assert!(is_alert || octets[0] == content::ALERT, "{octets:?} was answered {out:?}");
    }
}

#[test]
fn a_hello_without_end_is_given_up() {
    let mut handshake = Handshake::server(config_of(tls13(), &[]), Vec::new()).expect("a configuration");
    // A message that says it is as long as can be, in records of one octet.
    let start = [&[22, 3, 1, 0, 4, 1, 0, 255, 255][..], &[22, 3, 1, 0, 1, 0].repeat(60_000)].concat();
    let mut taken = 0;
    let ended = start.chunks(1000).any(|part| {
        taken += part.len();
        handshake.put(part);
        let mut out = Vec::new();
        let is_over = handshake.advance(&mut out).is_err();
        assert_eq!(out.first(), is_over.then_some(&content::ALERT));
        is_over
    });
    assert!(ended, "{taken} octets were taken");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever parts, the session says what is wrong, or waits.
    #[test]
    fn no_octets_make_a_session_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        start in prop_oneof![Just(vec![]), Just(vec![23, 3, 3, 0, 40]), Just(vec![22, 3, 3, 1, 0])],
        size in 1_usize..40,
    ) {
        let Ends { mut server, .. } = ends();
        for part in [start, octets].concat().chunks(size) {
            server.put(Chunk::from(part.to_vec()));
            if server.take().is_err() {
                break;
            }
        }
    }

    /// The same of plaintext that is protected as it should be.
    #[test]
    fn no_messages_make_a_session_panic(
        kind in 18_u8..27,
        octets in proptest::collection::vec(any::<u8>(), 0..100),
        version in any::<bool>(),
    ) {
        let suite = if version { tls13() } else { tls12() };
        let Ends { mut server, mut client, .. } = shake(suite, &[], usize::MAX);
        let inside = |kind| (20..24).contains(&kind) || suite.tls13().is_some();
        if inside(kind) {
            server.put(Chunk::from(client.seal_one(kind, &octets)));
            let _ = server.take();
            let _ = client.take();
        }
    }
}
