//! A role that is changed over HTTP counts at once for who is connected, on every instance.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Door, TestClient, TestCluster, TestHub, Visitor, eventually,
    http::Answer,
    hub::Settings,
    tokens::{SECRET, token},
};

const CLOSED: Settings = &[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "false")];

/// The owner of `p` sets somebody's role; `null` takes it.
async fn set_role(hub: &TestHub, user: &str, role: Value) {
    let path = format!("/api/projects/p/members/{user}");
    let method = if role.is_null() { Method::DELETE } else { Method::PUT };
    let request = hub.http().request(method, &path).bearer_auth(token("owner", json!({"p": "owner"})));
    let answer = Answer::to(request.json(&json!({"role": role}))).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn make_project(hub: &TestHub) {
    let mut owner = Door::of(hub).bearer(&token("owner", json!({"p": "owner"}))).enter().await;
    owner.join("p/r").await;
}

async fn member(hub: &TestHub, user: &str) -> TestClient {
    let mut client = Door::of(hub).bearer(&token(user, json!({}))).enter().await;
    client.join("p/r").await;
    client
}

/// Sends until the hub refuses it: a demotion takes effect with a next frame, though not on the wire of the one who demotes.
async fn until_refused(client: &mut TestClient) {
    eventually("a viewer does not write", async || {
        let reference = client.post(&Uuid::new_v4().to_string(), 1);
        let answer = client.answer(reference).await;
        (answer["code"] == "forbidden").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_removed_is_closed_and_who_is_demoted_writes_no_more() {
    let cluster = TestCluster::with(CLOSED).await;
    let (a, b) = (&cluster.a, &cluster.b);
    make_project(a).await;
    for user in ["ada", "bob", "carl"] {
        set_role(a, user, json!("editor")).await;
    }
    let (mut ada, mut bob, mut carl) = (member(b, "ada").await, member(b, "bob").await, member(a, "carl").await);
    // By session, too.
    let mut visitor = Visitor::logged_in(b, &json!({"token": token("ada", json!({}))})).await;
    let mut by_session = visitor.door(b).enter().await;
    by_session.join("p/r").await;
    ada.send("as an editor").await;

    set_role(a, "bob", json!("viewer")).await;
    until_refused(&mut bob).await;
    set_role(a, "bob", json!("editor")).await;
    eventually("an editor writes", async || {
        let reference = bob.post(&Uuid::new_v4().to_string(), 1);
        (bob.answer(reference).await["type"] == "ack").then_some(())
    })
    .await;

    let begun = std::time::Instant::now();
    set_role(a, "ada", Value::Null).await;
    assert_eq!((ada.closed_with().await, by_session.closed_with().await), (4403, 4403));
    assert!(begun.elapsed().as_millis() < 1_000, "{:?}", begun.elapsed());
    carl.send("and nobody else").await;
    bob.heartbeat().await;
    assert!(visitor.who(a).await.is_some(), "her session goes on");
    let mut again = Door::of(b).bearer(&token("ada", json!({}))).enter().await;
    let reference = again.ask_to_join("p/r", json!({}));
    again.refusal(reference, "not_found").await;
}

#[tokio::test]
async fn what_a_token_claims_is_not_taken_by_a_stored_role() {
    let hub = TestHub::with(CLOSED).await;
    make_project(&hub).await;
    set_role(&hub, "ada", json!("editor")).await;
    let mut ada = Door::of(&hub).bearer(&token("ada", json!({"p": "viewer"}))).enter().await;
    ada.join("p/r").await;
    ada.send("as an editor").await;
    set_role(&hub, "ada", Value::Null).await;
    until_refused(&mut ada).await;
}

#[tokio::test]
async fn a_removal_that_nobody_heard_of_counts_when_the_bus_is_back() {
    let mut cluster = TestCluster::with(CLOSED).await;
    make_project(&cluster.a).await;
    set_role(&cluster.a, "ada", json!("editor")).await;
    let mut ada = member(&cluster.b, "ada").await;
    cluster.redis.kill();
    ada.until_status("degraded").await;
    set_role(&cluster.a, "ada", Value::Null).await;
    ada.heartbeat().await;
    cluster.redis.restart().await;
    assert_eq!(ada.closed_with().await, 4403);
}

/// What an owner asks for.
async fn manage(hub: &TestHub, method: Method, body: Value) {
    let request = hub.http().request(method, "/api/projects/p").bearer_auth(token("owner", json!({"p": "owner"})));
    let answer = Answer::to(request.json(&body)).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

#[tokio::test]
async fn a_project_made_private_lets_nobody_stay_who_may_not_come() {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "true")]).await;
    let (a, b) = (&cluster.a, &cluster.b);
    let mut guest = TestClient::joined(b, "Gus", "p/r").await;
    let mut elsewhere = TestClient::joined(b, "Eve", "q/r").await;
    let mut owner = Door::of(b).bearer(&token("owner", json!({"p": "owner"}))).enter().await;
    owner.join("p/r").await;
    // Asked of the instance that serves none of the rooms.
    manage(a, Method::PATCH, json!({"name": "Plans"})).await;
    guest.send("a new name closes nobody").await;
    manage(a, Method::PATCH, json!({"visibility": "private"})).await;
    assert_eq!((guest.closed_with().await, owner.closed_with().await), (1012, 1012), "all are to come again");
    for hub in [a, b] {
        let mut again = TestClient::connect(hub, "Gus").await;
        let reference = again.ask_to_join("p/r", json!({}));
        again.refusal(reference, "not_found").await;
        let mut owner = Door::of(hub).bearer(&token("owner", json!({"p": "owner"}))).enter().await;
        owner.join("p/r").await;
        owner.send("among ourselves").await;
    }
    elsewhere.send("nobody told us").await;
}

#[tokio::test]
async fn a_project_deleted_on_one_instance_ends_on_the_others() {
    let cluster = TestCluster::with(CLOSED).await;
    // Its room has only ever run on the other instance.
    let mut owner = Door::of(&cluster.b).bearer(&token("owner", json!({"p": "owner"}))).enter().await;
    owner.join("p/r").await;
    manage(&cluster.a, Method::DELETE, json!({})).await;
    assert_eq!(owner.closed_with().await, 4403);
}
