//! The figures of one scenario: a table for people, or one line of JSON for the script.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// A minute is the longest latency that is told apart, microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// An empty histogram of microseconds, three digits exact.
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the crate accepts")]
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("valid bounds")
}

/// Records `us`, above the longest as the longest.
pub fn record(histogram: &mut Histogram<u64>, us: u64) {
    histogram.saturating_record(us.max(1));
}

/// Quantile `q` in milliseconds.
pub fn quantile_ms(histogram: &Histogram<u64>, q: f64) -> f64 {
    histogram.value_at_quantile(q) as f64 / 1e3
}

/// Names, figures and their units, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Report {
    names: Vec<(&'static str, String)>,
    figures: Vec<(&'static str, f64, &'static str)>,
}

impl Report {
    /// Adds a text.
    pub fn name(&mut self, key: &'static str, value: impl Into<String>) -> &mut Self {
        self.names.push((key, value.into()));
        self
    }

    /// Adds a figure.
    pub fn figure(&mut self, key: &'static str, value: f64, unit: &'static str) -> &mut Self {
        self.figures.push((key, value, unit));
        self
    }

    /// Adds the usual quantiles of a histogram as `<key>_p50_ms` and so on.
    pub fn quantiles(&mut self, keys: [&'static str; 4], histogram: &Histogram<u64>) -> &mut Self {
        for (key, q) in keys.into_iter().zip([0.5, 0.99, 0.999, 1.0]) {
            self.figure(key, quantile_ms(histogram, q), "ms");
        }
        self
    }

    /// The value of a figure.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|(k, ..)| *k == key).map(|(_, value, _)| *value)
    }

    /// Aligned lines, one per figure.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.names {
            push(&mut out, format_args!("{key:<28} {value}\n"));
        }
        for (key, value, unit) in &self.figures {
            push(&mut out, format_args!("{key:<28} {} {unit}\n", rounded(*value)));
        }
        out
    }

    /// One line, an object.
    pub fn json(&self) -> String {
        let mut out = String::from("{");
        for (key, value) in &self.names {
            push(&mut out, format_args!("\"{key}\":\"{}\",", escaped(value)));
        }
        for (key, value, _) in &self.figures {
            push(&mut out, format_args!("\"{key}\":{},", rounded(*value)));
        }
        out.truncate(out.trim_end_matches(',').len());
        out.push('}');
        out
    }
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// Whole numbers as such, others with three decimals; what cannot be computed (0 / 0) as 0, which JSON can say.
fn rounded(value: f64) -> String {
    match value {
        v if !v.is_finite() => "0".into(),
        v if v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.3}"),
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latency = histogram();
        for ms in 1..=1_000 {
            record(&mut latency, ms * 1_000);
        }
        assert!((quantile_ms(&latency, 0.5) - 500.0).abs() < 1.0);
        assert!((quantile_ms(&latency, 0.99) - 990.0).abs() < 1.0);
        record(&mut latency, u64::MAX);
        record(&mut latency, 0);
        assert_eq!(latency.len(), 1_002, "extremes are kept, not dropped");
        assert!(quantile_ms(&latency, 1.0) >= 60_000.0);
    }

    #[test]
    fn json_is_one_valid_line() {
        let mut report = Report::default();
        report.name("first_error", "a \"b\"\n").figure("lost", 0.0, "").figure("cpu", 1.23456, "µs").figure(
            "ratio",
            f64::NAN,
            "",
        );
        assert_eq!(report.json(), r#"{"first_error":"a \"b\" ","lost":0,"cpu":1.235,"ratio":0}"#);
        assert_eq!(report.get("cpu"), Some(1.23456));
    }
}
