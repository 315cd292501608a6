//! What a client is told, octet by octet.

use super::*;
use crate::http::Edits;

fn limit(text: &str) -> Limit {
    let raw = raw::RateLimit::from_toml(text).unwrap_or_else(|problems| panic!("{problems}{text}"));
    Limit::build(&raw, &Tables::default(), &|_| None)
}

/// The fields that a response gets after these limits were charged at these times, in order.
fn told<'s>(charges: impl IntoIterator<Item = (&'s Limit, u64)>) -> Vec<String> {
    let mut told = Told::default();
    for (limit, now) in charges {
        told.push(limit, &charge(&limit.limiter, key(1), now));
    }
    written(&told)
}

fn written(told: &Told<'_>) -> Vec<String> {
    let mut edits = Edits::new();
    told.write(&mut edits);
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    edits.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

#[test]
fn admitted_request_is_told_what_is_left_in_both_manners() {
    let login = limit("name = \"login\"\nlimit = 10\nwindow = \"60s\"");
    assert_eq!(
        told([(&login, 0)]),
        [
            "RateLimit-Policy: \"login\";q=10;w=60",
            "RateLimit: \"login\";r=9;t=6",
            "RateLimit-Limit: 10",
            "X-RateLimit-Limit: 10",
            "RateLimit-Remaining: 9",
            "X-RateLimit-Remaining: 9",
            "RateLimit-Reset: 6",
            "X-RateLimit-Reset: 6",
        ]
    );
}

#[test]
fn denied_request_is_told_when_to_come_again() {
    let login = limit("name = \"login\"\nlimit = 10\nwindow = \"60s\"\nburst = 1\nheaders = \"draft\"");
    assert!(admits(&login.limiter, key(1), 0));
    assert_eq!(
        told([(&login, SECOND / 2)]),
        ["RateLimit-Policy: \"login\";q=10;w=60", "RateLimit: \"login\";r=0;t=6", "Retry-After: 6"],
        "5.5 s, in whole ones"
    );
}

#[test]
fn each_charged_rule_is_an_item_and_the_denier_speaks_for_all_in_the_old_manner() {
    let wide = limit("name = \"wide\"\nlimit = 100\nwindow = \"1h\"\nalgorithm = \"sliding_window\"");
    let tight = limit("name = \"tight\"\nlimit = 2\nwindow = \"90500ms\"\nalgorithm = \"fixed_window\"");
    let quiet = limit("name = \"quiet\"\nlimit = 1\nheaders = \"none\"");
    // The fixed window of 90.5 s ends 3 s from here.
    let now = 2 * 90_500_000_000 - at(0).nanos() % 90_500_000_000 - 3 * SECOND;
    let all = || [(&wide, now), (&tight, now)];
    let first = told(all().into_iter().chain([(&quiet, now)]));
    assert_eq!(first[0], "RateLimit-Policy: \"wide\";q=100;w=3600, \"tight\";q=2;w=91");
    assert_eq!(first[1], "RateLimit: \"wide\";r=99;t=3600, \"tight\";r=1;t=3");
    assert_eq!(first[2..=4], ["RateLimit-Limit: 2", "X-RateLimit-Limit: 2", "RateLimit-Remaining: 1"], "least is left");
    told(all());
    let denied = told(all());
    assert_eq!(denied[1], "RateLimit: \"wide\";r=97;t=3600, \"tight\";r=0;t=3");
    assert_eq!(denied[2], "RateLimit-Limit: 2");
    assert_eq!(denied.last().unwrap(), "Retry-After: 3");
}

#[test]
fn denier_that_tells_nothing_still_says_when_to_come_again() {
    let wide = limit("name = \"wide\"");
    let quiet = limit("name = \"quiet\"\nlimit = 1\nheaders = \"none\"");
    assert!(admits(&quiet.limiter, key(1), 0));
    let fields = told([(&wide, 0), (&quiet, 0)]);
    assert_eq!(fields[2..], ["Retry-After: 60"], "nothing of the old manner, which knows one limit only");
    assert!(written(&Told::default()).is_empty());
}

#[test]
fn no_more_is_left_than_the_limit() {
    let limit = limit("name = \"a\"\nlimit = 10\nburst = 100\nheaders = \"legacy\"");
    let fields = told([(&limit, 0)]);
    assert_eq!(fields[2], "RateLimit-Remaining: 10");
}

#[test]
fn old_fields_replace_the_upstreams_and_those_of_the_draft_stand_beside_it() {
    let limit = limit("name = \"a\"");
    let mut told = Told::default();
    told.push(&limit, &charge(&limit.limiter, key(1), 0));
    let mut edits = Edits::new();
    told.write(&mut edits);
    assert!(edits.hides(b"x-ratelimit-limit") && edits.hides(b"ratelimit-reset"));
    assert!(!edits.hides(b"ratelimit") && !edits.hides(b"ratelimit-policy"));
}

#[test]
fn answer_has_the_rules_status_fields_and_body() {
    let plain = limit("name = \"a\"").denial;
    assert_eq!((plain.status, &*plain.body), (429, b"Rate limit exceeded\n".as_slice()));
    let text = "name = \"a\"\nresponse = { status = 503, content_type = \"text/html\", body = \"<p>\", \
                headers = { X-Why = [\"a\", \"b\"], cache-control = \"private\" } }";
    let own = limit(text).denial;
    let mut edits = Edits::new();
    own.write(&mut edits);
    let lines: Vec<_> =
        edits.iter().map(|(name, value)| format!("{} {}", name.escape_ascii(), value.escape_ascii())).collect();
    assert_eq!(lines, ["Content-Type text/html", "X-Why a", "X-Why b", "cache-control private"]);
    assert_eq!((own.status, &*own.body), (503, b"<p>".as_slice()));
}
