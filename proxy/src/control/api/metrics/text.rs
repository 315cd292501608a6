//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

use crate::base::metric::{Buckets, LE_BOUNDS_US, Metric};

#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// The two lines before a metric's first sample.
    pub(super) fn head(&mut self, metric: Metric) {
        let Metric { name, kind, help, .. } = metric;
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.token());
    }

    /// A sample without labels, with its head.
    pub(super) fn one(&mut self, metric: Metric, value: u64) {
        self.rows(metric, [([], value)]);
    }

    /// All samples of a metric, with its head.
    pub(super) fn rows<'a, const N: usize>(
        &mut self,
        metric: Metric,
        rows: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) {
        self.head(metric);
        rows.into_iter().for_each(|(labels, value)| self.row(metric, labels, value));
    }

    /// A sample whose head has been written.
    pub(super) fn row<const N: usize>(&mut self, metric: Metric, values: [&str; N], value: u64) {
        let labels = metric.labels.iter().copied().zip(values);
        self.sample(metric.name, "", labels, value);
    }

    /// A histogram's samples, in seconds, whose head has been written.
    pub(super) fn histogram(&mut self, metric: Metric, value: &str, times: &Buckets) {
        let name = metric.labels.first().copied().unwrap_or_default();
        for bound in LE_BOUNDS_US {
            let le = Seconds(bound).to_string();
            self.sample(metric.name, "_bucket", [(name, value), ("le", &le)], times.below(bound));
        }
        let count = times.count();
        self.sample(metric.name, "_bucket", [(name, value), ("le", "+Inf")], count);
        self.sample(metric.name, "_sum", [(name, value)], Seconds(times.sum_us));
        self.sample(metric.name, "_count", [(name, value)], count);
    }

    fn sample<'a>(
        &mut self,
        name: &str,
        suffix: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: impl Display,
    ) {
        self.0.push_str(name);
        self.0.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            let _ = write!(self.0, "{before}{name}=\"{}\"", Label(value));
            before = ',';
        }
        if before == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Microseconds, shown as seconds without rounding.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A label's value, escaped.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
