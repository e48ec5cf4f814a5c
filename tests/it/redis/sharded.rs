//! A Redis Cluster: the nodes share the traffic, slots move, nodes die.

use std::time::Duration;

use bytes::Bytes;
use hubbub::redis::When;
use serde_json::json;
use tokio::time::Instant;

use super::servers::{CLUSTER_GRANTS, GRANTS};
use crate::support::{
    RedisCluster, TestClient, TestHub, Traffic,
    certificates::Authority,
    cluster::{PASSWORD, are_one, instances},
    eventually,
    library::{in_system, in_system_beside},
    ports::free_port,
};

/// Within it instances are one again after a change of the cluster.
const HEALING: Duration = Duration::from_secs(4);

/// Nobody may be seen to leave.
const LONG_TTL: (&str, &str) = ("PRESENCE_TTL_MS", "60000");

async fn hubs(cluster: &RedisCluster) -> [TestHub; 2] {
    instances(&[("REDIS_URL", &cluster.url()), LONG_TTL]).await
}

#[tokio::test]
async fn the_nodes_share_the_traffic() {
    const ROOMS: usize = 30;
    let cluster = RedisCluster::start(0).await;
    let [a, b] = hubs(&cluster).await;
    for n in 0..ROOMS {
        let room = format!("p/r{n}");
        let mut ada = TestClient::joined(&a, "Ada", &room).await;
        let mut bob = TestClient::joined(&b, "Bob", &room).await;
        for body in 0..20 {
            ada.send(body).await;
            assert_eq!(bob.next_message().await.body, json!(body), "{room}");
        }
    }
    let mut total = 0;
    let mut of_each = Vec::new();
    for node in &cluster.nodes {
        let calls = node.calls("spublish").await;
        assert_eq!(node.calls("publish").await, 0, "nothing goes to all nodes");
        total += calls;
        of_each.push(calls);
    }
    assert!(total as usize > ROOMS * 20, "{of_each:?}");
    assert!(of_each.iter().all(|calls| (total / 6..total / 2).contains(calls)), "each has its share: {of_each:?}");
}

#[tokio::test]
async fn any_node_of_the_cluster_will_do_as_its_address() {
    let cluster = RedisCluster::start(1).await;
    let replica = cluster.nodes[3].address();
    let [a, b] = instances(&[("REDIS_URL", &format!("redis-cluster://{replica}"))]).await;
    for node in 0..3 {
        are_one(&a, &b, &cluster.room_on(node).await).await;
    }
}

