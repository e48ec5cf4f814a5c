//! What holds for every route: problems, limits, origins, health, the demo page.

use super::support::{hub, hub_with, token};
use crate::health::Link;

#[actix_web::test]
async fn every_refusal_is_a_problem_document() {
    let hub = hub().await;
    hub.get("/nothing/here").await.assert_problem(404, "/nothing/here");
    hub.get("/api/nothing").await.assert_problem(404, "not_found");
    hub.get("/js/nothing.js").await.assert_problem(404, "not_found");
    hub.get("/js/../Cargo.toml").await.assert_problem(404, "not_found");
    let wrong_method = hub.ask("PUT", "/api/projects?name=Ada").send().await;
    wrong_method.assert_problem(405, "method_not_allowed");
    assert_eq!(wrong_method.header("allow"), "GET, POST");
    hub.ask("POST", "/").send().await.assert_problem(405, "method_not_allowed");
    hub.ask("POST", "/health").send().await.assert_problem(405, "method_not_allowed");
    hub.get("/api/projects/UPPER").await.assert_problem(400, "\"parameter\":\"project\"");
    hub.get("/api/projects/p/rooms/-r/messages").await.assert_problem(400, "\"parameter\":\"room\"");
    hub.get("/api/projects?limit=0").await.assert_problem(400, "\"parameter\":\"limit\"");
    hub.get("/api/projects?cursor=x").await.assert_problem(400, "\"parameter\":\"cursor\"");
    hub.get("/api/projects?name=%07").await.assert_problem(400, "\"parameter\":\"name\"");
    hub.get("/api/projects/%FF").await.assert_problem(400, "bad_");
}

