//! SQLite's file cannot be written: the disk is full, or the file is read-only.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{
    RedisServer, TestClient, TestHub,
    cluster::connected,
    eventually,
    hub::{UNHURRIED, run_powerless},
};

/// Larger than what is written besides.
const LONG: usize = 60_000;

fn file(hub: &TestHub) -> PathBuf {
    hub.home().path().join("data/hubbub.db")
}

/// Lets no file of the hub grow beyond what its database has now, or lets them grow again. A write beyond fails as on a
/// full disk, and nobody has to be root for it.
fn limit_files(hub: &TestHub, full: bool) {
    let bytes = |name: &str| fs::metadata(file(hub).with_file_name(name)).expect("a file").len();
    let current = full.then(|| bytes("hubbub.db").max(bytes("hubbub.db-wal")));
    prlimit(Some(hub.pid()), Resource::Fsize, Rlimit { current, maximum: None }).expect("the limit");
}

async fn is_ready(hub: &TestHub, ready: bool) {
    let http = hub.http();
    eventually("readiness follows", async || {
        (http.get("/health/ready").await.status == if ready { 200 } else { 503 }).then_some(())
    })
    .await;
}

async fn is_refused(client: &mut TestClient, id: &str, body: &str) {
    let reference = client.post(id, body);
    let refused = client.refusal(reference, "unavailable").await;
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
}

#[tokio::test]
async fn a_full_disk() {
    let mut hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.send("before").await;
    limit_files(&hub, true);

    // What fits in what is there already may still be stored.
    let long = "x".repeat(LONG);
    let (mut stored, id) = (1, Uuid::new_v4().to_string());
    let mut refused = None;
    while refused.is_none() {
        let reference = ada.post(&id_of(stored, &id), long.as_str());
        let answer = ada.answer(reference).await;
        if answer["type"] == "ack" {
            stored += 1;
            assert!(stored < 1_000, "the limit has no effect");
        } else {
            assert_eq!(answer["code"], "unavailable", "{answer}");
            assert!(answer["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
            refused = Some(id_of(stored, &id));
        }
    }
    let refused = refused.expect("an id");
    is_ready(&hub, false).await;
    assert_eq!(bob.until_status("degraded").await["reasons"], json!(["database"]));
    ada.broadcast("still", json!(1));
    bob.next_of("broadcast").await;
    is_refused(&mut ada, &refused, &long).await;
    assert_eq!(hub.http().whole_history("p/r").await.len(), stored, "reading goes on");

    limit_files(&hub, false);
    is_ready(&hub, true).await;
    bob.until_status("live").await;
    let ack = ada.send_as(&refused, long.as_str()).await;
    assert_eq!((ack.seq, ack.duplicate), (stored as u64 + 1, false), "nothing was written before, no place was lost");
    ada.send("last").await;
    let seqs: Vec<_> = bob.messages_until("last").await.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=stored as u64 + 2).collect::<Vec<_>>());
    hub.stop().await;
    hub.restart().await;
    assert_eq!(hub.http().whole_history("p/r").await.len(), stored + 2);
}

/// An id for each number, the same when it is asked again.
fn id_of(number: usize, seed: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{seed}{number}").as_bytes()).to_string()
}

#[tokio::test]
async fn a_file_that_is_read_only_is_named_at_the_start() {
    let home = Arc::new(TempDir::new().expect("a folder"));
    let mut hub = TestHub::powerless_in(Arc::clone(&home), &[]).await;
    hub.stop().await;
    let (data, file) = (home.path().join("data"), file(&hub));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
    for (path, forbidden, allowed) in [(&data, 0o555, 0o755), (&file, 0o444, 0o644)] {
        mode(path, forbidden);
        let ended = run_powerless(home.path(), &[("PORT", "0")]).await;
        mode(path, allowed);
        assert!(!ended.success && ended.err.contains("DATABASE_URL"), "{path:?}: {ended:?}");
        assert!(ended.err.contains("not writable") && ended.err.contains("hubbub.db"), "{path:?}: {ended:?}");
    }
    TestHub::powerless_in(home, &[]).await.stop().await;
}

#[tokio::test]
async fn a_file_for_several_machines_is_warned_of() {
    let redis = RedisServer::start().await;
    let hub = TestHub::with(&[("REDIS_URL", &redis.url())]).await;
    connected(&hub).await;
    let warned = |line: &str| line.contains(" WARN ") && line.contains("SQLite") && line.contains("DATABASE_URL");
    assert!(hub.log().lines().any(warned), "{}", hub.log());
    assert!(!hub.log().contains("another machine"), "{}", hub.log());
    let machines = file(&hub).with_file_name("hubbub.db.machines");
    eventually("it left its own sign", async || (fs::read_dir(&machines).ok()?.count() == 1).then_some(())).await;

    fs::write(machines.join("0000"), "the-other-host").expect("a file");
    let second = TestHub::start_in(Arc::clone(hub.home()), &[("REDIS_URL", &redis.url())]).await;
    eventually("the other machine is told of", async || second.log().contains("the-other-host").then_some(())).await;

    let alone = TestHub::start().await;
    assert!(!file(&alone).with_file_name("hubbub.db.machines").exists());
    assert!(!alone.log().lines().any(warned), "{}", alone.log());
}
