//! Two instances in good health.

use serde_json::json;

use crate::support::{Change, TestClient, TestCluster};

#[tokio::test]
async fn who_comes_changes_and_goes_on_one_is_seen_on_the_other() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::connect(&cluster.b, "Bob").await;
    let joined = bob.join_with("p/r", json!({"presence": {"page": 1}})).await;
    assert_eq!((joined.members_total, joined.names()), (2, vec!["Ada", "Bob"]), "a joiner is told of both");
    let (user_id, connection_id) = (bob.user.user_id.clone(), bob.connection_id.clone());
    let join = ada.next_change().await;
    assert_eq!(
        join,
        Change::Join {
            user_id: user_id.clone(),
            name: "Bob".into(),
            connection_id: connection_id.clone(),
            state: json!({"page": 1}),
            first: true
        }
    );
    bob.update(json!({"page": 2}));
    assert_eq!(
        ada.next_change().await,
        Change::Update { user_id: user_id.clone(), connection_id: connection_id.clone(), state: json!({"page": 2}) }
    );
    bob.leave().await;
    assert_eq!(ada.next_change().await, Change::Leave { user_id, connection_id, reason: "left".into(), last: true });
}

#[tokio::test]
async fn senders_on_both_share_one_order_without_holes() {
    const EACH: u64 = 50;
    let cluster = TestCluster::start().await;
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
}

#[tokio::test]
async fn the_same_id_on_both_at_once_is_one_message() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut tab = TestClient::joined(&cluster.b, "Ada", "p/r").await;
    for n in 1..=20 {
        let id = uuid::Uuid::new_v4().to_string();
        let (one, other) = tokio::join!(ada.send_as(&id, n), tab.send_as(&id, n));
        assert_eq!((one.seq, other.seq), (n, n));
        assert_ne!(one.duplicate, other.duplicate);
        for client in [&mut ada, &mut tab] {
            assert_eq!(client.next_message().await.seq, n, "each is delivered once");
        }
    }
}

#[tokio::test]
async fn cursors_broadcasts_and_read_markers_cross() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.changes_until(|change| change.connection_id() == bob.connection_id).await;

    ada.move_cursor(json!({"x": 1, "y": 2}));
    let cursor = bob.next_cursors().await.remove(0);
    assert_eq!((cursor.connection_id, cursor.position), (ada.connection_id.clone(), json!({"x": 1, "y": 2})));
    let late = TestClient::connect(&cluster.b, "Cyd").await.join("p/r").await;
    assert_eq!(late.cursors.len(), 1, "a late joiner on the other instance gets it, too");

    ada.broadcast("typing", json!(1));
    let frame = bob.next_of("broadcast").await;
    assert_eq!((&frame["event"], &frame["data"]), (&json!("typing"), &json!(1)));

    let seq = ada.send("one").await;
    assert_eq!(bob.next_message().await.seq, seq);
    bob.mark_read(seq);
    assert_eq!(ada.next_of("read").await["user_id"], bob.user.user_id.as_str());

    ada.move_cursor(json!(null));
    assert_eq!(bob.next_cursors().await.remove(0).position, json!(null));
}

#[tokio::test]
async fn a_late_joiner_finds_everybody_on_either() {
    let cluster = TestCluster::start().await;
    let mut here = Vec::new();
    for n in 0..6 {
        let hub = if n % 2 == 0 { &cluster.a } else { &cluster.b };
        let mut guest = TestClient::connect(hub, &format!("guest-{n}")).await;
        guest.join_with("p/r", json!({"presence": {"n": n}})).await;
        here.push(guest);
    }
    let on_a = TestClient::connect(&cluster.a, "late").await.join("p/r").await;
    let on_b = TestClient::connect(&cluster.b, "late").await.join("p/r").await;
    assert_eq!(on_a.names(), ["guest-0", "guest-1", "guest-2", "guest-3", "guest-4", "guest-5", "late"]);
    assert_eq!(on_a.names(), on_b.names());
    let guests = |joined: &crate::support::Joined| {
        joined.members.iter().filter(|member| member.user.name != "late").cloned().collect::<Vec<_>>()
    };
    assert_eq!(guests(&on_a), guests(&on_b), "with the same tabs, states and times, in the same order");
}

#[tokio::test]
async fn tabs_on_two_instances_are_one_person() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut on_a = TestClient::joined(&cluster.a, "Bob", "p/r").await;
    let mut on_b = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let firsts: Vec<_> = [ada.next_change().await, ada.next_change().await]
        .into_iter()
        .map(|change| matches!(change, Change::Join { first: true, .. }))
        .collect();
    assert_eq!(firsts, [true, false]);
    let members = TestClient::connect(&cluster.b, "Cyd").await.join("p/r").await;
    assert_eq!(members.names(), ["Ada", "Bob", "Cyd"]);
    ada.next_change().await; // Cyd comes
    ada.changes_until(Change::is_last_leave).await; // and goes
    on_a.leave().await;
    assert!(matches!(ada.next_change().await, Change::Leave { last: false, .. }));
    on_b.leave().await;
    assert!(matches!(ada.next_change().await, Change::Leave { last: true, .. }));
}

