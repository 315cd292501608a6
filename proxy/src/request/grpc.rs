//! What gRPC over HTTP/2 asks of a proxy: deadlines that the client sets, and errors that its libraries understand.

use std::time::Duration;

use super::Exchange;
use crate::base::{Fault, Instant, Reason};
use crate::http::{Edits, Known, Request, Version};
use crate::listen::deadline;

impl Exchange<'_> {
    /// Whether it is a call of gRPC.
    pub(super) fn is_grpc(&self) -> bool {
        self.request.version() == Version::Http2 && is_grpc(&self.request)
    }

    /// When the whole exchange must be over that began then: the client may want it sooner than the configuration.
    pub(super) fn ends_by(&self, began: Instant, limit: Duration) -> Option<Instant> {
        let own = deadline(began, limit);
        match self.is_grpc().then(|| self.request.field(b"grpc-timeout").and_then(timeout)).flatten() {
            Some(timeout) => Some((began + timeout).earliest(own)),
            None => own,
        }
    }
}

/// Fills in the head of an error: trailers alone, behind which nothing comes.
pub(super) fn write_error(fault: Fault, edits: &mut Edits) {
    edits.add(b"Content-Type", b"application/grpc");
    edits.add(b"grpc-status", status_of(fault));
    edits.add(b"grpc-message", fault.reason.token().as_bytes());
}

fn is_grpc(request: &Request<'_>) -> bool {
    const MEDIA: &[u8] = b"application/grpc";
    let media = request.known(Known::ContentType).unwrap_or_default();
    media.get(..MEDIA.len()).is_some_and(|front| front.eq_ignore_ascii_case(MEDIA))
        && matches!(media.get(MEDIA.len()), None | Some(b'+' | b';' | b' '))
}

/// gRPC's own mapping of HTTP's statuses to its; but a deadline that has passed is what gRPC has a status of its own for,
/// and what the client's library would say itself a moment later.
fn status_of(fault: Fault) -> &'static [u8] {
    match fault.status {
        _ if fault.reason == Reason::RequestTimeout => b"4",
        400 => b"13",
        401 => b"16",
        403 => b"7",
        404 => b"12",
        429 | 502..=504 => b"14",
        _ => b"2",
    }
}

/// At most eight digits and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0_u64, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reason;
    use crate::http::{Head, HeadLimits, parse_request};

    #[test]
    fn a_call_is_known_by_its_media_type() {
        for (media, is) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let text = format!("POST /s/m HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\n\r\n");
            let mut head = Head::new();
            parse_request(text.as_bytes(), &HeadLimits::default(), &mut head).unwrap();
            assert_eq!(is_grpc(&Request::new(&head, text.as_bytes())), is, "{media}");
        }
    }

    #[test]
    fn timeouts_have_a_unit_and_at_most_eight_digits() {
        for (value, wanted) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("999999999S", None),
        ] {
            assert_eq!(timeout(value.as_bytes()), wanted, "{value}");
        }
    }

    #[test]
    fn an_error_is_all_in_its_head() {
        let mut edits = Edits::new();
        write_error(Fault::new(Reason::Overloaded), &mut edits);
        let fields: Vec<_> = edits.iter().collect();
        let wanted: [(&[u8], &[u8]); 3] =
            [(b"Content-Type", b"application/grpc"), (b"grpc-status", b"14"), (b"grpc-message", b"overloaded")];
        assert_eq!(fields, wanted);
    }
}
