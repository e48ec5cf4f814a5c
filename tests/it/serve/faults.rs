//! What stands in the way of a start: named with its setting, without a panic, all at once.

use std::path::Path;

use tempfile::TempDir;

use crate::support::{
    TestHub,
    hub::{Ended, Settings, run},
};

/// A start that must fail.
async fn refused(home: &Path, settings: Settings<'_>) -> String {
    let Ended { success, out, err, .. } = run(home, settings, &[]).await;
    assert!(!success && out.is_empty(), "it started: {out}");
    err
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let hub = TestHub::start().await;
    let port = hub.address().port().to_string();
    let told = refused(folder().path(), &[("PORT", &port)]).await;
    assert!(told.contains(&hub.address().to_string()) && told.contains("PORT"), "{told}");
}

#[tokio::test]
async fn a_database_that_cannot_be_is_named() {
    let home = folder();
    std::fs::write(home.path().join("file"), "not a folder").expect("a file");
    std::fs::write(home.path().join("garbage"), vec![b'x'; 8192]).expect("a file");
    for url in ["sqlite:file/hubbub.db", "sqlite:/proc/nowhere/hubbub.db", "sqlite:garbage", "sqlite:."] {
        let told = refused(home.path(), &[("PORT", "0"), ("DATABASE_URL", url)]).await;
        assert!(told.contains("DATABASE_URL"), "{url}: {told}");
        assert!(told.lines().count() < 8, "{url}: in a few plain words: {told}");
    }
}

#[tokio::test]
async fn all_wrong_settings_are_named_at_once() {
    let home = folder();
    let wrong = [
        ("PORT", "70000"),
        ("HOST", "nowhere.example"),
        ("WORKERS", "many"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("ALLOW_GUESTS", "perhaps"),
        ("JWT_SECRET", "hunter2"),
        ("ALLOWED_ORIGINS", "app.example"),
        ("DATABASE_URL", "mysql://db"),
        ("DATABASE_BUSY_TIMEOUT_MS", "-1"),
        ("DATABASE_READERS", "0"),
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_CONNECT_TIMEOUT_MS", "never"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "0"),
        ("USE_REDIS", "maybe"),
        ("REDIS_URL", "http://user:s3cret@host"),
        ("REDIS_PORT", "x"),
        ("REDIS_TLS_ENABLED", "x"),
        ("REDIS_CONNECT_TIMEOUT", "soon"),
        ("REDIS_COMMAND_TIMEOUT", "0"),
        ("HEARTBEAT_INTERVAL_MS", "1"),
        ("PRESENCE_TTL_MS", "1.5"),
        ("PRESENCE_GRACE_MS", ""),
        ("CURSOR_TICK_MS", "0"),
        ("FLUSH_INTERVAL_MS", "0"),
        ("ROOM_IDLE_MS", "x"),
        ("MAX_FRAME_BYTES", "1"),
        ("MAX_BODY_BYTES", "1"),
        ("MAX_ROOMS_PER_CONNECTION", "0"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("MAX_CONNECTIONS_PER_USER", "0"),
        ("RATE_JOINS", "0"),
        ("RATE_MESSAGES", "0"),
        ("RATE_CURSORS", "0"),
        ("RATE_PRESENCE", "0"),
        ("RATE_BROADCASTS", "0"),
        ("OUTBOX_BYTES_MAX", "1"),
        ("SLOW_CONSUMER_MS", "0"),
        ("DRAIN_TIMEOUT_MS", "x"),
    ];
    let told = refused(home.path(), &wrong).await;
    for (name, _) in wrong {
        assert!(told.contains(&format!("{name}:")), "{name} is not named: {told}");
    }
    assert!(!told.contains("s3cret") && !told.contains("hunter2"), "a secret is shown: {told}");
    assert!(!home.path().join("data").exists(), "nothing is made before the settings are right");
    for wrong in [("HUBBUB_LOG", "hubbub=loud"), ("HUBBUB_LOG_FORMAT", "xml")] {
        let told = refused(home.path(), &[("PORT", "0"), wrong]).await;
        assert!(told.contains(wrong.0), "{told}");
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_named() {
    let home = folder();
    let told = refused(home.path(), &[("HEARTBEAT_INTERVAL_MS", "10000"), ("PRESENCE_TTL_MS", "15000")]).await;
    assert!(told.contains("PRESENCE_TTL_MS") && told.contains("HEARTBEAT_INTERVAL_MS"), "{told}");
    let told = refused(home.path(), &[("HOST", "0.0.0.0"), ("PORT", "0")]).await;
    assert!(told.contains("JWT_SECRET") && told.contains("ALLOW_GUESTS=true"), "what to do is said: {told}");
    let told = refused(home.path(), &[("ALLOW_GUESTS", "false"), ("PORT", "0")]).await;
    assert!(told.contains("JWT_SECRET"), "nobody could connect: {told}");
}

#[tokio::test]
async fn a_broken_dot_env_is_named_and_not_shown() {
    let home = folder();
    std::fs::write(home.path().join(".env"), "REDIS_PASSWORD=a s3cret with spaces\n").expect("a file");
    let told = refused(home.path(), &[("PORT", "0")]).await;
    assert!(told.contains(".env") && !told.contains("s3cret"), "{told}");
}
