//! Each kind of frame, and another parser's opinion of all others.

use std::net::{IpAddr, SocketAddr};
use std::vec::Vec;

use etherparse::{SlicedPacket, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::oracle::frame::{Extension, Frame as Spec, QINQ, VLAN, extension, table};

fn parsed(frame: &[u8]) -> Result<Tcp, Skip> {
    parse(&frame)
}

/// What the table says of frames that are not simply read.
const SKIPPED: &[(&str, Skip)] = &[
    ("3 tags", Skip::VlanDepth),
    ("IHL 4", Skip::Malformed),
    ("IHL beyond the length", Skip::Malformed),
    ("IHL beyond the frame", Skip::Malformed),
    ("v6 in an IPv4 header", Skip::Malformed),
    ("v4 in an IPv6 header", Skip::Malformed),
    ("last fragment", Skip::Fragment),
    ("middle fragment", Skip::Fragment),
    ("later fragment of UDP", Skip::Fragment),
    ("later fragment v6", Skip::Fragment),
    ("7 extensions", Skip::ExtHeaders),
    ("extension of UDP", Skip::NotTcp),
    ("UDP", Skip::NotTcp),
    ("UDP v6", Skip::NotTcp),
    ("ARP", Skip::NotIp),
    ("length beyond the frame", Skip::Malformed),
    ("length beyond the frame v6", Skip::Malformed),
    ("length of 65535", Skip::Malformed),
    ("length without TCP", Skip::Malformed),
    ("length without TCP v6", Skip::Malformed),
    ("length 0", Skip::Malformed),
];

#[test]
fn each_kind_of_frame_is_read_or_skipped_for_its_reason() {
    for (name, frame) in table() {
        let skip = SKIPPED.iter().find(|(skipped, _)| *skipped == name).map(|(_, why)| *why);
        match (parsed(&frame), skip) {
            (Err(why), Some(expected)) => assert_eq!(why, expected, "{name}"),
            (Ok(tcp), None) => assert_eq!((tcp.sport, tcp.dport), (40_000, 443), "{name}"),
            (got, expected) => panic!("{name}: {got:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_frame_cut_anywhere_is_malformed() {
    for (name, frame) in table() {
        if parsed(&frame).is_ok() && name != "padded" {
            for length in 0..frame.len() {
                assert_eq!(parsed(&frame[..length]), Err(Skip::Malformed), "{name} cut to {length}");
            }
        }
    }
}

#[test]
fn a_syn_alone_opens() {
    let opens = |flags| parsed(&Spec { flags, ..Spec::default() }.octets()).expect("TCP").opens();
    assert_eq!([0x02, 0x12, 0x10, 0x04, 0xc2, 0x06].map(opens), [true, false, false, false, true, true]);
}

/// What an independent parser reads, if it finds a TCP segment and nothing wrong.
fn others(frame: &[u8]) -> Option<Tcp> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (src, dst) = match packet.net.as_ref()? {
        etherparse::NetSlice::Ipv4(ip) => {
            let ip = ip.header();
            (IpAddr::V4(ip.source_addr()), IpAddr::V4(ip.destination_addr()))
        }
        etherparse::NetSlice::Ipv6(ip) => {
            let ip = ip.header();
            // Stands for a jumbogram to it (RFC 2675), whatever the extensions say.
            if ip.payload_length() == 0 {
                return None;
            }
            (IpAddr::V6(ip.source_addr()), IpAddr::V6(ip.destination_addr()))
        }
        _ => return None,
    };
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    let flags = tcp.slice()[13];
    Some(Tcp { src: src.into(), dst: dst.into(), sport: tcp.source_port(), dport: tcp.destination_port(), flags })
}

fn address() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    prop_oneof![
        any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, b, c, d)| ((a, b).into(), (c, d).into())),
        any::<([u16; 8], u16, [u16; 8], u16)>().prop_map(|(a, b, c, d)| ((a, b).into(), (c, d).into())),
    ]
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let one = (select([43_u8, 44, 51, 60].as_slice()), 1_u8..4).prop_map(|(kind, length)| match kind {
        44 => extension(kind),
        kind => Extension { length, ..extension(kind) },
    });
    (any::<bool>(), vec(one, 0..6)).prop_map(|(hop, mut rest)| {
        rest.splice(0..0, hop.then(|| extension(0)));
        rest.truncate(EXTENSIONS_MAX);
        rest
    })
}

prop_compose! {
    fn honest()(
        (src, dst) in address(),
        tags in vec(select([VLAN, QINQ].as_slice()), 0..3),
        extensions in extensions(),
        flags: u8,
        options in 0_u8..=10,
        payload in 0_usize..200,
        padding in 0_usize..8,
    ) -> Spec {
        Spec { tags, src, dst, flags, options, extensions, payload, padding, ..Spec::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_honest_frame_reads_as_it_was_written(spec in honest()) {
        let tcp = parsed(&spec.octets()).expect("honest");
        prop_assert_eq!(tcp.src, spec.src.ip().into());
        prop_assert_eq!(tcp.dst, spec.dst.ip().into());
        prop_assert_eq!((tcp.sport, tcp.dport, tcp.flags), (spec.src.port(), spec.dst.port(), spec.flags));
    }

    #[test]
    fn what_another_parser_reads_is_read_alike(
        spec in honest(),
        cut: Option<Index>,
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut frame = spec.octets();
        let spoilt = cut.is_some() || !changes.is_empty();
        for (at, value) in changes {
            // Mostly in the headers.
            let at = at.index(frame.len().min(120));
            frame[at] = value;
        }
        frame.truncate(cut.map_or(frame.len(), |cut| cut.index(frame.len())));
        match (others(&frame), parsed(&frame)) {
            (Some(theirs), Ok(ours)) => prop_assert_eq!(theirs, ours),
            // It takes other bits of IPv6's fragment header for the reserved ones than RFC 8200, 4.5.
            (Some(_), Err(Skip::Fragment)) => prop_assert!(spoilt && spec.src.is_ipv6()),
            // It knows more kinds of tags: 0x9100 of old, and MACsec.
            (Some(_), Err(Skip::NotIp)) => {
                let kinds = [12, 16, 20].map(|at| frame[at..at + 2].to_vec());
                prop_assert!(kinds.iter().any(|kind| matches!(kind[..], [0x91, 0x00] | [0x88, 0xe5])), "{:?}", kinds);
            }
            (Some(_), Err(why)) => prop_assert!(matches!(why, Skip::ExtHeaders | Skip::VlanDepth), "{:?}", why),
            (None, got) => prop_assert!(spoilt || got.is_ok() && !spec.extensions.is_empty(), "{:?}", got),
        }
    }

    #[test]
    fn no_octets_panic(frame in vec(any::<u8>(), 0..200)) {
        let _ = parsed(&frame);
    }
}
