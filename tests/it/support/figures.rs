//! Figures of a hub, as Prometheus reads them.

use std::collections::BTreeMap;

use super::{TestHub, eventually};

/// What `/metrics` said.
#[derive(Debug)]
pub struct Figures {
    pub text: String,
    /// By name with labels, as it stands there.
    values: BTreeMap<String, f64>,
}

impl Figures {
    pub async fn of(hub: &TestHub) -> Self {
        let answer = hub.http().get("/metrics").await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(answer.body)
    }

    pub fn parse(text: String) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { values: lines.map(sample).collect(), text }
    }

    /// Of one series, 0 when there is none.
    pub fn value(&self, series: &str) -> f64 {
        self.values.get(series).copied().unwrap_or_default()
    }

    /// Of all series of a figure together.
    pub fn sum(&self, name: &str) -> f64 {
        self.values.iter().filter(|(series, _)| series.split('{').next() == Some(name)).map(|(_, value)| value).sum()
    }

    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// Waits until a condition on the figures holds.
pub async fn eventually_figures(hub: &TestHub, what: &str, condition: impl Fn(&Figures) -> bool) -> Figures {
    eventually(what, async || Some(Figures::of(hub).await).filter(&condition)).await
}
