//! Stopping: everybody is told, what was accepted is kept, and it is over in time.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    RawClient, TestClient, TestHub, Traffic, eventually, hub::UNHURRIED, poll::PATIENCE, raw::handshake,
};

#[tokio::test]
async fn clients_are_sent_away_and_the_end_is_orderly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut hub = TestHub::start().await;
        let mut clients = Vec::new();
        for n in 0..20 {
            clients.push(TestClient::joined(&hub, &format!("guest {n}"), "p/r").await);
        }
        let idle = TestClient::connect(&hub, "in no room").await;
        let took = hub.stop_by(signal).await; // asserts exit code 0 and that nobody and nothing is left
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        clients.push(idle);
        for client in &mut clients {
            let drain = client.next_of("drain").await;
            assert!(drain["reconnect_after_ms"].as_u64().is_some_and(|ms| ms <= 5_000), "{drain}");
            assert_eq!(client.closed_with().await, 1012);
        }
    }
}

#[tokio::test]
async fn an_idle_hub_stops_at_once() {
    let mut hub = TestHub::start().await;
    let took = hub.stop().await;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[tokio::test]
async fn what_was_acknowledged_while_it_stopped_is_kept() {
    let mut hub = TestHub::with(UNHURRIED).await;
    let mut clients = Vec::new();
    for n in 0..4 {
        let mut client = TestClient::joined(&hub, &format!("guest {n}"), "p/r").await;
        client.say(json!({"type": "presence", "room": "p/r", "state": {}}));
        clients.push(client);
    }
    // Each has sent more than it will hear of before the end.
    let sent: Vec<Vec<_>> = clients
        .iter_mut()
        .map(|client| (0..300).map(|n| client.post(&uuid::Uuid::new_v4().to_string(), n)).collect())
        .collect();
    let first = sent[0][0];
    clients[0].ack(first).await;
    hub.stop().await;
    let mut acked = vec![];
    for client in &mut clients {
        client.closed_with().await;
        acked.extend(
            client
                .leftover("ack")
                .iter()
                .map(|ack| (ack["seq"].as_u64().expect("a seq"), ack["id"].as_str().expect("an id").to_owned())),
        );
    }
    hub.restart().await;
    let history = hub.http().whole_history("p/r").await;
    for (seq, id) in acked {
        let stored = usize::try_from(seq).ok().and_then(|seq| history.get(seq - 1)).expect("an acknowledged message");
        assert_eq!((stored.seq, &stored.id), (seq, &id));
    }
}

#[tokio::test]
async fn it_stops_in_time_under_traffic() {
    let drain = Duration::from_millis(3_000);
    let mut hub = TestHub::with(&[UNHURRIED, &[("DRAIN_TIMEOUT_MS", "3000")]].concat()).await;
    let mut watcher = TestClient::joined(&hub, "watcher", "p/r").await;
    let mut speakers = Vec::new();
    for n in 0..3 {
        speakers.push(TestClient::joined(&hub, &format!("guest {n}"), "p/r").await);
    }
    let traffic = Traffic::until_closed(speakers);
    watcher.next_message().await;
    let took = hub.stop().await;
    assert!(took < drain, "it took {took:?}");
    for mut speaker in traffic.stop().await {
        assert_eq!(speaker.closed_with().await, 1012);
    }
}

#[tokio::test]
async fn peers_that_do_nothing_do_not_hold_it_up() {
    let mut hub = TestHub::with(&[("DRAIN_TIMEOUT_MS", "2000")]).await;
    let address = hub.address();
    let _silent = RawClient::joined(address, "silent", "p/r").await; // neither reads nor closes
    let mut half = RawClient::connect(address).await;
    half.write(b"GET /health HTTP/1.1\r\nHost:").await;
    let mut kept_alive = RawClient::connect(address).await;
    kept_alive.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    kept_alive.head().await;
    let took = hub.stop().await;
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

#[tokio::test]
async fn while_it_stops_it_is_not_ready_and_lets_nobody_in() {
    // A client that never closes keeps the drain going.
    let mut hub = TestHub::with(&[("DRAIN_TIMEOUT_MS", "4000")]).await;
    let mut stubborn = RawClient::joined(hub.address(), "stubborn", "p/r").await;
    let http = hub.http();
    assert!(http.get("/health/ready").await.status.is_success());
    let mut waiting = RawClient::connect(hub.address()).await;
    hub.signal(Signal::TERM);
    stubborn.json_of("drain").await;
    waiting.write(handshake("/ws?name=late").as_bytes()).await;
    let head = waiting.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("retry-after:"), "{head}");
    let answer = http.get("/health/ready").await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(http.get("/health/live").await.status.is_success(), "it is alive");
    assert!(hub.exit().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut hub = TestHub::with(&[("DRAIN_TIMEOUT_MS", "60000")]).await;
    let mut crowd = Vec::new();
    for n in 0..20 {
        crowd.push(TestClient::joined(&hub, &format!("guest {n}"), "p/r").await);
    }
    let stubborn = RawClient::joined(hub.address(), "stubborn", "p/r").await;
    hub.signal(Signal::TERM);
    eventually("it stops", async || hub.log().contains("stopping").then_some(())).await;
    let again = Instant::now();
    hub.signal(Signal::INT);
    assert!(!hub.exit().await.success(), "an end that was forced is not a success");
    assert!(again.elapsed() < PATIENCE / 5);
    drop(stubborn);
}
