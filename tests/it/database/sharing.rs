//! Instances that share a PostgreSQL database, as they do when each runs on a machine of its own.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    PostgresServer, Proxy, TestClient, TestCluster, TestHub, Traffic,
    hub::{FAST, UNHURRIED, run},
};

async fn cluster() -> (TestCluster, String) {
    let server = PostgresServer::shared();
    let url = server.url(&server.database().await);
    (TestCluster::with(&[("DATABASE_URL", &url)]).await, url)
}

#[tokio::test]
async fn senders_on_both_share_one_order_without_holes() {
    const EACH: u64 = 50;
    let (mut cluster, _) = cluster().await;
    let mut senders = Vec::new();
    for n in 0..3 {
        senders.push(TestClient::joined(&cluster.a, &format!("a-{n}"), "p/r").await);
        senders.push(TestClient::joined(&cluster.b, &format!("b-{n}"), "p/r").await);
    }
    let count = senders.len() as u64;
    let sending = senders.into_iter().zip(0..).map(async |(mut sender, n): (TestClient, u64)| {
        sender.send_many(n * EACH..(n + 1) * EACH).await;
        let mut messages = Vec::new();
        for _ in 0..count * EACH {
            messages.push(sender.next_message().await);
        }
        messages
    });
    let seen = futures_util::future::join_all(sending).await;
    let seqs: Vec<_> = seen[0].iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=count * EACH).collect::<Vec<_>>());
    for other in &seen[1..] {
        assert_eq!(*other, seen[0], "everybody sees the same messages in the same order");
    }
    assert_eq!(cluster.b.http().whole_history("p/r").await, seen[0]);
    cluster.a.stop().await;
    cluster.b.stop().await;
}

#[tokio::test]
async fn the_same_id_on_both_at_once_is_one_message() {
    let (cluster, _) = cluster().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut tab = TestClient::joined(&cluster.b, "Ada", "p/r").await;
    for n in 1..=20 {
        let id = Uuid::new_v4().to_string();
        let (one, other) = tokio::join!(ada.send_as(&id, n), tab.send_as(&id, n));
        assert_eq!((one.seq, other.seq), (n, n));
        assert_ne!(one.duplicate, other.duplicate);
    }
}

