//! An instance dies, or goes in good order, and the others carry on.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    Change, Proxy, TestClient, TestCluster, TestHub, Traffic,
    cluster::connected,
    eventually,
    hub::{FAST, SABOTAGE},
};

/// `FAST` and two seconds.
const EXPIRY: Duration = Duration::from_millis(1_500 + 2_000);

#[tokio::test]
async fn the_people_of_a_killed_instance_expire_on_the_others() {
    let mut cluster = TestCluster::start().await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let mut people = Vec::new();
    for name in ["Ada", "Amy"] {
        let mut person = TestClient::joined(&cluster.a, name, "p/r").await;
        person.move_cursor(json!({"x": 1}));
        bob.next_cursors().await;
        people.push(person);
    }
    let _tab = TestClient::joined(&cluster.b, "Amy", "p/r").await;
    for _ in 0..3 {
        bob.next_change().await;
    }
    cluster.a.kill();
    let killed = Instant::now();
    let mut left = Vec::new();
    while left.len() < people.len() {
        match bob.next_change().await {
            Change::Leave { connection_id, reason, last, .. } => {
                assert_eq!(reason, "expired");
                left.push((connection_id, last));
            }
            other => panic!("not a leave: {other:?}"),
        }
    }
    assert!(killed.elapsed() < EXPIRY, "it took {:?}", killed.elapsed());
    left.sort();
    let mut expected = [(people[0].connection_id.clone(), true), (people[1].connection_id.clone(), false)];
    expected.sort();
    assert_eq!(left, expected, "Amy has a tab on the other instance");
    let late = TestClient::connect(&cluster.b, "Cyd").await.join("p/r").await;
    assert_eq!(late.names(), ["Amy", "Bob", "Cyd"]);
    assert!(late.cursors.is_empty(), "their cursors are gone with them");
    cluster.a.restart().await;
    connected(&cluster.a).await;
    let back = TestClient::connect(&cluster.a, "Ada").await.join("p/r").await;
    assert!(back.names().contains(&"Bob"), "a new instance finds the others");
}

#[tokio::test]
async fn a_kill_under_traffic_loses_and_doubles_nothing() {
    let mut cluster = TestCluster::start().await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let on_b = Traffic::of([TestClient::joined(&cluster.b, "Ben", "p/r").await]);
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut acked = 0;
    for n in 0..30 {
        acked = ada.send(n).await;
    }
    cluster.a.kill();
    let mut ben = on_b.stop().await.remove(0);
    let total = ben.send("the last").await;
    assert!(total > acked);
    for client in [&mut bob, &mut ben] {
        let seqs: Vec<_> = client.messages_until("the last").await.iter().map(|message| message.seq).collect();
        assert_eq!(seqs, (1..=total).collect::<Vec<_>>());
    }
    // Who was there comes back on the other one and misses nothing.
    let mut ada = TestClient::connect(&cluster.b, "Ada").await;
    let resumed = ada.join_with("p/r", json!({"since": acked})).await;
    assert!(resumed.recovered);
    assert_eq!(resumed.seqs(), (acked + 1..=total).collect::<Vec<_>>());
}

/// The task of the bus panics. Without it the instance would go on with half of the truth.
#[tokio::test]
async fn an_instance_whose_bus_fails_inside_ends_and_its_people_come_back_elsewhere() {
    let cluster = TestCluster::start().await;
    let url = cluster.redis.url();
    let settings = [FAST, &[("REDIS_URL", url.as_str()), (SABOTAGE, "bus")]].concat();
    let mut broken = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    let _bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let mut ada = TestClient::joined(&broken, "Ada", "p/r").await;
    let status = eventually("the hub ended by itself", async || {
        ada.broadcast("typing", json!({}));
        broken.has_ended()
    });
    assert_eq!(status.await.code(), Some(70));
    assert!(broken.log().contains("bus"), "the log names the part");
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    ada.send("all is well").await;
}

/// The instance acknowledged a message and died before the bus took it. Nobody is left to speak of it but the database.
#[tokio::test]
async fn a_message_that_only_a_killed_instance_knew_of_reaches_the_others() {
    let cluster = TestCluster::start().await;
    let network = Proxy::to(cluster.redis.address()).await;
    let url = cluster.redis.url_at(network.address());
    let settings = [FAST, &[("REDIS_URL", &url)]].concat();
    let mut mute = TestHub::start_in(cluster.a.home().clone(), &settings).await;
    connected(&mute).await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let mut ada = TestClient::joined(&mute, "Ada", "p/r").await;
    ada.send("heard").await;
    bob.messages_until("heard").await;
    network.lose();
    ada.send("not heard").await;
    mute.kill();
    let killed = Instant::now();
    bob.messages_until("not heard").await;
    assert!(killed.elapsed() < EXPIRY, "it took {:?}", killed.elapsed());
}

