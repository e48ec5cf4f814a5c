//! Cookie sessions: one login for reloads, restarts and every instance, until it is revoked or not used any more.

use serde_json::{Value, json};

use crate::support::{
    Door, TestClient, TestCluster, TestHub, Visitor,
    cluster::connected,
    eventually,
    http::Answer,
    hub::Settings,
    tokens::{SECRET, signed, time, token},
};

/// What all instances of a test share.
const SHARED: Settings = &[("JWT_SECRET", SECRET)];
/// An operator's token.
pub const ADMIN: &str = "an-operators-token-of-more-than-32-bytes";

fn ada() -> Value {
    json!({"token": token("ada", json!({"p": "editor"}))})
}

#[tokio::test]
async fn a_session_is_kept_over_requests_and_sockets_and_a_login_has_a_new_id() {
    let hub = TestHub::with(SHARED).await;
    let mut visitor = Visitor::default();
    visitor.get(&hub, "/api/sessions/current").await.problem(401, "unauthorized");
    let answer = visitor.post(&hub, "/api/sessions", &json!({"name": "Ada"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["kind"]), (201, &json!("guest")));
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["hubbub-session=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=86400"] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "the hub was not reached over TLS");
    let guest = visitor.who(&hub).await.expect("a session");
    assert_eq!(guest["name"], "Ada");
    assert_eq!(visitor.door(&hub).enter().await.welcome["user"], guest);
    assert_eq!(visitor.door(&hub).enter().await.welcome["user"], guest, "again the same");
    let other = Visitor::logged_in(&hub, &json!({"name": "Ada"})).await.who(&hub).await;
    assert_ne!(other.expect("a session")["user_id"], guest["user_id"], "somebody else of the same name");

    // The same guest again, as another tab does: nothing changes, not even the id.
    let id = guest["user_id"].as_str().expect("an id").trim_start_matches("guest-");
    let again = visitor.post(&hub, "/api/sessions", &json!({"name": "Ada", "guest_id": id})).await;
    assert!(again.status == 200 && !again.headers.contains_key("set-cookie"), "{again:?}");
    let kept = visitor.post(&hub, "/api/sessions", &json!({"name": "Bob", "keep": true})).await;
    assert_eq!((kept.status.as_u16(), &kept.json()["user"]["name"]), (200, &json!("Ada")));

    // Logged in as somebody who proves it: the old id is worth nothing any more.
    let planted = visitor.clone();
    assert_eq!(visitor.post(&hub, "/api/sessions", &ada()).await.json()["kind"], "user");
    assert_ne!(visitor.cookie(), planted.cookie());
    assert_eq!(visitor.who(&hub).await.expect("a session")["user_id"], "ada");
    assert_eq!(planted.clone().who(&hub).await, None);
    assert_eq!(planted.door(&hub).refused().await.status, 401);
    // What the token claimed counts.
    let mut client = visitor.door(&hub).enter().await;
    client.join("p/r").await;
    client.send("hi").await;
    // A token in the request goes before the cookie, the cookie before a name.
    let bob = visitor.door(&hub).bearer(&token("bob", json!({}))).name("Carl").enter().await;
    assert_eq!(bob.user.user_id, "bob");
    assert_eq!(visitor.door(&hub).name("Carl").enter().await.user.user_id, "ada");

    assert_eq!(visitor.delete(&hub, "/api/sessions/current").await.status, 204);
    assert_eq!(client.closed_with().await, 4401);
    assert_eq!(visitor.who(&hub).await, None);
}

