//! Behaviour of the whole part: rules, splits, round trips.

use super::*;
use crate::base::Fault;

mod chunks;
mod properties;
mod responses;
mod rules;
mod writing;

/// The end that a request head meets when it arrives in parts that end at these places.
fn request_in_parts(
    input: &[u8],
    limits: &HeadLimits,
    ends: impl Iterator<Item = usize>,
) -> Result<Option<Head>, Fault> {
    let mut head = Head::new();
    for end in ends {
        if parse_request(&input[..end], limits, &mut head)?.is_some() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// What every split of the input agrees on.
fn request_end(input: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Fault> {
    let shown = |end: Result<Option<Head>, Fault>| end.map(|head| head.map(|head| facts(&Request::new(&head, input))));
    let whole = request_in_parts(input, limits, std::iter::once(input.len()));
    let octets = request_in_parts(input, limits, 0..=input.len());
    assert_eq!(shown(whole.clone()), shown(octets), "octet by octet: {}", input.escape_ascii());
    for at in 0..input.len() {
        let split = request_in_parts(input, limits, [at, input.len()].into_iter());
        assert_eq!(shown(whole.clone()), shown(split), "split at {at}: {}", input.escape_ascii());
    }
    whole
}

/// All that a parsed request says, for comparison.
fn facts(request: &Request<'_>) -> String {
    let fields: Vec<_> = request.lines().iter().map(|f| (f.name, f.value, f.known, f.nominated, f.canonical)).collect();
    let head = request.head;
    format!(
        "{} {:?} {:?} {:?} {} {:?} {:?} {:?} {fields:?}",
        head.len(),
        request.method().escape_ascii().to_string(),
        request.path_raw().escape_ascii().to_string(),
        request.query(),
        head.host(),
        head.port(),
        head.body(),
        (head.keep_alive(), head.expect_continue(), head.te_trailers(), head.form(), head.version()),
    )
}

fn parse(input: &[u8]) -> Head {
    request_end(input, &HeadLimits::default()).expect("is accepted").expect("is whole")
}
