//! Profiles: one's own to change, everybody's to see, from the next join on in rooms.

use serde_json::{Value, json};

use crate::support::{
    Change, Door, SmtpSink, TestClient, TestHub, Visitor,
    http::Answer,
    tokens::{SECRET, token},
};

async fn patch(hub: &TestHub, who: &str, id: &str, body: Value) -> Answer {
    let request = hub.http().request(reqwest::Method::PATCH, &format!("/api/users/{id}"));
    Answer::to(request.bearer_auth(token(who, json!({}))).json(&body)).await
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner_and_seen_from_the_next_join_on() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET)]).await;
    let mut grace = TestClient::joined(&hub, "Grace", "p/r").await;
    let mut ada = Door::of(&hub).bearer(&token("ada", json!({}))).enter().await;
    hub.http().get("/api/users/ada").await.problem(404, "not_found");
    let body = json!({"name": " Ada Lovelace ", "color": "#ABC", "avatar_url": "https://a.example/a.png"});
    let expected = json!({"user_id": "ada", "name": "Ada Lovelace", "color": "#aabbcc",
        "avatar_url": "https://a.example/a.png"});
    assert_eq!(patch(&hub, "ada", "ada", body).await.json(), expected);
    assert_eq!(hub.http().get("/api/users/ada").await.json(), expected);
    ada.join("p/r").await;
    assert!(matches!(grace.next_change().await, Change::Join { name, .. } if name == "Ada Lovelace"));
    ada.leave().await;

    // Fields that are not there stay; null takes one away.
    assert_eq!(patch(&hub, "ada", "ada", json!({"name": "Countess"})).await.json()["color"], "#aabbcc");
    let plain = patch(&hub, "ada", "ada", json!({"color": null, "avatar_url": null})).await.json();
    assert!(plain["name"] == "Countess" && plain["color"] != "#aabbcc" && plain["avatar_url"].is_null(), "{plain}");
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\u{7}b"}),
        json!({"color": "red"}),
        json!({"avatar_url": "javascript:alert(1)"}),
    ] {
        patch(&hub, "ada", "ada", bad).await.problem(400, "bad_parameter");
    }
    patch(&hub, "eve", "ada", json!({"name": "Eve"})).await.problem(403, "forbidden");
    let guest = hub.http().request(reqwest::Method::PATCH, &format!("/api/users/{}?name=Grace", grace.user.user_id));
    Answer::to(guest.json(&json!({"name": "Eve"}))).await.problem(403, "forbidden");
    assert_eq!(hub.http().get("/api/users/ada").await.json()["name"], "Countess");
}

#[tokio::test]
async fn who_came_by_mail_has_a_profile_whose_address_only_they_see() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let hub = TestHub::with(&sink.settings(&url)).await;
    hub.http().post("/api/login-codes", &json!({"email": "ada@example.com"})).await.json();
    let login = json!({"email": "ada@example.com", "code": sink.mail(1).await.code()});
    let mut ada = Visitor::logged_in(&hub, &login).await;
    let id = ada.who(&hub).await.expect("a session")["user_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/users/{id}");
    assert_eq!(ada.get(&hub, &path).await.json()["email"], "ada@example.com");
    assert!(hub.http().get(&path).await.json()["email"].is_null());
    assert_eq!(ada.patch(&hub, &path, &json!({"name": "Ada"})).await.json()["name"], "Ada");
    assert_eq!(ada.who(&hub).await.expect("a session")["name"], "Ada", "in the session, too");
    assert_eq!(ada.door(&hub).enter().await.user.name, "Ada");
}
