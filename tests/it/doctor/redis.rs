//! A Redis that is not as it should be.

use std::{net::TcpListener, time::Duration};

use super::{Report, examine, hurried};
use crate::{
    redis::servers::GRANTS,
    support::{RedisServer, cluster::PASSWORD, eventually, ports::free_port, resp::Reply},
};

/// Without a way or a login nothing else is tried.
fn nothing_else_was_tried(report: &Report) {
    for name in ["redis.ping", "redis.set-get", "redis.pubsub", "redis.permissions", "redis.latency"] {
        assert_eq!(report.check(name)["status"], "skipped", "{report:#?}");
    }
}

#[tokio::test]
async fn a_wrong_password_or_none() {
    let redis = RedisServer::with_password("another-one").await;
    for url in [format!("redis://:{PASSWORD}@{}", redis.address()), format!("redis://{}", redis.address())] {
        let report = examine(&[("REDIS_URL", &url)]).await;
        report.fails("redis.login", "refused the user or password", "REDIS_URL");
        report.passes(&["redis.connect"]);
        nothing_else_was_tried(&report);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", free_port());
    let report = examine(&[("REDIS_URL", &url)]).await;
    report.fails("redis.connect", "nothing listens", "REDIS_URL");
    nothing_else_was_tried(&report);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let report = hurried(&[("REDIS_URL", "redis://redis.invalid:6379")]).await;
    let (check, remedy) = (report.check("redis.resolve"), "REDIS_URL");
    report.fails("redis.resolve", "", remedy);
    assert!(check["text"].as_str().is_some_and(|text| text.contains("redis.invalid") || text.contains("no answer")));
    nothing_else_was_tried(&report);
}

#[tokio::test]
async fn a_socket_file_that_is_not_there() {
    let report = examine(&[("REDIS_URL", "redis+unix:///tmp/nobody/redis.sock")]).await;
    report.fails("redis.connect", "socket file cannot be opened", "REDIS_URL");
    nothing_else_was_tried(&report);
}

#[tokio::test]
async fn a_black_hole_is_told_of_soon() {
    // Connections wait in its queue for ever.
    let hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = hole.local_addr().expect("an address");
    let report = hurried(&[("REDIS_URL", &format!("redis://:{PASSWORD}@{address}"))]).await;
    report.passes(&["redis.connect"]);
    report.fails("redis.login", "does not answer in time", "REDIS_URL");
    nothing_else_was_tried(&report);
    assert!(report.took < Duration::from_secs(6), "it took {:?}", report.took);
    let by_tls = hurried(&[("REDIS_URL", &format!("rediss://:{PASSWORD}@{address}"))]).await;
    by_tls.fails("redis.tls", "", "REDIS_URL");
    assert!(by_tls.took < Duration::from_secs(6), "it took {:?}", by_tls.took);
}

#[tokio::test]
async fn a_server_that_hangs_is_told_of_soon() {
    let redis = RedisServer::with_password(PASSWORD).await;
    redis.pause();
    let report = hurried(&[("REDIS_URL", &redis.url())]).await;
    redis.resume();
    report.fails("redis.login", "does not answer in time", "REDIS_URL");
    assert!(report.took < Duration::from_secs(6), "it took {:?}", report.took);
}

#[tokio::test]
async fn something_that_is_no_redis() {
    let hub = crate::support::TestHub::start().await;
    let report = hurried(&[("REDIS_URL", &format!("redis://:{PASSWORD}@{}", hub.address()))]).await;
    report.fails("redis.login", "", "REDIS_URL");
    nothing_else_was_tried(&report);
}

#[tokio::test]
async fn a_hardened_server_is_well() {
    let redis = hardened(&["KEYS", "FLUSHDB", "FLUSHALL", "CONFIG", "DEBUG", "SHUTDOWN"]).await;
    examine(&[("REDIS_URL", &redis.url())]).await.is_well_but_for(&["settings.instances"]);

    let without_info = hardened(&["KEYS", "FLUSHDB", "FLUSHALL", "CONFIG", "INFO"]).await;
    let report = examine(&[("REDIS_URL", &without_info.url())]).await;
    report.is_well_but_for(&["settings.instances", "redis.info"]);
    report.warns("redis.info", "has no INFO", "nothing, if");
    assert_eq!(report.check("redis.memory")["status"], "skipped");
}

/// A server that does not know these commands.
async fn hardened(commands: &[&str]) -> RedisServer {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hardened.conf");
    let renamed: String = commands.iter().map(|command| format!("rename-command {command} \"\"\n")).collect();
    std::fs::write(&file, renamed).expect("a file");
    RedisServer::with_settings(&[["include", file.to_str().expect("text")]]).await
}

/// What the doctor says of a user with these rules besides those that are needed.
async fn examine_user(rules: &[&str]) -> Report {
    let redis = RedisServer::start().await;
    let password = format!(">{PASSWORD}");
    redis.ask(&[&["ACL", "SETUSER", "hub", "on", &password], GRANTS, rules].concat()).await;
    let report = examine(&[("REDIS_URL", &format!("redis://hub:{PASSWORD}@{}", redis.address()))]).await;
    let left = redis.ask(&["KEYS", "*"]).await;
    // A user who may not delete leaves what it wrote to its lifetime.
    for key in &left {
        let Reply::Number(left_ms) = redis.command(&["PTTL", key]).await else { panic!("no lifetime: {key}") };
        assert!((1..=60_000).contains(&left_ms), "{key} stays for {left_ms} ms");
    }
    assert!(left.is_empty() || rules.contains(&"-unlink"), "{left:?}");
    report
}

#[tokio::test]
async fn a_user_who_may_do_only_what_is_needed_is_well() {
    let report = examine_user(&[]).await;
    report.is_well_but_for(&["settings.instances"]);
    assert!(report.check("redis.permissions")["text"].as_str().is_some_and(|text| text.contains("`hub`")));
}

#[tokio::test]
async fn a_user_who_lacks_one_permission_and_which() {
    for (rule, broken, missing) in [
        ("-scan", "redis.scan", "+scan"),
        ("-set", "redis.set-get", "+set"),
        ("-evalsha", "redis.scripts", "+evalsha"),
        ("-unlink", "redis.delete", "+unlink"),
        ("-time", "redis.clock", "+time"),
        ("-publish", "redis.pubsub", "+publish"),
        ("-subscribe", "redis.pubsub", "+subscribe"),
        ("resetchannels", "redis.pubsub", "&hubbub:*"),
        ("resetkeys", "redis.set-get", "~hubbub:*"),
    ] {
        let report = examine_user(&[rule]).await;
        assert_eq!(report.check(broken)["status"], "failed", "{rule}: {report:#?}");
        report.fails("redis.permissions", missing, "ACL SETUSER hub");
        assert!(report.check("redis.permissions")["remedy"].as_str().is_some_and(|text| text.contains(missing)));
    }
}

#[tokio::test]
async fn info_that_is_not_permitted_is_no_failure() {
    let report = examine_user(&["-info"]).await;
    report.is_well_but_for(&["settings.instances", "redis.info"]);
    report.warns("redis.info", "not permitted", "+info");
}

#[tokio::test]
async fn memory_that_is_nearly_used_up_and_used_up() {
    let redis = RedisServer::start().await;
    // So much that a connection more or less does not matter.
    redis.ask(&["SETRANGE", "filler", "20000000", "x"]).await;
    let used = redis.figure("memory", "used_memory").await;
    redis.ask(&["CONFIG", "SET", "maxmemory", &(used * 11 / 10).to_string()]).await;
    let near = examine(&[("REDIS_URL", &redis.url())]).await;
    assert_eq!(near.status, 0, "{near:#?}");
    near.warns("redis.memory", "% of maxmemory", "maxmemory");
    near.warns("redis.eviction", "noeviction", "allkeys-lru");

    redis.ask(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let full = examine(&[("REDIS_URL", &redis.url())]).await;
    full.fails("redis.memory", "it is full", "maxmemory");
    full.fails("redis.set-get", "out of memory", "maxmemory");
    full.passes(&["redis.pubsub"]);
}

#[tokio::test]
async fn a_replica() {
    let (primary, replica) = (RedisServer::start().await, RedisServer::start().await);
    replica.ask(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    eventually("it follows", async || {
        replica.ask(&["INFO", "replication"]).await.concat().contains("master_link_status:up").then_some(())
    })
    .await;
    let report = examine(&[("REDIS_URL", &replica.url())]).await;
    report.fails("redis.role", "read-only replica", "REDIS_URL");
    report.fails("redis.set-get", "read-only replica", "REDIS_URL");
    report.passes(&["redis.login", "redis.ping"]);
}

#[tokio::test]
async fn a_single_server_taken_for_a_cluster_and_the_other_way_round() {
    let redis = RedisServer::start().await;
    let url = redis.url().replace("redis://", "redis-cluster://");
    examine(&[("REDIS_URL", &url)]).await.fails("redis.login", "no Redis Cluster", "redis://");
}
