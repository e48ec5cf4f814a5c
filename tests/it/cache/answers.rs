//! What a cached route says, and that it changes with what it tells of.

use reqwest::Method;
use serde_json::{Value, json};

use super::{User, comes_from, make_rooms, messages, warm};
use crate::support::{TestClient, TestHub, http::Answer, hub::UNHURRIED, tokens::SECRET};

async fn hub() -> TestHub {
    let hub = TestHub::with(&[UNHURRIED, &[("JWT_SECRET", SECRET)]].concat()).await;
    warm(&hub).await;
    hub
}

#[tokio::test]
async fn every_cached_route_says_where_its_answer_is_from_and_knows_what_a_client_has() {
    let hub = hub().await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    make_rooms(&ada, "p", &["r"]).await;
    for n in 0..3 {
        ada.say("p/r", &format!("hello {n}")).await;
    }
    let history = messages("p/r");
    for path in [
        "/api/projects",
        "/api/projects/p",
        "/api/projects/p/rooms",
        &history,
        &format!("{history}?before=3"),
        &format!("{history}?after=0&limit=1"),
        "/api/projects/p/search?q=hello",
        "/api/users/ada",
    ] {
        let first = ada.get(path).await;
        assert!(["l1", "miss"].contains(&first.header("x-cache")), "{first:?}");
        let second = comes_from("l1", &ada, path).await;
        assert_eq!(first.body, second.body, "{path}");
        let tag = second.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 30 && tag == first.header("etag"), "{second:?}");
        assert!(second.header("server-timing").contains("cache;desc=\"l1\", total;dur="), "{second:?}");
        assert_eq!(second.header("cache-control"), "private, no-cache");

        let known = |tag: &str| {
            let request = ada.http.request(Method::GET, path).bearer_auth(&ada.token);
            Answer::to(request.header("if-none-match", tag.to_owned()))
        };
        for tag in [tag.as_str(), &format!("\"other\", W/{tag}"), "*"] {
            let unchanged = known(tag).await;
            assert_eq!((unchanged.status.as_u16(), unchanged.body.as_str()), (304, ""), "{path} {unchanged:?}");
            assert_eq!(unchanged.header("etag"), second.header("etag"));
        }
        assert_eq!(known("\"other\"").await.json(), second.json());
    }
    // A refusal is not cached, nor does it look so.
    let missing = ada.get("/api/projects/missing").await;
    missing.problem(404, "not_found");
    assert_eq!((missing.header("x-cache"), missing.header("etag")), ("", ""));
    assert_eq!(missing.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_message_is_in_the_next_answer_and_old_pages_stay() {
    let hub = hub().await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    make_rooms(&ada, "p", &["r", "s"]).await;
    let old = format!("{}?after=0&limit=5", messages("p/r"));
    let before = format!("{}?before=6&limit=5", messages("p/r"));
    for n in 1..=20 {
        let text = format!("word{n} common");
        ada.say("p/r", &text).await;
        let newest = ada.get(&messages("p/r")).await.json();
        assert_eq!((&newest["items"][0]["seq"], &newest["items"][0]["body"]["text"]), (&json!(n), &json!(text)));
        let rooms = ada.get("/api/projects/p/rooms").await.json();
        assert_eq!((&rooms["items"][0]["last_seq"], &rooms["items"][0]["unread"]), (&json!(n), &json!(n)));
        let found = ada.get("/api/projects/p/search?q=common&limit=100").await.json();
        assert_eq!(found["items"].as_array().expect("items").len(), n, "{found}");
        let after = ada.get(&format!("{}?after=0&limit=200", messages("p/r"))).await.json();
        assert_eq!(after["items"].as_array().expect("items").len(), n);
        if n == 6 {
            ada.get(&old).await;
            ada.get(&before).await;
        } else if n > 6 {
            for path in [&old, &before] {
                let page = ada.get(path).await;
                assert_eq!(page.header("x-cache"), "l1", "an old page never changes: {path}");
                assert_eq!(page.json()["items"].as_array().expect("items").len(), 5);
            }
        }
    }
    // A page that was asked for before its end was there is not taken for whole.
    let beyond = format!("{}?before=22&limit=3", messages("p/r"));
    assert_eq!(ada.get(&beyond).await.json()["items"][0]["seq"], 20);
    ada.say("p/r", "21").await;
    assert_eq!(ada.get(&beyond).await.json()["items"][0]["seq"], 21);
}

#[tokio::test]
async fn a_room_and_a_read_marker_are_in_the_next_list() {
    let hub = hub().await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    for n in 0..5 {
        make_rooms(&ada, "p", &[&format!("r{n}")]).await;
        let rooms = ada.get("/api/projects/p/rooms").await.json();
        assert_eq!(rooms["items"].as_array().expect("items").len(), n + 1);
    }
    // One that the first join makes.
    let mut bob = TestClient::joined(&hub, "Bob", "p/made-by-bob").await;
    let rooms = ada.get("/api/projects/p/rooms").await.json();
    assert_eq!((&rooms["items"][0]["name"], &rooms["items"][0]["online"]), (&json!("made-by-bob"), &json!(1)));
    bob.send("x").await;
    let unread = async || ada.get("/api/projects/p/rooms").await.json()["items"][0]["unread"].clone();
    assert_eq!(unread().await, 1);
}

#[tokio::test]
async fn a_project_made_anew_shows_nothing_of_the_old_one() {
    let hub = hub().await;
    let (ada, eve) = (User::of(&hub, "ada"), User::of(&hub, "eve"));
    let paths = ["/api/projects/p/rooms", "/api/projects/p/search?q=secret", &messages("p/r")];
    let mut bodies: Vec<Value> = Vec::new();
    for (user, text) in [(&ada, "secret of ada"), (&eve, "secret of eve")] {
        user.make("p").await;
        make_rooms(user, "p", &["r"]).await;
        user.say("p/r", text).await;
        for path in paths {
            user.get(path).await;
            let body = comes_from("l1", user, path).await.json();
            assert!(!bodies.contains(&body), "{path} is of the old project: {body}");
            bodies.push(body);
        }
        assert_eq!(user.ask(Method::DELETE, "/api/projects/p", None).await.status, 204);
        for path in paths.into_iter().chain(["/api/projects/p"]) {
            user.get(path).await.problem(404, "not_found");
        }
        assert_eq!(user.get("/api/projects").await.json()["items"], json!([]));
    }
}

#[tokio::test]
async fn without_the_cache_everything_is_read() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET), ("CACHE_ENABLED", "false")]).await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    for _ in 0..3 {
        assert_eq!(ada.get("/api/projects/p").await.header("x-cache"), "miss");
        assert_eq!(ada.get("/api/projects").await.header("x-cache"), "miss");
    }
    let health = ada.http.get("/health/cache").await.json();
    assert_eq!((&health["status"], &health["stats"]["hits"]), (&json!("off"), &json!(0)));
    assert_eq!(health["stats"]["memory_cache_size"], 0);
}

