//! Presence: who is here, told once per person whatever their tabs do, and over when it is over.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    Change, Door, Proxy, RawClient, TestClient, TestHub, eventually,
    hub::{FAST, UNHURRIED},
};

/// [`FAST`]: a vanished client is gone by then.
const TTL: Duration = Duration::from_millis(1_500);

fn joins(client: &TestClient, state: serde_json::Value, first: bool) -> Change {
    let (user_id, name) = (client.user.user_id.clone(), client.user.name.clone());
    Change::Join { user_id, name, connection_id: client.connection_id.clone(), state, first }
}

fn leaves((user_id, connection_id): (&str, &str), reason: &str, last: bool) -> Change {
    let (user_id, connection_id, reason) = (user_id.into(), connection_id.into(), reason.into());
    Change::Leave { user_id, connection_id, reason, last }
}

fn ids(client: &TestClient) -> (String, String) {
    (client.user.user_id.clone(), client.connection_id.clone())
}

#[tokio::test]
async fn who_comes_changes_and_goes_is_told_to_the_others() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    let alone = ada.join("p/r").await;
    assert_eq!((alone.members_total, alone.names()), (1, vec!["Ada"]), "a joiner is a member");

    let mut bob = TestClient::connect(&hub, "Bob").await;
    let joined = bob.join_with("p/r", json!({"presence": {"page": 1}})).await;
    assert_eq!((joined.members_total, joined.names()), (2, vec!["Ada", "Bob"]));
    let me = &joined.members.iter().find(|member| member.user == bob.user).expect("Bob").connections[0];
    assert_eq!((&me.connection_id, &me.state), (&bob.connection_id, &json!({"page": 1})));
    assert_eq!(ada.next_change().await, joins(&bob, json!({"page": 1}), true));

    bob.update(json!({"page": 2}));
    let (user_id, connection_id) = ids(&bob);
    let update = Change::Update { user_id, connection_id, state: json!({"page": 2}) };
    assert_eq!(ada.next_change().await, update);
    assert_eq!(bob.next_change().await, update, "who changed it sees it, too");

    bob.leave().await;
    let (user, connection) = ids(&bob);
    assert_eq!(ada.next_change().await, leaves((&user, &connection), "left", true));
    ada.send("not for Bob").await;
    bob.heartbeat().await;
    assert!(bob.leftover("message").is_empty());
    let reference = bob.ask(json!({"type": "leave", "room": "p/r"}));
    bob.refusal(reference, "not_joined").await;
}

#[tokio::test]
async fn a_person_with_three_tabs_comes_once_and_goes_once() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut tabs = Vec::new();
    for first in [true, false, false] {
        let tab = TestClient::joined(&hub, "Bob", "p/r").await;
        assert_eq!(ada.next_change().await, joins(&tab, json!({}), first));
        tabs.push(tab);
    }
    let here = TestClient::connect(&hub, "Cyd").await.join("p/r").await;
    assert_eq!((here.members_total, here.names()), (3, vec!["Ada", "Bob", "Cyd"]));
    let bob = here.members.iter().find(|member| member.user.name == "Bob").expect("Bob");
    assert_eq!(bob.connections.len(), 3);
    ada.next_change().await; // Cyd
    for (mut tab, last) in tabs.into_iter().zip([false, false, true]) {
        tab.leave().await;
        let (user, connection) = ids(&tab);
        let left = ada.changes_until(|change| change.connection_id() == connection).await.pop();
        assert_eq!(left, Some(leaves((&user, &connection), "left", last)));
    }
}

#[tokio::test]
async fn guests_of_one_name_can_be_two_people() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut sams = Vec::new();
    for _ in 0..2 {
        let door = Door::of(&hub).name("Sam").query("guest_id", uuid::Uuid::new_v4().to_string());
        let mut sam = door.enter().await;
        sam.join("p/r").await;
        assert_eq!(ada.next_change().await, joins(&sam, json!({}), true));
        sams.push(sam);
    }
    assert_ne!(sams[0].user.user_id, sams[1].user.user_id);
}

