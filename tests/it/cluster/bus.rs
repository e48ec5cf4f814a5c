//! Redis goes away, hangs, forgets, comes back: local service goes on, nothing is missed, doubled or out of order.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{
    Change, Losing, LossyBus, Proxy, RedisServer, TestClient, TestCluster, TestHub, Traffic, cluster::connected,
    eventually, eventually_within, hub::FAST,
};

/// Within it instances are one again after Redis is back.
const HEALING: Duration = Duration::from_secs(2);
/// Within it a hanging Redis is noticed.
const NOTICE: Duration = Duration::from_secs(3);

/// A TTL that no outage here reaches, so that nobody may be seen to leave.
const LONG_TTL: (&str, &str) = ("PRESENCE_TTL_MS", "60000");

async fn presence(hub: &TestHub) -> Value {
    hub.http().get("/api/projects/p/rooms/r/presence").await.json()
}

/// Takes all messages of a client up to `total` and asserts that each came once and in order.
async fn assert_all_came(client: &mut TestClient, total: u64) {
    for seq in 1..=total {
        assert_eq!(client.next_message().await.seq, seq, "{} of {total}", client.user.name);
    }
}

#[tokio::test]
async fn redis_stopped_under_traffic_and_started_again_costs_nothing() {
    let mut cluster = TestCluster::with(&[LONG_TTL]).await;
    let mut speakers = Vec::new();
    for n in 0..2 {
        speakers.push(TestClient::joined(&cluster.a, &format!("a-{n}"), "p/r").await);
        speakers.push(TestClient::joined(&cluster.b, &format!("b-{n}"), "p/r").await);
    }
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let leaver = TestClient::joined(&cluster.b, "leaver", "p/r").await;
    let traffic = Traffic::of(speakers);
    ada.changes_until(|change| change.connection_id() == leaver.connection_id).await;

    cluster.redis.stop().await;
    let stopped = Instant::now();
    for client in [&mut ada, &mut bob] {
        let status = client.until_status("degraded").await;
        assert_eq!(status, json!({"type": "status", "state": "degraded", "reasons": ["redis"]}));
    }
    assert!(stopped.elapsed() < NOTICE);
    // Local service goes on: messages are durable, people come and go, ephemeral things pass.
    let during = TestClient::joined(&cluster.a, "newcomer", "p/r").await;
    ada.changes_until(|change| change.connection_id() == during.connection_id).await;
    ada.broadcast("typing", json!(1));
    let mut amy = TestClient::joined(&cluster.a, "Amy", "p/r").await;
    ada.broadcast("typing", json!(2));
    assert_eq!(amy.next_of("broadcast").await["data"], 2);
    leaver.close(1000).await;
    eventually("Redis was away for three seconds", async || {
        (stopped.elapsed() >= Duration::from_secs(3)).then_some(())
    })
    .await;

    let back = cluster.redis.restart().await;
    let mut speakers = traffic.stop().await;
    let mut total = 0;
    for speaker in &mut speakers {
        total = total.max(speaker.send("the last").await);
    }
    let (mut listeners, mut healed) = (vec![&mut ada, &mut bob], Duration::ZERO);
    listeners.extend(&mut speakers);
    for listener in listeners {
        assert_all_came(listener, total).await;
        healed = healed.max(back.elapsed());
    }
    assert!(healed < HEALING, "messages were complete after {healed:?}");
    eventually_within(HEALING.saturating_sub(back.elapsed()), "presence is equal", async || {
        let (on_a, on_b) = tokio::join!(presence(&cluster.a), presence(&cluster.b));
        (on_a == on_b && on_a["members_total"] == 8).then_some(())
    })
    .await;
    for client in [&mut ada, &mut bob] {
        client.until_status("live").await;
    }
    // Nobody seemed to leave but the one who did.
    let fence = TestClient::joined(&cluster.a, "fence", "p/r").await;
    let seen = bob.changes_until(|change| change.connection_id() == fence.connection_id).await;
    let left: Vec<_> = seen.iter().filter(|change| matches!(change, Change::Leave { .. })).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // And it is one hub again.
    ada.move_cursor(json!({"x": 5}));
    assert_eq!(bob.next_cursors().await[0].position, json!({"x": 5}));
}

