//! Who may: tokens and guests, roles, pages of other origins, and tokens that end; sessions, codes and limits in files of
//! their own.

mod invitations;
mod login_codes;
mod outages;
mod profiles;
mod rates;
mod roles;
mod secrets;
mod sessions;
mod silence;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Door, RawClient, TestClient, TestHub,
    raw::handshake,
    tokens::{SECRET, signed, signed_with, time, token},
};

/// A hub that only lets in who has a token.
async fn closed_hub() -> TestHub {
    TestHub::with(&[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "false")]).await
}

/// A connection by token.
async fn with_token(hub: &TestHub, token: &str) -> TestClient {
    Door::of(hub).bearer(token).enter().await
}

#[tokio::test]
async fn a_token_says_who_somebody_is_by_header_or_query() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET)]).await;
    let claims = json!({"sub": "u1", "name": "Ada", "color": "#AbCdEf", "avatar_url": "https://a.example/a.png",
        "exp": time(60)});
    let token = signed(&claims);
    for door in [
        Door::of(&hub).bearer(&token),
        Door::of(&hub).query("token", token.clone()),
        Door::of(&hub).bearer(&token).name("a guest's name does not count then"),
    ] {
        let client = door.enter().await;
        let user = json!({"user_id": "u1", "name": "Ada", "color": "#abcdef", "avatar_url": "https://a.example/a.png"});
        assert_eq!(client.welcome["user"], user);
    }
    let plain = with_token(&hub, &signed(&json!({"sub": "u2", "exp": time(60)}))).await;
    assert_eq!((plain.user.user_id.as_str(), plain.user.name.as_str(), plain.user.color.len()), ("u2", "u2", 7));
    assert!(!hub.log().contains(&token[..40]), "a token is in the log");
}

#[tokio::test]
async fn a_bad_token_is_refused_wherever_it_stands() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET)]).await;
    let claims = || json!({"sub": "u1", "exp": time(60)});
    let good = signed(&claims());
    let (head, rest) = good.split_once('.').expect("three parts");
    let none = format!("{}.{}.", base64url(br#"{"alg":"none","typ":"JWT"}"#), rest.split_once('.').expect("two").0);
    for (what, bad) in [
        ("expired", signed(&json!({"sub": "u1", "exp": time(-60)}))),
        ("no end", signed(&json!({"sub": "u1"}))),
        ("nobody", signed(&json!({"exp": time(60)}))),
        ("not yet", signed(&json!({"sub": "u1", "exp": time(60), "nbf": time(30)}))),
        ("a guest's id", signed(&json!({"sub": "guest-1", "exp": time(60)}))),
        ("an odd role", signed(&json!({"sub": "u1", "exp": time(60), "projects": {"p": "king"}}))),
        ("another secret", signed_with("another-secret-of-more-than-32-bytes", Algorithm::HS256, &claims())),
        ("another algorithm", signed_with(SECRET, Algorithm::HS512, &claims())),
        ("no algorithm", none),
        ("changed", format!("{head}.{}x", rest)),
        ("no token at all", "x".into()),
    ] {
        for door in [Door::of(&hub).bearer(&bad), Door::of(&hub).query("token", bad.clone()).name("Ada")] {
            let refused = door.refused().await;
            assert_eq!((refused.status, &refused.body["status"]), (401, &json!(401)), "{what}: {refused:?}");
        }
        let request = hub.http().request(reqwest::Method::GET, "/api/projects").bearer_auth(&bad);
        let answer = crate::support::http::Answer::to(request).await;
        answer.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}: {answer:?}");
        assert!(!answer.body.contains(&bad) || bad.len() < 10, "{what}: an error repeats the token");
    }
    assert_eq!(Door::of(&hub).refused().await.status, 401, "nobody");
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect::<Vec<_>>();
    let sextet = |bits: &[u8]| (0..6).fold(0, |all, n| all << 1 | usize::from(bits.get(n).copied().unwrap_or(0)));
    bits.chunks(6).map(|bits| char::from(ALPHABET[sextet(bits)])).collect()
}

#[tokio::test]
async fn without_a_secret_no_token_counts() {
    let hub = TestHub::start().await;
    assert_eq!(Door::of(&hub).bearer(&token("u1", json!({}))).refused().await.status, 401);
    TestClient::connect(&hub, "Ada").await;
}

