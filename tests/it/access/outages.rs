//! Sessions, codes and limits while Redis is away, and when it is back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Door, TestCluster, Visitor,
    cluster::connected,
    eventually,
    tokens::{SECRET, token},
};

fn ada() -> Value {
    json!({"token": token("ada", json!({"p": "editor"}))})
}

async fn lost(cluster: &TestCluster) {
    for hub in [&cluster.a, &cluster.b] {
        let http = hub.http();
        eventually("Redis is lost", async || {
            (http.get("/health").await.json()["redis"] == "disconnected").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_is_known_goes_on_without_redis_and_new_logins_are_told_to_wait() {
    let mut cluster = TestCluster::with(&[("JWT_SECRET", SECRET)]).await;
    let mut visitor = Visitor::logged_in(&cluster.a, &ada()).await;
    visitor.who(&cluster.a).await.expect("a session");
    let mut client = visitor.door(&cluster.a).enter().await;
    client.join("p/r").await;
    cluster.redis.kill();
    lost(&cluster).await;

    let begun = Instant::now();
    assert_eq!(visitor.who(&cluster.a).await.expect("it is known here")["user_id"], "ada");
    assert_eq!(visitor.door(&cluster.a).enter().await.user.user_id, "ada");
    client.send("still here").await;
    // Not known there: nobody is taken for somebody else meanwhile, nor for nobody.
    visitor.get(&cluster.b, "/api/sessions/current").await.problem(503, "unavailable");
    assert_eq!(visitor.door(&cluster.b).name("Ada").refused().await.status, 503);
    let mut late = Visitor::default();
    let answer = late.post(&cluster.b, "/api/sessions", &ada()).await;
    answer.problem(503, "unavailable");
    assert!(!answer.header("retry-after").is_empty() && !answer.headers.contains_key("set-cookie"), "{answer:?}");
    // Who brings a token needs no session, whatever cookie comes along.
    assert_eq!(visitor.door(&cluster.b).bearer(&token("ada", json!({}))).enter().await.user.user_id, "ada");
    // Who wants to be gone is gone here at once, and is told that others do not know.
    let mut leaving = visitor.clone();
    leaving.delete(&cluster.a, "/api/sessions/current").await.problem(503, "unavailable");
    assert_eq!(client.closed_with().await, 4401);
    visitor.get(&cluster.a, "/api/sessions/current").await.problem(503, "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(3), "nobody waits: {:?}", begun.elapsed());

    cluster.redis.restart().await;
    connected(&cluster.a).await;
    eventually("logins work again", async || {
        (late.post(&cluster.a, "/api/sessions", &ada()).await.status == 201).then_some(())
    })
    .await;
    assert!(late.who(&cluster.a).await.is_some());
}

#[tokio::test]
async fn a_hung_redis_holds_up_nobody_for_long() {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET), ("REDIS_COMMAND_TIMEOUT", "500")]).await;
    let mut visitor = Visitor::logged_in(&cluster.a, &ada()).await;
    visitor.who(&cluster.a).await.expect("a session");
    cluster.redis.pause();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(visitor.who(&cluster.a).await.expect("it is known here")["user_id"], "ada");
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    lost(&cluster).await;
    assert!(visitor.who(&cluster.a).await.is_some());
    cluster.redis.resume();
    connected(&cluster.b).await;
    eventually("the other instance finds it again", async || visitor.who(&cluster.b).await).await;
}

#[tokio::test]
async fn what_was_revoked_unheard_ends_when_the_bus_is_back() {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET)]).await;
    let mut revoked = Visitor::logged_in(&cluster.a, &ada()).await;
    let mut kept = Visitor::logged_in(&cluster.a, &json!({"token": token("bob", json!({}))})).await;
    let (mut of_revoked, mut of_kept) = (revoked.door(&cluster.a).enter().await, kept.door(&cluster.a).enter().await);
    assert!(revoked.who(&cluster.a).await.is_some() && kept.who(&cluster.a).await.is_some());
    // As an instance whose news did not get through would have left it.
    let keys = cluster.redis.command(&["KEYS", "*session:*"]).await.texts();
    for key in &keys {
        let owner = cluster.redis.command(&["HVALS", key]).await.texts();
        if owner[0].contains("\"user_id\":\"ada\"") {
            cluster.redis.command(&["DEL", key]).await;
        }
    }
    // The connections that hear news break, and are made anew.
    cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(of_revoked.closed_with().await, 4401);
    assert_eq!(revoked.who(&cluster.a).await, None);
    of_kept.heartbeat().await;
    assert!(kept.who(&cluster.a).await.is_some());
    assert_eq!(Door::of(&cluster.a).header("Cookie", kept.cookie()).enter().await.user.user_id, "bob");
}

#[tokio::test]
async fn a_redis_that_lost_everything_ends_the_sessions_and_new_ones_begin() {
    let mut cluster = TestCluster::with(&[("JWT_SECRET", SECRET)]).await;
    let mut visitor = Visitor::logged_in(&cluster.a, &ada()).await;
    let mut client = visitor.door(&cluster.b).enter().await;
    cluster.redis.kill();
    lost(&cluster).await;
    client.heartbeat().await;
    cluster.redis.restart().await;
    assert_eq!(client.closed_with().await, 4401);
    connected(&cluster.a).await;
    eventually("it is over everywhere", async || {
        (visitor.get(&cluster.a, "/api/sessions/current").await.status == 401).then_some(())
    })
    .await;
    eventually("a new one begins", async || {
        (visitor.post(&cluster.a, "/api/sessions", &ada()).await.status == 201).then_some(())
    })
    .await;
    connected(&cluster.b).await;
    assert!(visitor.who(&cluster.b).await.is_some());
}