#[actix_web::test]
async fn nobody_is_told_how_to_be_somebody_and_tokens_are_not_repeated() {
    let hub = hub_with(&["--allow-guests", "false"]).await;
    let nobody = hub.get("/api/projects").await;
    nobody.assert_problem(401, "a token is needed");
    assert_eq!(nobody.header("www-authenticate"), r#"Bearer realm="hubbub""#);
    let forged = hub.get("/api/projects?token=hunter2").await;
    forged.assert_problem(401, "not a valid JWT");
    assert!(forged.header("www-authenticate").contains("invalid_token"));
    assert!(!forged.text.contains("hunter2"));
    hub.get(&format!("/api/projects?token={}", token("ada", &[]))).await.assert_ok(200);
}

#[actix_web::test]
async fn bodies_are_bounded_json_objects() {
    let hub = hub_with(&["--allow-guests", "true", "--max-body-bytes", "2000"]).await;
    let post = || hub.ask("POST", "/api/projects?name=Ada");
    post().body("{").send().await.assert_problem(400, "the body");
    post().body("[]").send().await.assert_problem(400, "object");
    post().body("{}").send().await.assert_problem(400, "`id`");
    post().body(r#"{"id":7}"#).send().await.assert_problem(400, "string");
    post().body(r#"{"id":"A"}"#).send().await.assert_problem(400, "\"parameter\":\"id\"");
    post().body(r#"{"id":"p","name":" "}"#).send().await.assert_problem(400, "\"parameter\":\"name\"");
    post().body(r#"{"id":"p","visibility":"secret"}"#).send().await.assert_problem(400, "`private`");
    post().body(format!(r#"{{"id":{}{}}}"#, "[".repeat(64), "]".repeat(64))).send().await.assert_problem(400, "nested");
    post().body(" ".repeat(2001)).send().await.assert_problem(413, "2000 bytes");
    post().send().await.assert_problem(415, "application/json");
    post().body("{}").header("Content-Type", "text/plain").send().await.assert_problem(415, "application/json");
}

#[actix_web::test]
async fn a_lost_database_is_said_without_its_inside() {
    let hub = hub().await;
    hub.state.store.close().await;
    let lost = hub.get("/api/projects").await;
    lost.assert_problem(503, "unavailable");
    assert_eq!(lost.header("retry-after"), "1");
}

#[actix_web::test]
async fn pages_of_other_origins_read_and_change_only_when_listed() {
    let hub = hub_with(&["--allow-guests", "true", "--allowed-origins", "https://app.example"]).await;
    let post = |origin: &str, id: &str| {
        hub.ask("POST", "/api/projects?name=Ada").header("Origin", origin).body(format!(r#"{{"id":"{id}"}}"#)).send()
    };
    post("https://evil.example", "p").await.assert_problem(403, "origin");
    post("https://hub.example", "own").await.assert_ok(201);
    let listed = post("https://app.example", "p").await;
    listed.assert_ok(201);
    assert_eq!(listed.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(listed.header("access-control-allow-credentials"), "true");
    let refused = post("https://app.example", "p").await;
    refused.assert_problem(409, "exists");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example", "a page may read why");

    let read = hub.ask("GET", "/api/projects").header("Origin", "https://evil.example").send().await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, ""));
    let preflight = |origin: &str| {
        let asked = hub.ask("OPTIONS", "/api/projects/p").header("Origin", origin);
        asked.header("Access-Control-Request-Method", "PATCH").send()
    };
    assert_eq!(preflight("https://app.example").await.status.as_u16(), 200);
    preflight("https://evil.example").await.assert_problem(400, "bad_request");
}

#[actix_web::test]
async fn without_listed_origins_the_own_page_works_all_the_same() {
    let hub = hub().await;
    let post =
        |origin: &str| hub.ask("POST", "/api/projects?name=Ada").header("Origin", origin).body(r#"{"id":"p"}"#).send();
    post("null").await.assert_problem(403, "origin");
    post("http://hub.example").await.assert_ok(201);
}

#[actix_web::test]
async fn with_a_star_everybody_reads_without_credentials() {
    let hub = hub_with(&["--allow-guests", "true", "--allowed-origins", "*"]).await;
    let read = hub.ask("GET", "/api/projects").header("Origin", "https://any.example").send().await;
    assert_eq!(read.header("access-control-allow-origin"), "*");
    assert_eq!(read.header("access-control-allow-credentials"), "");
}

#[actix_web::test]
async fn health_is_read_from_flags() {
    let hub = hub().await;
    let health = hub.get("/health").await.assert_ok(200);
    assert_eq!((&health["status"], &health["service"]), (&"healthy".into(), &"hubbub".into()));
    assert_eq!((&health["database"], &health["redis"]), (&"connected".into(), &"not configured".into()));
    assert!(health["uptime_seconds"].is_u64() && health["version"].is_string());
    hub.get("/health/live").await.assert_ok(200);
    hub.get("/health/ready").await.assert_ok(200);
    assert_eq!(hub.get("/health/cache").await.assert_ok(200)["stats"]["hits"], 0);
    assert_eq!(hub.get("/api/health").await.assert_ok(200)["cache"]["circuit_breaker"]["state"], "closed");
    assert_eq!(hub.ask("HEAD", "/health").send().await.status.as_u16(), 200);

    hub.state.health.set_redis(Link::Disconnected);
    assert_eq!(hub.get("/health").await.assert_ok(200)["status"], "degraded");
    hub.get("/health/ready").await.assert_ok(200);
    hub.state.health.set_database(Link::Disconnected);
    assert_eq!(hub.get("/health").await.assert_ok(200)["status"], "unhealthy");
    hub.get("/health/ready").await.assert_problem(503, "database");
    hub.state.health.set_database(Link::Connected);
    hub.state.health.start_draining();
    hub.get("/health/ready").await.assert_problem(503, "going away");
    hub.get("/health/live").await.assert_ok(200);
}

#[actix_web::test]
async fn the_demo_page_is_served_with_its_guards_and_revalidated() {
    let hub = hub().await;
    let page = hub.get("/?token=x").await;
    assert_eq!(page.status.as_u16(), 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("script-src 'self'; base-uri 'none'"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let again = hub.ask("GET", "/").header("If-None-Match", page.header("etag")).send().await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), page.header("etag"));
    let changed = hub.ask("GET", "/").header("If-None-Match", "\"0\"").send().await;
    assert_eq!(changed.status.as_u16(), 200);
    for (file, mime) in [("/app.css", "text/css; charset=utf-8"), ("/favicon.svg", "image/svg+xml")] {
        assert_eq!(hub.get(file).await.header("content-type"), mime);
    }
    hub.get("/README.md").await.assert_problem(404, "not_found");
    hub.get("/test/").await.assert_problem(404, "not_found");
}
