//! One examination: checks in their order, none of which may take too long or keep the others from being made.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::report::{Finding, Outcome, Report};

/// How long an examination may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One check.
    pub check: Duration,
    /// All of them.
    pub whole: Duration,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be: what was seen.
    Passed(String),
    /// The hub works, but: what was seen, and what to do.
    Warned(String, String),
    /// The hub does not work as it should: what was seen, and what to do.
    Failed(String, String),
    /// It could not be or need not be checked: why.
    Skipped(String),
}

impl Verdict {
    pub(super) fn passed(text: impl Into<String>) -> Self {
        Self::Passed(text.into())
    }

    pub(super) fn warned(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warned(text.into(), remedy.into())
    }

    pub(super) fn failed(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed(text.into(), remedy.into())
    }

    pub(super) fn skipped(text: impl Into<String>) -> Self {
        Self::Skipped(text.into())
    }
}

/// Gathers findings.
pub(super) struct Examination {
    limits: Limits,
    begun: Instant,
    findings: Vec<Finding>,
}

impl Examination {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, begun: Instant::now(), findings: Vec::new() }
    }

    /// How long one check may take.
    pub(super) fn check_limit(&self) -> Duration {
        self.limits.check
    }

    /// Makes a check and says whether it found nothing wrong. `remedy` is for one that does not come to an end.
    pub(super) async fn check(
        &mut self,
        name: &'static str,
        remedy: &str,
        check: impl Future<Output = Verdict>,
    ) -> bool {
        let (begun, end) = (Instant::now(), self.begun + self.limits.whole);
        if begun >= end {
            return self.note(name, Verdict::skipped("the time for all checks is over (--timeout-ms)"));
        }
        let deadline = end.min(begun + self.limits.check);
        let verdict = timeout_at(deadline.into(), check).await.unwrap_or_else(|_| {
            let waited = deadline.duration_since(begun).as_millis();
            Verdict::failed(format!("no answer within {waited} ms"), remedy)
        });
        self.add(name, verdict, begun.elapsed())
    }

    /// Notes a check that takes no time.
    pub(super) fn note(&mut self, name: &'static str, verdict: Verdict) -> bool {
        self.add(name, verdict, Duration::ZERO)
    }

    /// Skips checks that make no sense any more.
    pub(super) fn skip(&mut self, names: &[&'static str], reason: &str) {
        for name in names {
            self.note(name, Verdict::skipped(reason));
        }
    }

    fn add(&mut self, name: &'static str, verdict: Verdict, took: Duration) -> bool {
        let (outcome, text, remedy) = match verdict {
            Verdict::Passed(text) => (Outcome::Passed, text, None),
            Verdict::Warned(text, remedy) => (Outcome::Warned, text, Some(remedy)),
            Verdict::Failed(text, remedy) => (Outcome::Failed, text, Some(remedy)),
            Verdict::Skipped(text) => (Outcome::Skipped, text, None),
        };
        self.findings.push(Finding { name, outcome, text, remedy, took });
        outcome != Outcome::Failed
    }

    pub(super) fn finish(self, secrets: &[String]) -> Report {
        Report::new(self.findings, secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Limits = Limits { check: Duration::from_millis(20), whole: Duration::from_millis(50) };

    #[tokio::test]
    async fn what_hangs_fails_and_when_all_time_is_over_the_rest_is_skipped() {
        let mut examination = Examination::new(SOON);
        assert!(examination.check("quick", "", async { Verdict::passed("") }).await);
        for _ in 0..5 {
            examination.check("hangs", "let it go", std::future::pending()).await;
        }
        let report = examination.finish(&[]);
        let outcomes: Vec<_> = report.findings().iter().map(|finding| finding.outcome).collect();
        assert_eq!(outcomes[..3], [Outcome::Passed, Outcome::Failed, Outcome::Failed]);
        assert_eq!(outcomes[4..], [Outcome::Skipped, Outcome::Skipped]);
        assert_eq!(report.findings()[1].remedy.as_deref(), Some("let it go"));
    }
}
