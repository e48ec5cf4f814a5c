//! A PostgreSQL server: whether it lets the hub in, whether it keeps what it acknowledges, and how fast.

use std::time::Duration;

use super::{failed, schema, sqlite::commits};
use crate::{
    clock::now_utc,
    config::{DatabaseConfig, PostgresAddress},
    doctor::{
        examination::{Examination, Verdict},
        percentiles::Percentiles,
    },
    store::{PostgresCheckup, PostgresFacts, StoreError},
};

const HANGS: &str = "check host and port in DATABASE_URL, firewalls on the way, and the load of the server";
/// What needs a connection.
const WITH_CONNECTION: &[&str] = &[
    "database.version",
    "database.encoding",
    "database.durability",
    "database.role",
    "database.connections",
    "database.clock",
    "database.migrations",
    "database.write",
    "database.commit",
];
/// What the store needs.
const VERSION_MIN: i32 = 12_00_00;
/// How many times a commit is waited for.
const COMMITS: usize = 20;
/// A clock that is further off is told of.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// Of its connections so many, 0 to 1, may be in use.
const CONNECTIONS_HIGH: f64 = 0.8;

pub(super) async fn examine(address: &PostgresAddress, config: &DatabaseConfig, examination: &mut Examination) {
    let mut checkup = None;
    let connect = async {
        match PostgresCheckup::connect(address, config).await {
            Ok(connected) => {
                checkup = Some(connected);
                Verdict::passed(address.name.clone())
            }
            Err(error) => failed(&error, "check user, password, host, port and database in DATABASE_URL"),
        }
    };
    examination.check("database.connect", HANGS, connect).await;
    let Some(mut checkup) = checkup else { return examination.skip(WITH_CONNECTION, "there is no connection") };
    facts(&mut checkup, config, examination).await;
    let mut has_tables = false;
    let migrations = async {
        let state = checkup.schema().await;
        has_tables = state.as_ref().is_ok_and(|state| state.applied > 0);
        or_failed(state.map(schema))
    };
    let migrated = examination.check("database.migrations", HANGS, migrations).await;
    if migrated && has_tables {
        let write = async {
            or_failed(checkup.write_and_take_back().await.map(|()| Verdict::passed("a row was written and taken back")))
        };
        let written = examination.check("database.write", HANGS, write).await;
        if written {
            examination.check("database.commit", HANGS, async { or_failed(commit(&mut checkup).await) }).await;
        } else {
            examination.skip(&["database.commit"], "nothing can be written");
        }
    } else {
        examination.skip(&["database.write", "database.commit"], "its tables are not there yet, or another version's");
    }
    drop(tokio::time::timeout(examination.check_limit() / 5, checkup.close()).await);
}

async fn facts(checkup: &mut PostgresCheckup, config: &DatabaseConfig, examination: &mut Examination) {
    let (mut found, mut skew) = (None, Duration::ZERO);
    let ask = async {
        let begun = std::time::Instant::now();
        match checkup.facts().await {
            Ok(facts) => {
                // It looked at its clock somewhere in between.
                let half = begun.elapsed().as_millis() as i64 / 2;
                skew = Duration::from_millis((now_utc().timestamp_millis() - half).abs_diff(facts.clock_ms));
                let verdict = version(&facts);
                found = Some(facts);
                verdict
            }
            Err(error) => or_failed(Err(error)),
        }
    };
    examination.check("database.version", HANGS, ask).await;
    let Some(facts) = found else { return examination.skip(&WITH_CONNECTION[1..6], "the server does not tell") };
    examination.note("database.encoding", encoding(&facts));
    examination.note("database.durability", durability(&facts));
    examination.note("database.role", role(&facts));
    examination.note("database.connections", connections(&facts, config.pool_size));
    examination.note("database.clock", clock(skew));
}

fn or_failed(outcome: Result<Verdict, StoreError>) -> Verdict {
    outcome.unwrap_or_else(|error| failed(&error, "check the server in DATABASE_URL and the rights of its user"))
}

