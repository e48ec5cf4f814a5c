//! What was found, for people and for programs.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

/// Something shorter is no secret, and would be found in any text.
const SECRET_BYTES_MIN: usize = 4;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// The hub works, and something should be looked at.
    Warned,
    /// The hub does not work as it should.
    Failed,
    /// Not checked.
    Skipped,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Passed, Self::Warned, Self::Failed, Self::Skipped];

    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// As terminals take it: green, yellow, red, dim.
    fn color(self) -> &'static str {
        match self {
            Self::Passed => "\x1b[32m",
            Self::Warned => "\x1b[33m",
            Self::Failed => "\x1b[31m",
            Self::Skipped => "\x1b[2m",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `part.what`, as in `redis.ping`.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was seen.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// All findings. No secret is in any of their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Report {
    /// Takes the secrets out of the texts: a last line of defence, since a server may quote anything.
    pub(super) fn new(mut findings: Vec<Finding>, secrets: &[String]) -> Self {
        for text in findings.iter_mut().flat_map(|finding| finding.remedy.iter_mut().chain([&mut finding.text])) {
            for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "(secret)");
                }
            }
        }
        Self(findings)
    }

    /// One by one.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// 0 when all passed or warned, 1 when something failed.
    pub fn exit_status(&self) -> u8 {
        u8::from(self.count(Outcome::Failed) > 0)
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|finding| finding.outcome == outcome).count()
    }

    fn status(&self) -> Outcome {
        let worst = [Outcome::Failed, Outcome::Warned].into_iter().find(|outcome| self.count(*outcome) > 0);
        worst.unwrap_or(Outcome::Passed)
    }

    /// `{"status", "version", "passed", "warned", "failed", "skipped", "checks": [{"name", "status", "text", "remedy",
    /// "took_ms"}]}`; `remedy` is null where nothing is to be done.
    pub fn to_json(&self) -> Value {
        let checks: Vec<_> = self
            .0
            .iter()
            .map(|finding| {
                let took_ms = (finding.took.as_secs_f64() * 1e5).round() / 1e2;
                json!({
                    "name": finding.name,
                    "status": finding.outcome.word(),
                    "text": finding.text,
                    "remedy": finding.remedy,
                    "took_ms": took_ms,
                })
            })
            .collect();
        let mut report = json!({
            "status": self.status().word(),
            "version": env!("CARGO_PKG_VERSION"),
            "checks": checks,
        });
        for outcome in Outcome::ALL {
            report[outcome.word()] = self.count(outcome).into();
        }
        report
    }

    /// In lines, by part, aligned; `colored` for a terminal.
    pub fn to_text(&self, colored: bool) -> String {
        let short = |finding: &Finding| finding.name.split_once('.').map_or(finding.name, |(_, what)| what);
        let width = self.0.iter().map(|finding| short(finding).len()).max().unwrap_or_default();
        let (mut text, mut part) = (String::new(), "");
        for finding in &self.0 {
            let of = finding.name.split('.').next().unwrap_or_default();
            if of != part {
                let gap = if part.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}{of}"); // writing to a String does not fail
                part = of;
            }
            let (on, off) = if colored { (finding.outcome.color(), "\x1b[0m") } else { ("", "") };
            let word = finding.outcome.word();
            let _ = writeln!(text, "  {on}{word:<7}{off}  {:<width$}  {}", short(finding), finding.text);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "  {:<7}  {:<width$}  -> {remedy}", "", "");
            }
        }
        let counts: Vec<_> =
            Outcome::ALL.iter().map(|outcome| format!("{} {}", self.count(*outcome), outcome.word())).collect();
        let sum = match self.status() {
            Outcome::Failed => "the hub does not work as it should",
            Outcome::Warned => "the hub works; the warnings want a look",
            _ => "all is well",
        };
        let _ = writeln!(text, "\n{}: {sum}", counts.join(", "));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &'static str, outcome: Outcome, remedy: Option<&str>) -> Finding {
        let (text, took) = (format!("seen hunter2 in {name}"), Duration::from_micros(1_234));
        Finding { name, outcome, text, remedy: remedy.map(str::to_owned), took }
    }

    fn report() -> Report {
        let findings = vec![
            finding("redis.ping", Outcome::Passed, None),
            finding("redis.permissions", Outcome::Failed, Some("not hunter2 but REDIS_URL")),
            finding("database.open", Outcome::Warned, Some("DATABASE_URL")),
        ];
        Report::new(findings, &["hunter2".into(), String::new(), "in".into()])
    }

    #[test]
    fn lines_are_aligned_and_the_remedy_stands_below() {
        let expected = "redis\n  passed   ping         seen (secret) in redis.ping\n  failed   permissions  seen (secret) in \
                        redis.permissions\n                        -> not (secret) but REDIS_URL\n\ndatabase\n  warned   \
                        open         seen (secret) in database.open\n                        -> DATABASE_URL\n\n1 passed, \
                        1 warned, 1 failed, 0 skipped: the hub does not work as it should\n";
        assert_eq!(report().to_text(false), expected);
        assert!(report().to_text(true).contains("\x1b[31mfailed \x1b[0m  permissions"));
    }

    #[test]
    fn programs_get_all_of_it() {
        let json = report().to_json();
        assert_eq!((&json["status"], &json["passed"], &json["failed"]), (&json!("failed"), &json!(1), &json!(1)));
        let first = json!({"name": "redis.ping", "status": "passed", "text": "seen (secret) in redis.ping",
                           "remedy": null, "took_ms": 1.23});
        assert_eq!(json["checks"][0], first);
        assert!(!json.to_string().contains("hunter2"));
    }

    #[test]
    fn only_a_failure_fails() {
        assert_eq!(report().exit_status(), 1);
        let fine = [Outcome::Passed, Outcome::Warned, Outcome::Skipped].map(|outcome| finding("a.b", outcome, None));
        assert_eq!(Report::new(fine.into(), &[]).exit_status(), 0);
    }
}
