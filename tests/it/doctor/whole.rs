//! The whole of it: on servers that are well and in use, as text, as JSON, and when the settings cannot be read.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::{USUAL, examine, examine_in};
use crate::support::{
    PostgresServer, RedisServer, TestClient, TestHub,
    cluster::{PASSWORD, connected},
    eventually,
    hub::run,
    redis_cluster::RedisCluster,
    sentinels::Sentinels,
};

/// What must have been looked at on a server that is well.
const OF_REDIS: &[&str] = &[
    "redis.resolve",
    "redis.connect",
    "redis.login",
    "redis.ping",
    "redis.set-get",
    "redis.ttl",
    "redis.delete",
    "redis.batch",
    "redis.scan",
    "redis.scripts",
    "redis.permissions",
    "redis.info",
    "redis.version",
    "redis.role",
    "redis.memory",
    "redis.eviction",
    "redis.persistence",
    "redis.clients",
    "redis.clock",
];

fn files(home: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(home.path().join("data")).expect("its folder").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn redis_and_sqlite_in_use_are_well_and_stay_as_they_were() {
    let redis = RedisServer::with_password(PASSWORD).await;
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str())];
    let mut hub = TestHub::with(&settings).await;
    connected(&hub).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send("before").await;
    let (files_before, channels_before) = (files(hub.home()), redis.room_channels().await);

    let report = examine_in(hub.home().path(), &settings, USUAL).await;
    report.is_well_but_for(&["settings.instances"]);
    report.passes(OF_REDIS);
    report.passes(&["redis.pubsub", "database.folder", "database.open", "database.version", "database.migrations"]);
    report.passes(&["database.journal", "database.write"]);
    for measured in ["redis.latency", "database.commit"] {
        assert!(report.check(measured)["text"].as_str().is_some_and(|text| text.contains("p99")), "{report:#?}");
    }
    assert_eq!(report.document["version"], env!("CARGO_PKG_VERSION"));

    // Nothing is left of it, and whoever uses the hub noticed nothing.
    let of_others = |key: &String| key.starts_with("hubbub:cache:"); // the hub's own, which comes and goes
    assert!(redis.ask(&["KEYS", "*"]).await.iter().all(of_others));
    eventually("its channels are gone", async || (redis.room_channels().await == channels_before).then_some(())).await;
    assert_eq!(files(hub.home()), files_before);
    assert_eq!(ada.send("after").await, 2);
    let projects = hub.http().get("/api/projects?name=Ada").await.json();
    assert_eq!(projects["items"].as_array().map(Vec::len), Some(1), "{projects}");
    assert!(!ada.was_degraded());
    hub.stop().await;
}

