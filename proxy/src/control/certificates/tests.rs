//! Certificates that grow old, and those who look at them.

use super::*;
use crate::tls::testing::{Authority, store_of};

const DAY: i64 = 86_400;

/// Stores of one listener, whose certificates of 90 days end so many seconds from now.
fn stores(lefts: &[i64]) -> Arc<Stores> {
    let authority = Authority::new("ca");
    let made =
        lefts.iter().zip(0..).map(|(left, at)| (format!("/{at}.pem"), authority.issue_for(&["a.test"], at, *left)));
    let made: Vec<_> = made.collect();
    let made: Vec<_> = made.iter().map(|(name, made)| (name.as_str(), made.clone())).collect();
    Arc::new(std::iter::once(("web".into(), Arc::new(store_of(&made)))).collect())
}

#[test]
fn warning_names_the_certificate_that_ends_first() {
    let told = |lefts: &[i64]| expiring(&stores(lefts), unix_now());
    assert_eq!(told(&[14 * DAY + 60, 80 * DAY]), None);
    assert_eq!(told(&[14 * DAY - 60]).as_deref(), Some("renew /0.pem: it ends in 13 d"));
    assert_eq!(told(&[80 * DAY, 5 * 3600 + 60, DAY * 3]).as_deref(), Some("renew /1.pem: it ends in 5 h, and 1 more"));
    assert_eq!(told(&[-60]).as_deref(), Some("renew /0.pem: it has ended"));
}

#[test]
fn certificate_of_a_short_life_may_have_a_fifth_of_it_left() {
    let of = |life: i64, left: i64| {
        let expires_at = unix_now() + left;
        is_ending(&(expires_at - life..=expires_at), unix_now())
    };
    assert!(!of(6 * DAY, 2 * DAY) && of(6 * DAY, DAY));
    assert!(!of(398 * DAY, 15 * DAY) && of(398 * DAY, 13 * DAY));
}

#[test]
fn metrics_show_what_ends_first_and_fold_the_rest() {
    let certificates = Certificates { kept: Arc::default(), stores: cell::Sender::new(stores(&[DAY, -60])) };
    let shown = certificates.expiries();
    assert_eq!(shown.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["/0.pem", "/1.pem"]);
    assert!((DAY - 60..=DAY).contains(&shown[0].1.cast_signed()) && shown[1].1 == 0);
    let folded = fold((0..5).map(|at| (format!("/{at}"), 5 - at)).collect(), 3);
    let expected = [("/4", 1), ("/3", 2), ("/2", 3), (OTHER, 4)].map(|(name, left)| (name.to_owned(), left));
    assert_eq!(folded, expected);
}