#[tokio::test]
async fn redis_killed_again_and_again_costs_nothing() {
    let mut cluster = TestCluster::with(&[LONG_TTL]).await;
    let speakers =
        [TestClient::joined(&cluster.a, "Ada", "p/r").await, TestClient::joined(&cluster.b, "Bob", "p/r").await];
    let mut watchers =
        [TestClient::joined(&cluster.a, "Amy", "p/r").await, TestClient::joined(&cluster.b, "Ben", "p/r").await];
    let traffic = Traffic::of(speakers);
    let mut back = Instant::now();
    for _ in 0..2 {
        cluster.redis.kill();
        cluster.redis.restart().await;
        cluster.redis.kill(); // before it was noticed that it is back
        for watcher in &mut watchers {
            watcher.until_status("degraded").await;
        }
        back = cluster.redis.restart().await;
        for watcher in &mut watchers {
            watcher.until_status("live").await;
        }
        assert!(back.elapsed() < HEALING, "it took {:?}", back.elapsed());
    }
    let mut speakers = traffic.stop().await;
    let total = speakers[0].send("the last").await;
    for client in speakers.iter_mut().chain(&mut watchers) {
        assert_all_came(client, total).await;
    }
    assert!(back.elapsed() < HEALING, "messages were complete after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_hanging_redis_is_noticed_and_healed_from() {
    let cluster = TestCluster::with(&[LONG_TTL]).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.next_change().await;
    cluster.redis.pause();
    let hung = Instant::now();
    for client in [&mut ada, &mut bob] {
        client.until_status("degraded").await;
    }
    assert!(hung.elapsed() < NOTICE, "it took {:?}", hung.elapsed());
    let http = cluster.a.http();
    let health = http.get("/health").await.json();
    assert_eq!((&health["redis"], &health["status"]), (&json!("disconnected"), &json!("degraded")));
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let asked = Instant::now();
        http.get("/health").await;
        best = best.min(asked.elapsed());
    }
    assert!(best < Duration::from_millis(30), "health waits for nobody, and took {best:?}");
    let begun = Instant::now();
    assert_eq!(ada.send("one").await, 1);
    assert!(begun.elapsed() < Duration::from_secs(1), "messages wait for nobody");
    cluster.redis.resume();
    let back = Instant::now();
    assert_eq!(bob.next_message().await.body, "one");
    for client in [&mut ada, &mut bob] {
        client.until_status("live").await;
    }
    assert!(back.elapsed() < HEALING, "it took {:?}", back.elapsed());
    bob.send("two").await;
    assert_all_came(&mut ada, 2).await;
}

#[tokio::test]
async fn an_outage_longer_than_the_ttl_ends_with_everybody_back() {
    let mut cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.next_change().await;
    cluster.redis.stop().await;
    for client in [&mut ada, &mut bob] {
        let gone = client.next_change().await;
        assert!(matches!(&gone, Change::Leave { reason, last: true, .. } if reason == "expired"), "{gone:?}");
    }
    cluster.redis.restart().await;
    for client in [&mut ada, &mut bob] {
        let back = client.next_change().await;
        assert!(matches!(back, Change::Join { first: true, .. }), "{back:?}");
    }
    eventually("presence is equal", async || {
        let (on_a, on_b) = tokio::join!(presence(&cluster.a), presence(&cluster.b));
        (on_a == on_b && on_a["members_total"] == 2).then_some(())
    })
    .await;
}

/// The cable between one instance and Redis, rather than Redis itself.
#[tokio::test]
async fn one_instance_cut_off_from_redis_goes_on_and_catches_up() {
    let cluster = TestCluster::with(&[LONG_TTL]).await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let settings = [FAST, &[("REDIS_URL", &url), LONG_TTL]].concat();
    let far = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    connected(&far).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut fay = TestClient::joined(&far, "Fay", "p/r").await;
    let mut total = 0;
    for trouble in [Proxy::cut_off as fn(&Proxy), Proxy::lose, Proxy::stall] {
        trouble(&network);
        fay.until_status("degraded").await;
        ada.send("from here").await;
        total = fay.send("from afar").await;
        network.resume();
        network.cut(); // what was lost in between leaves no stream whole
        let back = Instant::now();
        fay.until_status("live").await;
        while ada.next_message().await.seq < total {}
        assert!(back.elapsed() < HEALING + Duration::from_secs(1), "it took {:?}", back.elapsed());
    }
    assert_all_came(&mut fay, total).await;
    assert!(!ada.was_degraded(), "only the one that was cut off was degraded");
}

