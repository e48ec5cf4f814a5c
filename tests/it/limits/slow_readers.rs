//! Clients that do not read what they get: their memory is bounded and they are let go, others do not notice.

use std::{collections::HashMap, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    RawClient, RoomView, TestClient, TestHub,
    hub::{CROWDED, UNHURRIED},
    pump::NO_CLOSE_FRAME,
};

const MIB: usize = 1024 * 1024;
/// A message that fills buffers.
const LARGE: usize = 32 * 1024;
/// The code, or just the end when the kernel had no room for it.
const LET_GO: [u16; 2] = [4508, NO_CLOSE_FRAME];

#[tokio::test]
async fn who_does_not_read_in_a_busy_room_is_let_go_and_costs_little() {
    const READERS: usize = 20;
    const MESSAGES: usize = 200;
    let settings = [UNHURRIED, &[("SLOW_CONSUMER_MS", "1000"), ("PRESENCE_GRACE_MS", "100")]].concat();
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
async fn who_lags_is_told_the_sense_of_what_it_missed_and_every_message() {
    const MESSAGES: u64 = 1_200;
    let hub =
        TestHub::with(&[UNHURRIED, CROWDED, &[("CURSOR_TICK_MS", "5"), ("PRESENCE_GRACE_MS", "0")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut stays = TestClient::joined(&hub, "Stays", "p/r").await;
    let leaves = TestClient::joined(&hub, "Leaves", "p/r").await;
    let mut hides = TestClient::joined(&hub, "Hides", "p/r").await;
    hides.move_cursor(json!({"x": 0}));
    ada.next_cursors().await;
    let mut slow = RawClient::connect_with_small_buffer(hub.address()).await;
    slow.upgrade("slow").await;
    let mut view = RoomView::of(&slow.join("p/r").await);

    let body = "x".repeat(2 * 1024);
    let mut leaves = Some(leaves);
    for n in 1..=MESSAGES {
        ada.send(json!([n, body])).await;
        match n {
            // Far behind by now: it has got a few messages, the kernel holds some for it.
            800 => {
                drop(leaves.take());
                hides.move_cursor(json!(null));
                let tab = TestClient::joined(&hub, "Stays", "p/r").await;
                let passer = TestClient::joined(&hub, "Passes by", "p/r").await;
                passer.close(1000).await;
                tab.close(1000).await;
            }
            n if n % 50 == 0 => {
                stays.update(json!({"n": n}));
                stays.move_cursor(json!({"n": n}));
            }
            _ => {}
        }
        if n % 10 == 0 {
            let frame = slow.next_json().await;
            view.take(&frame);
        }
    }
    let new = TestClient::joined(&hub, "New", "p/r").await;
    assert!(hub.store_reads() > 0 || view.seq < 100, "it lags");

    let mut other = RawClient::upgraded(hub.address(), "other").await;
    let truth = RoomView::of(&other.join("p/r").await);
    let mut presences = 0;
    while view.seq < MESSAGES {
        let frame = slow.next_json().await;
        presences += usize::from(frame["type"] == "presence");
        view.take(&frame);
    }
    assert!(hub.store_reads() > 1, "what the room no longer keeps came from the store");
    // The last changes may come after the last message.
    while view != truth {
        let frame = slow.next_json().await;
        view.take(&frame);
    }
    assert!(presences < 20, "{presences} presence frames for a reader that lags");

    // And it is a member like the others again.
    stays.update(json!({"done": true}));
    ada.send("the last").await;
    let mut done = false;
    while !done || view.seq <= MESSAGES {
        let frame = slow.next_json().await;
        view.take(&frame);
        done |= frame["updates"][0]["state"]["done"] == true;
    }
    drop((new, other));
}

#[tokio::test]
async fn when_everybody_lags_nobody_is_closed_and_what_was_missed_is_read_together() {
    const READERS: usize = 40;
    const MESSAGES: u64 = 2_000;
    let hub = TestHub::with(&[UNHURRIED, CROWDED].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let mut reader = RawClient::connect_with_small_buffer(hub.address()).await;
        reader.upgrade(&format!("reader-{n}")).await;
        let view = RoomView::of(&reader.join("p/r").await);
        readers.push((reader, view));
    }
    let (body, before) = ("x".repeat(1024), hub.resident_bytes());
    for n in 0..MESSAGES / 50 {
        let posted: Vec<_> =
            (0..50).map(|m| ada.post(&uuid::Uuid::new_v4().to_string(), json!([n, m, body]))).collect();
        for reference in posted {
            ada.ack(reference).await;
        }
    }
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "the hub grew by {grown} bytes");
    let reads = hub.store_reads();
    futures_util::future::join_all(readers.iter_mut().map(async |(reader, view)| {
        while view.seq < MESSAGES {
            let frame = reader.next_json().await;
            view.take(&frame);
        }
    }))
    .await;
    // Each by itself would read about twenty times.
    let reads = hub.store_reads() - reads;
    assert!((1..=READERS * 5).contains(&reads), "{reads} reads");
    let seq = ada.send("the last").await;
    for (reader, view) in &mut readers {
        while view.seq < seq {
            let frame = reader.next_json().await;
            view.take(&frame);
        }
        assert_eq!(view.people.len(), READERS + 1);
    }
}

#[tokio::test]
async fn a_slow_reader_of_many_rooms_is_brought_all_of_them() {
    const ROOMS: usize = 12;
    let hub = TestHub::with(UNHURRIED).await;
    let mut slow = RawClient::connect_with_small_buffer(hub.address()).await;
    slow.upgrade("slow").await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    let mut views = HashMap::new();
    for n in 0..ROOMS {
        let room = format!("p/r{n}");
        views.insert(room.clone(), RoomView::of(&slow.join(&room).await));
        ada.join(&room).await;
    }
    let body = "x".repeat(LARGE);
    for _ in 0..10 {
        for room in views.keys() {
            ada.join(room).await;
            ada.send(body.as_str()).await;
        }
    }
    while views.values().any(|view| view.seq < 10) {
        let frame = slow.next_json().await;
        if let Some(view) = frame["room"].as_str().and_then(|room| views.get_mut(room)) {
            view.take(&frame);
        }
    }
}
