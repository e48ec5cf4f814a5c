//! Messages: durable before they are acknowledged, in one order without holes, once each, replayed to who comes back.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestClient, TestHub, eventually, figures::Figures, hub::UNHURRIED};

#[tokio::test]
async fn an_acknowledged_message_survives_a_kill() {
    let mut hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let sent: Vec<_> = (0..200)
        .map(|n| {
            let id = Uuid::new_v4().to_string();
            (ada.post(&id, n), id)
        })
        .collect();
    let mut acked = Vec::new();
    for (reference, id) in &sent[..120] {
        acked.push((ada.ack(*reference).await.seq, id.clone()));
    }
    hub.kill();
    hub.restart().await;

    let history = hub.http().whole_history("p/r").await;
    let stored: Vec<_> = history.iter().map(|message| (message.seq, message.id.clone())).collect();
    assert!(stored.len() >= acked.len());
    assert_eq!(stored[..acked.len()], acked[..], "the acknowledged ones, in their places");
    let joined = TestClient::connect(&hub, "Bob").await.join_with("p/r", json!({"history": 200})).await;
    assert_eq!(joined.messages, history, "a joiner gets the same");
}

#[tokio::test]
async fn many_senders_share_one_order_without_holes() {
    const SENDERS: u64 = 8;
    const EACH: u64 = 40;
    let hub = TestHub::with(UNHURRIED).await;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        senders.push(TestClient::joined(&hub, &format!("sender-{n}"), "p/r").await);
    }
    let sending = senders.into_iter().zip(0..).map(async |(mut sender, n): (TestClient, u64)| {
        let acked = sender.send_many(n * EACH..(n + 1) * EACH).await;
        assert!(acked.is_sorted(), "the messages of one sender keep their order");
        let mut messages = Vec::new();
        for _ in 0..SENDERS * EACH {
            messages.push(sender.next_message().await);
        }
        messages
    });
    let seen = futures_util::future::join_all(sending).await;
    let seqs: Vec<_> = seen[0].iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=SENDERS * EACH).collect::<Vec<_>>());
    for other in &seen[1..] {
        assert_eq!(*other, seen[0], "everybody sees the same messages in the same order");
    }
    assert_eq!(hub.http().whole_history("p/r").await, seen[0], "as does the history");
}

#[tokio::test]
async fn a_burst_leaves_no_holes_in_the_order_that_have_to_be_read_from_the_store() {
    const BURST: u64 = 2_000;
    let hub = TestHub::with(UNHURRIED).await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    assert_eq!(ada.send_many(0..BURST).await, (1..=BURST).collect::<Vec<_>>(), "answered in their order");
    for seq in 1..=BURST {
        assert_eq!(bob.next_message().await.seq, seq);
    }
    let figures = Figures::of(&hub).await;
    assert_eq!(figures.value("hubbub_holes_found_total"), 0.0);
    assert_eq!(figures.value("hubbub_hole_reads_total"), 0.0);
}

#[tokio::test]
async fn a_message_sent_again_is_the_same_message() {
    let mut hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let id = Uuid::new_v4().to_string();
    let first = ada.send_as(&id, "once").await;
    assert!(!first.duplicate);
    for client in [&mut ada, &mut bob] {
        let again = client.send_as(&id, "twice").await;
        assert_eq!((again.seq, again.duplicate), (first.seq, true));
    }
    hub.stop().await;
    hub.restart().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let again = ada.send_as(&id, "once more").await;
    assert_eq!((again.seq, again.duplicate), (first.seq, true), "also after a restart");
    assert_eq!(ada.send("fence").await, first.seq + 1);
    assert_eq!(ada.next_message().await.body, "fence", "a duplicate is delivered to nobody");
    let bodies: Vec<_> = hub.http().whole_history("p/r").await.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["once", "fence"]);
}

#[tokio::test]
async fn the_same_id_from_two_connections_at_once_is_one_message() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut tab = TestClient::joined(&hub, "Ada", "p/r").await;
    for n in 1..=30 {
        let id = Uuid::new_v4().to_string();
        let (one, other) = tokio::join!(ada.send_as(&id, n), tab.send_as(&id, n));
        assert_eq!((one.seq, other.seq), (n, n));
        assert_ne!(one.duplicate, other.duplicate, "one of them is the duplicate");
    }
}

