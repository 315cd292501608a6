//! Sizes as people write them: `512`, `64KiB`, `1MiB`, `1GiB`.

/// Reads one.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1u64 << 30,
        _ => return Err(format!("{text:?}: a size is a number with B, KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|e| format!("{text:?}: {e}"))?;
    number.checked_mul(scale).ok_or_else(|| format!("{text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_are_binary() {
        assert_eq!(parse("512"), Ok(512));
        assert_eq!(parse("64KiB"), Ok(65536));
        assert_eq!(parse("1GiB"), Ok(1 << 30));
        assert!(parse("64k").is_err() && parse("KiB").is_err() && parse("99999999999GiB").is_err());
    }
}
