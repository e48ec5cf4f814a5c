//! `GET /health` and `/api/health`: quick whatever hangs, with the figures of Redis, and without a secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    PostgresServer, RedisServer, TestHub,
    cluster::{PASSWORD, connected},
    eventually,
    postgres::DATABASE_PASSWORD,
};

/// H1.
const FAST_ENOUGH: Duration = Duration::from_millis(30);

fn keys(document: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = document.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn health_has_its_fields_and_no_secret() {
    let redis = RedisServer::with_password(PASSWORD).await;
    let hub = TestHub::with(&[("REDIS_URL", &redis.url())]).await;
    connected(&hub).await;
    let health = hub.http().get("/health").await;
    let expected = ["database", "memory_bytes", "redis", "service", "status", "uptime_seconds", "version"];
    assert_eq!(keys(&health.json()), expected);
    let document = health.json();
    assert_eq!((&document["status"], &document["service"]), (&json!("healthy"), &json!("hubbub")));
    assert_eq!((&document["database"], &document["redis"]), (&json!("connected"), &json!("connected")));
    assert!(document["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{document}");
    let api = hub.http().get("/api/health").await;
    for field in expected.iter().chain(&["cache", "redis_figures"]) {
        assert!(!api.json()[field].is_null(), "{field} is not in {}", api.body);
    }
    let port = redis.address().port().to_string();
    for body in [health.body, api.body] {
        assert!(!body.contains(PASSWORD) && !body.contains(&port) && !body.contains("127.0.0.1"), "{body}");
    }
}

#[tokio::test]
async fn health_answers_at_once_while_redis_and_the_database_hang() {
    let redis = RedisServer::with_password(PASSWORD).await;
    let postgres = PostgresServer::start();
    let database = postgres.database().await;
    let settings = [("REDIS_URL", &*redis.url()), ("DATABASE_URL", &*postgres.url(&database))];
    let hub = TestHub::with(&settings).await;
    connected(&hub).await;
    let http = hub.http();
    redis.pause();
    postgres.pause();
    // From the very moment on, and on until both are known to be away: nobody waits in between.
    let mut took = Vec::new();
    let away = eventually("both are seen to hang", async || {
        let mut status = Value::Null;
        for path in ["/health", "/api/health", "/health/cache", "/health/live", "/health/ready", "/metrics"] {
            let begun = Instant::now();
            let answer = http.get(path).await;
            took.push(begun.elapsed());
            if path == "/health" {
                status = answer.json();
            }
        }
        (status["redis"] == "disconnected" && status["database"] == "disconnected").then_some(status)
    })
    .await;
    assert_eq!(away["status"], "unhealthy");
    took.sort();
    // The machine of the tests may be busy for a moment; whoever waits for a hanging server waits for much longer.
    let (most, slowest) = (took[took.len() * 9 / 10], took[took.len() - 1]);
    assert!(most < FAST_ENOUGH && slowest < FAST_ENOUGH * 10, "it took {most:?}, at worst {slowest:?}");
    http.get("/health/ready").await.problem(503, "unavailable");
    redis.resume();
    postgres.resume();
    eventually("both are back", async || (http.get("/health").await.json()["status"] == "healthy").then_some(())).await;
    assert!(!hub.log().contains(DATABASE_PASSWORD) && !hub.log().contains(PASSWORD), "a password is in the log");
}

/// What `/api/health` says of Redis, once it says `state`.
async fn redis_figures(hub: &TestHub, state: &str) -> Value {
    eventually(&format!("the figures of Redis are {state}"), async || {
        let figures = hub.http().get("/api/health").await.json()["redis_figures"].clone();
        (figures["state"] == state).then_some(figures)
    })
    .await
}

#[tokio::test]
async fn redis_figures_are_shown() {
    let redis = RedisServer::start().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "64mb"]).await;
    redis.command(&["GET", "nothing"]).await;
    let hub = TestHub::with(&[("REDIS_URL", &redis.url())]).await;
    let figures = redis_figures(&hub, "known").await;
    assert_eq!(figures["memory_max_bytes"], 64 << 20, "{figures}");
    let percent = figures["memory_used_percent"].as_f64().expect("a number");
    assert!(percent > 0.5 && percent < 50.0, "{figures}");
    assert!(figures["connected_clients"].as_u64().is_some_and(|clients| clients >= 3), "{figures}");
    assert_eq!((&figures["evicted_keys"], &figures["hit_rate_percent"]), (&json!(0), &json!(0.0)), "{figures}");
    assert!(figures["commands_per_second"].is_u64() && figures["age_seconds"].is_u64(), "{figures}");
}

#[tokio::test]
async fn without_redis_or_without_info_it_says_so_and_all_else_goes_on() {
    let alone = TestHub::start().await;
    assert_eq!(redis_figures(&alone, "not configured").await, json!({"state": "not configured"}));

    let redis = RedisServer::start().await;
    let rule = ["ACL", "SETUSER", "hub", "on", ">secret-of-hub", "~hubbub:*", "&hubbub:*", "+@all", "-info"];
    redis.command(&rule).await;
    let url = redis.url().replace("redis://", "redis://hub:secret-of-hub@");
    let hub = TestHub::with(&[("REDIS_URL", &url)]).await;
    assert_eq!(redis_figures(&hub, "refused").await, json!({"state": "refused"}));
    connected(&hub).await;
    assert_eq!(hub.http().get("/health").await.json()["status"], "healthy");
    eventually("the log says so, once", async || hub.log().contains("does not tell its figures").then_some(())).await;
    let figures = hub.http().get("/metrics").await;
    assert!(figures.body.contains("\nhubbub_redis_figures 0\n"), "{}", figures.body);
}
