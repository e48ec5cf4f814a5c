//! Rooms, history, publishing, presence.

use serde_json::{Value, json};

use super::support::{Hub, hub, hub_with, token};
use crate::store::Role;

const MESSAGES: &str = "/api/projects/p/rooms/r/messages";

async fn hub_with_room() -> Hub {
    let hub = hub().await;
    hub.ask("POST", "/api/projects?name=Ada").body(r#"{"id":"p"}"#).send().await.assert_ok(201);
    hub.ask("POST", "/api/projects/p/rooms?name=Ada").body(r#"{"name":"r"}"#).send().await.assert_ok(201);
    hub
}

async fn publish(hub: &Hub, body: &str) -> Value {
    let uri = format!("{MESSAGES}?name=Ada");
    hub.ask("POST", &uri).body(format!(r#"{{"body":{body}}}"#)).send().await.assert_ok(201)
}

fn seqs(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

#[actix_web::test]
async fn rooms_are_made_once_and_listed_with_what_is_unread() {
    let hub = hub_with_room().await;
    let post = |body: &str| hub.ask("POST", "/api/projects/p/rooms?name=Ada").body(body).send();
    post(r#"{"name":"r"}"#).await.assert_ok(200);
    post(r#"{"name":"R"}"#).await.assert_problem(400, "\"parameter\":\"name\"");
    hub.ask("POST", "/api/projects/p/rooms").body(r#"{"name":"s"}"#).send().await.assert_problem(401, "name");
    let made = post(r#"{"name":"s"}"#).await;
    assert_eq!(made.header("location"), "/api/projects/p/rooms/s/messages");
    made.assert_ok(201);
    for text in ["1", "2", "3"] {
        publish(&hub, text).await;
    }
    let ada = hub.state.store.room(&"p/r".parse().unwrap(), None).await.unwrap().unwrap();
    let guest = "guest-0190a6b2-7c1e-7000-8000-000000000001";
    hub.state.store.mark_read(&[(ada.key, guest.parse().unwrap(), 2)]).await.unwrap();
    let uri = "/api/projects/p/rooms?name=Ada&guest_id=0190a6b2-7c1e-7000-8000-000000000001";
    let list = hub.get(uri).await.assert_ok(200);
    let item = &list["items"][0];
    assert_eq!(
        *item,
        json!({"room": "p/r", "name": "r", "last_seq": 3, "unread": 1, "online": 0,
        "created_at": item["created_at"]})
    );
    assert_eq!((&list["items"][1]["name"], &list["next"]), (&json!("s"), &json!(null)));
    let page = hub.get("/api/projects/p/rooms?limit=1").await.assert_ok(200);
    assert_eq!(page["next"], "a.r");
    assert_eq!(hub.get("/api/projects/p/rooms?cursor=a.r").await.assert_ok(200)["items"][0]["name"], "s");
}

#[actix_web::test]
async fn a_message_is_published_once_and_keeps_its_form() {
    let hub = hub_with_room().await;
    let id = "0190a6b2-7c1e-7000-8000-000000000001";
    let uri = format!("{MESSAGES}?name=Ada");
    let post =
        |key: &str| hub.ask("POST", &uri).header("Idempotency-Key", key).body(r#"{"body":{"b": 1.50, "a":null}}"#);
    let first = post(id).send().await.assert_ok(201);
    assert_eq!(first, json!({"room": "p/r", "id": id, "seq": 1, "duplicate": false}));
    let again = post(&format!("\"{id}\"")).send().await.assert_ok(200);
    assert_eq!(again, json!({"room": "p/r", "id": id, "seq": 1, "duplicate": true}));
    post("7").send().await.assert_problem(400, "Idempotency-Key");
    assert_eq!(publish(&hub, "null").await["seq"], 2);

    let history = hub.get(MESSAGES).await;
    assert!(history.text.contains(r#""body":{"b": 1.50, "a":null}"#), "{}", history.text);
    let item = &history.json()["items"][1];
    assert_eq!(
        (&item["id"], &item["from"]["name"], &item["from"]["connection_id"]),
        (&json!(id), &json!("Ada"), &json!(null))
    );
    assert_eq!(item["sent_at"].as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
}

#[actix_web::test]
async fn bad_messages_are_refused() {
    let hub = hub_with(&["--allow-guests", "true", "--max-frame-bytes", "1024"]).await;
    hub.ask("POST", "/api/projects?name=Ada").body(r#"{"id":"p"}"#).send().await.assert_ok(201);
    let post = |body: String| hub.ask("POST", "/api/projects/p/rooms/r/messages?name=Ada").body(body).send();
    post(r#"{"body":1}"#.into()).await.assert_problem(404, "room");
    hub.ask("POST", "/api/projects/p/rooms?name=Ada").body(r#"{"name":"r"}"#).send().await.assert_ok(201);
    post("{}".into()).await.assert_problem(400, "body");
    post(r#"{"body":"#.into()).await.assert_problem(400, "the body");
    post(format!(r#"{{"body":{}{}}}"#, "[".repeat(64), "]".repeat(64))).await.assert_problem(400, "nested");
    post(format!(r#"{{"body":"{}"}}"#, "x".repeat(1024))).await.assert_problem(413, "1024 bytes");
    let anonymous = hub.ask("POST", "/api/projects/p/rooms/r/messages").body(r#"{"body":1}"#).send().await;
    anonymous.assert_problem(401, "name");
    let viewer = token("eve", &[("p", Role::Viewer)]);
    let refused = hub.ask("POST", "/api/projects/p/rooms/r/messages").by(&viewer).body(r#"{"body":1}"#).send().await;
    refused.assert_problem(403, "role");
}

#[actix_web::test]
async fn history_is_paged_both_ways() {
    let hub = hub_with_room().await;
    for text in 1..=7 {
        publish(&hub, &text.to_string()).await;
    }
    let page = |query: String| {
        let hub = &hub;
        async move { hub.get(&format!("{MESSAGES}?{query}")).await.assert_ok(200) }
    };
    for (start, expected) in [
        ("limit=3", vec![vec![7, 6, 5], vec![4, 3, 2], vec![1]]),
        ("limit=3&before=4", vec![vec![3, 2, 1]]),
        ("limit=3&after=0", vec![vec![1, 2, 3], vec![4, 5, 6], vec![7]]),
        ("limit=3&after=4", vec![vec![5, 6, 7]]),
        ("limit=3&after=7", vec![vec![]]),
        ("before=0", vec![vec![]]),
    ] {
        let (mut pages, mut query) = (Vec::new(), start.to_owned());
        loop {
            let page = page(query).await;
            pages.push(seqs(&page));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("limit=3&cursor={next}");
        }
        assert_eq!(pages, expected, "{start}");
    }
    hub.get(&format!("{MESSAGES}?after=x")).await.assert_problem(400, "\"parameter\":\"after\"");
    hub.get(&format!("{MESSAGES}?limit=201")).await.assert_problem(400, "\"parameter\":\"limit\"");
    hub.get("/api/projects/p/rooms/none/messages").await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn presence_is_what_the_room_says() {
    let hub = hub_with_room().await;
    let presence = hub.get("/api/projects/p/rooms/r/presence").await;
    assert_eq!(presence.header("content-type"), "application/json");
    assert_eq!(presence.assert_ok(200), json!({"members_total": 0, "members": []}));
    hub.get("/api/projects/p/rooms/none/presence").await.assert_problem(404, "not_found");
}