#[tokio::test]
async fn an_id_names_a_message_within_its_room() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let id = Uuid::new_v4().to_string();
    assert!(!ada.send_as(&id, "here").await.duplicate);
    ada.join("p/other").await;
    assert!(!ada.send_as(&id, "there").await.duplicate);
}

#[tokio::test]
async fn a_joiner_gets_as_much_history_as_it_asks_for() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..230).await;
    let mut bob = TestClient::connect(&hub, "Bob").await;
    for (more, expected) in [
        (json!({}), 181..231),
        (json!({"history": 50}), 181..231),
        (json!({"history": 200}), 31..231),
        (json!({"history": 1}), 230..231),
        (json!({"history": 0}), 231..231),
    ] {
        let joined = bob.join_with("p/r", more.clone()).await;
        assert_eq!(joined.seqs(), expected.collect::<Vec<_>>(), "{more}");
        assert_eq!(joined.seq, 230, "{more}");
    }
    let reference = bob.ask_to_join("p/r", json!({"history": 201}));
    bob.refusal(reference, "bad_frame").await;
}

#[tokio::test]
async fn who_comes_back_gets_exactly_what_was_missed() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let bob = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.send_many(0..10).await;
    bob.vanish();
    ada.send_many(10..300).await;
    let mut bob = TestClient::connect(&hub, "Bob").await;
    let joined = bob.join_with("p/r", json!({"since": 10})).await;
    assert!(joined.recovered);
    assert_eq!((joined.seq, joined.seqs()), (300, (11..=300).collect()));
    assert_eq!(joined.messages, hub.http().whole_history("p/r").await[10..]);
    ada.send("next").await;
    assert_eq!(bob.next_message().await.seq, 301, "and then what follows");
    let nothing = bob.join_with("p/r", json!({"since": 301})).await;
    assert!(nothing.recovered && nothing.messages.is_empty());
}

#[tokio::test]
async fn who_missed_more_than_a_thousand_gets_the_latest_and_is_told_so() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..1_100).await;
    let mut bob = TestClient::connect(&hub, "Bob").await;
    let all = bob.join_with("p/r", json!({"since": 100})).await;
    assert!(all.recovered, "a thousand are replayed");
    assert_eq!(all.seqs(), (101..=1_100).collect::<Vec<_>>());
    let latest = bob.join_with("p/r", json!({"since": 99})).await;
    assert!(!latest.recovered);
    assert_eq!((latest.seq, latest.seqs()), (1_100, (1_051..=1_100).collect()));
    assert_eq!(hub.http().whole_history("p/r").await.len(), 1_100, "the rest is there over HTTP");
}

/// A page that kept a `seq` of a database that was since thrown away.
#[tokio::test]
async fn a_since_that_the_room_never_reached_is_not_recovered() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send("one").await;
    let joined = ada.join_with("p/r", json!({"since": 1_000})).await;
    assert_eq!((joined.recovered, joined.seq, joined.seqs()), (false, 1, vec![1]));
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_between_joined_and_the_first_frame() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let joining = async {
        for _ in 0..15 {
            let mut bob = TestClient::connect(&hub, "Bob").await;
            let joined = bob.join_with("p/r", json!({"history": 200})).await;
            let first = bob.next_message().await.seq;
            assert_eq!(first, joined.seq + 1, "what follows the head of `joined`");
            assert_eq!(joined.seqs().last().copied().unwrap_or(0), joined.seq, "up to which it was told all");
        }
    };
    let mut joining = std::pin::pin!(joining);
    loop {
        tokio::select! {
            () = &mut joining => break,
            _ = ada.send("more") => {}
        }
    }
}

#[tokio::test]
async fn a_body_is_any_json_and_comes_as_it_was_sent() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    for body in [
        Value::Null,
        json!(true),
        json!(-0.5),
        json!(u64::MAX),
        json!(""),
        json!("\u{0} \u{7f} \u{2028} \"quoted\" \\ Ünï 👩‍💻"),
        json!([]),
        json!({"type": "ack", "room": "x", "nested": {"a": [1, {"b": null}]}}),
        deep,
    ] {
        let seq = ada.send(body.clone()).await;
        let message = ada.next_message().await;
        assert_eq!((message.seq, &message.body), (seq, &body));
        assert_eq!(message.from.connection_id.as_ref(), Some(&ada.connection_id));
        assert_eq!((message.from.user_id, message.from.name), (ada.user.user_id.clone(), "Ada".to_owned()));
        assert!(message.sent_at.ends_with('Z'), "{}", message.sent_at);
    }
    let joined = ada.join_with("p/r", json!({"history": 200})).await;
    assert_eq!(joined.messages, hub.http().whole_history("p/r").await);
}