#[tokio::test]
async fn a_kill_under_traffic_loses_and_doubles_nothing() {
    let (mut cluster, _) = cluster().await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let on_b = Traffic::of([TestClient::joined(&cluster.b, "Ben", "p/r").await]);
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    for n in 0..30 {
        ada.send(n).await;
    }
    let pending: Vec<_> = (0..50).map(|n| ada.post(&Uuid::new_v4().to_string(), n)).collect();
    cluster.a.kill();
    drop((ada, pending));
    let mut ben = on_b.stop().await.remove(0);
    let total = ben.send("the last").await;
    for client in [&mut bob, &mut ben] {
        let seqs: Vec<_> = client.messages_until("the last").await.iter().map(|message| message.seq).collect();
        assert_eq!(seqs, (1..=total).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_acknowledged_message_survives_kills_of_hub_and_server() {
    let server = PostgresServer::start();
    let url = server.url(&server.database().await);
    let mut hub = TestHub::with(&[UNHURRIED, &[("DATABASE_URL", &url)]].concat()).await;
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
    server.kill();
    server.restart();
    hub.restart().await;
    let history = hub.http().whole_history("p/r").await;
    let stored: Vec<_> = history.iter().map(|message| (message.seq, message.id.clone())).collect();
    assert_eq!(stored[..acked.len()], acked[..], "the acknowledged ones, in their places");
    let joined = TestClient::connect(&hub, "Bob").await.join_with("p/r", json!({"history": 200})).await;
    assert_eq!(joined.messages, history, "a joiner gets the same");
}

#[tokio::test]
async fn a_body_is_any_json_and_comes_as_it_was_sent() {
    let (cluster, _) = cluster().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    for body in [
        Value::Null,
        json!(u64::MAX),
        json!("\u{0} \u{7f} \u{2028} \"quoted\" \\ Ünï 👩‍💻"),
        json!({"\u{0}": ["\\u0000", {"b": null, "a": 1.50}]}),
    ] {
        let seq = ada.send(body.clone()).await;
        for client in [&mut ada, &mut bob] {
            let message = client.next_message().await;
            assert_eq!((message.seq, &message.body), (seq, &body));
        }
    }
    let joined = ada.join_with("p/r", json!({"history": 200})).await;
    assert_eq!(joined.messages, cluster.b.http().whole_history("p/r").await);
    let found = cluster.b.http().get("/api/projects/p/search?q=uni+quoted").await.json();
    assert_eq!((&found["items"][0]["seq"], &found["items"][0]["room"]), (&json!(3), &json!("p/r")));
}

#[tokio::test]
async fn what_was_acknowledged_on_one_is_found_on_the_other() {
    let (cluster, _) = cluster().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let http = cluster.b.http();
    for n in 1..=20 {
        ada.send(json!({"text": format!("Número{n} of twenty")})).await;
        let found = http.get(&format!("/api/projects/p/search?q=numero{n}+")).await.json();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(found["items"][0]["seq"], n);
    }
    let page = http.get("/api/projects/p/search?q=twen&room=r&limit=3").await.json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(3));
    assert!(page["next"].is_string());
}

/// Unread counts, read markers and rooms are those of everybody.
#[tokio::test]
async fn read_markers_are_told_and_counted() {
    let (cluster, _) = cluster().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    for n in 0..5 {
        ada.send(n).await;
    }
    bob.messages_until(4).await;
    bob.mark_read(3);
    assert_eq!(ada.next_of("read").await["seq"], 3);
    for hub in [&cluster.a, &cluster.b] {
        let http = hub.http();
        crate::support::eventually("Bob's marker is stored", async || {
            let rooms = http.get("/api/projects/p/rooms?name=Bob").await.json();
            assert_eq!(rooms["items"][0]["last_seq"], 5);
            (rooms["items"][0]["unread"] == 2).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn many_start_at_once_on_a_fresh_database() {
    let server = PostgresServer::shared();
    let url = server.url(&server.database().await);
    let settings = [("DATABASE_URL", url.as_str())];
    let starting = (0..4).map(|_| TestHub::with(&settings));
    let mut hubs = futures_util::future::join_all(starting).await;
    for hub in &hubs {
        TestClient::joined(hub, "Ada", "p/r").await.send("hi").await;
    }
    assert_eq!(hubs[0].http().whole_history("p/r").await.len(), 4);
    for hub in &mut hubs {
        hub.stop().await;
    }
}

#[tokio::test]
async fn migrate_brings_the_database_up_to_date_and_ends() {
    let home = tempfile::TempDir::new().expect("a folder");
    let server = PostgresServer::shared();
    let database = server.database().await;
    let url = server.url(&database);
    for expected in [false, true] {
        let ended = run(home.path(), &[("DATABASE_URL", &url)], &["migrate"]).await;
        assert!(ended.success && ended.out.contains(&database), "{ended:?}");
        assert_eq!(ended.out.contains(": 0 "), expected, "{ended:?}");
        assert!(!format!("{ended:?}").contains(crate::support::postgres::DATABASE_PASSWORD));
    }
}

/// The database is far away for one of them.
#[tokio::test]
async fn one_that_is_cut_off_catches_up() {
    let (cluster, url) = cluster().await;
    let server = PostgresServer::shared();
    let network = Proxy::to(([127, 0, 0, 1], server.port()).into()).await;
    let far = url.replace(&server.port().to_string(), &network.address().port().to_string());
    let redis = cluster.redis.url();
    let settings = [FAST, &[("DATABASE_URL", far.as_str()), ("REDIS_URL", &redis)]].concat();
    let hub = TestHub::with(&[&settings[..], &[("DATABASE_STATEMENT_TIMEOUT_MS", "500")]].concat()).await;
    crate::support::cluster::connected(&hub).await;
    let mut cyd = TestClient::joined(&hub, "Cyd", "p/r").await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    network.lose();
    let reference = cyd.post(&Uuid::new_v4().to_string(), "lost");
    cyd.refusal(reference, "unavailable").await;
    let sent = ada.send_many(0..20).await;
    let heard: Vec<_> = cyd.messages_until(19).await.iter().map(|message| message.seq).collect();
    assert_eq!(heard, sent, "the bus carries what the others store");
    network.resume();
    crate::support::eventually("it stores again", async || {
        let reference = cyd.post(&Uuid::new_v4().to_string(), "back");
        let reply = cyd.answer(reference).await;
        (reply["type"] == "ack").then_some(())
    })
    .await;
    let messages = ada.messages_until("back").await;
    assert_eq!(messages.last().map(|message| message.seq), Some(21));
}