/// The nodes call themselves by address, as those of Azure do; their certificates are for the name in `REDIS_URL`.
#[tokio::test]
async fn by_tls_the_nodes_are_known_by_the_name_of_the_address() {
    let authority = Authority::new();
    let certificate = authority.sign(&["localhost"]);
    let settings = [
        ["tls-cert-file", &certificate.certificate],
        ["tls-key-file", &certificate.key],
        ["tls-ca-cert-file", &authority.file()],
        ["tls-auth-clients", "no"],
        ["tls-cluster", "yes"],
    ];
    let ports: Vec<_> = (0..3).map(|_| free_port()).collect();
    let cluster = RedisCluster::with_settings(0, &settings, ports.clone()).await;
    let url = format!("rediss-cluster://localhost:{}", ports[1]);
    let [a, b] = instances(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    for node in 0..3 {
        are_one(&a, &b, &cluster.room_on(node).await).await;
    }
    in_system_beside(async move || {
        let url = ["--redis-url", &url, "--redis-tls-ca-file", &authority.file()];
        super::commands::all_succeed_with(&url).await;
    })
    .await;
}

#[tokio::test]
async fn with_a_user_who_may_do_only_what_is_needed() {
    let cluster = RedisCluster::start(0).await;
    let password = format!(">{PASSWORD}");
    let grants = [&["ACL", "SETUSER", "hub", "on", &password], GRANTS, CLUSTER_GRANTS].concat();
    let grants: Vec<_> =
        grants.into_iter().filter(|grant| !["+publish", "+subscribe", "+unsubscribe"].contains(grant)).collect();
    for node in &cluster.nodes {
        node.ask(&grants).await;
    }
    let url = cluster.url().replace("://", &format!("://hub:{PASSWORD}@"));
    let [a, b] = instances(&[("REDIS_URL", &url)]).await;
    for node in 0..3 {
        are_one(&a, &b, &cluster.room_on(node).await).await;
    }
    in_system_beside(async move || super::commands::all_succeed(&url).await).await;
    for node in &cluster.nodes {
        assert_eq!(node.ask(&["ACL", "LOG"]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_room_with_it() {
    let cluster = RedisCluster::start(0).await;
    let [a, b] = hubs(&cluster).await;
    let room = cluster.room_on(0).await;
    let channel = format!("hubbub:room:{room}");
    let mut ada = TestClient::joined(&a, "Ada", &room).await;
    let mut bob = TestClient::joined(&b, "Bob", &room).await;
    ada.next_change().await;
    let traffic = Traffic::of([TestClient::joined(&a, "Amy", &room).await]);
    bob.next_message().await;
    // There, back, and on: each time the server ends the subscriptions by itself.
    for (from, to) in [(0, 1), (1, 0), (0, 2)] {
        cluster.move_slot(&channel, from, to).await;
        let moved = Instant::now();
        eventually("both listen at the new node", async || (cluster.listeners(to, &channel).await == 2).then_some(()))
            .await;
        assert!(moved.elapsed() < HEALING, "it took {:?}", moved.elapsed());
    }
    let mut amy = traffic.stop().await.remove(0);
    let total = amy.send("the last").await;
    let healed = Instant::now();
    for seq in 2..=total {
        assert_eq!(bob.next_message().await.seq, seq, "of {total}");
    }
    assert!(healed.elapsed() < HEALING, "it took {:?}", healed.elapsed());
    for seq in 1..=total {
        assert_eq!(ada.next_message().await.seq, seq, "of {total}");
    }
    assert!(!ada.was_degraded() && !bob.was_degraded(), "a slot that moves is no trouble");
}

/// Who only listens is not told by an error that the slot has moved.
#[tokio::test]
async fn a_slot_that_moves_is_noticed_in_a_silent_room() {
    let cluster = RedisCluster::start(0).await;
    let [a, b] = instances(&[("REDIS_URL", &cluster.url()), LONG_TTL, ("HEARTBEAT_INTERVAL_MS", "20000")]).await;
    let room = cluster.room_on(2).await;
    let channel = format!("hubbub:room:{room}");
    let mut ada = TestClient::joined(&a, "Ada", &room).await;
    let mut bob = TestClient::joined(&b, "Bob", &room).await;
    ada.next_change().await;
    cluster.move_slot(&channel, 2, 0).await;
    eventually("both listen at the new node", async || (cluster.listeners(0, &channel).await == 2).then_some(())).await;
    ada.send("one").await;
    assert_eq!(bob.next_message().await.body, "one");
    bob.broadcast("typing", json!(1));
    assert_eq!(ada.next_of("broadcast").await["data"], 1);
}

#[tokio::test]
async fn a_node_that_dies_hurts_only_its_rooms_and_its_replica_heals_them() {
    let mut cluster = RedisCluster::start(1).await;
    let [a, b] = hubs(&cluster).await;
    let (on_dead, elsewhere) = (cluster.room_on(0).await, cluster.room_on(1).await);
    let mut watchers = [TestClient::joined(&a, "Ada", &on_dead).await, TestClient::joined(&b, "Bob", &on_dead).await];
    let mut cyd = TestClient::joined(&a, "Cyd", &elsewhere).await;
    let mut dan = TestClient::joined(&b, "Dan", &elsewhere).await;
    let speakers = [TestClient::joined(&a, "Amy", &on_dead).await, TestClient::joined(&b, "Ben", &on_dead).await];
    let traffic = Traffic::of(speakers);
    for watcher in &mut watchers {
        watcher.next_message().await;
    }
    cluster.nodes[0].kill();
    for watcher in &mut watchers {
        watcher.until_status("degraded").await;
    }
    let fault = a.http().get("/health").await.json()["redis_fault"].as_str().map(str::to_owned);
    assert!(fault.is_some_and(|fault| fault.contains("a part of the Redis Cluster")));
    // The other nodes refuse to serve until the replica has taken over, but for their subscribers.
    let replica = &cluster.nodes[3];
    eventually("the replica has taken over", async || (replica.ask(&["ROLE"]).await[0] == "master").then_some(()))
        .await;
    cluster.is_well().await;
    let elected = Instant::now();
    for client in watchers.iter_mut().chain([&mut cyd, &mut dan]) {
        client.until_status("live").await;
    }
    assert!(elected.elapsed() < HEALING, "it took {:?}", elected.elapsed());
    let mut speakers = traffic.stop().await;
    let total = speakers[0].send("the last").await;
    for watcher in &mut watchers {
        for seq in 2..=total {
            assert_eq!(watcher.next_message().await.seq, seq, "of {total}");
        }
    }
    cyd.send("still here").await;
    assert_eq!(dan.next_message().await.body, "still here");
    are_one(&a, &b, "p/after").await;
}

#[tokio::test]
async fn a_node_that_hangs_is_noticed() {
    let cluster = RedisCluster::start(0).await;
    let [a, b] = hubs(&cluster).await;
    let room = cluster.room_on(1).await;
    let mut ada = TestClient::joined(&a, "Ada", &room).await;
    let mut bob = TestClient::joined(&b, "Bob", &room).await;
    cluster.nodes[1].pause();
    let hung = Instant::now();
    for client in [&mut ada, &mut bob] {
        client.until_status("degraded").await;
    }
    assert!(hung.elapsed() < Duration::from_secs(3), "it took {:?}", hung.elapsed());
    ada.send("while it hung").await;
    cluster.nodes[1].resume();
    for client in [&mut ada, &mut bob] {
        client.until_status("live").await;
    }
    assert_eq!(bob.next_message().await.body, "while it hung");
    are_one(&a, &b, "p/after").await;
}

#[tokio::test]
async fn the_whole_cluster_goes_and_comes_back() {
    let mut cluster = RedisCluster::start(0).await;
    let [a, b] = hubs(&cluster).await;
    let mut ada = TestClient::joined(&a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&b, "Bob", "p/r").await;
    for node in &mut cluster.nodes {
        node.stop().await;
    }
    for client in [&mut ada, &mut bob] {
        client.until_status("degraded").await;
    }
    ada.send("alone").await;
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    cluster.is_well().await;
    for client in [&mut ada, &mut bob] {
        client.until_status("live").await;
    }
    assert_eq!(bob.next_message().await.body, "alone");
    are_one(&a, &b, "p/after").await;
}

#[test]
fn commands_reach_every_node() {
    in_system(async {
        let cluster = RedisCluster::start(0).await;
        super::commands::all_succeed(&cluster.url()).await;
        for node in &cluster.nodes {
            assert!(node.calls("set").await > 100, "each has its share");
        }
    });
}

#[test]
fn commands_follow_slots_that_move_and_nodes_that_die() {
    in_system(async {
        let mut cluster = RedisCluster::start(1).await;
        let commands = super::commands::start(&["--redis-url", &cluster.url()]).await;
        let minute = Duration::from_secs(60);
        let value = Bytes::from_static(b"1");
        cluster.move_slot("hubbub:moving", cluster.owner_of("hubbub:moving").await, 2).await;
        assert_eq!(commands.set("moving", value.clone(), minute, When::Always).await, Ok(true));
        assert_eq!(commands.get("moving").await, Ok(Some(value.clone())));
        cluster.nodes[0].kill();
        let replica = &cluster.nodes[3];
        eventually("the replica has taken over", async || (replica.ask(&["ROLE"]).await[0] == "master").then_some(()))
            .await;
        cluster.is_well().await;
        let elected = Instant::now();
        for n in 0..100 {
            let key = format!("after:{n}");
            eventually("a key can be written", async || {
                commands.set(&key, value.clone(), minute, When::Always).await.ok()
            })
            .await;
        }
        assert!(elected.elapsed() < HEALING, "it took {:?}", elected.elapsed());
    });
}
