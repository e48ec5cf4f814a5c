//! Coming back: everybody gets exactly what they missed, in one round trip, also when everybody comes back at once.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    RawClient, TestClient, TestHub,
    hub::{CROWDED, UNHURRIED},
};

/// What of a `joined` frame is looked at in a storm.
#[derive(Deserialize)]
struct Resumed {
    seq: u64,
    recovered: bool,
    messages: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
}

impl Resumed {
    /// Whether it is all from `since` to the room's head, in order.
    fn is_all_since(&self, since: u64) -> bool {
        self.recovered && self.messages.iter().map(|message| message.seq).eq(since + 1..=self.seq)
    }
}

#[tokio::test]
async fn a_crowd_that_comes_back_after_a_restart_costs_the_store_a_few_reads() {
    const CROWD: u64 = 2_000;
    const MESSAGES: u64 = 900;
    let mut hub = TestHub::with(&[UNHURRIED, CROWDED].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..MESSAGES).await;
    hub.kill();
    hub.restart().await;

    let (begun, address, idle) = (Instant::now(), hub.address(), hub.resident_bytes());
    let resume = |n: u64| async move {
        let since = n % MESSAGES;
        let more = format!(r#","since":{since}"#);
        let (client, joined) = RawClient::join_with::<Resumed>(address, &format!("c{n}"), "p/r", &more).await;
        assert!(joined.is_all_since(since), "client {n}, since {since}: {} messages", joined.messages.len());
        client
    };
    let mut crowd: Vec<_> = stream::iter(0..CROWD).map(resume).buffer_unordered(200).collect().await;
    let (took, cpu, grown) = (begun.elapsed(), hub.cpu_time(), hub.resident_bytes().saturating_sub(idle));
    eprintln!("{CROWD} came back in {took:?}, {cpu:?} of the processor, {} MiB", grown >> 20);
    let reads = hub.store_reads();
    assert!((1..=6).contains(&reads), "{reads} reads");
    assert!(took < Duration::from_secs(60), "it took {took:?}");
    // Connections and presence; a copy of the history for each would be 180 MiB more.
    assert!(grown < 200 << 20, "the hub grew by {grown} bytes");

    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let seq = ada.send("and on it goes").await;
    for client in &mut crowd {
        assert_eq!(client.json_of("message").await["seq"], seq);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_not_read_again_for_each() {
    const CROWD: u64 = 200;
    let mut hub = TestHub::with(&[UNHURRIED, CROWDED].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    for _ in 0..400 {
        ada.send("x".repeat(2_000)).await;
    }
    hub.kill();
    hub.restart().await;
    let address = hub.address();
    let resume = |n: u64| async move {
        let (client, joined) = RawClient::join_with::<Resumed>(address, &format!("c{n}"), "p/r", r#","since":1"#).await;
        assert!(!joined.recovered && joined.seq == 400, "more than fits is not recovered");
        assert!(joined.messages.iter().map(|message| message.seq).eq(351..=400), "the latest fifty");
        client
    };
    let crowd: Vec<_> = stream::iter(0..CROWD).map(resume).buffer_unordered(50).collect().await;
    assert_eq!(crowd.len(), CROWD as usize);
    let reads = hub.store_reads();
    assert!((2..=3).contains(&reads), "{reads} reads");
}

#[tokio::test]
async fn who_comes_back_is_told_all_even_when_rooms_may_keep_nothing() {
    let mut hub = TestHub::with(&[UNHURRIED, CROWDED, &[("REPLAY_BYTES_MAX", "0")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..700).await;
    for (since, bob) in [(0, "b"), (123, "c"), (650, "d"), (700, "e")] {
        let joined = TestClient::connect(&hub, bob).await.join_with("p/r", json!({"since": since})).await;
        assert!(joined.recovered, "since {since}");
        assert_eq!(joined.seqs(), (since + 1..=700).collect::<Vec<_>>());
    }
    let joined = TestClient::connect(&hub, "Eve").await.join_with("p/r", json!({"history": 200})).await;
    assert_eq!(joined.seqs(), (501..=700).collect::<Vec<_>>());
    hub.stop().await;
}

#[tokio::test]
async fn a_join_that_was_taken_back_is_not_answered_later() {
    let mut hub = TestHub::with(&[UNHURRIED, CROWDED].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..900).await;
    hub.kill();
    hub.restart().await;
    let mut bob = TestClient::connect(&hub, "Bob").await;
    let first = bob.ask_to_join("p/r", json!({"since": 0}));
    let left = bob.ask(json!({"type": "leave", "room": "p/r"}));
    let second = bob.ask_to_join("p/r", json!({"since": 100}));
    bob.reply(left, "left").await;
    let joined = bob.reply(second, "joined").await;
    assert_eq!(joined["messages"].as_array().map(Vec::len), Some(800));
    bob.heartbeat().await;
    assert!(bob.leftover("joined").is_empty(), "the join {first} was taken back");
}
