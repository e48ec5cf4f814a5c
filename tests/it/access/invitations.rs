//! Invitations: a token makes one person a member, once.

use serde_json::{Value, json};

use crate::support::{
    Door, SmtpSink, TestCluster, TestHub,
    http::Answer,
    hub::Settings,
    tokens::{SECRET, token},
};

const CLOSED: Settings = &[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "false")];

async fn post(hub: &TestHub, path: &str, user: &str, projects: Value, body: Value) -> Answer {
    let request = hub.http().request(reqwest::Method::POST, path).bearer_auth(token(user, projects));
    Answer::to(request.json(&body)).await
}

async fn invite(hub: &TestHub, role: &str) -> String {
    let body = json!({"role": role});
    let answer = post(hub, "/api/projects/p/invitations", "owner", json!({"p": "owner"}), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["token"].as_str().expect("a token").to_owned()
}

async fn accept(hub: &TestHub, user: &str, token: &str) -> Answer {
    post(hub, "/api/invitations/accept", user, json!({}), json!({"token": token})).await
}

async fn make_project(hub: &TestHub) {
    Door::of(hub).bearer(&token("owner", json!({"p": "owner"}))).enter().await.join("p/r").await;
}

#[tokio::test]
async fn an_invited_person_is_a_member_and_the_invitation_used_up() {
    let cluster = TestCluster::with(CLOSED).await;
    make_project(&cluster.a).await;
    let invitation = invite(&cluster.a, "editor").await;
    let mut ada = Door::of(&cluster.b).bearer(&token("ada", json!({}))).enter().await;
    let reference = ada.ask_to_join("p/r", json!({}));
    ada.refusal(reference, "not_found").await;
    let (one, other) = tokio::join!(accept(&cluster.a, "ada", &invitation), accept(&cluster.b, "eve", &invitation));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404], "one of two");
    let winner = if one.status == 200 { one } else { other };
    assert_eq!(winner.json(), json!({"project": "p", "role": "editor"}));

    let invitation = invite(&cluster.b, "editor").await;
    assert_eq!(accept(&cluster.a, "ada", &invitation).await.status, 200);
    ada.join("p/r").await;
    ada.send("thanks").await;
    // Nobody gets less by it.
    let lesser = invite(&cluster.a, "viewer").await;
    assert_eq!(accept(&cluster.a, "ada", &lesser).await.json()["role"], "editor");
    ada.send("still").await;
    // More counts at once for who is connected.
    let owner = invite(&cluster.a, "owner").await;
    assert_eq!(accept(&cluster.b, "ada", &owner).await.json()["role"], "owner");
}

#[tokio::test]
async fn an_invitation_is_an_owners_word_and_counts_as_long_as_that() {
    let hub = TestHub::with(CLOSED).await;
    make_project(&hub).await;
    let path = "/api/projects/p/invitations";
    let body = || json!({"role": "editor"});
    post(&hub, path, "ed", json!({"p": "editor"}), body()).await.problem(403, "forbidden");
    post(&hub, path, "stranger", json!({}), body()).await.problem(404, "not_found");
    post(&hub, path, "owner", json!({"p": "owner"}), json!({"role": "king"})).await.problem(400, "bad_request");
    let mailed = json!({"role": "editor", "email": "ada@example.com"});
    post(&hub, path, "owner", json!({"p": "owner"}), mailed).await.problem(501, "not_implemented");
    for bad in ["", "x", "x.y"] {
        accept(&hub, "ada", bad).await.problem(404, "not_found");
    }

    // An owner by stored role, who is one no more.
    let first = invite(&hub, "owner").await;
    assert_eq!(accept(&hub, "olga", &first).await.status, 200);
    let answer = post(&hub, path, "olga", json!({}), json!({"role": "owner"})).await;
    let left_behind = answer.json()["token"].as_str().expect("a token").to_owned();
    let remove = hub.http().request(reqwest::Method::DELETE, "/api/projects/p/members/olga");
    let removed = Answer::to(remove.bearer_auth(token("owner", json!({"p": "owner"})))).await;
    assert_eq!(removed.status, 204);
    accept(&hub, "olga", &left_behind).await.problem(404, "not_found");

    // Another project of the same name.
    let old = invite(&hub, "editor").await;
    let delete = hub.http().request(reqwest::Method::DELETE, "/api/projects/p");
    assert_eq!(Answer::to(delete.bearer_auth(token("owner", json!({"p": "owner"})))).await.status, 204);
    make_project(&hub).await;
    accept(&hub, "ada", &old).await.problem(404, "not_found");
}

#[tokio::test]
async fn an_invitation_comes_by_mail_and_is_not_for_guests() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let hub = TestHub::with(&[&[("JWT_SECRET", SECRET)], &sink.settings(&url)[..]].concat()).await;
    make_project(&hub).await;
    let body = json!({"role": "viewer", "email": "Bob@Example.com"});
    let answer = post(&hub, "/api/projects/p/invitations", "owner", json!({"p": "owner"}), body).await.json();
    let mail = sink.mail(1).await;
    assert!(mail.to.contains("<bob@example.com>"), "{mail:?}");
    let invitation = answer["token"].as_str().expect("a token");
    // Mail is wrapped and quoted; the token stands in it whole when the wrapping is undone.
    assert!(mail.text.replace("=\n", "").contains(invitation), "{mail:?}");
    let body = json!({"token": invitation});
    hub.http().post("/api/invitations/accept?name=Guest", &body).await.problem(403, "forbidden");
    assert_eq!(accept(&hub, "bob", invitation).await.status, 200, "the guest did not use it up");
}