#[tokio::test]
async fn where_guests_are_off_a_name_is_not_enough() {
    let hub = closed_hub().await;
    assert_eq!(Door::of(&hub).name("Ada").refused().await.status, 401);
    for path in ["/api/projects", "/api/projects/p/rooms", "/api/projects/p/rooms/r/messages"] {
        hub.http().get(path).await.problem(401, "unauthorized");
        hub.http().get(&format!("{path}?name=Ada")).await.problem(401, "unauthorized");
    }
    assert!(hub.http().get("/health").await.status.is_success(), "health is for everybody");
}

#[tokio::test]
async fn roles_decide_what_is_possible_in_a_project() {
    let hub = closed_hub().await;
    let mut editor = with_token(&hub, &token("ed", json!({"p": "editor"}))).await;
    editor.join("p/r").await;
    editor.send("hi").await;

    let viewers_token = token("vi", json!({"p": "viewer"}));
    let mut viewer = with_token(&hub, &viewers_token).await;
    let joined = viewer.join("p/r").await;
    assert_eq!((joined.seqs(), joined.names()), (vec![1], vec!["ed", "vi"]), "a viewer sees and is seen");
    for frame in [
        json!({"type": "message", "room": "p/r", "id": Uuid::new_v4(), "body": 1}),
        json!({"type": "broadcast", "room": "p/r", "event": "e", "data": 1}),
    ] {
        let reference = viewer.ask(frame);
        viewer.refusal(reference, "forbidden").await;
    }
    viewer.move_cursor(json!({"x": 1}));
    assert_eq!(editor.next_cursors().await[0].connection_id, viewer.connection_id, "a cursor is being seen");
    viewer.mark_read(1);
    assert_eq!(editor.next_of("read").await["user_id"], "vi");
    editor.send("still").await;
    assert_eq!(viewer.next_message().await.body, "still");

    // What is not there and what may not be seen look the same.
    let mut stranger = with_token(&hub, &token("st", json!({"q": "owner"}))).await;
    for room in ["p/r", "p/none", "none/r"] {
        let reference = stranger.ask_to_join(room, json!({}));
        stranger.refusal(reference, "not_found").await;
    }
    stranger.join("q/r").await;
    let reference = viewer.ask_to_join("p/not-made-yet", json!({}));
    viewer.refusal(reference, "not_found").await;
}

#[tokio::test]
async fn roles_count_over_http_too() {
    let hub = closed_hub().await;
    let mut editor = with_token(&hub, &token("ed", json!({"p": "editor"}))).await;
    editor.join("p/r").await;
    let http = hub.http();
    let path = "/api/projects/p/rooms/r/messages";
    let publish = async |sub: &str, projects: Value| {
        let request = http.request(reqwest::Method::POST, path).bearer_auth(token(sub, projects));
        crate::support::http::Answer::to(request.json(&json!({"body": "over HTTP"}))).await
    };
    let read = async |sub: &str, projects: Value| {
        let request = http.request(reqwest::Method::GET, path).bearer_auth(token(sub, projects));
        crate::support::http::Answer::to(request).await
    };
    assert_eq!(publish("ed", json!({"p": "editor"})).await.status, 201);
    publish("vi", json!({"p": "viewer"})).await.problem(403, "forbidden");
    publish("st", json!({"q": "owner"})).await.problem(404, "not_found");
    let history = read("vi", json!({"p": "viewer"})).await.json();
    assert_eq!(history["items"][0]["from"]["user_id"], "ed");
    read("st", json!({"q": "owner"})).await.problem(404, "not_found");
    assert_eq!(editor.next_message().await.body, "over HTTP");
}

