//! Numbers, durations and sizes: read, and held within their bounds.

use std::time::Duration;

use super::format::{Format, Node, wrong_type};
use super::problem::Code;
use super::reader::{Reader, Spot};
use super::table::Range;

/// A whole number where nothing narrower is said: 0 to 10 million.
pub struct Count;

/// A duration: a string of an integer and a unit, `ms`, `s`, `m`, `h` or `d`; only 0 may be bare.
pub struct Time;

/// A size in octets: a string of an integer and a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`; only 0 may be bare.
pub struct Size;

/// A limit that may be left to weir.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ceiling {
    /// `"auto"`: computed from what the process may use.
    Auto,
    /// A number; 0 is off.
    Of(u64),
}

const UNITS_OF_TIME: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const UNITS_OF_SIZE: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// An integer and a unit, in the smallest unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration as documents write it: an integer and a unit.
pub fn duration_from_text(text: &str) -> Option<Duration> {
    quantity(text, &UNITS_OF_TIME).map(Duration::from_millis)
}

/// A bound's TOML text as the number it stands for.
fn bound(text: &str) -> i128 {
    let inner = text.trim_matches('"');
    let number = inner.replace('_', "").parse::<i128>().ok();
    let quantity = || quantity(inner, &UNITS_OF_TIME).or_else(|| quantity(inner, &UNITS_OF_SIZE)).map(i128::from);
    number.or_else(quantity).unwrap_or_default()
}

impl Range {
    pub(super) fn contains(&self, n: i128) -> bool {
        (bound(self.low)..=bound(self.high)).contains(&n) || (self.or_zero && n == 0)
    }

    /// In words: `"100ms" to "24h", or 0`.
    pub(super) fn words(&self) -> String {
        let zero = if self.or_zero { ", or 0" } else { "" };
        format!("{} to {}{zero}", self.low, self.high)
    }
}

/// Passes `n` on if the key's bounds hold it.
pub(super) fn within(n: i128, node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<i128> {
    let Some(range) = spot.key.range.filter(|range| !range.contains(n)) else { return Some(n) };
    let message = format!("= {} is out of range; allowed: {}", node.written(reader.text()), range.words());
    reader.report(spot, Code::OutOfRange, &message);
    None
}

macro_rules! integers {
    ($($(#[$doc:meta])* $format:ty => $out:ty, $low:literal to $high:literal;)+) => {$(
        $(#[$doc])*
        impl Format for $format {
            type Out = $out;
            const RANGE: Option<Range> = Some(Range { low: $low, high: $high, or_zero: false });

            fn kind() -> String {
                "a whole number".to_owned()
            }

            fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<$out> {
                let Some(n) = node.as_integer() else {
                    wrong_type::<Self>(node, spot, reader);
                    return None;
                };
                <$out>::try_from(within(n.into(), node, spot, reader)?).ok()
            }
        }
    )+};
}

integers! {
    Count => u64, "0" to "10_000_000";
    u8 => u8, "0" to "255";
    u16 => u16, "0" to "65535";
    u32 => u32, "0" to "4294967295";
    i32 => i32, "-2147483648" to "2147483647";
}

impl Format for Time {
    type Out = Duration;
    const RANGE: Option<Range> = Some(Range { low: "\"100ms\"", high: "\"24h\"", or_zero: true });

    fn kind() -> String {
        "a duration such as \"10s\" (ms, s, m, h, d)".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Duration> {
        let ms = read_quantity::<Self>(&UNITS_OF_TIME, node, spot, reader)?;
        Some(Duration::from_millis(ms))
    }
}

impl Format for Size {
    type Out = u64;
    const RANGE: Option<Range> = Some(Range { low: "\"1KiB\"", high: "\"1TiB\"", or_zero: true });

    fn kind() -> String {
        "a size such as \"64KiB\" (B, KiB, MiB, GiB, TiB)".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<u64> {
        read_quantity::<Self>(&UNITS_OF_SIZE, node, spot, reader)
    }
}

fn read_quantity<F: Format>(units: &[(&str, u64)], node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<u64> {
    let read = match (node.as_integer(), node.as_str()) {
        (Some(0), _) => Some(0),
        (_, Some(text)) => quantity(text, units),
        _ => None,
    };
    let Some(n) = read else {
        let bare = node.as_integer().is_some();
        let why = if bare { "has no unit: it" } else { "is not understood: it" };
        if bare || node.as_str().is_some() {
            reader.report(
                spot,
                Code::Invalid,
                &format!("= {} {why} must be {}", node.written(reader.text()), F::kind()),
            );
        } else {
            wrong_type::<F>(node, spot, reader);
        }
        return None;
    };
    u64::try_from(within(n.into(), node, spot, reader)?).ok()
}

impl Format for Ceiling {
    type Out = Self;
    const RANGE: Option<Range> = Count::RANGE;

    fn kind() -> String {
        "\"auto\" or a whole number".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self> {
        match (node.as_str(), node.as_integer()) {
            (Some("auto"), _) => Some(Self::Auto),
            (_, Some(_)) => Count::read(node, spot, reader).map(Self::Of),
            _ => {
                wrong_type::<Self>(node, spot, reader);
                None
            }
        }
    }
}
