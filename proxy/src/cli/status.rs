//! `weir status`: whether the running weir is ready, and if not, why.

use std::time::Duration;

use clap::ValueEnum;

use super::Source;
use crate::config::duration_from_text;

/// `weir status [--wait DURATION] [-o json] [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Wait so long for it to become ready: `30`, `30s`, `2m`.
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub wait: Option<Duration>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// The document that says where the management API listens.
    #[command(flatten)]
    pub source: Source,
}

/// How an answer looks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Text,
    /// As the management API gives it.
    Json,
}

/// A bare number is in seconds.
fn wait(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let longest = Duration::from_secs(24 * 3600);
    let wait = seconds.or_else(|| duration_from_text(text)).filter(|wait| *wait <= longest);
    wait.ok_or_else(|| "a duration is an integer and a unit, such as 30s, up to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_in_seconds_unless_it_has_a_unit() {
        assert_eq!(wait("30"), Ok(Duration::from_secs(30)));
        assert_eq!(wait("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(wait("2m"), Ok(Duration::from_secs(120)));
        assert!(wait("2w").is_err() && wait("").is_err() && wait("9999d").is_err());
    }
}
