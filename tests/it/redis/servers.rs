//! Servers on their own, of every make.

use serde_json::json;

use crate::support::{
    RedisServer, TestClient, TestHub, Visitor,
    certificates::Authority,
    cluster::{PASSWORD, are_one, connected, instances},
    eventually,
    resp::Reply,
};

#[tokio::test]
async fn by_tls_with_a_private_authority() {
    let authority = Authority::new();
    let (redis, url) = with_tls(&authority, &["localhost"]).await;
    let [a, b] = instances(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    are_one(&a, &b, "p/r").await;
    // Of each, two for the bus and ten for commands; and the one that asks.
    eventually("all connections are made", async || {
        (redis.figure("clients", "connected_clients").await == 2 * 12 + 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn by_tls_in_parts_and_to_an_address() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["127.0.0.1"]).await;
    let port = url.rsplit_once(':').expect("a port").1;
    let parts = [
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", port),
        ("REDIS_USERNAME", "default"),
        ("REDIS_PASSWORD", PASSWORD),
        ("REDIS_TLS_ENABLED", "true"),
        ("REDIS_TLS_CA_FILE", &authority.file()),
    ];
    connected(&TestHub::with(&parts).await).await;
}

/// As on Heroku: nobody known signed it, and it is for another name.
#[tokio::test]
async fn by_tls_to_a_provider_that_signs_its_own() {
    let (_redis, url) = with_tls(&Authority::new(), &["elsewhere.example"]).await;
    connected(&TestHub::with(&[("REDIS_URL", &url), ("REDIS_TLS_VERIFY", "false")]).await).await;
}

/// A server that speaks TLS at one port, and plainly at another for the test; the address is the first one's.
pub async fn with_tls(authority: &Authority, names: &[&str]) -> (RedisServer, String) {
    let certificate = authority.sign(names);
    let port = crate::support::ports::free_port();
    let settings = [
        ["tls-port", &port.to_string()],
        ["tls-cert-file", &certificate.certificate],
        ["tls-key-file", &certificate.key],
        ["tls-ca-cert-file", &authority.file()],
        ["tls-auth-clients", "no"],
    ];
    let redis = RedisServer::launch(Some(PASSWORD.into()), &settings).await;
    let host = if names[0] == "127.0.0.1" { names[0] } else { "localhost" };
    (redis, format!("rediss://default:{PASSWORD}@{host}:{port}"))
}

#[tokio::test]
async fn by_a_socket_file_and_in_another_database() {
    let redis = RedisServer::with_settings(&[["unixsocket", "redis.sock"]]).await;
    let path = redis.home().join("redis.sock");
    let url = format!("redis+unix://{}?db=3", path.to_str().expect("text"));
    let [a, b] = instances(&[("REDIS_URL", &url)]).await;
    are_one(&a, &b, "p/r").await;
    eventually("all connections are in their database", async || {
        let clients = redis.ask(&["CLIENT", "LIST"]).await.concat();
        (clients.matches(" db=3 ").count() == 2 * 12).then_some(())
    })
    .await;
}

/// What docs/redis.md says must be granted, and nothing else.
pub const GRANTS: &[&str] = &[
    "resetkeys",
    "resetchannels",
    "-@all",
    "~hubbub:*",
    "&hubbub:*",
    "+ping",
    "+info",
    "+time",
    "+client|id",
    "+select",
    "+quit",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "+mget",
    "+set",
    "+unlink",
    "+get",
    "+scan",
    "+eval",
    "+evalsha",
    "+hget",
    "+hset",
    "+hdel",
    "+hgetall",
    "+pttl",
    "+pexpire",
];

#[tokio::test]
async fn with_a_user_who_may_do_only_what_is_needed() {
    let redis = RedisServer::start().await;
    let password = format!(">{PASSWORD}");
    redis.ask(&[&["ACL", "SETUSER", "hub", "on", &password], GRANTS].concat()).await;
    let url = format!("redis://hub:{PASSWORD}@{}", redis.address());
    let [a, b] = instances(&[("REDIS_URL", &url), ("SESSION_SECRET", "one-secret-for-all-instances-of-a-test")]).await;
    are_one(&a, &b, "p/r").await;
    // Sessions, codes and limits are scripts, whose commands are asked for one by one.
    let mut visitor = Visitor::logged_in(&a, &json!({"name": "Ada"})).await;
    assert!(visitor.who(&b).await.is_some());
    visitor.get(&b, "/api/sessions").await.json();
    assert_eq!(visitor.delete(&a, "/api/sessions/current").await.status, 204);
    let login = json!({"email": "ada@example.com", "code": "12345678"});
    a.http().post("/api/sessions", &login).await.problem(401, "unauthorized");
    let refused = redis.ask(&["ACL", "LOG"]).await;
    assert!(refused.is_empty(), "the server refused something: {refused:?}");
}

#[test]
fn the_grants_are_enough_for_every_command() {
    use crate::support::library::in_system;
    in_system(async {
        let redis = RedisServer::start().await;
        let password = format!(">{PASSWORD}");
        redis.ask(&[&["ACL", "SETUSER", "hub", "on", &password], GRANTS].concat()).await;
        let url = format!("redis://hub:{PASSWORD}@{}", redis.address());
        super::commands::all_succeed(&url).await;
        assert_eq!(redis.ask(&["ACL", "LOG"]).await, Vec::<String>::new());
    });
}

/// What a cluster needs besides.
pub const CLUSTER_GRANTS: &[&str] = &["+ssubscribe", "+sunsubscribe", "+spublish", "+cluster|slots", "+cluster|info"];

#[test]
fn the_grants_are_those_of_the_docs() {
    let docs = include_str!("../../../docs/redis.md");
    let line = docs.lines().find(|line| line.trim_start().starts_with("ACL SETUSER hub ")).expect("a line");
    assert!(docs.contains(&CLUSTER_GRANTS.join(" ")));
    for grant in GRANTS.iter().filter(|grant| grant.starts_with(['+', '~', '&'])) {
        assert!(line.split_whitespace().any(|word| word == *grant), "docs/redis.md does not grant {grant}");
    }
    assert_eq!(line.matches(" +").count(), GRANTS.iter().filter(|grant| grant.starts_with('+')).count());
}

/// K6.
#[tokio::test]
async fn hardened() {
    let hardened =
        ["KEYS", "FLUSHDB", "FLUSHALL", "CONFIG", "DEBUG", "SHUTDOWN"].map(|command| ["rename-command", command]);
    let arguments: Vec<[&str; 2]> = hardened.to_vec();
    let conf: String = arguments.iter().map(|[name, command]| format!("{name} {command} \"\"\n")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hardened.conf");
    std::fs::write(&file, conf).expect("a file");
    let redis = RedisServer::with_settings(&[["include", file.to_str().expect("text")]]).await;
    assert!(matches!(redis.command(&["CONFIG", "GET", "*"]).await, Reply::Error(_)), "it is hardened");
    let [a, b] = instances(&[("REDIS_URL", &redis.url())]).await;
    are_one(&a, &b, "p/r").await;
    let errors = redis.ask(&["INFO", "errorstats"]).await.concat();
    assert!(errors.contains("errorstat_ERR:count=1\r\n"), "only our own attempt failed: {errors}");
}

/// K7: any key may vanish at any time.
#[tokio::test]
async fn with_too_little_memory_and_eviction() {
    let settings = [["maxmemory", "2mb"], ["maxmemory-policy", "allkeys-lru"]];
    let redis = RedisServer::with_settings(&settings).await;
    let [a, b] = instances(&[("REDIS_URL", &redis.url())]).await;
    let mut ada = TestClient::joined(&a, "Ada", "p/busy").await;
    let mut bob = TestClient::joined(&b, "Bob", "p/busy").await;
    ada.next_change().await;
    let filler = "x".repeat(10_000);
    for n in 0..300 {
        redis.ask(&["SET", &format!("other:{n}"), &filler]).await;
        if n % 10 == 0 {
            ada.send(n).await;
            bob.next_message().await;
        }
    }
    assert!(redis.figure("stats", "evicted_keys").await > 0);
    are_one(&a, &b, "p/r").await;
    assert!(!ada.was_degraded() && !bob.was_degraded());
    assert!(bob.leftover("presence").is_empty(), "nobody seemed to leave");
}

/// Nothing may be evicted: writing fails, what the bus does is no writing.
#[tokio::test]
async fn full_with_nothing_to_evict_the_bus_goes_on() {
    let redis = full().await;
    let [a, b] = instances(&[("REDIS_URL", &redis.url())]).await;
    are_one(&a, &b, "p/r").await;
    let mut ada = TestClient::connect(&a, "Ada").await;
    ada.heartbeat().await;
    assert!(!ada.was_degraded());
}

/// A server that refuses to take more.
pub async fn full() -> RedisServer {
    let redis = RedisServer::with_settings(&[["maxmemory", "2mb"], ["maxmemory-policy", "noeviction"]]).await;
    let filler = "x".repeat(50_000);
    eventually("it is full", async || {
        let key = format!("other:{}", uuid::Uuid::new_v4());
        matches!(redis.command(&["SET", &key, &filler]).await, Reply::Error(error) if error.starts_with("OOM"))
            .then_some(())
    })
    .await;
    redis
}

#[tokio::test]
async fn everything_may_be_forgotten_again_and_again_under_traffic() {
    let redis = RedisServer::start().await;
    let [a, b] = instances(&[("REDIS_URL", &redis.url())]).await;
    let mut ada = TestClient::joined(&a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&b, "Bob", "p/r").await;
    ada.next_change().await;
    for n in 0..100 {
        redis.ask(&[if n % 2 == 0 { "FLUSHALL" } else { "FLUSHDB" }]).await;
        redis.ask(&["SCRIPT", "FLUSH"]).await;
        ada.send(n).await;
        assert_eq!(bob.next_message().await.body, json!(n));
    }
    for client in [&mut ada, &mut bob] {
        assert!(client.leftover("presence").is_empty() && !client.was_degraded());
    }
}
