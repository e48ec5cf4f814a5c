//! Search: who may, what is found, and what cannot be looked for.

use serde_json::json;

use super::support::{Hub, Reply, hub, token};
use crate::store::Role;

async fn hub_that_holds(rooms: &[&str], texts: &[&str]) -> Hub {
    let hub = hub().await;
    hub.ask("POST", "/api/projects?name=Ada").body(r#"{"id":"p"}"#).send().await.assert_ok(201);
    for room in rooms {
        let made = hub.ask("POST", "/api/projects/p/rooms?name=Ada").body(json!({"name": room}).to_string());
        made.send().await.assert_ok(201);
        for text in texts {
            let uri = format!("/api/projects/p/rooms/{room}/messages?name=Ada");
            hub.ask("POST", &uri).body(json!({"body": {"text": text}}).to_string()).send().await.assert_ok(201);
        }
    }
    hub
}

async fn find(hub: &Hub, query: &str) -> Reply {
    hub.get(&format!("/api/projects/p/search?{query}")).await
}

#[actix_web::test]
async fn what_is_found_is_told_as_in_history_with_its_room() {
    let hub = hub_that_holds(&["r"], &["Hello w\u{f6}rld", "bye"]).await;
    let found = find(&hub, "q=hello+wor").await.assert_ok(200);
    assert_eq!(found["next"], json!(null));
    let mut item = hub.get("/api/projects/p/rooms/r/messages").await.assert_ok(200)["items"][1].clone();
    item["room"] = json!("p/r");
    assert_eq!(found["items"], json!([item]));
    assert!(find(&hub, "q=hello").await.text.contains("\"body\":{\"text\":\"Hello w\u{f6}rld\"}"));
}

#[actix_web::test]
async fn a_search_goes_page_by_page_through_one_room_or_all() {
    let hub = hub_that_holds(&["r", "s"], &["one", "one two", "one three"]).await;
    for (query, expected) in [
        ("q=one", vec!["p/s 3", "p/s 2", "p/s 1", "p/r 3", "p/r 2", "p/r 1"]),
        ("q=one&room=r", vec!["p/r 3", "p/r 2", "p/r 1"]),
        ("q=%22one+two%22", vec!["p/s 2", "p/r 2"]),
        ("q=one&before=2020-01-01T00:00:00Z", vec![]),
        ("q=three&before=2100-01-01T00:00:00%2B02:00", vec!["p/s 3", "p/r 3"]),
    ] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = find(&hub, &format!("{query}&limit=2{cursor}")).await.assert_ok(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            all.extend(items.iter().map(|item| format!("{} {}", item["room"].as_str().unwrap(), item["seq"])));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(all, expected, "{query}");
    }
}

#[actix_web::test]
async fn who_may_not_read_may_not_search() {
    let hub = hub_that_holds(&["r"], &["secret"]).await;
    let owner = token("ada", &[("p", Role::Owner)]);
    let hide = hub.ask("PATCH", "/api/projects/p").by(&owner).body(r#"{"visibility":"private"}"#);
    hide.send().await.assert_ok(200);
    for query in ["q=secret", "q=secret&room=r"] {
        find(&hub, query).await.assert_problem(404, "not_found");
        let uri = format!("/api/projects/p/search?{query}");
        let viewer = token("bob", &[("p", Role::Viewer)]);
        let found = hub.ask("GET", &uri).by(&viewer).send().await.assert_ok(200);
        assert_eq!(found["items"].as_array().unwrap().len(), 1);
    }
    hub.get("/api/projects/none/search?q=x").await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn what_cannot_be_looked_for_is_refused_and_anything_else_is_answered() {
    let hub = hub_that_holds(&["r"], &["text"]).await;
    for (query, parameter) in [
        ("", "q"),
        ("q=", "q"),
        ("q=%20%22%22%20", "q"),
        ("q=%00", "q"),
        ("q=x&limit=0", "limit"),
        ("q=x&limit=201", "limit"),
        ("q=x&before=yesterday", "before"),
        ("q=x&before=17", "before"),
        ("q=x&cursor=b.7", "cursor"),
        ("q=x&cursor=s.x", "cursor"),
        ("q=x&room=A", "room"),
        ("q=x&room=", "room"),
    ] {
        find(&hub, query).await.assert_problem(400, &format!("\"parameter\":\"{parameter}\""));
    }
    find(&hub, &format!("q={}", "x".repeat(10_000))).await.assert_problem(400, "\"parameter\":\"q\"");
    find(&hub, &format!("q={}", "x+".repeat(400))).await.assert_problem(400, "\"parameter\":\"q\"");
    find(&hub, "q=x&room=none").await.assert_problem(404, "not_found");
    for hostile in [
        "%22",
        "text%22",
        "*",
        "a*",
        "NEAR(a,b)",
        "words:text",
        "-text",
        "text+OR+x",
        "(((",
        "x')+--",
        "%27%3B",
        "%00text",
        "text%00",
        "%F0%9F%91%8D+x",
        "%FF%FEx",
        "a:*",
        "%26+a+%7C+b",
        "!a",
        "%3C-%3E+a",
        "%5C+a",
        "s.%25s",
        "a%0Ab",
    ] {
        let reply = find(&hub, &format!("q={hostile}")).await;
        assert!(matches!(reply.status.as_u16(), 200 | 400), "{hostile}: {}", reply.text);
    }
    for cursor in ["s.-9223372036854775808", "s.9223372036854775807", "s.0"] {
        find(&hub, &format!("q=text&cursor={cursor}")).await.assert_ok(200);
    }
}