#[tokio::test]
async fn a_broadcast_reaches_everybody_else_and_is_kept_by_nobody() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut tab = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let mut away = TestClient::joined(&hub, "Cyd", "p/other").await;
    ada.broadcast("typing", json!({"on": true}));
    for other in [&mut tab, &mut bob] {
        let frame = other.next_of("broadcast").await;
        assert_eq!((&frame["room"], &frame["event"]), (&json!("p/r"), &json!("typing")));
        assert_eq!(frame["data"], json!({"on": true}));
        assert_eq!(frame["from"]["connection_id"], ada.connection_id.as_str());
    }
    assert_eq!(ada.send("fence").await, 1, "a broadcast takes no place in the order");
    ada.next_message().await;
    assert!(ada.leftover("broadcast").is_empty(), "the sender does not get it");
    away.heartbeat().await;
    assert!(away.leftover("broadcast").is_empty(), "nor does another room");
    let late = TestClient::connect(&hub, "Dan").await.join("p/r").await;
    assert_eq!(late.seqs(), [1], "nor who comes later");
}

#[tokio::test]
async fn read_markers_are_told_and_counted() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    for n in 0..5 {
        ada.send(n).await;
    }
    let bobs_id = bob.user.user_id.clone();
    bob.mark_read(3);
    for client in [&mut ada, &mut bob] {
        let read = client.next_of("read").await;
        assert_eq!(read["seq"], 3);
        assert_eq!(read["user_id"], bobs_id);
    }
    let http = hub.http();
    let unread = async |name: &str| {
        let rooms = http.get(&format!("/api/projects/p/rooms?name={name}")).await.json();
        let item = &rooms["items"][0];
        assert_eq!((&item["room"], &item["last_seq"]), (&json!("p/r"), &json!(5)));
        item["unread"].as_u64().expect("a number")
    };
    eventually("Bob's marker is stored", async || (unread("Bob").await == 2).then_some(())).await;
    assert_eq!(unread("Ada").await, 5, "a marker is one person's");
    // A marker moves forwards only, and not past the end.
    bob.mark_read(1);
    bob.mark_read(99);
    assert_eq!(ada.next_of("read").await["seq"], 5);
    eventually("all is read", async || (unread("Bob").await == 0).then_some(())).await;
}

#[tokio::test]
async fn rooms_do_not_hear_each_other() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/one").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/two").await;
    ada.send("for one").await;
    bob.send("for two").await;
    assert_eq!(bob.next_message().await.body, "for two");
    assert!(bob.leftover("message").is_empty());
    let reference = bob.ask(json!({"type": "message", "room": "p/one", "id": Uuid::new_v4(), "body": 1}));
    bob.refusal(reference, "not_joined").await;
}

/// Another process holds the database's lock for longer than the hub waits.
#[tokio::test]
async fn a_message_that_cannot_be_stored_now_is_refused_and_can_be_sent_again() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

    let hub = TestHub::with(&[("DATABASE_BUSY_TIMEOUT_MS", "200")]).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send("before").await;
    ada.next_message().await;
    let file = hub.home().path().join("data/hubbub.db");
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.expect("a connection");
    other.execute("BEGIN IMMEDIATE").await.expect("the lock");

    let id = Uuid::new_v4().to_string();
    let reference = ada.post(&id, "later");
    let refused = ada.refusal(reference, "unavailable").await;
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    let path = "/api/projects/p/rooms/r/messages?name=x";
    hub.http().post(path, &json!({"body": 1})).await.problem(503, "unavailable");
    ada.broadcast("still", json!(1));
    ada.heartbeat().await;
    assert_eq!(hub.http().whole_history("p/r").await.len(), 1, "reading goes on");

    other.execute("ROLLBACK").await.expect("the end of the lock");
    other.close().await.expect("closed");
    let ack = ada.send_as(&id, "later").await;
    assert_eq!((ack.seq, ack.duplicate), (2, false), "nothing was written before, and no place was lost");
    assert_eq!(ada.next_message().await.body, "later");
}