#[tokio::test]
async fn a_deploy_makes_nobody_leave() {
    let mut cluster = TestCluster::with(&[("PRESENCE_GRACE_MS", "5000"), ("DRAIN_TIMEOUT_MS", "4000")]).await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let mut people = Vec::new();
    for n in 0..10 {
        people.push(TestClient::joined(&cluster.a, &format!("person-{n}"), "p/r").await);
        bob.next_change().await;
    }
    let last_seq = people[0].send("before").await;
    let b = &cluster.b;
    let moving = people.into_iter().map(async |mut person| {
        person.next_of("drain").await;
        assert_eq!(person.closed_with().await, 1012);
        let mut again = TestClient::connect(b, &person.user.name).await;
        let resumed = again.join_with("p/r", json!({"since": last_seq})).await;
        assert!(resumed.recovered && resumed.messages.is_empty(), "{resumed:?}");
        again
    });
    let (_, moved) = tokio::join!(cluster.a.stop(), futures_util::future::join_all(moving));
    // Ten come again, ten old tabs go.
    let mut gone = 0;
    while gone < moved.len() {
        match bob.next_change().await {
            Change::Leave { last, connection_id, reason, .. } => {
                assert!(!last, "{connection_id} left: {reason}");
                gone += 1;
            }
            Change::Join { first, .. } => assert!(!first, "somebody was not there in between"),
            Change::Update { .. } => {}
        }
    }
    let late = TestClient::connect(b, "late").await.join("p/r").await;
    assert_eq!(late.members_total, moved.len() + 2);
    assert!(late.members.iter().all(|member| member.connections.len() == 1));
}

/// As after the first half of a rolling restart: all are on one instance, the other has none of their rooms.
#[tokio::test]
async fn a_deploy_makes_nobody_leave_where_nobody_else_serves_the_room() {
    let mut cluster = TestCluster::with(&[("PRESENCE_GRACE_MS", "5000")]).await;
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(TestClient::joined(&cluster.a, &format!("person-{n}"), "p/r").await);
    }
    let b = &cluster.b;
    let moving = async {
        for person in &mut people {
            assert_eq!(person.closed_with().await, 1012);
        }
        let mut moved: Vec<TestClient> = Vec::new();
        for person in &people {
            let mut again = TestClient::connect(b, &person.user.name).await;
            let joined = again.join("p/r").await;
            assert_eq!(joined.members_total, people.len(), "{} does not find all: {joined:?}", person.user.name);
            moved.push(again);
        }
        moved
    };
    let (took, mut moved) = tokio::join!(cluster.a.stop(), moving);
    assert!(took < Duration::from_secs(4), "it waits no longer than for those who come back, and took {took:?}");
    // The first to come saw the others' old tabs go for their new ones.
    let mut gone = 0;
    while gone < people.len() {
        match moved[0].next_change().await {
            Change::Leave { last, .. } => {
                assert!(!last, "somebody left");
                gone += 1;
            }
            Change::Join { first, .. } => assert!(!first, "somebody was not there in between"),
            Change::Update { .. } => {}
        }
    }
}

#[tokio::test]
async fn who_does_not_come_back_after_a_deploy_leaves_with_the_grace() {
    let mut cluster = TestCluster::start().await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    bob.next_change().await;
    cluster.a.stop().await;
    let left = bob.next_change().await;
    assert!(
        matches!(&left, Change::Leave { connection_id, reason, last: true, .. }
            if *connection_id == ada.connection_id && reason == "closed"),
        "{left:?}"
    );
    eventually("nothing of the room is left with the stopped instance", async || {
        let listeners = cluster.redis.command(&["PUBSUB", "NUMSUB", "hubbub:room:p/r"]).await.texts();
        (listeners[1] == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hung_instance_is_taken_for_dead_and_taken_back() {
    let cluster = TestCluster::start().await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    let _ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    bob.next_change().await;
    cluster.a.pause();
    let gone = bob.next_change().await;
    assert!(matches!(&gone, Change::Leave { reason, last: true, .. } if reason == "expired"), "{gone:?}");
    let missed = bob.send("while A hung").await;
    cluster.a.resume();
    // Its clients were silent as well for as long as it hung, but it must be fair and ask them first, or they come back.
    let mut amy = TestClient::connect(&cluster.a, "Amy").await;
    let joined = amy.join("p/r").await;
    eventually("both see the same people", async || {
        let on_a = cluster.a.http().get("/api/projects/p/rooms/r/presence").await.json();
        let on_b = cluster.b.http().get("/api/projects/p/rooms/r/presence").await.json();
        (on_a == on_b).then_some(())
    })
    .await;
    if joined.seq < missed {
        assert_eq!(amy.next_message().await.seq, missed);
    }
    assert_eq!(amy.send("after").await, missed + 1);
    assert_eq!(bob.messages_until("after").await.last().expect("one").seq, missed + 1);
}
