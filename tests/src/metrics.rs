//! Prometheus text, read into a map.

use std::collections::BTreeMap;

/// Samples by their full name with labels, as exposed.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the text exposition format; panics on a line that is none of it.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(samples.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"))).collect())
    }

    /// The sum of all samples of a family whose labels hold each of `labels` (`name="value"`).
    pub fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let of_family = |name: &str| name.strip_prefix(family).is_some_and(|r| r.is_empty() || r.starts_with('{'));
        let matching = self.0.iter().filter(|(name, _)| of_family(name) && labels.iter().all(|l| name.contains(l)));
        matching.map(|(_, value)| value).sum()
    }

    /// How often requests ended with a reason.
    pub fn reason(&self, token: &str) -> u64 {
        self.sum("weir_reasons_total", &[&format!("reason=\"{token}\"")]) as u64
    }

    /// Whether a family has samples.
    pub fn has(&self, family: &str) -> bool {
        self.0.keys().any(|name| name.split('{').next() == Some(family))
    }

    /// All families that have samples, once each.
    pub fn families(&self) -> Vec<&str> {
        let mut families: Vec<_> = self.0.keys().filter_map(|name| name.split('{').next()).collect();
        families.dedup();
        families
    }
}

fn sample(line: &str) -> Option<(String, f64)> {
    // A label value may hold spaces: the name ends at the closing brace, or at the first space.
    let end = line.rfind('}').map_or_else(|| line.find(' '), |at| Some(at + 1))?;
    let value = line[end..].split_whitespace().next()?;
    Some((line[..end].to_owned(), value.replace("+Inf", "inf").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# TYPE x counter\nx_total{reason=\"ok\",a=\"b c\"} 3\nx_total{reason=\"no\"} 4\nx_total_more 9\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("x_total", &[]), 7.0);
        assert_eq!(metrics.sum("x_total", &["reason=\"ok\""]), 3.0);
    }
}