#[tokio::test]
async fn bad_logins_are_refused() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "false")]).await;
    let mut visitor = Visitor::default();
    for (body, status) in [
        (json!({}), 400),
        (json!({"name": "Ada", "token": "x"}), 400),
        (json!({"email": "ada@example.com"}), 400),
        (json!({"name": "Ada"}), 401),
        (json!({"token": "x"}), 401),
        (json!({"token": signed(&json!({"sub": "u", "exp": time(-60)}))}), 401),
        (json!({"token": 1}), 400),
        (json!({"email": "nobody", "code": "12345678"}), 400),
        (json!({"email": "ada@example.com", "code": "12345678"}), 401),
    ] {
        let answer = visitor.post(&hub, "/api/sessions", &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{body}");
    }
    for cookie in ["hubbub-session=", "hubbub-session=x", "hubbub-session=%00%ff", "=", "hubbub-session"] {
        let refused = Door::of(&hub).header("Cookie", cookie).refused().await;
        assert_eq!(refused.status, 401, "{cookie}");
    }
    // Logins are no way around the rule for guests' names.
    let open = TestHub::start().await;
    for body in [json!({"name": ""}), json!({"name": "x".repeat(65)}), json!({"name": "Ada", "guest_id": "1"})] {
        visitor.post(&open, "/api/sessions", &body).await.problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn other_pages_get_nothing_by_a_visitors_cookie() {
    let listed = "https://app.example";
    for (allowed, good) in [(listed, vec![listed]), ("*", vec![])] {
        let hub = TestHub::with(&[("ALLOWED_ORIGINS", allowed)]).await;
        let mut visitor = Visitor::logged_in(&hub, &json!({"name": "Ada"})).await;
        let ada = visitor.who(&hub).await.expect("a session");
        let own = format!("http://{}", hub.address());
        for origin in good.into_iter().chain([own.as_str()]) {
            assert_eq!(visitor.door(&hub).header("Origin", origin).enter().await.welcome["user"], ada, "{origin}");
        }
        for origin in ["https://evil.example", "null", "https://app.example.evil"] {
            let refused = visitor.door(&hub).header("Origin", origin).refused().await;
            assert!([401, 403].contains(&refused.status), "{origin}: {refused:?}");
            let post = hub.http().request(reqwest::Method::POST, "/api/projects").header("Origin", origin);
            let answer = visitor.send(post.json(&json!({"id": "x"}))).await;
            assert!([401, 403].contains(&answer.status.as_u16()), "{origin}: {answer:?}");
            let login = hub.http().request(reqwest::Method::POST, "/api/sessions").header("Origin", origin);
            visitor.send(login.json(&json!({"name": "Eve"}))).await.problem(403, "forbidden");
            let log_out = hub.http().request(reqwest::Method::DELETE, "/api/sessions/current").header("Origin", origin);
            let answer = visitor.send(log_out).await;
            assert!([401, 403].contains(&answer.status.as_u16()), "{origin}: {answer:?}");
        }
        // A browser that leaves `Origin` out says that it is another site's page.
        let get = hub.http().request(reqwest::Method::GET, "/api/sessions/current");
        visitor.send(get.header("Sec-Fetch-Site", "cross-site")).await.problem(401, "unauthorized");
        assert_eq!(visitor.who(&hub).await, Some(ada), "all the time");
    }
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls() {
    let hub = TestHub::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let login = async |hub: &TestHub, proto: Option<&str>| {
        let mut request = hub.http().request(reqwest::Method::POST, "/api/sessions").json(&json!({"name": "Ada"}));
        if let Some(proto) = proto {
            request = request.header("X-Forwarded-Proto", proto);
        }
        Answer::to(request).await.header("set-cookie").contains("; Secure")
    };
    assert!(login(&hub, Some("https")).await);
    assert!(login(&hub, Some("http, https")).await);
    assert!(!login(&hub, Some("https, http")).await && !login(&hub, None).await);
    let direct = TestHub::start().await;
    assert!(!login(&direct, Some("https")).await, "a stranger's header");
    let always = TestHub::with(&[("SESSION_COOKIE_SECURE", "true")]).await;
    assert!(login(&always, None).await);
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_or_its_token_ends() {
    let hub = TestHub::with(&[("JWT_SECRET", SECRET), ("SESSION_TTL", "2s")]).await;
    let mut idle = Visitor::logged_in(&hub, &json!({"name": "Ada"})).await;
    let mut used = Visitor::logged_in(&hub, &json!({"name": "Bob"})).await;
    let (mut of_idle, mut of_used) = (idle.door(&hub).enter().await, used.door(&hub).enter().await);
    let expiring = of_idle.next_of("auth_expiring").await;
    assert!(expiring["expires_in_ms"].as_u64().is_some_and(|ms| ms <= 2_000), "{expiring}");
    // Bob is looked at until Ada's session is over, which is no use of hers.
    let over = async { of_idle.closed_with().await };
    let use_it = eventually("the other session ended", async || {
        assert!(used.who(&hub).await.is_some(), "a session that is used ended");
        None::<()>
    });
    let code = tokio::select! { code = over => code, () = use_it => unreachable!() };
    assert_eq!(code, 4401);
    assert_eq!(idle.who(&hub).await, None);
    of_used.heartbeat().await;

    let ends = signed(&json!({"sub": "ada", "exp": time(2)}));
    let mut short = Visitor::logged_in(&hub, &json!({"token": ends})).await;
    let mut client = short.door(&hub).enter().await;
    let use_it = eventually("the token ended", async || short.who(&hub).await.is_none().then_some(()));
    tokio::join!(use_it, async { assert_eq!(client.closed_with().await, 4401) });
}

#[tokio::test]
async fn every_instance_knows_a_session_and_a_restart_forgets_none() {
    let mut cluster = TestCluster::with(SHARED).await;
    let mut visitor = Visitor::logged_in(&cluster.a, &ada()).await;
    assert_eq!(visitor.who(&cluster.b).await.expect("a session")["user_id"], "ada");
    cluster.a.stop().await;
    cluster.a.restart().await;
    connected(&cluster.a).await;
    assert_eq!(visitor.who(&cluster.a).await.expect("a session")["user_id"], "ada");
    let mut client = visitor.door(&cluster.a).enter().await;
    client.join("p/r").await;
    // What is in Redis is no way to a session.
    let keys = cluster.redis.command(&["KEYS", "*session:*"]).await.texts();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let kept = cluster.redis.command(&["HGETALL", &keys[0]]).await.texts();
    let secret = visitor.cookie().split_once('=').expect("a value").1;
    assert!(kept.len() == 2 && !kept.concat().contains(secret), "{kept:?}");
    let forged = format!("hubbub-session={}.{}", keys[0].rsplit(':').next().expect("a tag"), kept[0]);
    assert_eq!(Door::of(&cluster.a).header("Cookie", forged).refused().await.status, 401);
}

#[tokio::test]
async fn a_session_is_revoked_on_every_instance_at_once() {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET), ("ADMIN_TOKEN", ADMIN)]).await;
    let (a, b) = (&cluster.a, &cluster.b);
    let mut one = Visitor::logged_in(a, &ada()).await;
    let mut other = Visitor::logged_in(b, &ada()).await;
    let mut bystander = Visitor::logged_in(b, &json!({"token": token("bob", json!({}))})).await;
    let mut by_token = Door::of(b).bearer(&token("ada", json!({}))).enter().await;
    let mut sockets = [one.door(a).enter().await, one.door(b).enter().await];
    let mut of_other = other.door(a).enter().await;
    let mut of_bystander = bystander.door(a).enter().await;

    let list = one.get(b, "/api/sessions").await.json();
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.iter().filter(|item| item["current"] == true).count(), 1);
    assert_eq!(items.len(), 2, "{items:?}");
    let there = items.iter().find(|item| item["current"] == true).expect("it is listed")["id"].as_str().expect("an id");

    // One of them, from the other one.
    bystander.delete(a, &format!("/api/sessions/{there}")).await.problem(404, "not_found");
    let begun = std::time::Instant::now();
    assert_eq!(other.delete(a, &format!("/api/sessions/{there}")).await.status, 204);
    for socket in &mut sockets {
        assert_eq!(socket.closed_with().await, 4401);
    }
    assert!(begun.elapsed().as_millis() < 1_000, "{:?}", begun.elapsed());
    for hub in [a, b] {
        assert_eq!(one.clone().who(hub).await, None);
        assert_eq!(one.door(hub).refused().await.status, 401);
        assert!(other.who(hub).await.is_some());
    }
    of_other.heartbeat().await;

    // All of them, by their user.
    let mut third = Visitor::logged_in(a, &ada()).await;
    let mut of_third = third.door(b).enter().await;
    assert_eq!(third.delete(a, "/api/sessions").await.status, 204);
    assert_eq!((of_third.closed_with().await, of_other.closed_with().await), (4401, 4401));
    assert_eq!((other.who(a).await, other.who(b).await, third.who(b).await), (None, None, None));

    // All of them, by the operator.
    let mut fourth = Visitor::logged_in(a, &ada()).await;
    let mut of_fourth = fourth.door(b).enter().await;
    let by_operator = |token: &str| {
        let delete = a.http().request(reqwest::Method::DELETE, "/api/admin/users/ada/sessions");
        Answer::to(delete.bearer_auth(token))
    };
    by_operator("not-the-operators-token").await.problem(401, "unauthorized");
    assert_eq!(by_operator(ADMIN).await.status, 204);
    assert_eq!(of_fourth.closed_with().await, 4401);
    assert_eq!((fourth.who(a).await, fourth.who(b).await), (None, None));
    let without = TestHub::start().await;
    let delete = without.http().request(reqwest::Method::DELETE, "/api/admin/users/ada/sessions").bearer_auth(ADMIN);
    Answer::to(delete).await.problem(404, "not_found");

    // Nobody else was touched: neither other people nor who came by token.
    of_bystander.heartbeat().await;
    by_token.heartbeat().await;
    assert!(bystander.who(a).await.is_some());
}

#[tokio::test]
async fn guests_end_their_own_session_only() {
    let hub = TestHub::start().await;
    let id = "0190a6b2-7c1e-7000-8000-000000000001";
    let mut ada = Visitor::logged_in(&hub, &json!({"name": "Ada", "guest_id": id})).await;
    let mut eve = Visitor::logged_in(&hub, &json!({"name": "Ada", "guest_id": id})).await;
    let mut of_ada = ada.door(&hub).enter().await;
    assert_eq!(of_ada.user.user_id, format!("guest-{id}"));
    assert_eq!(eve.get(&hub, "/api/sessions").await.json()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(eve.delete(&hub, "/api/sessions").await.status, 204);
    assert_eq!((eve.who(&hub).await, ada.who(&hub).await.is_some()), (None, true));
    of_ada.heartbeat().await;
    TestClient::connect(&hub, "Carl").await;
}