#[tokio::test]
async fn a_reload_does_not_flicker() {
    // A grace that does not end within the test.
    let hub = TestHub::with(&[("PRESENCE_GRACE_MS", "60000")]).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    assert_eq!(ada.next_change().await, joins(&bob, json!({}), true));
    for reload in 0..4 {
        let (user, connection) = ids(&bob);
        if reload % 2 == 0 {
            bob.vanish()
        } else {
            bob.close(1001).await
        }
        bob = TestClient::joined(&hub, "Bob", "p/r").await;
        let changes = [ada.next_change().await, ada.next_change().await];
        assert_eq!(changes, [joins(&bob, json!({}), false), leaves((&user, &connection), "closed", false)]);
    }
    let members = ada.join("p/r").await.members;
    assert_eq!(members.iter().map(|member| member.connections.len()).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn a_dropped_connection_is_gone_after_the_grace() {
    let hub = TestHub::with(FAST).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    for goodbye in [None, Some(1001), Some(4000)] {
        let bob = TestClient::joined(&hub, "Bob", "p/r").await;
        ada.next_change().await;
        let ((user, connection), dropped) = (ids(&bob), Instant::now());
        match goodbye {
            None => bob.vanish(),
            Some(code) => bob.close(code).await,
        }
        assert_eq!(ada.next_change().await, leaves((&user, &connection), "closed", true));
        let lasted = dropped.elapsed();
        assert!((450..1_500).contains(&lasted.as_millis()), "a grace of 500 ms lasted {lasted:?} after {goodbye:?}");
    }
}

#[tokio::test]
async fn who_closes_is_gone_at_once() {
    let hub = TestHub::with(&[("PRESENCE_GRACE_MS", "60000")]).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    for code in [1000, 3000, 4001] {
        let bob = TestClient::joined(&hub, "Bob", "p/r").await;
        ada.next_change().await;
        let ((user, connection), closed) = (ids(&bob), Instant::now());
        bob.close(code).await;
        assert_eq!(ada.next_change().await, leaves((&user, &connection), "closed", true), "{code}");
        let took = closed.elapsed();
        assert!(took < Duration::from_millis(400), "{code} took {took:?}");
    }
}

#[tokio::test]
async fn a_silent_client_expires_and_one_that_answers_pings_stays() {
    let hub = TestHub::with(FAST).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await; // only ever answers pings
    let mut bob = TestClient::joined(&hub, "Bob", "p/other").await;
    bob.join("p/r").await;
    assert_eq!(ada.next_change().await, joins(&bob, json!({}), true));
    // Twice, so that far more than a TTL passes for the two.
    for _ in 0..2 {
        let asleep = Instant::now();
        let mut silent = RawClient::joined(hub.address(), "Sam", "p/r").await;
        let Change::Join { connection_id, .. } = ada.next_change().await else { panic!("not a join") };
        let gone = ada.next_change().await;
        let lasted = asleep.elapsed();
        let Change::Leave { connection_id: left, reason, last, .. } = gone else { panic!("not a leave: {gone:?}") };
        assert_eq!((left, reason.as_str(), last), (connection_id, "expired", true));
        assert!(lasted > TTL / 2 && lasted < TTL + Duration::from_millis(500), "a TTL of {TTL:?} took {lasted:?}");
        assert_eq!(silent.closed_with().await, 4408);
    }
    let here = ada.join("p/r").await;
    assert_eq!(here.names(), ["Ada", "Bob"]);
    bob.heartbeat().await;
}

#[tokio::test]
async fn a_client_behind_a_dead_network_expires() {
    let hub = TestHub::with(FAST).await;
    let network = Proxy::to(hub.address()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = Door::at(network.address()).name("Bob").enter().await;
    bob.join("p/r").await;
    assert_eq!(ada.next_change().await, joins(&bob, json!({}), true));
    network.lose();
    let (user, connection) = ids(&bob);
    let pulled = Instant::now();
    assert_eq!(ada.next_change().await, leaves((&user, &connection), "expired", true));
    assert!(pulled.elapsed() < TTL + Duration::from_millis(500));
}

#[tokio::test]
async fn what_is_done_to_a_tab_of_two_does_not_touch_the_other() {
    let hub = TestHub::with(FAST).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let _tab = TestClient::joined(&hub, "Bob", "p/r").await;
    let dropped = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.changes_until(|change| change.connection_id() == dropped.connection_id).await;
    let (user, connection) = ids(&dropped);
    dropped.vanish();
    assert_eq!(ada.next_change().await, leaves((&user, &connection), "closed", false));
}

#[tokio::test]
async fn joining_again_says_the_state_again() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    ada.next_change().await;
    let again = bob.join_with("p/r", json!({"presence": {"again": true}})).await;
    assert_eq!(again.members_total, 2);
    let (user_id, connection_id) = ids(&bob);
    assert_eq!(ada.next_change().await, Change::Update { user_id, connection_id, state: json!({"again": true}) });
    bob.leave().await;
    assert!(matches!(ada.next_change().await, Change::Leave { last: true, .. }), "there is one place to leave");
}

#[tokio::test]
async fn a_connection_is_in_each_room_by_itself() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/one").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/two").await;
    bob.join("p/one").await;
    assert_eq!(ada.next_change().await, joins(&bob, json!({}), true));
    bob.join("p/two").await;
    bob.update(json!({"in": "two"}));
    bob.leave().await; // two
    bob.join("p/one").await;
    bob.update(json!({"in": "one"}));
    let (user_id, connection_id) = ids(&bob);
    assert_eq!(ada.next_change().await, Change::Update { user_id, connection_id, state: json!({"in": "one"}) });
}

#[tokio::test]
async fn a_crowded_room_lists_two_hundred_and_counts_all() {
    const CROWD: usize = 205;
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut crowd = Vec::new();
    for n in 1..CROWD {
        let mut guest = TestClient::connect(&hub, &format!("guest {n}")).await;
        guest.ask_to_join("p/r", json!({}));
        crowd.push(guest);
    }
    let mut names = vec!["Ada".to_owned()];
    while names.len() < CROWD {
        match ada.next_change().await {
            Change::Join { name, first: true, .. } => names.push(name),
            other => panic!("not a first join: {other:?}"),
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), CROWD, "everybody is told of everybody");
    let joined = TestClient::connect(&hub, "Ada").await.join("p/r").await;
    assert_eq!((joined.members_total, joined.members.len()), (CROWD, 200));
    let over_http = hub.http().get("/api/projects/p/rooms/r/presence").await.json();
    assert_eq!(over_http["members_total"], CROWD);
    assert_eq!(over_http["members"].as_array().map(Vec::len), Some(200));
    // Who is not listed is told of, too.
    let last = crowd.pop().expect("a crowd");
    let left = last.connection_id.clone();
    last.close(1000).await;
    let changes = ada.changes_until(|change| change.connection_id() == left).await;
    assert!(changes.last().is_some_and(Change::is_last_leave));
}

#[tokio::test]
async fn an_empty_room_is_given_up_and_starts_again() {
    let hub = TestHub::with(FAST).await;
    for round in 1..=3 {
        let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
        assert_eq!(ada.send("hi").await, round, "the order goes on");
        ada.close(1000).await;
        let http = Arc::new(hub.http());
        eventually("nobody is online", async || {
            let rooms = http.get("/api/projects/p/rooms").await.json();
            (rooms["items"][0]["online"] == 0).then_some(())
        })
        .await;
    }
}
