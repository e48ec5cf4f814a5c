//! What is in the process, what is in Redis, how much, and for whom.

use reqwest::Method;
use serde_json::{Value, json};

use super::{User, comes_from, make_rooms, messages, warm};
use crate::support::{RedisServer, TestHub, eventually, http::Answer, hub::UNHURRIED, resp::Reply, tokens::SECRET};

const ADMIN: &str = "an-operators-token-of-more-than-32-bytes";

async fn hub(redis: &RedisServer, settings: &[(&str, &str)]) -> TestHub {
    let url = redis.url();
    let base = [("JWT_SECRET", SECRET), ("ADMIN_TOKEN", ADMIN), ("REDIS_URL", url.as_str())];
    let hub = TestHub::with(&[UNHURRIED, &base, settings].concat()).await;
    warm(&hub).await;
    hub
}

async fn keys(redis: &RedisServer, pattern: &str) -> Vec<String> {
    let mut keys = redis.command(&["KEYS", pattern]).await.texts();
    keys.sort();
    keys
}

async fn number(redis: &RedisServer, command: &[&str]) -> i64 {
    match redis.command(command).await {
        Reply::Number(number) => number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hub_that_starts_again_finds_what_it_read_in_redis() {
    let redis = RedisServer::start().await;
    let mut hub = hub(&redis, &[("CACHE_WARM_PROJECTS", "0")]).await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    make_rooms(&ada, "p", &["r"]).await;
    ada.say("p/r", "hello").await;
    // A project is in the lists of projects, too: it comes first.
    let paths = ["/api/projects/p".to_owned(), "/api/projects".into(), messages("p/r"), "/api/projects/p/rooms".into()];
    for path in &paths {
        comes_from("l1", &ada, path).await;
    }
    eventually("it is in Redis", async || (keys(&redis, "hubbub:cache:*").await.len() >= 6).then_some(())).await;
    hub.stop().await;
    hub.restart().await;
    warm(&hub).await;
    for path in &paths {
        let answer = ada.get(path).await;
        assert_eq!(answer.header("x-cache"), "l2", "{path}");
        assert!(answer.header("server-timing").contains("redis;dur="), "{answer:?}");
        assert_eq!(ada.get(path).await.header("x-cache"), "l1", "{path}");
    }
    // Every key has its lifetime, with jitter; nothing secret is among them.
    for (key, seconds) in [("p:project", 300.0), ("p:role:ada", 300.0), ("p:room:r", 300.0)] {
        let left = number(&redis, &["PTTL", &format!("hubbub:cache:{key}")]).await as f64;
        assert!((seconds * 800.0..=seconds * 1_100.0).contains(&left), "{key} has {left} ms");
    }
    for key in keys(&redis, "*").await {
        assert!(number(&redis, &["PTTL", &key]).await > 0, "{key} is there for ever");
        assert!(!key.contains(&ada.token) && !key.contains(SECRET), "{key}");
    }
}

#[tokio::test]
async fn the_projects_used_last_are_at_hand_after_a_start() {
    let redis = RedisServer::start().await;
    let mut hub = hub(&redis, &[("CACHE_WARM_PROJECTS", "3")]).await;
    let ada = User::of(&hub, "ada");
    for n in 0..8 {
        ada.make(&format!("p{n}")).await;
        ada.get(&format!("/api/projects/p{n}")).await;
    }
    hub.stop().await;
    hub.restart().await;
    warm(&hub).await;
    let entries = async || ada.http.get("/health/cache").await.json()["stats"]["memory_cache_size"].as_u64();
    eventually("three projects are in memory", async || (entries().await >= Some(3)).then_some(())).await;
    // Their roles were not asked for, so a guest asks.
    for (project, tier) in [("p7", "l1"), ("p6", "l1"), ("p5", "l1"), ("p4", "l2")] {
        assert_eq!(ada.http.get(&format!("/api/projects/{project}")).await.header("x-cache"), tier, "{project}");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_and_too_large_ones_left_out() {
    let redis = RedisServer::start().await;
    let hub = hub(&redis, &[("CACHE_MAX_VALUE_BYTES", "20000"), ("CACHE_COMPRESS_BYTES", "2000")]).await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    make_rooms(&ada, "p", &["r"]).await;
    for _ in 0..12 {
        ada.say("p/r", &"repeat ".repeat(300)).await;
    }
    let page = |limit: u32| format!("{}?before=13&limit={limit}", messages("p/r"));
    let key = |limit: u32| format!("hubbub:cache:p:history:1:b13:{limit}");
    let small = comes_from("l1", &ada, &page(5)).await;
    eventually("it is in Redis", async || (number(&redis, &["EXISTS", &key(5)]).await == 1).then_some(())).await;
    let stored = number(&redis, &["STRLEN", &key(5)]).await as usize;
    assert!(small.body.len() > 10_000 && stored < small.body.len() / 5, "{stored} of {}", small.body.len());
    // A value under the threshold stands there as it is.
    comes_from("l1", &ada, "/api/projects/p").await;
    eventually("the project is in Redis", async || {
        (number(&redis, &["EXISTS", "hubbub:cache:p:project"]).await == 1).then_some(())
    })
    .await;
    let plain = redis.command(&["GETRANGE", "hubbub:cache:p:project", "18", "-1"]).await.texts().concat();
    assert_eq!(serde_json::from_str::<Value>(&plain).expect("JSON")["name"], "first");

    // Over the limit it is in neither tier.
    for _ in 0..3 {
        let large = ada.get(&page(12)).await;
        assert!(large.body.len() > 20_000 && large.header("x-cache") == "miss", "{}", large.body.len());
    }
    assert_eq!(number(&redis, &["EXISTS", &key(12)]).await, 0);
}

#[tokio::test]
async fn hubs_on_one_redis_never_see_each_others_data() {
    let redis = RedisServer::start().await;
    // Two apps with prefixes of their own, and a third that has by mistake the prefix of the first.
    let (one, two) =
        (hub(&redis, &[("REDIS_KEY_PREFIX", "one:")]).await, hub(&redis, &[("REDIS_KEY_PREFIX", "two:")]).await);
    let mistaken = hub(&redis, &[("REDIS_KEY_PREFIX", "one:")]).await;
    let hubs = [(&one, "One"), (&two, "Two"), (&mistaken, "Three")];
    for (hub, name) in hubs {
        let ada = User::of(hub, "ada");
        ada.make("p").await;
        ada.rename("p", name).await;
    }
    for _ in 0..20 {
        for (hub, name) in hubs {
            let http = hub.http();
            assert_eq!(http.get("/api/projects/p").await.json()["name"], name);
            assert_eq!(http.get("/api/projects").await.json()["items"][0]["name"], name);
        }
    }
    let all = keys(&redis, "*").await;
    assert!(all.iter().all(|key| key.starts_with("one:cache:") || key.starts_with("two:cache:")), "{all:?}");
    // Emptying one leaves the other.
    let before = keys(&redis, "two:*").await;
    assert!(!before.is_empty());
    let cleared = Answer::to(one.http().request(Method::DELETE, "/api/admin/cache").bearer_auth(ADMIN)).await.json();
    assert!(cleared["removed_from_redis"].as_u64() > Some(0), "{cleared}");
    assert_eq!(keys(&redis, "two:*").await, before);
}

#[tokio::test]
async fn the_memory_has_a_bound() {
    let redis = RedisServer::start().await;
    let hub = hub(&redis, &[("CACHE_MEMORY_MAX_ENTRIES", "50")]).await;
    let ada = User::of(&hub, "ada");
    for n in 0..150 {
        ada.make(&format!("p{n}")).await;
        assert_eq!(ada.name(&format!("p{n}")).await, "first");
    }
    // Behind by what moka has not yet tidied up, but not by hundreds.
    eventually("no more than 50 entries are left", async || {
        ada.name("p0").await;
        let size = ada.http.get("/health/cache").await.json()["stats"]["memory_cache_size"].as_u64();
        (size <= Some(50)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_forgets_is_no_harm() {
    let redis = RedisServer::with_settings(&[["maxmemory", "2mb"], ["maxmemory-policy", "allkeys-lru"]]).await;
    let hub = hub(&redis, &[("CACHE_MEMORY_MAX_ENTRIES", "1"), ("CACHE_COMPRESS_BYTES", "1000000")]).await;
    let ada = User::of(&hub, "ada");
    for n in 0..40 {
        ada.make(&format!("p{n}")).await;
        make_rooms(&ada, &format!("p{n}"), &["r"]).await;
        ada.say(&format!("p{n}/r"), &"x".repeat(40_000)).await;
    }
    for round in 0..3 {
        for n in 0..40 {
            let project = format!("p{n}");
            let page = ada.get(&messages(&format!("{project}/r"))).await.json();
            assert_eq!(page["items"][0]["body"]["text"].as_str().map(str::len), Some(40_000));
            assert_eq!(ada.name(&project).await, if round == 0 { "first".into() } else { (round - 1).to_string() });
            ada.rename(&project, &round.to_string()).await;
        }
        redis.command(&["FLUSHALL"]).await;
    }
    let health = ada.http.get("/health/cache").await.json();
    assert_eq!((&health["status"], &health["circuit_breaker"]["state"]), (&json!("healthy"), &json!("closed")));
}

#[tokio::test]
async fn an_operator_empties_the_cache_and_nobody_else() {
    let redis = RedisServer::start().await;
    let hub = hub(&redis, &[]).await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    comes_from("l1", &ada, "/api/projects/p").await;
    let clear = |token: Option<&str>| {
        let request = hub.http().request(Method::DELETE, "/api/admin/cache");
        Answer::to(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    };
    clear(None).await.problem(401, "unauthorized");
    clear(Some(&ada.token)).await.problem(401, "unauthorized");
    clear(Some(&ADMIN[1..])).await.problem(401, "unauthorized");
    assert_eq!(ada.get("/api/projects/p").await.header("x-cache"), "l1");
    assert_eq!(clear(Some(ADMIN)).await.status, 200);
    assert_eq!(ada.get("/api/projects/p").await.header("x-cache"), "miss");
    let reset = "/api/admin/cache/breaker/reset";
    let answer = Answer::to(hub.http().request(Method::POST, reset).bearer_auth(ADMIN)).await.json();
    assert_eq!(answer["circuit_breaker"]["state"], "closed");
    assert!(!hub.log().contains(ADMIN));

    // Without the setting there is no such route.
    let closed = TestHub::with(&[("JWT_SECRET", SECRET)]).await;
    Answer::to(closed.http().request(Method::DELETE, "/api/admin/cache").bearer_auth(ADMIN))
        .await
        .problem(404, "not_found");
    Answer::to(closed.http().request(Method::POST, reset).bearer_auth("")).await.problem(404, "not_found");
}
