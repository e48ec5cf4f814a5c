//! Projects, rooms, history, publishing and presence.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestClient, TestHub, eventually, http::Answer, hub::UNHURRIED};

#[tokio::test]
async fn projects_and_rooms_are_made_listed_changed_and_deleted() {
    let hub = TestHub::with(&[("JWT_SECRET", crate::support::tokens::SECRET)]).await;
    let http = hub.http();
    let token = crate::support::tokens::token("u1", json!({}));
    let ask = async |method: Method, path: &str, body: Value| {
        Answer::to(http.request(method, path).bearer_auth(&token).json(&body)).await
    };
    let made = ask(Method::POST, "/api/projects", json!({"id": "design", "name": "Design"})).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/api/projects/design"));
    assert_eq!(made.json()["role"], "owner");
    ask(Method::POST, "/api/projects", json!({"id": "design"})).await.problem(409, "conflict");
    let rooms = "/api/projects/design/rooms";
    assert_eq!(ask(Method::POST, rooms, json!({"name": "board"})).await.status, 201);
    assert_eq!(ask(Method::POST, rooms, json!({"name": "board"})).await.status, 200);
    let listed = ask(Method::GET, rooms, json!({})).await.json();
    assert_eq!((&listed["items"][0]["room"], &listed["next"]), (&json!("design/board"), &Value::Null));
    let changed = ask(Method::PATCH, "/api/projects/design", json!({"name": "Designs"})).await.json();
    assert_eq!(changed["name"], "Designs");
    assert_eq!(ask(Method::GET, "/api/projects/design", json!({})).await.json()["name"], "Designs");

    // Private: a guest does not see it.
    http.get("/api/projects/design?name=Ada").await.problem(404, "not_found");
    assert_eq!(http.get("/api/projects?name=Ada").await.json()["items"], json!([]));

    let mut member = crate::support::Door::of(&hub).bearer(&token).enter().await;
    member.join("design/board").await;
    assert_eq!(ask(Method::DELETE, "/api/projects/design", json!({})).await.status, 204);
    assert_eq!(member.closed_with().await, 4403, "who is in a room of it is sent away");
    ask(Method::GET, "/api/projects/design", json!({})).await.problem(404, "not_found");
}

#[tokio::test]
async fn lists_go_page_by_page_to_the_end() {
    let hub = TestHub::start().await;
    let http = hub.http();
    for n in 0..7 {
        let made = http.post("/api/projects?name=Ada", &json!({"id": format!("p{n}")})).await;
        assert_eq!(made.status, 201);
    }
    let (mut names, mut path) = (Vec::new(), "/api/projects?limit=3".to_owned());
    loop {
        let page = http.get(&path).await.json();
        let items = page["items"].as_array().expect("items");
        names.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(items.len(), 3);
        path = format!("/api/projects?limit=3&cursor={next}");
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
}

#[tokio::test]
async fn history_is_paged_both_ways_to_the_end() {
    let hub = TestHub::with(UNHURRIED).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send_many(0..120).await;
    let http = hub.http();
    let path = "/api/projects/p/rooms/r/messages";
    let seqs = |page: &Value| -> Vec<u64> {
        page["items"].as_array().expect("items").iter().map(|item| item["seq"].as_u64().expect("a seq")).collect()
    };
    let page = http.get(path).await.json();
    assert_eq!(seqs(&page), (71..=120).rev().collect::<Vec<_>>(), "the latest fifty, newest first");
    let (mut all, mut next) = (seqs(&page), page["next"].clone());
    while let Some(cursor) = next.as_str() {
        let page = http.get(&format!("{path}?cursor={cursor}")).await.json();
        all.extend(seqs(&page));
        next = page["next"].clone();
    }
    assert_eq!(all, (1..=120).rev().collect::<Vec<_>>());
    for (query, expected) in [
        ("before=10&limit=3", vec![9, 8, 7]),
        ("after=10&limit=3", vec![11, 12, 13]),
        ("after=118", vec![119, 120]),
        ("after=120", vec![]),
        ("before=1", vec![]),
    ] {
        let page = http.get(&format!("{path}?{query}")).await.json();
        assert_eq!(seqs(&page), expected, "{query}");
        assert_eq!(page["next"].is_string(), query.contains("limit"), "{query}");
    }
    let forwards: Vec<_> = http.whole_history("p/r").await.iter().map(|message| message.seq).collect();
    assert_eq!(forwards, (1..=120).collect::<Vec<_>>());
    for bad in ["limit=0", "limit=201", "limit=x", "before=-1", "cursor=x", "before=1&after=1"] {
        assert_eq!(http.get(&format!("{path}?{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_is_published_over_http_reaches_the_members_once() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let http = hub.http();
    let path = "/api/projects/p/rooms/r/messages?name=Script";
    let publish = async |key: &str, body: Value| {
        Answer::to(http.request(Method::POST, path).header("Idempotency-Key", key).json(&body)).await
    };
    let key = Uuid::new_v4().to_string();
    let first = publish(&key, json!({"body": {"n": 1}})).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.json(), json!({"room": "p/r", "id": key, "seq": 1, "duplicate": false}));
    let message = ada.next_message().await;
    assert_eq!((message.seq, &message.id, &message.body), (1, &key, &json!({"n": 1})));
    assert_eq!((message.from.name.as_str(), message.from.connection_id), ("Script", None));
    let again = publish(&key, json!({"body": "other"})).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["duplicate"], &again.json()["seq"]),
        (200, &json!(true), &json!(1))
    );
    let fresh = http.post(path, &json!({"body": null})).await.json();
    assert_eq!(fresh["seq"], 2);
    assert_eq!(ada.next_message().await.seq, 2, "the duplicate was not delivered");

    publish("not a UUID", json!({"body": 1})).await.problem(400, "bad_parameter");
    publish(&key, json!({})).await.problem(400, "bad_request");
    http.post("/api/projects/p/rooms/r/messages", &json!({"body": 1})).await.problem(401, "unauthorized");
    http.post("/api/projects/none/rooms/r/messages?name=x", &json!({"body": 1})).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_room_that_is_idle_takes_what_is_published_too() {
    let hub = TestHub::with(&[("ROOM_IDLE_MS", "100")]).await;
    let http = hub.http();
    drop(TestClient::joined(&hub, "Ada", "p/r").await);
    for n in 1..=3 {
        let published = http.post("/api/projects/p/rooms/r/messages?name=x", &json!({"body": n})).await.json();
        assert_eq!(published["seq"], n);
        assert_eq!(http.whole_history("p/r").await.len() as u64, n);
    }
}

#[tokio::test]
async fn presence_is_as_in_joined() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    ada.join_with("p/r", json!({"presence": {"page": 1}})).await;
    let mut bob = TestClient::connect(&hub, "Bob").await;
    let joined = bob.join("p/r").await;
    let http = hub.http();
    let presence = http.get("/api/projects/p/rooms/r/presence").await.json();
    assert_eq!(presence["members_total"], 2);
    let members: Vec<crate::support::frames::Member> =
        serde_json::from_value(presence["members"].clone()).expect("members");
    assert_eq!(members, joined.members);
    let online = http.get("/api/projects/p/rooms").await.json()["items"][0]["online"].clone();
    assert_eq!(online, 2);
    bob.close(1000).await;
    ada.close(1000).await;
    eventually("nobody is there", async || {
        let presence = http.get("/api/projects/p/rooms/r/presence").await.json();
        (presence == json!({"members_total": 0, "members": []})).then_some(())
    })
    .await;
}
