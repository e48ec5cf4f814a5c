//! Rate limits: one arithmetic in memory and in Redis, one limit on all instances, and what becomes of it without Redis.

use std::time::Duration;

use hubbub::{access::limits::Gcra, config::RateLimit};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::json;

use crate::support::{
    Door, RedisServer, TestCluster, TestHub, Visitor,
    cluster::connected,
    eventually,
    http::Answer,
    library::{in_system, redis_commands},
    tokens::{SECRET, token},
};

/// A request of a client behind a load balancer.
async fn ask(hub: &TestHub, path: &str, client: &str) -> Answer {
    Answer::to(hub.http().request(reqwest::Method::GET, path).header("X-Forwarded-For", client)).await
}

fn number(answer: &Answer, header: &str) -> u32 {
    answer.header(header).parse().unwrap_or_else(|_| panic!("no {header}: {answer:?}"))
}

/// How many of so many requests pass, taken to the hubs in turn.
async fn passing(hubs: &[&TestHub], requests: usize, client: &str) -> usize {
    let mut passed = 0;
    for n in 0..requests {
        passed += usize::from(ask(hubs[n % hubs.len()], "/api/projects", client).await.status == 200);
    }
    passed
}

#[tokio::test]
async fn an_address_has_its_share_and_is_told_of_it() {
    let hub = TestHub::with(&[("RATE_LIMIT_API", "5/1h"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    for left in (0..5).rev() {
        let answer = ask(&hub, "/api/projects", "192.0.2.1").await;
        assert_eq!((answer.status.as_u16(), number(&answer, "ratelimit-limit")), (200, 5));
        assert_eq!(number(&answer, "ratelimit-remaining"), left);
        let reset = number(&answer, "ratelimit-reset");
        assert!((720 * (5 - left) - 10..=720 * (5 - left)).contains(&reset), "{reset}");
    }
    let refused = ask(&hub, "/api/projects", "192.0.2.1").await;
    refused.problem(429, "too_many_requests");
    assert!((700..=720).contains(&number(&refused, "retry-after")), "{refused:?}");
    assert_eq!((number(&refused, "ratelimit-limit"), number(&refused, "ratelimit-remaining")), (5, 0));
    assert_eq!(refused.header("cache-control"), "no-store");
    // Others are not touched, nor is what is not limited.
    assert_eq!(ask(&hub, "/api/projects", "192.0.2.2").await.status, 200);
    for path in ["/api/health", "/health", "/health/ready", "/", "/js/hubbub/index.js"] {
        for _ in 0..10 {
            let answer = ask(&hub, path, "192.0.2.1").await;
            assert!(answer.status == 200 && answer.header("ratelimit-limit").is_empty(), "{path}: {answer:?}");
        }
    }
    // One household, however many addresses it has.
    for n in 0..5 {
        assert_eq!(ask(&hub, "/api/projects", &format!("2001:db8:1:2::{n}")).await.status, 200);
    }
    ask(&hub, "/api/projects", "2001:db8:1:2:ffff::1").await.problem(429, "too_many_requests");
    assert_eq!(ask(&hub, "/api/projects", "2001:db8:1:3::1").await.status, 200);
    // A page of another origin may read it.
    let open = TestHub::with(&[("RATE_LIMIT_API", "1/1h"), ("ALLOWED_ORIGINS", "https://app.example")]).await;
    let get = || open.http().request(reqwest::Method::GET, "/api/projects").header("Origin", "https://app.example");
    Answer::to(get()).await;
    let refused = Answer::to(get()).await;
    refused.problem(429, "too_many_requests");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
    assert!(refused.header("access-control-expose-headers").to_lowercase().contains("ratelimit-remaining"));
}

#[tokio::test]
async fn the_default_is_a_hundred_a_minute_and_a_user_may_have_a_share_of_their_own() {
    let hub = TestHub::with(&[("RATE_LIMIT_API", "100/60s"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let passed = passing(&[&hub], 120, "192.0.2.1").await;
    assert!((100..=105).contains(&passed), "{passed}");
    let by_user = TestHub::with(&[("RATE_LIMIT_USER", "2/1h"), ("JWT_SECRET", SECRET)]).await;
    let get = |user: &str| {
        Answer::to(by_user.http().request(reqwest::Method::GET, "/api/projects").bearer_auth(token(user, json!({}))))
    };
    assert_eq!((get("ada").await.status.as_u16(), get("ada").await.status.as_u16()), (200, 200));
    get("ada").await.problem(429, "too_many_requests");
    assert_eq!(get("bob").await.status, 200);
}

#[tokio::test]
async fn all_instances_share_a_limit_and_a_lost_redis_neither_opens_nor_shuts_it() {
    let mut cluster = TestCluster::with(&[("RATE_LIMIT_API", "40/1h"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    assert_eq!(passing(&[&cluster.a, &cluster.b], 60, "192.0.2.1").await, 40, "on both together");
    // Known to one instance: the other one asks.
    assert_eq!(passing(&[&cluster.a], 30, "192.0.2.2").await, 30);
    assert_eq!(passing(&[&cluster.b], 30, "192.0.2.2").await, 10);

    cluster.redis.kill();
    for hub in [&cluster.a, &cluster.b] {
        let http = hub.http();
        eventually("Redis is lost", async || {
            (http.get("/health").await.json()["redis"] == "disconnected").then_some(())
        })
        .await;
    }
    assert_eq!(passing(&[&cluster.a], 10, "192.0.2.1").await, 0, "who was over the limit is");
    assert_eq!(passing(&[&cluster.a], 60, "192.0.2.3").await, 40, "and nobody is without one");

    // What passed meanwhile Redis, which lost everything, is told.
    cluster.redis.restart().await;
    connected(&cluster.a).await;
    connected(&cluster.b).await;
    eventually("the other instance learns of it", async || {
        ask(&cluster.a, "/api/projects", "192.0.2.3").await;
        (cluster.redis.command(&["EXISTS", "hubbub:limit:api:192.0.2.3"]).await
            == crate::support::resp::Reply::Number(1))
        .then_some(())
    })
    .await;
    assert!(passing(&[&cluster.b], 60, "192.0.2.3").await <= 2);
}

#[tokio::test]
async fn logins_are_few_on_all_instances_together() {
    let cluster = TestCluster::with(&[("RATE_LIMIT_LOGIN", "3/15m")]).await;
    let login = json!({"email": "ada@example.com", "code": "12345678"});
    for (n, hub) in [&cluster.a, &cluster.b, &cluster.a].into_iter().enumerate() {
        let answer = hub.http().post("/api/sessions", &login).await;
        assert_eq!(answer.status, 401, "attempt {n}: {answer:?}");
    }
    for hub in [&cluster.a, &cluster.b] {
        let refused = hub.http().post("/api/sessions", &login).await;
        refused.problem(429, "too_many_requests");
        assert!((290..=300).contains(&number(&refused, "retry-after")), "{refused:?}");
    }
    // Guests prove nothing that could be guessed.
    Visitor::logged_in(&cluster.a, &json!({"name": "Ada"})).await;
}

#[tokio::test]
async fn a_socket_that_goes_on_over_its_limit_is_closed() {
    let hub = TestHub::with(&[("RATE_MESSAGES", "5")]).await;
    let mut client = Door::of(&hub).name("Ada").enter().await;
    client.join("p/r").await;
    for n in 0..400 {
        client.post(&uuid::Uuid::new_v4().to_string(), n);
    }
    let limited = client.expect_error("rate_limited").await;
    assert!(limited["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{limited}");
    assert_eq!(client.closed_with().await, 4429);
}

/// The same requests at the same times, in memory and in Redis' script.
#[test]
fn redis_counts_as_memory_does() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = redis_commands(&redis).await;
        let steps = prop::collection::vec((0u64..3_000_000, 1u32..4, any::<bool>()), 1..30);
        let cases = (1u32..20, 1u64..20_000, steps, 0u64..1_000_000_000);
        let mut runner = TestRunner::deterministic();
        for case in 0..60 {
            let (count, window_ms, steps, offset) = cases.new_tree(&mut runner).expect("a case").current();
            let limit = Gcra::from(RateLimit { count, window: Duration::from_millis(window_ms) });
            let key = format!("case:{case}");
            // A key has its lifetime by Redis' own clock: from now on, so that none ends within the case.
            let mut now_us = commands.time().await.expect("a time").as_micros() as u64 + 1_000_000_000 + offset;
            let mut ahead_us = 0u64;
            for (pause_us, requests, passed) in steps {
                now_us += pause_us;
                ahead_us = ahead_us.saturating_sub(pause_us);
                let expected = match passed {
                    true => (true, limit.charge(ahead_us, requests)),
                    false => limit.take(ahead_us, requests),
                };
                let floor_us = ahead_us / 2; // what is known already changes nothing
                let said = limit.ask(&commands, &key, requests, passed, floor_us, Some(now_us)).await;
                assert_eq!(said, Ok(expected), "{limit:?} {requests} {passed}");
                ahead_us = expected.1;
                // The key may be over in real time while the case's clock runs ahead of it.
                redis.command(&["PERSIST", &format!("hubbub:{key}")]).await;
            }
            // What Redis lost it takes from who knows.
            redis.command(&["DEL", &format!("hubbub:{key}")]).await;
            let said = limit.ask(&commands, &key, 1, false, ahead_us, Some(now_us)).await;
            assert_eq!(said, Ok(limit.take(ahead_us, 1)));
        }
    });
}