fn version(facts: &PostgresFacts) -> Verdict {
    let text = format!("PostgreSQL {}", facts.version);
    if facts.version_number < VERSION_MIN {
        return Verdict::failed(format!("{text} is too old"), "let DATABASE_URL name a server of version 12 or later");
    }
    Verdict::passed(text)
}

fn encoding(facts: &PostgresFacts) -> Verdict {
    if facts.encoding == "UTF8" {
        return Verdict::passed("UTF8");
    }
    let remedy =
        "make another database with createdb --encoding=UTF8 --template=template0, and name it in DATABASE_URL";
    Verdict::failed(format!("{} cannot hold every text", facts.encoding), remedy)
}

fn durability(facts: &PostgresFacts) -> Verdict {
    if !facts.fsync {
        return Verdict::warned(
            "fsync is off: if the server's machine fails, acknowledged messages are lost",
            "set fsync=on on the server in DATABASE_URL",
        );
    }
    Verdict::passed(format!(
        "a commit waits for the disk (synchronous_commit={} for the hub)",
        facts.synchronous_commit
    ))
}

fn role(facts: &PostgresFacts) -> Verdict {
    if facts.is_standby {
        return Verdict::failed("a standby, which takes no writes", "let DATABASE_URL name the primary");
    }
    Verdict::passed("a primary, which takes writes")
}

fn connections(facts: &PostgresFacts, pool_size: impl TryInto<i64>) -> Verdict {
    let pool_size = pool_size.try_into().unwrap_or(i64::MAX);
    let (open, max) = (facts.connections, facts.connections_max);
    let text = format!("{open} of {max} connections are open; each instance takes up to {pool_size}");
    let remedy = "raise max_connections on the server in DATABASE_URL, or lower DATABASE_POOL_SIZE";
    if pool_size > max {
        return Verdict::failed(text, remedy);
    }
    if (open + pool_size) as f64 > max as f64 * CONNECTIONS_HIGH {
        return Verdict::warned(text, remedy);
    }
    Verdict::passed(text)
}

fn clock(skew: Duration) -> Verdict {
    let text = format!("its clock is {} ms from ours", skew.as_millis());
    if skew > SKEW_MAX {
        return Verdict::warned(text, "let both machines follow NTP");
    }
    Verdict::passed(text)
}

async fn commit(checkup: &mut PostgresCheckup) -> Result<Verdict, StoreError> {
    let times = checkup.commit_times(COMMITS).await?;
    let remedy = "run PostgreSQL near the hub, in the same zone, and on a disk that is fast (DATABASE_URL)";
    Ok(Percentiles::of(times).map_or_else(|| Verdict::skipped("nothing was measured"), |found| commits(found, remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> PostgresFacts {
        PostgresFacts {
            version: "15.8".into(),
            version_number: 15_00_08,
            encoding: "UTF8".into(),
            fsync: true,
            synchronous_commit: "on".into(),
            is_standby: false,
            connections_max: 97,
            connections: 5,
            clock_ms: 0,
        }
    }

    #[test]
    fn a_good_server_passes() {
        let good = server();
        let verdicts = [version(&good), encoding(&good), durability(&good), role(&good), connections(&good, 10)];
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Passed(_))), "{verdicts:?}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_remedy() {
        let old = version(&PostgresFacts { version_number: 11_00_00, ..server() });
        let latin = encoding(&PostgresFacts { encoding: "LATIN1".into(), ..server() });
        let standby = role(&PostgresFacts { is_standby: true, ..server() });
        let few = connections(&server(), 98);
        for verdict in [old, latin, standby, few] {
            assert!(matches!(&verdict, Verdict::Failed(_, remedy) if remedy.contains("DATABASE_")), "{verdict:?}");
        }
        let lax = durability(&PostgresFacts { fsync: false, ..server() });
        let crowded = connections(&server(), 80);
        for verdict in [lax, crowded, clock(Duration::from_secs(5))] {
            assert!(matches!(verdict, Verdict::Warned(..)), "{verdict:?}");
        }
    }
}