#[tokio::test]
async fn redis_and_postgresql_in_use_are_well_and_stay_as_they_were() {
    let redis = RedisServer::with_password(PASSWORD).await;
    // As the hub needs it; the other tests' servers do without.
    let postgres = PostgresServer::with(&["fsync=on"], &[]);
    let database = postgres.database().await;
    let (redis_url, database_url) = (redis.url(), postgres.url(&database));
    let settings = [("REDIS_URL", redis_url.as_str()), ("DATABASE_URL", database_url.as_str())];

    let before = examine(&settings).await;
    before.is_well_but_for(&["database.migrations"]);
    before.warns("database.migrations", "0 of", "hubbub migrate");

    let mut hub = TestHub::with(&settings).await;
    connected(&hub).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send("before").await;
    let report = examine(&settings).await;
    report.is_well_but_for(&[]);
    report.passes(OF_REDIS);
    let of_server =
        ["connect", "version", "encoding", "durability", "role", "connections", "clock", "migrations", "write"];
    report.passes(&of_server.map(|what| format!("database.{what}")).each_ref().map(String::as_str));
    assert_eq!(ada.send("after").await, 2);
    let projects = hub.http().get("/api/projects?name=Ada").await.json();
    assert_eq!(projects["items"].as_array().map(Vec::len), Some(1), "{projects}");
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_on_its_own_that_never_ran_is_well_and_nothing_is_made() {
    let home = TempDir::new().expect("a folder");
    let report = examine_in(home.path(), &[], USUAL).await;
    report.is_well_but_for(&[]);
    assert_eq!(report.check("redis.configured")["status"], "skipped");
    assert!(!home.path().join("data").exists(), "the database's folder was made");
}

#[tokio::test]
async fn a_cluster_is_well_by_sharded_channels() {
    let cluster = RedisCluster::start(0).await;
    let report = examine(&[("REDIS_URL", &cluster.url())]).await;
    report.is_well_but_for(&["settings.instances"]);
    report.passes(OF_REDIS);
    report.passes(&["redis.sharded-pubsub"]);
    assert_eq!(report.check("redis.pubsub")["status"], "skipped");
}

#[tokio::test]
async fn a_primary_that_sentinels_name_is_well() {
    let sentinels = Sentinels::start(PASSWORD, PASSWORD).await;
    let report = examine(&[("REDIS_URL", &sentinels.url(PASSWORD, PASSWORD))]).await;
    report.is_well_but_for(&["settings.instances"]);
    report.passes(OF_REDIS);
    report.passes(&["redis.pubsub"]);
}

#[tokio::test]
async fn people_get_aligned_lines_without_colours_in_a_file() {
    let redis = RedisServer::start().await;
    let home = TempDir::new().expect("a folder");
    let ended = run(home.path(), &[("REDIS_URL", &redis.url())], &["doctor"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert!(!ended.out.contains('\x1b'), "{ended:?}");
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines[0], "settings");
    assert!(lines.contains(&"redis") && lines.contains(&"database"), "{ended:?}");
    let checks: Vec<_> = lines.iter().filter(|line| line.starts_with("  ") && !line.contains("->")).collect();
    assert!(checks.len() > 30, "{ended:?}");
    let column = checks[0].find("people may join").expect("its text");
    for line in &checks {
        let (before, after) = line.split_at(column);
        assert!(before.ends_with("  ") && !after.starts_with(' '), "not aligned: {line}");
    }
    assert!(lines.last().is_some_and(|last| last.contains(" passed, 1 warned, 0 failed, ")), "{ended:?}");
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_told_and_the_status_is_2() {
    let home = TempDir::new().expect("a folder");
    let wrong = [("PORT", "http"), ("REDIS_URL", "foo"), ("HUBBUB_LOG", "info")];
    let ended = run(home.path(), &wrong, &["doctor"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("PORT") && ended.err.contains("REDIS_URL"), "{ended:?}");
    let ended = run(home.path(), &wrong, &["doctor", "--json"]).await;
    let document: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!((ended.code, &document["status"]), (Some(2), &Value::from("unreadable")));
    assert_eq!(document["faults"].as_array().map(Vec::len), Some(2), "{document}");
    assert_eq!(run(home.path(), &[("HUBBUB_LOG", "==")], &["doctor"]).await.code, Some(2));
    assert_eq!(run(home.path(), &[("HUBBUB_LOG_FORMAT", "prose")], &["doctor", "--json"]).await.code, Some(2));
    assert_eq!(run(home.path(), &[], &["doctor", "--check-timeout-ms", "1"]).await.code, Some(2));
    std::fs::write(home.path().join(".env"), "no setting").expect("a file");
    assert_eq!(run(home.path(), &[], &["doctor"]).await.code, Some(2));
}

#[tokio::test]
async fn what_is_open_to_all_is_warned_of() {
    let report = examine(&[("HOST", "0.0.0.0"), ("ALLOW_GUESTS", "true"), ("ALLOWED_ORIGINS", "*")]).await;
    report.is_well_but_for(&["settings.guests", "settings.origins"]);
    report.warns("settings.guests", "by name alone", "ALLOW_GUESTS=false");
}
