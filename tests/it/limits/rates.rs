//! Too fast.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{TestClient, TestHub, eventually};

#[tokio::test]
async fn each_lane_has_its_rate_and_says_when_to_go_on() {
    let settings = [
        ("RATE_JOINS", "5"),
        ("RATE_MESSAGES", "5"),
        ("RATE_CURSORS", "5"),
        ("RATE_PRESENCE", "5"),
        ("RATE_BROADCASTS", "5"),
    ];
    let hub = TestHub::with(&settings).await;
    let frames: [fn() -> Value; 5] = [
        || json!({"type": "join", "room": "p/r"}),
        || json!({"type": "message", "room": "p/r", "id": Uuid::new_v4(), "body": 1}),
        || json!({"type": "cursor", "room": "p/r", "position": {"x": 1}}),
        || json!({"type": "presence", "room": "p/r", "state": {}}),
        || json!({"type": "broadcast", "room": "p/r", "event": "e", "data": 1}),
    ];
    for (n, frame) in frames.iter().enumerate() {
        let mut eve = TestClient::joined(&hub, &format!("guest {n}"), "p/r").await;
        let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
        for _ in 0..30 {
            eve.ask(frame());
        }
        let error = eve.expect_error("rate_limited").await;
        assert!(error["ref"].as_i64().is_some_and(|reference| reference > 1), "the first pass: {error}");
        let wait = error["retry_after_ms"].as_u64().expect("a time");
        assert!((1..=1_000).contains(&wait), "{error}");
        let refused = Instant::now();
        // The other lanes and the other clients are not touched.
        let other = eve.ask(frames[(n + 1) % frames.len()]());
        ada.send("hi").await;
        let wait = Duration::from_millis(wait * 2);
        eventually("the wait is over", async || (refused.elapsed() >= wait).then_some(())).await;
        eve.leftover("error");
        let limited = eve.leftover("error").iter().any(|error| error["ref"] == other);
        assert!(!limited, "lane {n} limits another");
        let again = eve.ask(frame());
        ada.send("fence").await;
        eve.messages_until("fence").await;
        assert!(eve.leftover("error").iter().all(|error| error["ref"] != again), "lane {n} stays shut");
    }
}

#[tokio::test]
async fn flooding_ends_the_connection() {
    let mut hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    for frame in [
        json!({"type": "message", "room": "p/r", "id": Uuid::new_v4(), "body": 1}),
        json!({"type": "cursor", "room": "p/r", "position": {"x": 1}}),
        json!({"type": "join", "room": "p/r"}),
        json!({"type": "heartbeat"}),
    ] {
        let mut eve = TestClient::joined(&hub, "Eve", "p/r").await;
        for _ in 0..2_000 {
            eve.say(frame.clone());
        }
        assert_eq!(eve.closed_with().await, 4429, "{frame}");
        ada.send("hi").await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_connection_is_in_so_many_rooms_and_no_more() {
    let hub = TestHub::with(&[("MAX_ROOMS_PER_CONNECTION", "3")]).await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    for room in ["p/one", "p/two", "p/three"] {
        ada.join(room).await;
    }
    let reference = ada.ask_to_join("p/four", json!({}));
    ada.refusal(reference, "forbidden").await;
    ada.join("p/two").await; // again, which is no new one
    ada.leave().await;
    ada.join("p/four").await;
    let other = TestClient::joined(&hub, "Bob", "p/five").await;
    drop(other);
}
