//! Wall-clock times as text, written without allocation: the proleptic Gregorian calendar in UTC.

use std::io::Write;

/// Days from 1 March of year 0 to 1 January 1970.
const EPOCH_DAYS: u64 = 719_468;
const DAYS_PER_400_YEARS: u64 = 146_097;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day ends one.
fn civil(unix_seconds: u64) -> Civil {
    let (days, within) = (unix_seconds / 86_400 + EPOCH_DAYS, unix_seconds % 86_400);
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Civil {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
        hour: within / 3_600,
        minute: within / 60 % 60,
        second: within % 60,
    }
}

/// RFC 3339 with microseconds: `2026-01-02T03:04:05.678901Z`.
pub(super) fn rfc3339(out: &mut Vec<u8>, unix_ns: u64) {
    let Civil { year, month, day, hour, minute, second } = civil(unix_ns / 1_000_000_000);
    let us = unix_ns / 1_000 % 1_000_000;
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z");
}

/// The combined format's time: `02/Jan/2026:03:04:05 +0000`.
pub(super) fn common(out: &mut Vec<u8>, unix_ns: u64) {
    let Civil { year, month, day, hour, minute, second } = civil(unix_ns / 1_000_000_000);
    let month = MONTHS[(month - 1) as usize];
    let _ = write!(out, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: fn(&mut Vec<u8>, u64), seconds: i64) -> String {
        let mut out = Vec::new();
        write(&mut out, u64::try_from(seconds).expect("after 1970") * 1_000_000_000 + 1_002_003);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn agrees_with_a_calendar_library_on_every_day_until_2200() {
        for day in 0..84_000 {
            let seconds = day * 86_400 + 43_261;
            let oracle = jiff::Timestamp::from_second(seconds).expect("in range");
            let utc = oracle.to_zoned(jiff::tz::TimeZone::UTC);
            assert_eq!(text(rfc3339, seconds), utc.strftime("%Y-%m-%dT%H:%M:%S.001002Z").to_string());
            assert_eq!(text(common, seconds), utc.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
        }
    }
}