/// What was missed is read without a pause between the reads, however much it is.
#[tokio::test]
async fn thousands_of_messages_that_were_missed_come_within_seconds() {
    const PART: u64 = 4_000;
    let cluster = TestCluster::with(&[LONG_TTL]).await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let far = TestHub::start_in(cluster.a.home().clone(), &[FAST, &[("REDIS_URL", &url), LONG_TTL]].concat()).await;
    connected(&far).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut fay = TestClient::joined(&far, "Fay", "p/r").await;
    network.cut_off();
    fay.until_status("degraded").await;
    for part in 0..2 {
        ada.send_many(part * PART..(part + 1) * PART).await;
    }
    network.resume();
    let back = Instant::now();
    assert_all_came(&mut fay, 2 * PART).await;
    assert!(back.elapsed() < HEALING + Duration::from_secs(1), "it took {:?}", back.elapsed());
}

#[tokio::test]
async fn connections_that_a_middlebox_forgot_are_made_anew() {
    let cluster = TestCluster::with(&[LONG_TTL]).await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let settings = [FAST, &[("REDIS_URL", &url), LONG_TTL]].concat();
    let far = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    connected(&far).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut fay = TestClient::joined(&far, "Fay", "p/r").await;
    network.strand();
    let stranded = Instant::now();
    fay.until_status("degraded").await;
    assert!(stranded.elapsed() < NOTICE, "it took {:?}", stranded.elapsed());
    let total = fay.send("from afar").await;
    fay.until_status("live").await;
    assert_all_came(&mut ada, total).await;
    assert!(stranded.elapsed() < NOTICE + NOTICE, "it took {:?}", stranded.elapsed());
}

#[tokio::test]
async fn a_short_cut_is_healed_within_two_seconds() {
    let cluster = TestCluster::with(&[LONG_TTL]).await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let settings = [FAST, &[("REDIS_URL", &url), LONG_TTL]].concat();
    let far = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    connected(&far).await;
    let ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut fay = TestClient::joined(&far, "Fay", "p/r").await;
    let traffic = Traffic::of([ada]);
    let mut cuts = Vec::new();
    for _ in 0..3 {
        fay.next_message().await;
        network.cut();
        cuts.push(Instant::now());
        eventually("some time passed", async || (cuts[cuts.len() - 1].elapsed() > HEALING / 4).then_some(())).await;
    }
    let mut ada = traffic.stop().await.remove(0);
    let total = ada.send("the last").await;
    for seq in 4..=total {
        assert_eq!(fay.next_message().await.seq, seq);
    }
    assert!(cuts[2].elapsed() < HEALING + HEALING / 2, "it took {:?}", cuts[2].elapsed());
}

#[tokio::test]
async fn a_slow_redis_is_only_slow() {
    let cluster = TestCluster::start().await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let settings = [FAST, &[("REDIS_URL", &url)]].concat();
    let far = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    connected(&far).await;
    network.delay(Duration::from_millis(100));
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut fay = TestClient::joined(&far, "Fay", "p/r").await;
    for n in 1..=20 {
        ada.send(n).await;
        fay.send(-n).await;
    }
    for client in [&mut ada, &mut fay] {
        assert_all_came(client, 40).await;
        assert!(!client.was_degraded());
    }
}