#[tokio::test]
async fn guests_make_rooms_where_guests_are_allowed() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET)]).await;
    let mut guest = TestClient::joined(&hub, "Ada", "new/room").await;
    let mut user = with_token(&hub, &token("u1", json!({}))).await;
    user.join("new/room").await;
    user.send("hi").await;
    assert_eq!(guest.next_message().await.from.user_id, "u1");
    // A token that makes somebody a viewer makes them one here, too.
    let mut viewer = with_token(&hub, &token("u2", json!({"new": "viewer"}))).await;
    viewer.join("new/room").await;
    let reference = viewer.post(&Uuid::new_v4().to_string(), 1);
    viewer.refusal(reference, "forbidden").await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect() {
    let hub = TestHub::with(&[("ALLOWED_ORIGINS", "https://app.example, http://localhost:3000")]).await;
    let own = format!("http://{}", hub.address());
    let from = |origin: &str| Door::of(&hub).name("Ada").header("Origin", origin);
    for origin in [own.as_str(), "https://app.example", "http://localhost:3000"] {
        from(origin).enter().await;
    }
    for origin in
        ["https://evil.example", "http://app.example", "https://app.example.evil", "null", "http://127.0.0.1:1"]
    {
        let refused = from(origin).refused().await;
        assert_eq!((refused.status, &refused.body["type"]), (403, &json!("urn:hubbub:problem:forbidden")), "{origin}");
        let request = hub.http().request(reqwest::Method::POST, "/api/projects?name=Ada").header("Origin", origin);
        crate::support::http::Answer::to(request.json(&json!({"id": "x"}))).await.problem(403, "forbidden");
    }
    let anybody = TestHub::with(&[("ALLOWED_ORIGINS", "*")]).await;
    Door::of(&anybody).name("Ada").header("Origin", "https://evil.example").enter().await;
}

#[tokio::test]
async fn the_subprotocol_is_chosen_when_it_is_offered() {
    let hub = TestHub::start().await;
    for (offered, chosen) in
        [("hubbub.v1", true), ("graphql-ws, hubbub.v1", true), ("graphql-ws", false), ("hubbub.v2, x", false)]
    {
        let mut raw = RawClient::connect(hub.address()).await;
        let header = format!("\r\nSec-WebSocket-Protocol: {offered}\r\nHost");
        raw.write(handshake("/ws?name=Ada").replacen("\r\nHost", &header, 1).as_bytes()).await;
        let head = raw.head().await.to_ascii_lowercase();
        if chosen {
            assert!(head.starts_with("http/1.1 101 "), "{head}");
            assert!(head.contains("sec-websocket-protocol: hubbub.v1\r\n"), "{head}");
        } else {
            assert!(head.starts_with("http/1.1 400 "), "{head}");
        }
    }
    assert_eq!(TestClient::connect(&hub, "Ada").await.subprotocol, None, "who offers none speaks it anyway");
}

#[tokio::test]
async fn a_token_that_ends_is_announced_and_can_be_renewed() {
    let hub = closed_hub().await;
    let lives = |sub: &str, seconds| signed(&json!({"sub": sub, "exp": time(seconds), "projects": {"p": "editor"}}));
    let mut renews = with_token(&hub, &lives("re", 2)).await;
    let mut lapses = with_token(&hub, &lives("la", 2)).await;
    for client in [&mut renews, &mut lapses] {
        client.join("p/r").await;
        let expiring = client.next_of("auth_expiring").await;
        assert!(expiring["expires_in_ms"].as_u64().is_some_and(|ms| ms <= 2_000), "{expiring}");
    }
    // Another user's, one that has ended, none.
    for bad in [lives("la", 60), lives("re", -60), "x".to_owned()] {
        let reference = renews.ask(json!({"type": "auth", "token": bad}));
        renews.refusal(reference, "forbidden").await;
    }
    let reference = renews.ask(json!({"type": "auth", "token": lives("re", 3600)}));
    renews.reply(reference, "ack").await;
    assert_eq!(lapses.closed_with().await, 4401);
    // Past the end of the first token.
    let left = renews.changes_until(crate::support::Change::is_last_leave).await;
    assert!(left.last().is_some_and(|change| change.connection_id() == lapses.connection_id));
    renews.send("still here").await;
    assert_eq!(Door::of(&hub).bearer(&lives("re", -60)).refused().await.status, 401);
}

#[tokio::test]
async fn roles_follow_a_renewed_token() {
    let hub = closed_hub().await;
    let mut ada = with_token(&hub, &token("ada", json!({"p": "editor", "q": "editor"}))).await;
    ada.join("q/r").await;
    ada.join("p/r").await;
    ada.send("as an editor").await;
    let reference = ada.ask(json!({"type": "auth", "token": token("ada", json!({"p": "viewer", "q": "owner"}))}));
    ada.reply(reference, "ack").await;
    let reference = ada.post(&Uuid::new_v4().to_string(), "as a viewer");
    ada.refusal(reference, "forbidden").await;
    ada.join("q/r").await;
    ada.send("as an owner").await;
}
