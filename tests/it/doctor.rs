//! `hubbub doctor`: on every kind of server, well or not, it names what is wrong and the setting to change, soon, leaves
//! nothing behind and shows no secret.

mod database;
mod redis;
mod redis_tls;
mod whole;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    cluster::PASSWORD,
    hub::{Settings, run},
    postgres::DATABASE_PASSWORD,
};

/// For servers that answer.
const USUAL: &[&str] = &["doctor", "--json"];
/// For servers that do not.
const HURRIED: &[&str] = &["doctor", "--json", "--check-timeout-ms", "1000", "--timeout-ms", "6000"];

/// What the doctor found.
#[derive(Debug)]
struct Report {
    status: i32,
    document: Value,
    took: Duration,
}

/// In a folder of its own.
async fn examine(settings: Settings<'_>) -> Report {
    let home = TempDir::new().expect("a folder");
    examine_in(home.path(), settings, USUAL).await
}

async fn hurried(settings: Settings<'_>) -> Report {
    let home = TempDir::new().expect("a folder");
    examine_in(home.path(), settings, HURRIED).await
}

async fn examine_in(home: &Path, settings: Settings<'_>, arguments: &[&str]) -> Report {
    let begun = Instant::now();
    let ended = run(home, settings, arguments).await;
    for secret in [PASSWORD, DATABASE_PASSWORD] {
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "a secret is shown: {ended:?}");
    }
    assert!(ended.err.is_empty(), "the report is all it says: {ended:?}");
    let document = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    Report { status: ended.code.expect("a status"), document, took: begun.elapsed() }
}

impl Report {
    fn checks(&self) -> &Vec<Value> {
        self.document["checks"].as_array().expect("checks")
    }

    fn check(&self, name: &str) -> &Value {
        let mut checks = self.checks().iter();
        checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// The names of all checks that went so.
    fn all(&self, status: &str) -> Vec<&str> {
        let checks = self.checks().iter().filter(|check| check["status"] == status);
        checks.map(|check| check["name"].as_str().expect("a name")).collect()
    }

    /// Asserts that a check failed, the exit status says so, and the remedy names what to change.
    fn fails(&self, name: &str, text: &str, remedy: &str) {
        assert_eq!(self.status, 1, "{self:#?}");
        assert_eq!(self.document["status"], "failed", "{self:#?}");
        self.says(name, "failed", text, remedy);
    }

    fn warns(&self, name: &str, text: &str, remedy: &str) {
        self.says(name, "warned", text, remedy);
    }

    fn says(&self, name: &str, status: &str, text: &str, remedy: &str) {
        let check = self.check(name);
        assert_eq!(check["status"], status, "{check} in {self:#?}");
        assert!(check["text"].as_str().is_some_and(|found| found.contains(text)), "`{text}` is not in {check}");
        assert!(check["remedy"].as_str().is_some_and(|found| found.contains(remedy)), "`{remedy}` is not in {check}");
    }

    fn passes(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.check(name)["status"], "passed", "{name} in {self:#?}");
        }
    }

    /// Asserts that nothing failed, and that only these warn.
    fn is_well_but_for(&self, warned: &[&str]) {
        assert_eq!(self.status, 0, "{self:#?}");
        assert_eq!(self.all("failed"), [""; 0], "{self:#?}");
        // How fast disk and network are in the moment of a test is not the test's affair.
        let of_pace = ["redis.latency", "database.commit", "settings.files", "database.space"];
        let found: Vec<_> = self.all("warned").into_iter().filter(|name| !of_pace.contains(name)).collect();
        assert_eq!(found, warned, "{self:#?}");
    }
}
