//! What is fit to be stapled, and what is not.

use super::super::testing::{Authority, Word, after};
use super::*;

const SERIAL: u8 = 7;

fn now() -> i64 {
    super::super::resolver::unix_now()
}

/// How a certificate fares with a response.
fn fares(authority: &Authority, response: &[u8]) -> Result<(), Unfit> {
    let mut certificate = authority.issue(&["a.test"]).certificate();
    certificate.staple(response)?;
    certificate.unstapled(now()).map_or(Ok(()), Err)
}

#[test]
fn only_a_good_word_in_date_about_this_certificate_is_fit() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let (past, future) = (after(-60), after(3600));
    let cases = [
        (own.says(Word::Good, SERIAL, past, Some(future)), Ok(())),
        (own.says(Word::Revoked, SERIAL, past, Some(future)), Err(Unfit::Revoked)),
        (own.says(Word::Unknown, SERIAL, past, Some(future)), Err(Unfit::Unknown)),
        (own.says(Word::Good, SERIAL + 1, past, Some(future)), Err(Unfit::OtherCertificate)),
        (other.says(Word::Good, SERIAL, past, Some(future)), Err(Unfit::OtherCertificate)),
        (own.says(Word::Good, SERIAL, future, Some(after(7200))), Err(Unfit::Early)),
        (own.says(Word::Good, SERIAL, after(-120), Some(past)), Err(Unfit::Late)),
        (own.says(Word::Good, SERIAL, past, None), Err(Unfit::Late)),
        (Vec::new(), Err(Unfit::Unreadable)),
        // A responder's error: tryLater.
        (vec![0x30, 3, 0x0a, 1, 3], Err(Unfit::Unreadable)),
        // Success without a word.
        (vec![0x30, 3, 0x0a, 1, 0], Err(Unfit::Unreadable)),
    ];
    for (at, (response, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fares(&own, &response), expected, "case {at}");
    }
}

#[test]
fn response_cut_or_changed_anywhere_does_not_panic() {
    let authority = Authority::new("own");
    let response = authority.says(Word::Good, SERIAL, after(-60), Some(after(60)));
    for at in 0..response.len() {
        assert_eq!(fares(&authority, &response[..at]), Err(Unfit::Unreadable), "cut at {at}");
        let mut changed = response.clone();
        changed[at] ^= 0x81;
        let _ = good(&changed, &[0xf0, SERIAL], None);
    }
    let mut longer = response;
    longer.push(0);
    assert_eq!(fares(&authority, &longer), Err(Unfit::Unreadable));
}

#[test]
fn response_is_stapled_in_its_time_alone() {
    let authority = Authority::new("own");
    let (from, until) = (now() + 100, now() + 200);
    let response = authority.says(Word::Good, SERIAL, after(100), Some(after(200)));
    let mut certificate = authority.issue(&["a.test"]).certificate();
    certificate.staple(&response).expect("about this one");
    for (at, stapled) in [(from - 5, false), (from + 5, true), (until - 5, true), (until + 5, false)] {
        assert_eq!(certificate.shown(|| at).ocsp.is_some(), stapled, "{}", at - from);
    }
}