#[tokio::test]
async fn redis_may_forget_everything() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.next_change().await;
    ada.move_cursor(json!({"x": 1}));
    bob.next_cursors().await;
    cluster.redis.command(&["FLUSHALL"]).await;
    ada.send("one").await;
    bob.send("two").await;
    for client in [&mut ada, &mut bob] {
        assert_all_came(client, 2).await;
        assert!(client.leftover("presence").is_empty() && !client.was_degraded());
    }
    let late = TestClient::connect(&cluster.b, "Cyd").await.join("p/r").await;
    assert_eq!((late.names(), late.cursors.len()), (vec!["Ada", "Bob", "Cyd"], 1));
    assert_eq!(cluster.redis.command(&["DBSIZE"]).await.texts(), ["0"]);
}

/// Rooms that began on both sides while nobody could hear the other.
#[tokio::test]
async fn rooms_that_began_during_an_outage_find_each_other() {
    let mut cluster = TestCluster::with(&[LONG_TTL]).await;
    cluster.redis.stop().await;
    let mut ada = TestClient::connect(&cluster.a, "Ada").await;
    let mut bob = TestClient::connect(&cluster.b, "Bob").await;
    for client in [&mut ada, &mut bob] {
        client.until_status("degraded").await;
        let joined = client.join("p/r").await;
        assert_eq!(joined.members_total, 1, "{joined:?}");
    }
    ada.move_cursor(json!({"x": 1}));
    ada.send("from A").await;
    let total = bob.send("from B").await;
    cluster.redis.restart().await;
    for client in [&mut ada, &mut bob] {
        assert!(matches!(client.next_change().await, Change::Join { first: true, .. }));
        assert_all_came(client, total).await;
    }
    assert_eq!(bob.next_cursors().await[0].position, json!({"x": 1}));
}

/// A client that saw more on one instance than the other knows of yet moves over.
#[tokio::test]
async fn a_since_ahead_of_the_instance_is_still_exact() {
    let mut cluster = TestCluster::with(&[LONG_TTL]).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    cluster.redis.stop().await;
    for client in [&mut ada, &mut bob] {
        client.until_status("degraded").await;
    }
    for n in 0..5 {
        ada.send(n).await;
    }
    let mut moved = TestClient::connect(&cluster.b, "Ada").await;
    let resumed = moved.join_with("p/r", json!({"since": 3})).await;
    assert!(resumed.recovered, "{resumed:?}");
    let mut seqs = resumed.seqs();
    let last = moved.send("the last").await;
    seqs.extend(moved.messages_until("the last").await.iter().map(|message| message.seq));
    assert_eq!(seqs, (4..=last).collect::<Vec<_>>());
}

/// Nothing follows that would show the hole, and with default times the next beat is far away.
#[tokio::test]
async fn a_lost_last_message_is_missed_within_two_seconds() {
    let redis = RedisServer::start().await;
    let bus = LossyBus::to(redis.address(), Losing::Nothing).await;
    let home = Arc::new(TempDir::new().expect("a folder"));
    let url = redis.url_at(bus.address());
    let a = TestHub::start_in(Arc::clone(&home), &[("REDIS_URL", &url)]).await;
    let b = TestHub::start_in(home, &[("REDIS_URL", &url)]).await;
    connected(&a).await;
    connected(&b).await;
    let mut ada = TestClient::joined(&a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&b, "Bob", "p/r").await;
    ada.next_change().await;
    for n in 0..3 {
        let before = bus.lost();
        bus.lose(Losing::Everything);
        let sent = Instant::now();
        ada.send(n).await;
        eventually("nobody heard of it", async || (bus.lost() >= before + 2).then_some(())).await;
        bus.lose(Losing::Nothing);
        assert_eq!(bob.next_message().await.body, n);
        let took = sent.elapsed();
        assert!(took < Duration::from_secs(2), "it took {took:?}");
        // A change of presence is missed as soon: the news of it is lost, too.
        let before = bus.lost();
        bus.lose(Losing::Everything);
        ada.update(json!({"page": n}));
        eventually("nobody heard of it", async || (bus.lost() >= before + 2).then_some(())).await;
        bus.lose(Losing::Nothing);
        let changed = Instant::now();
        assert!(matches!(bob.next_change().await, Change::Update { state, .. } if state["page"] == n));
        assert!(changed.elapsed() < Duration::from_secs(2), "it took {:?}", changed.elapsed());
    }
    assert!(!bob.was_degraded());
}
