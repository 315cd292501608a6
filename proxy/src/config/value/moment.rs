//! Points in time.

use crate::config::Code;
use crate::config::format::{Format, Node, wrong_type};
use crate::config::reader::{Reader, Spot};

/// A point in time with its offset from UTC, as a TOML date-time or as the same text in quotes (RFC 3339); as unix
/// seconds.
pub struct Moment;

impl Format for Moment {
    type Out = u64;

    fn kind() -> String {
        "a date and time with its offset such as 2030-01-31T12:00:00Z".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<u64> {
        let text = match node {
            Node::Value(value) => {
                value.as_datetime().map(ToString::to_string).or_else(|| node.as_str().map(str::to_owned))
            }
            _ => None,
        };
        let Some(text) = text else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        let moment: Option<jiff::Timestamp> = text.parse().ok();
        let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
        if seconds.is_none() {
            reader.report(spot, Code::Invalid, &format!("= {} must be {}", node.written(reader.text()), Self::kind()));
        }
        seconds
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Table;
    use crate::config::raw::Ban;

    fn expires(value: &str) -> Option<u64> {
        let ban = Ban::from_toml(&format!("cidr = \"192.0.2.1\"\nexpires = {value}")).ok()?;
        ban.expires
    }

    #[test]
    fn dates_with_offsets_are_unix_seconds_in_either_spelling() {
        for value in ["2001-09-09T01:46:40Z", "\"2001-09-09T01:46:40Z\"", "2001-09-09T03:46:40+02:00"] {
            assert_eq!(expires(value), Some(1_000_000_000), "{value}");
        }
    }

    #[test]
    fn local_times_and_other_values_are_refused() {
        for value in
            ["2001-09-09T01:46:40", "2001-09-09", "01:46:40", "1000000000", "\"tomorrow\"", "1969-01-01T00:00:00Z"]
        {
            assert_eq!(expires(value), None, "{value}");
        }
    }
}
