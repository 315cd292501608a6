//! Every kind of frame.

use weir_common::abi::drop::{Conf, Denied, Skip, arm, skipped};
use weir_common::oracle::frame::{ACK, Frame, table};
use weir_common::packet::parse;

use crate::both::{Both, DROP, PASS};

/// Both of the table's sources are denied: what is read is dropped, what is skipped passes.
fn denying() -> Both {
    let mut both = Both::new(Conf { armed: arm::DENY, dry_run: 0, ..Conf::IDLE });
    for source in ["198.51.100.7", "2001:db8::"] {
        both.deny(source, Denied { expires_ns: u64::MAX, rule: 1, ..Denied::default() });
    }
    both
}

#[test]
fn each_kind_of_frame_is_read_as_in_user_space() {
    let both = denying();
    for (name, frame) in table() {
        let read = parse(&frame.as_slice()).is_ok();
        assert_eq!(both.agree(name, &frame), if read { DROP } else { PASS }, "{name}");
    }
    both.agree_on_counts();
}

#[test]
fn a_frame_cut_anywhere_passes_as_malformed() {
    let both = denying();
    for (name, frame) in table().iter().filter(|(name, frame)| *name != "padded" && frame.len() < 3000) {
        if parse(&frame.as_slice()).is_ok() {
            // The kernel takes no less than an Ethernet header.
            for length in 14..frame.len() {
                assert_eq!(both.agree(name, &frame[..length]), PASS, "{name} cut to {length}");
            }
        }
    }
    assert!(both.counted(skipped(Skip::Malformed)).packets > 1000);
    both.agree_on_counts();
}

#[test]
fn a_long_frame_is_measured_whole() {
    let both = denying();
    for payload in [3_000, 5_000, 8_960, 20_000] {
        let frame = Frame { payload, flags: ACK, ..Frame::default() };
        assert_eq!(both.agree("whole", &frame.octets()), DROP, "{payload}");
        let one_less = frame.octets().len() - 1;
        assert_eq!(both.agree("cut", &frame.octets()[..one_less]), PASS, "{payload} less 1");
    }
    both.agree_on_counts();
}
