//! `GET /metrics`: what happened is counted, under names that the docs list, and only for who may see it.

use hubbub::telemetry::METRICS;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    Door, PostgresServer, Proxy, RawClient, TestClient, TestCluster, TestHub, eventually,
    figures::{Figures, eventually_figures},
    http::Answer,
    hub::FAST,
    tokens::{SECRET, token},
};

/// Long enough for the setting.
const TOKEN: &str = "a-token-for-metrics-of-32-bytes-or-more";

#[tokio::test]
async fn every_figure_is_described_and_nothing_else_is_told() {
    let hub = TestHub::start().await;
    hub.http().get("/health").await;
    let figures = Figures::of(&hub).await;
    for metric in METRICS.iter().filter(|metric| metric.labels.is_empty()) {
        let told = figures.text.contains(&format!("\n# HELP {} {}\n", metric.name, metric.help))
            || figures.text.starts_with(&format!("# HELP {} {}\n", metric.name, metric.help));
        assert!(told, "{} is not described in:\n{}", metric.name, figures.text);
    }
    for series in figures.series() {
        let name = series.split('{').next().expect("a name");
        let known = METRICS.iter().any(|metric| {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
        });
        assert!(known || name.starts_with("process_"), "{name} is not in the table");
    }
    assert_eq!(figures.value(&format!("hubbub_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert!(figures.value("process_resident_memory_bytes") > 1e6);
    assert!(figures.value("process_open_fds") > 3.0);
    let started = figures.value("process_start_time_seconds");
    assert!((chrono::Utc::now().timestamp() as f64 - started).abs() < 60.0, "{started}");
    assert_eq!((figures.value("hubbub_database_up"), figures.value("hubbub_redis_configured")), (1.0, 0.0));
}

#[tokio::test]
async fn people_and_messages_are_counted() {
    let hub = TestHub::with(&[FAST, &[("RATE_MESSAGES", "5")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
    let id = uuid::Uuid::new_v4().to_string();
    assert!(!ada.send_as(&id, "hi").await.duplicate);
    assert!(ada.send_as(&id, "hi").await.duplicate);
    bob.next_message().await;
    ada.move_cursor(json!({"x": 1}));
    bob.next_cursors().await;
    ada.say(json!({"type": "dance"}));
    ada.expect_error("unknown_type").await;
    for _ in 0..20 {
        ada.post(&uuid::Uuid::new_v4().to_string(), "too fast");
    }
    ada.expect_error("rate_limited").await;

    let figures = eventually_figures(&hub, "all is counted", |figures| {
        // What is delivered is told with the next sweep, and some messages are still on their way to the store.
        let answered = figures.value("hubbub_message_ack_seconds_count") + 1.0;
        figures.value("hubbub_frames_received_total{type=\"message\"}") == 22.0
            && figures.value("hubbub_messages_accepted_total") == answered
            && figures.value("hubbub_deliveries_total") >= 4.0
            && figures.value("hubbub_sent_bytes_total") > 500.0
    })
    .await;
    assert_eq!(figures.value("hubbub_connections"), 2.0);
    assert_eq!(figures.value("hubbub_connections_opened_total"), 2.0);
    assert_eq!(figures.value("hubbub_rooms"), 1.0);
    assert_eq!(figures.value("hubbub_presence_members"), 2.0);
    assert_eq!(figures.value("hubbub_joins_total{outcome=\"granted\"}"), 2.0);
    assert_eq!(figures.value("hubbub_frames_received_total{type=\"join\"}"), 2.0);
    assert_eq!(figures.value("hubbub_frames_received_total{type=\"cursor\"}"), 1.0);
    assert_eq!(figures.value("hubbub_frames_refused_total{code=\"unknown_type\"}"), 1.0);
    assert_eq!(figures.value("hubbub_messages_duplicate_total"), 1.0);
    let limited = figures.value("hubbub_messages_refused_total{reason=\"rate_limited\"}");
    assert!(limited >= 1.0);
    assert_eq!(figures.value("hubbub_rate_limited_total{at=\"socket\"}"), limited);
    let acked = figures.value("hubbub_messages_acked_total");
    assert!(acked >= 1.0);
    assert_eq!(figures.value("hubbub_message_ack_seconds_count"), acked);
    let commits = figures.value("hubbub_append_seconds_count");
    assert!((1.0..=acked + 1.0).contains(&commits), "{commits} commits for {acked} messages and one retry");
    assert_eq!(figures.value("hubbub_append_batch_messages_sum"), acked + 1.0);
    assert!(figures.value("hubbub_cursor_frames_total") >= 1.0);

    bob.close(1000).await;
    ada.vanish();
    let figures = eventually_figures(&hub, "both are gone", |figures| figures.value("hubbub_connections") == 0.0).await;
    assert_eq!(figures.value("hubbub_connections_closed_total{code=\"1000\"}"), 1.0);
    assert_eq!(figures.sum("hubbub_connections_closed_total"), 2.0);
    eventually_figures(&hub, "the room is gone", |figures| {
        figures.value("hubbub_rooms") == 0.0 && figures.value("hubbub_presence_members") == 0.0
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_their_route_and_never_by_what_a_client_makes_up() {
    let hub = TestHub::start().await;
    let http = hub.http();
    for project in ["a", "b", "c"] {
        http.get(&format!("/api/projects/{project}")).await;
        http.get(&format!("/made/up/{project}")).await;
    }
    Answer::to(http.request(Method::from_bytes(b"BREW").expect("a method"), "/health")).await;
    Door::of(&hub).header("Origin", "https://elsewhere.example").name("Eve").refused().await;
    let figures = Figures::of(&hub).await;
    let count = |method: &str, route: &str, status: u16| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        figures.value(&format!("hubbub_http_requests_total{{{labels}}}"))
    };
    assert_eq!(figures.sum("hubbub_http_requests_total"), 8.0, "{}", figures.text);
    let found: f64 = [401, 404].map(|status| count("GET", "/api/projects/{project}", status)).iter().sum();
    assert_eq!(found, 3.0, "{}", figures.text);
    assert_eq!(count("GET", "none", 404), 3.0, "{}", figures.text);
    assert_eq!(count("GET", "/ws", 403), 1.0, "{}", figures.text);
    assert!(!figures.text.contains("BREW") && !figures.text.contains("/made"), "{}", figures.text);
    assert_eq!(figures.value("hubbub_http_request_seconds_count{route=\"none\"}"), 3.0);
    assert_eq!(figures.value("hubbub_upgrades_refused_total{reason=\"origin\"}"), 1.0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_seen() {
    let settings = [("SLOW_CONSUMER_MS", "400"), ("OUTBOX_BYTES_MAX", "65536"), ("RATE_BROADCASTS", "100000")];
    let hub = TestHub::with(&[FAST, &settings].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    let mut slow = RawClient::connect_with_small_buffer(hub.address()).await;
    slow.upgrade("Slow").await;
    slow.join("p/r").await;
    ada.next_change().await;
    let data = "x".repeat(30_000);
    let closed = "hubbub_connections_closed_total{code=\"4508\"}";
    eventually("the slow reader is closed", async || {
        ada.broadcast("noise", json!(data));
        ada.heartbeat().await;
        (Figures::of(&hub).await.value(closed) == 1.0).then_some(())
    })
    .await;
    eventually_figures(&hub, "nothing waits any more", |figures| {
        figures.value("hubbub_outbox_bytes") == 0.0 && figures.value("hubbub_connections_lagging") == 0.0
    })
    .await;
}

#[tokio::test]
async fn the_bus_is_counted_and_its_loss_is_seen() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.send("over the bus").await;
    bob.next_message().await;
    let figures = Figures::of(&cluster.b).await;
    assert_eq!((figures.value("hubbub_bus_up"), figures.value("hubbub_redis_configured")), (1.0, 1.0));
    assert!(figures.value("hubbub_bus_received_total") >= 1.0 && figures.value("hubbub_bus_published_total") >= 1.0);
    assert!(figures.value("hubbub_redis_reconnects_total") >= 1.0);
    let redis = eventually_figures(&cluster.a, "Redis' figures are known", |figures| {
        figures.value("hubbub_redis_figures") == 1.0
    })
    .await;
    assert!(
        redis.value("hubbub_redis_memory_used_bytes") > 0.0 && redis.value("hubbub_redis_connected_clients") >= 4.0
    );

    cluster.redis.pause();
    let down = eventually_figures(&cluster.b, "the bus is down", |figures| figures.value("hubbub_bus_up") == 0.0).await;
    assert_eq!(down.value("hubbub_bus_lost_total"), 1.0);
    assert!(down.value("hubbub_redis_faults_total{fault=\"timeout\"}") >= 1.0, "{}", down.text);
    ada.send("unheard").await;
    cluster.redis.resume();
    bob.next_message().await;
    let back = eventually_figures(&cluster.b, "the bus is back", |figures| figures.value("hubbub_bus_up") == 1.0).await;
    assert!(back.value("hubbub_compare_notes_total") >= 1.0 && back.value("hubbub_hole_reads_total") >= 1.0);
}

#[tokio::test]
async fn a_hole_is_seen_while_it_is_open_and_when_it_is_healed() {
    let cluster = TestCluster::start().await;
    let mut ada = TestClient::joined(&cluster.a, "Ada", "p/r").await;
    let mut bob = TestClient::joined(&cluster.b, "Bob", "p/r").await;
    ada.send("first").await;
    bob.next_message().await;
    // A beat that names a message nobody wrote: the room looks for it in the store, once, and is content.
    let channel = "hubbub:room:p/r";
    let beat = r#"{"from":"0123456789abcdef","events":[{"beat":{"revision":0,"connections":0,"head":5}}]}"#;
    cluster.redis.command(&["PUBLISH", channel, beat]).await;
    let figures = eventually_figures(&cluster.b, "the hole was found and closed", |figures| {
        figures.value("hubbub_holes_found_total") >= 1.0
            && figures.value("hubbub_holes_found_total") == figures.value("hubbub_holes_healed_total")
    })
    .await;
    assert_eq!(figures.value("hubbub_rooms_with_hole"), 0.0);
    ada.send("second").await;
    assert_eq!(bob.next_message().await.seq, 2);
}

#[tokio::test]
async fn a_database_that_hangs_is_seen() {
    let postgres = PostgresServer::start();
    let hub = TestHub::with(&[("DATABASE_URL", &postgres.url(&postgres.database().await))]).await;
    let well = eventually_figures(&hub, "the database was tried", |figures| {
        figures.value("hubbub_database_ping_seconds_count") >= 1.0 && figures.value("hubbub_database_up") == 1.0
    })
    .await;
    let failures = |figures: &Figures| figures.value("hubbub_database_ping_failures_total");
    postgres.pause();
    eventually_figures(&hub, "the database is away", |figures| {
        failures(figures) > failures(&well) && figures.value("hubbub_database_up") == 0.0
    })
    .await;
    postgres.resume();
    eventually_figures(&hub, "the database is back", |figures| figures.value("hubbub_database_up") == 1.0).await;
}

/// What `/metrics` answers to a token.
async fn shown(hub: &TestHub, authorization: Option<&str>) -> Answer {
    let request = hub.http().request(Method::GET, "/metrics");
    Answer::to(authorization.into_iter().fold(request, |request, value| request.header("Authorization", value))).await
}

#[tokio::test]
async fn with_a_token_only_its_bearer_sees_them() {
    let hub = TestHub::with(&[("METRICS_TOKEN", TOKEN)]).await;
    let refused = shown(&hub, None).await;
    refused.problem(401, "unauthorized");
    assert!(refused.header("www-authenticate").starts_with("Bearer"), "{refused:?}");
    for wrong in ["Bearer", "Bearer x", &format!("Basic {TOKEN}"), &format!("Bearer {TOKEN}x"), TOKEN] {
        shown(&hub, Some(wrong)).await.problem(401, "unauthorized");
    }
    assert!(shown(&hub, Some(&format!("Bearer {TOKEN}"))).await.status.is_success());
    assert!(!hub.log().contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn a_hub_that_can_be_reached_from_outside_shows_them_to_nobody_without_a_token() {
    let open = [("HOST", "0.0.0.0"), ("JWT_SECRET", SECRET)];
    let hub = TestHub::with(&open).await;
    let proxy = Proxy::to(hub.address()).await;
    let by_proxy = Answer::to(reqwest::Client::new().get(format!("http://{}/metrics", proxy.address()))).await;
    assert!(by_proxy.problem(403, "forbidden").to_string().contains("METRICS_TOKEN"));
    // No other right is one to see them.
    shown(&hub, Some(&format!("Bearer {}", token("u", json!({}))))).await.problem(403, "forbidden");
    let with_token = TestHub::with(&[&open[..], &[("METRICS_TOKEN", TOKEN)]].concat()).await;
    assert!(shown(&with_token, Some(&format!("Bearer {TOKEN}"))).await.status.is_success());
}
