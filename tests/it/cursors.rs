//! Cursors: the latest position of everybody, smoothly, and silence when nothing moves.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{TestClient, TestHub, eventually, hub::UNHURRIED};

#[tokio::test]
async fn a_burst_of_moves_becomes_a_few_frames_and_the_last_position_arrives() {
    const MOVES: u64 = 300;
    let hub = TestHub::with(&[UNHURRIED, &[("CURSOR_TICK_MS", "50")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    for x in 1..=MOVES {
        ada.move_cursor(json!({"x": x}));
    }
    let (mut frames, mut x) = (0, 0);
    while x < MOVES {
        let cursors = bob.next_cursors().await;
        assert_eq!((cursors.len(), &cursors[0].connection_id), (1, &ada.connection_id));
        let next = cursors[0].position["x"].as_u64().expect("a number");
        assert!(next > x, "positions do not go back");
        (x, frames) = (next, frames + 1);
    }
    assert!(frames < MOVES / 10, "{frames} frames for {MOVES} moves");
}

#[tokio::test]
async fn moves_of_several_share_a_frame() {
    const CROWD: u64 = 20;
    let hub = TestHub::with(&[UNHURRIED, &[("CURSOR_TICK_MS", "50")]].concat()).await;
    let mut watcher = TestClient::joined(&hub, "watcher", "p/r").await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(TestClient::joined(&hub, &format!("guest {n}"), "p/r").await);
    }
    for x in 1..=10 {
        for guest in &mut crowd {
            guest.move_cursor(json!({"x": x}));
            guest.heartbeat().await;
        }
    }
    let (mut frames, mut arrived) = (0, 0);
    while arrived < CROWD {
        let cursors = watcher.next_cursors().await;
        let mut ids: Vec<_> = cursors.iter().map(|cursor| &cursor.connection_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), cursors.len(), "each once in a frame");
        arrived += cursors.iter().filter(|cursor| cursor.position["x"] == 10).count() as u64;
        frames += 1;
    }
    assert!(frames < CROWD * 10 / 3, "{frames} frames for {} moves", CROWD * 10);
}

#[tokio::test]
async fn a_late_joiner_sees_the_cursors_that_are_there() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.move_cursor(json!({"x": 1, "any": ["thing"]}));
    bob.next_cursors().await;
    bob.move_cursor(json!({"x": 2}));
    bob.heartbeat().await;
    let mut late = TestClient::connect(&hub, "Cyd").await;
    let mut cursors = late.join("p/r").await.cursors;
    cursors.sort_by_key(|cursor| cursor.position["x"].as_u64());
    let shown: Vec<_> = cursors.iter().map(|cursor| (&cursor.connection_id, &cursor.position)).collect();
    let (at_ada, at_bob) = (json!({"x": 1, "any": ["thing"]}), json!({"x": 2}));
    assert_eq!(shown, [(&ada.connection_id, &at_ada), (&bob.connection_id, &at_bob)]);
}

#[tokio::test]
async fn a_hidden_cursor_is_told_once_and_not_shown_to_who_comes_later() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.move_cursor(json!({"x": 1}));
    assert_eq!(bob.next_cursors().await[0].position, json!({"x": 1}));
    ada.move_cursor(Value::Null);
    assert_eq!(bob.next_cursors().await[0].position, Value::Null);
    ada.move_cursor(Value::Null);
    ada.move_cursor(json!({"x": 2}));
    assert_eq!(bob.next_cursors().await[0].position, json!({"x": 2}), "hiding what is hidden says nothing");
    ada.move_cursor(Value::Null);
    bob.next_cursors().await;
    assert!(TestClient::connect(&hub, "Cyd").await.join("p/r").await.cursors.is_empty());
}

#[tokio::test]
async fn a_cursor_goes_with_its_connection() {
    let hub = TestHub::start().await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut amy = TestClient::joined(&hub, "Amy", "p/r").await;
    for client in [&mut ada, &mut amy] {
        client.move_cursor(json!({"x": 1}));
        bob.next_cursors().await;
    }
    ada.leave().await;
    let gone = amy.connection_id.clone();
    amy.close(1000).await;
    bob.changes_until(|change| change.is_last_leave() && change.connection_id() == gone).await;
    assert!(TestClient::connect(&hub, "Cyd").await.join("p/r").await.cursors.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_to_who_is_alone_or_when_nothing_moves() {
    let hub = TestHub::with(&[UNHURRIED, &[("CURSOR_TICK_MS", "5")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    for x in 0..100 {
        ada.move_cursor(json!({"x": x}));
    }
    ada.heartbeat().await;
    some_ticks().await;
    ada.send("fence").await;
    assert!(ada.leftover("cursors").is_empty(), "nobody else is there");
    let mut bob = TestClient::connect(&hub, "Bob").await;
    assert_eq!(bob.join("p/r").await.cursors[0].position, json!({"x": 99}));
    some_ticks().await;
    bob.send("fence").await;
    assert!(bob.leftover("cursors").is_empty(), "what was shown on joining is not sent again");
}

async fn some_ticks() {
    let begun = Instant::now();
    eventually("some ticks passed", async || (begun.elapsed() > Duration::from_millis(50)).then_some(())).await;
}

#[tokio::test]
async fn cursors_stay_in_their_room_and_with_its_members() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/one").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/two").await;
    let reference = ada.ask(json!({"type": "cursor", "room": "p/two", "position": {"x": 1}}));
    ada.refusal(reference, "not_joined").await;
    ada.move_cursor(json!({"x": 1}));
    let mut amy = TestClient::joined(&hub, "Amy", "p/two").await;
    amy.move_cursor(json!({"x": 2}));
    assert_eq!(bob.next_cursors().await[0].connection_id, amy.connection_id);
}
