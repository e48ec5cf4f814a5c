//! Big rooms: a crowd that comes within seconds is told of itself once for all, and what each client gets grows with the
//! crowd, not with its square.

use std::net::SocketAddr;

use futures_util::future::join_all;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::support::{
    RawClient, TestClient, TestCluster, TestHub,
    hub::{CROWDED, Settings, UNHURRIED},
};

/// The most users a member list names.
const LISTED: usize = 200;
/// More than an entry of a member list or a presence frame takes, in bytes.
const ENTRY_BYTES: usize = 300;

#[derive(Deserialize)]
struct Joined {
    members_total: usize,
    members: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Presence {
    joins: Vec<Join>,
    leaves: Vec<Value>,
}

#[derive(Deserialize)]
struct Join {
    first: bool,
}

/// Joins, and reads until it knows of everybody in the crowd; gives the bytes and presence frames that took.
async fn see_all(address: SocketAddr, name: String, crowd: usize) -> (RawClient, usize, usize) {
    let mut client = RawClient::upgraded(address, &name).await;
    client.say(r#"{"type":"join","room":"p/r"}"#).await;
    let joined = client.text_of("joined").await;
    let (mut bytes, mut frames) = (joined.len(), 0);
    let joined: Joined = serde_json::from_slice(&joined).expect("a joined frame");
    assert_eq!(joined.members.len(), joined.members_total.min(LISTED), "{name}");
    let mut known = joined.members_total;
    while known < crowd {
        let presence = client.text_of("presence").await;
        (bytes, frames) = (bytes + presence.len(), frames + 1);
        let presence: Presence = serde_json::from_slice(&presence).expect("a presence frame");
        assert_eq!(presence.leaves, Vec::<Value>::new(), "nobody went");
        known += presence.joins.iter().filter(|join| join.first).count();
    }
    assert_eq!(known, crowd, "{name} was told of somebody twice");
    (client, bytes, frames)
}

#[tokio::test]
async fn a_crowd_that_joins_at_once_costs_each_client_its_size() {
    const CROWD: usize = 2_000;
    let hub = TestHub::with(&[UNHURRIED, CROWDED].concat()).await;
    let (begun, idle) = (std::time::Instant::now(), hub.resident_bytes());
    let clients = join_all((0..CROWD).map(|n| see_all(hub.address(), format!("guest-{n}"), CROWD))).await;
    let most = clients.iter().map(|(_, bytes, _)| *bytes).max().expect("a crowd");
    let frames = clients.iter().map(|(_, _, frames)| *frames).max().expect("a crowd");
    let grown = hub.resident_bytes().saturating_sub(idle);
    eprintln!(
        "{CROWD} know of each other after {:?}: {} KiB and {frames} presence frames for one at most, {:?} of the processor, {} MiB",
        begun.elapsed(),
        most / 1024,
        hub.cpu_time(),
        grown >> 20
    );
    assert!(most <= (LISTED + CROWD) * ENTRY_BYTES, "{most} bytes for one client");
    assert!(frames < CROWD / 4, "{frames} presence frames for {CROWD} joins");
    assert!(grown < CROWD * 150 * 1024, "the hub grew by {grown} bytes");
}

#[tokio::test]
async fn a_crowd_on_two_instances_knows_of_itself() {
    const EACH: usize = 500;
    // These clients answer no ping: the short times of a cluster under test would end them.
    let patient: Settings = &[("HEARTBEAT_INTERVAL_MS", "10000"), ("PRESENCE_TTL_MS", "30000")];
    let cluster = TestCluster::with(&[CROWDED, patient].concat()).await;
    let hubs = [cluster.a.address(), cluster.b.address()];
    let guests = (0..2 * EACH).map(|n| see_all(hubs[n % 2], format!("guest-{n}"), 2 * EACH));
    let clients = join_all(guests).await;
    let most = clients.iter().map(|(_, bytes, _)| *bytes).max().expect("a crowd");
    assert!(most <= (LISTED + 2 * EACH) * ENTRY_BYTES, "{most} bytes for one client");
    let mut late = TestClient::connect(&cluster.a, "late").await;
    let joined = late.join("p/r").await;
    assert_eq!((joined.members_total, joined.members.len()), (2 * EACH + 1, LISTED));
}

#[tokio::test]
async fn a_crowd_that_drops_at_once_is_gone_after_the_grace() {
    const CROWD: usize = 1_000;
    let hub = TestHub::with(&[UNHURRIED, CROWDED, &[("PRESENCE_GRACE_MS", "500")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    drop(join_all((1..=CROWD).map(|n| see_all(hub.address(), format!("guest-{n}"), CROWD + 1))).await);
    let mut gone = 0;
    while gone < CROWD {
        gone += usize::from(ada.next_change().await.is_last_leave());
    }
    assert_eq!(TestClient::connect(&hub, "Bob").await.join("p/r").await.members_total, 2);
}
