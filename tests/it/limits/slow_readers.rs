//! Clients that do not read what they get: their memory is bounded and they are let go, others do not notice.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{RawClient, TestClient, TestHub, hub::UNHURRIED, pump::NO_CLOSE_FRAME};

const MIB: usize = 1024 * 1024;
/// A message that fills buffers.
const LARGE: usize = 32 * 1024;
/// The code, or just the end when the kernel had no room for it.
const LET_GO: [u16; 2] = [4508, NO_CLOSE_FRAME];

#[tokio::test]
async fn who_does_not_read_in_a_busy_room_is_let_go_and_costs_little() {
    const READERS: usize = 20;
    const MESSAGES: usize = 200;
    let settings = [UNHURRIED, &[("OUTBOX_BYTES_MAX", "262144"), ("PRESENCE_GRACE_MS", "100")]].concat();
    let mut hub = TestHub::with(&settings).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let mut stuck = Vec::new();
    for n in 0..READERS {
        let mut client = RawClient::connect_with_small_buffer(hub.address()).await;
        client.upgrade(&format!("stuck-{n}")).await;
        client.join("p/r").await;
        stuck.push(client);
    }
    let (body, before) = ("x".repeat(LARGE), hub.resident_bytes());
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for _ in 0..MESSAGES {
        let sent = Instant::now();
        ada.send(body.as_str()).await;
        bob.next_message().await;
        slowest = slowest.max(sent.elapsed());
        most = most.max(hub.resident_bytes().saturating_sub(before));
    }
    // Unbounded it would be 200 x 32 KiB x 20 = 125 MiB; bounded, what waits is shared.
    assert!(most < 24 * MIB, "the hub grew by {most} bytes");
    assert!(slowest < Duration::from_secs(2), "a message took {slowest:?}");
    let mut gone = 0;
    while gone < READERS {
        gone += usize::from(bob.next_change().await.is_last_leave());
    }
    for client in &mut stuck {
        let code = client.closed_with().await;
        assert!(LET_GO.contains(&code), "closed with {code}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_is_let_go_even_if_little_waits() {
    let settings =
        [UNHURRIED, &[("SLOW_CONSUMER_MS", "1000"), ("PRESENCE_GRACE_MS", "100"), ("HEARTBEAT_INTERVAL_MS", "500")]];
    let mut hub = TestHub::with(&settings.concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut stuck = RawClient::connect_with_small_buffer(hub.address()).await;
    stuck.upgrade("stuck").await;
    stuck.join("p/r").await;
    ada.next_change().await;
    // More than the kernel holds for it, less than the outbox may hold.
    let body = "x".repeat(LARGE);
    for _ in 0..30 {
        ada.send(body.as_str()).await;
    }
    let begun = Instant::now();
    ada.changes_until(|change| change.is_last_leave()).await;
    // The verdict after a second, the end of the socket within five more.
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    let code = stuck.closed_with().await;
    assert!(LET_GO.contains(&code), "closed with {code}");
    hub.stop().await;
}

#[tokio::test]
async fn who_reads_slowly_but_reads_misses_nothing() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut slow = RawClient::connect_with_small_buffer(hub.address()).await;
    slow.upgrade("slow").await;
    slow.join("p/r").await;
    let body = "x".repeat(LARGE);
    for n in 1..=60 {
        ada.send(json!([n, body])).await;
        if n > 20 {
            let message = slow.json_of("message").await; // one for one, twenty behind
            assert_eq!(message["seq"], n - 20);
        }
    }
}

#[tokio::test]
async fn who_lags_is_spared_cursors_but_no_message() {
    let hub = TestHub::with(&[UNHURRIED, &[("CURSOR_TICK_MS", "5")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut slow = RawClient::connect_with_small_buffer(hub.address()).await;
    slow.upgrade("slow").await;
    slow.join("p/r").await;
    let body = "x".repeat(LARGE);
    for n in 0..28 {
        ada.send(json!([n, body])).await;
        ada.move_cursor(json!({"x": n}));
    }
    ada.send("the last").await;
    for seq in 1..=29 {
        assert_eq!(slow.json_of("message").await["seq"], seq);
    }
}
