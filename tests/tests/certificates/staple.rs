//! OCSP responses: stapled while they say that all is good, left out and counted otherwise.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_tests::tls::{Authority, Identity};
use weir_tests::{Config, Origin, Weir, wait};

use super::look::glance;
use super::{entry, listening};

/// What a response says.
#[derive(Clone, Copy)]
enum Word {
    Good,
    Revoked,
    Unknown,
}

const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const SHA1: [u8; 5] = [0x2b, 0x0e, 3, 2, 0x1a];
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Tag, length, content.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    let head = match length {
        [0, short @ 0..=127] => vec![tag, short],
        [0, short] => vec![tag, 0x81, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// An OCSP response (RFC 6960 section 4.2.1), by hand; nobody has signed it.
fn response(word: Word, serial: &[u8], from: SystemTime, until: SystemTime) -> Vec<u8> {
    let padded = if serial[0] & 0x80 != 0 { [&[0], serial].concat() } else { serial.to_vec() };
    let algorithm = der(0x30, &[&der(6, &[&SHA1])]);
    let hash = der(4, &[&[0; 20]]);
    let id = der(0x30, &[&algorithm, &hash, &hash, &der(2, &[&padded])]);
    let status = match word {
        Word::Good => der(0x80, &[]),
        Word::Revoked => der(0xa1, &[&time(from)]),
        Word::Unknown => der(0x82, &[]),
    };
    let single = der(0x30, &[&id, &status, &time(from), &der(0xa0, &[&time(until)])]);
    let responder = der(0xa2, &[&der(4, &[&[0; 20]])]);
    let data = der(0x30, &[&responder, &time(from), &der(0x30, &[&single])]);
    let signed = der(0x30, &[&data, &der(0x30, &[&der(6, &[&ECDSA_SHA256])]), &der(3, &[&[0; 9]])]);
    let octets = der(0x30, &[&der(6, &[&BASIC]), &der(4, &[&signed])]);
    der(0x30, &[&der(0x0a, &[&[0]]), &der(0xa0, &[&octets])])
}

/// GeneralizedTime. Days become a date by Howard Hinnant's algorithm.
fn time(at: SystemTime) -> Vec<u8> {
    let seconds = at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let text = format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
    der(0x18, &[text.as_bytes()])
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn unstapled(weir: &Weir, why: &str) -> f64 {
    weir.metrics().sum("weir_ocsp_unstapled_total", &[&format!("why=\"{why}\"")])
}

/// Puts a response in the place of the one before.
fn replace(weir: &Weir, octets: &[u8]) {
    let new = weir.path("ocsp.new");
    std::fs::write(&new, octets).and_then(|()| std::fs::rename(&new, weir.path("ocsp"))).expect("a file");
}

fn start(identity: &Identity, octets: &[u8], origin: &Origin) -> Weir {
    let config = Config::forwarding(origin.url());
    let path = config.file("ocsp", octets);
    let entries = [entry(&config, "a", identity, &format!("ocsp = \"{path}\""))];
    listening(config, &entries, "", "").workers(2).start()
}

#[test]
fn response_is_stapled_while_good_and_otherwise_left_out_and_counted() {
    let (origin, identity) = (Origin::ok("x"), Authority::new().certify(&["a.test"]));
    let serial = identity.serial();
    let good = response(Word::Good, serial, ago(60), in_seconds(3600));
    let weir = start(&identity, &good, &origin);
    let stapled = || glance(weir.web(), "a.test").ocsp;
    assert_eq!(stapled(), good);
    assert_eq!(weir.metrics().sum("weir_ocsp_unstapled_total", &[]), 0.0);
    let other_serial = [serial, &[1]].concat();
    for (octets, why) in [
        (response(Word::Revoked, serial, ago(60), in_seconds(3600)), "revoked"),
        (response(Word::Unknown, serial, ago(60), in_seconds(3600)), "unknown"),
        (response(Word::Good, &other_serial, ago(60), in_seconds(3600)), "other_certificate"),
        (response(Word::Good, serial, in_seconds(3600), in_seconds(7200)), "early"),
        (response(Word::Good, serial, ago(120), ago(60)), "late"),
        (b"junk".to_vec(), "unreadable"),
    ] {
        replace(&weir, &octets);
        wait::until(why, || unstapled(&weir, why) == 1.0);
        wait::until(why, || stapled().is_empty());
    }
    let newer = response(Word::Good, serial, ago(30), in_seconds(3600));
    replace(&weir, &newer);
    // Both workers: each has the newer one soon.
    wait::until("the newer response", || (0..8).all(|_| stapled() == newer));
    assert!(weir.is_ready());
}

#[test]
fn response_that_grows_old_is_left_out_by_itself() {
    let (origin, identity) = (Origin::ok("x"), Authority::new().certify(&["a.test"]));
    let short = response(Word::Good, identity.serial(), ago(60), in_seconds(6));
    let weir = start(&identity, &short, &origin);
    assert_eq!(glance(weir.web(), "a.test").ocsp, short);
    wait::until("the response to be left out", || glance(weir.web(), "a.test").ocsp.is_empty());
    wait::until("the count", || unstapled(&weir, "late") == 1.0);
    assert_eq!(glance(weir.web(), "a.test").certificate, identity.der().to_vec());
}