#[tokio::test]
async fn the_health_routes_tell_of_the_cache() {
    let hub = hub().await;
    let ada = User::of(&hub, "ada");
    ada.make("p").await;
    let reads =
        || async { ada.http.get("/health/cache").await.json()["stats"]["database_reads"].as_u64().unwrap_or(0) };
    comes_from("l1", &ada, "/api/projects/p").await;
    let before = reads().await;
    for _ in 0..50 {
        ada.get("/api/projects/p").await;
    }
    assert_eq!(reads().await, before, "nothing is read for what is in memory");
    let health = ada.http.get("/health/cache").await.json();
    assert_eq!((&health["status"], &health["backend"]), (&json!("healthy"), &json!("memory")));
    let stats = &health["stats"];
    assert!(stats["hits"].as_u64() >= Some(100) && stats["misses"].as_u64() >= Some(1), "{stats}");
    assert!(stats["hit_rate_percent"].as_f64().is_some_and(|rate| rate > 80.0 && rate <= 100.0), "{stats}");
    assert_eq!(stats["redis_available"], false);
    let health = ada.http.get("/api/health").await.json();
    let cache = &health["cache"];
    assert_eq!((&cache["status"], &cache["provider"]), (&json!("healthy"), &json!("memory")));
    assert_eq!(cache["circuit_breaker"], json!({"state": "closed", "failures": 0, "successes": 0}));
    assert_eq!(
        cache["total_operations"].as_u64(),
        Some(cache["hits"].as_u64().unwrap_or(0) + cache["misses"].as_u64().unwrap_or(0))
    );

    let metrics = ada.http.get("/metrics").await.body;
    for line in [
        "hubbub_cache_requests_total{tier=\"l1\",outcome=\"hit\",class=\"access\"}",
        "hubbub_cache_requests_total{tier=\"store\",outcome=\"load\",class=\"access\"}",
        "hubbub_cache_seconds_count{tier=\"l1\"}",
        "hubbub_store_queries_total{call=\"project\"}",
    ] {
        let found = metrics.lines().find_map(|found| found.strip_prefix(line)).map(str::trim);
        assert!(found.is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count > 0.0)), "{line}: {found:?}");
    }
}