#[tokio::test]
async fn an_instance_hears_only_the_rooms_it_serves() {
    let cluster = TestCluster::start().await;
    let ada = TestClient::joined(&cluster.a, "Ada", "p/one").await;
    let bob = TestClient::joined(&cluster.b, "Bob", "p/two").await;
    let both =
        [TestClient::joined(&cluster.a, "Cyd", "p/both").await, TestClient::joined(&cluster.b, "Dan", "p/both").await];
    let redis = &cluster.redis;
    let channels = ["hubbub:room:p/both", "hubbub:room:p/one", "hubbub:room:p/two"];
    assert_eq!(redis.room_channels().await, channels);
    let listeners = redis.command(&["PUBSUB", "NUMSUB", channels[0], channels[1], channels[2]]).await.texts();
    assert_eq!(listeners, [channels[0], "2", channels[1], "1", channels[2], "1"]);
    assert_eq!(redis.command(&["PUBSUB", "NUMPAT"]).await.texts(), ["0"], "nobody listens by pattern");
    for client in [ada, bob].into_iter().chain(both) {
        client.close(1000).await;
    }
    crate::support::eventually("idle rooms are not listened to", async || {
        redis.room_channels().await.is_empty().then_some(())
    })
    .await;
    let keys = redis.command(&["KEYS", "*"]).await.texts();
    assert!(keys.iter().all(|key| key.starts_with("hubbub:cache:")), "of rooms nothing is left in Redis: {keys:?}");
}

#[tokio::test]
async fn two_hubs_of_different_prefixes_share_a_redis_without_meeting() {
    let cluster = TestCluster::with(&[("REDIS_KEY_PREFIX", "one:")]).await;
    let url = cluster.redis.url();
    let settings = [("REDIS_URL", url.as_str()), ("REDIS_KEY_PREFIX", "two:")];
    let other = crate::support::TestHub::with(&settings).await;
    crate::support::cluster::connected(&other).await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut eve = TestClient::joined(&other, "Eve", "p/r").await;
    assert_eq!(cluster.redis.room_channels().await, ["one:room:p/r", "two:room:p/r"]);
    eve.send("elsewhere").await;
    eve.broadcast("elsewhere", json!(1));
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    bob.send("here").await;
    assert_eq!(ada.next_message().await.body, "here");
    assert!(matches!(ada.next_change().await, Change::Join { name, .. } if name == "Bob"));
    assert!(ada.leftover("broadcast").is_empty());
}

#[tokio::test]
async fn a_room_that_comes_and_goes_on_one_misses_nothing_on_the_other() {
    const ROUNDS: u64 = 25;
    let cluster = TestCluster::with(&[("ROOM_IDLE_MS", "0")]).await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    for n in 1..=ROUNDS {
        let mut ada = TestClient::connect(&cluster.a, "Ada").await;
        let joined = ada.join("p/r").await;
        assert_eq!((joined.seq, joined.names()), (n - 1, vec!["Ada", "Bob"]), "round {n}");
        assert_eq!(ada.send(n).await, n);
        assert_eq!(bob.next_message().await.seq, n);
        ada.leave().await;
        assert!(matches!(bob.next_change().await, Change::Join { first: true, .. }), "round {n}");
        let left = bob.next_change().await;
        assert!(matches!(&left, Change::Leave { last: true, reason, .. } if reason == "left"), "round {n}: {left:?}");
    }
}

/// What the changes say must add up to what is there.
#[tokio::test]
async fn after_a_storm_of_comings_and_goings_everybody_agrees() {
    let cluster = TestCluster::start().await;
    let mut watchers =
        [TestClient::joined(&cluster.a, "Ada", "p/r").await, TestClient::joined(&cluster.b, "Bob", "p/r").await];
    let mut here: Vec<TestClient> = Vec::new();
    for n in 0_usize..80 {
        let hub = if n % 2 == 0 { &cluster.a } else { &cluster.b };
        here.push(TestClient::joined(hub, &format!("guest-{}", n % 7), "p/r").await);
        if n % 3 > 0 {
            let mut goes = here.swap_remove(n * 31 % here.len());
            match n % 4 {
                0 => goes.leave().await,
                1 => goes.close(1000).await,
                2 => goes.close(1001).await,
                _ => goes.vanish(),
            }
        }
    }
    let fences =
        [TestClient::joined(&cluster.a, "fence", "p/r").await, TestClient::joined(&cluster.b, "fence", "p/r").await];
    let mut expected: Vec<_> = here.iter().chain(&fences).map(|client| client.connection_id.clone()).collect();
    expected.sort();
    let watching = watchers.each_ref().map(|watcher| watcher.connection_id.clone());
    for watcher in &mut watchers {
        let mut tabs = std::collections::HashMap::<String, std::collections::HashSet<String>>::new();
        let mut names = std::collections::HashMap::new();
        loop {
            let guests = |id: &&String| !watching.contains(id);
            let mut there: Vec<_> = tabs.values().flatten().filter(guests).cloned().collect();
            there.sort();
            if there == expected {
                break;
            }
            match watcher.next_change().await {
                Change::Join { name, connection_id, first, .. } => {
                    let of_user = tabs.entry(name.clone()).or_default();
                    assert_eq!(first, of_user.is_empty(), "the first of {name}");
                    assert!(of_user.insert(connection_id.clone()), "{connection_id} joined twice");
                    names.insert(connection_id, name);
                }
                Change::Leave { connection_id, last, .. } => {
                    let name = &names[&connection_id];
                    let of_user = tabs.get_mut(name).expect("who left was there");
                    assert!(of_user.remove(&connection_id), "{connection_id} left twice");
                    assert_eq!(last, of_user.is_empty(), "the last of {name}");
                }
                Change::Update { .. } => {}
            }
        }
    }
}
