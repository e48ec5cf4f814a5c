//! What must not be written anywhere: secrets, codes, tokens, cookies, addresses.

use serde_json::json;

use super::sessions::ADMIN;
use crate::support::{
    SmtpSink, TestCluster, Visitor,
    http::Answer,
    tokens::{SECRET, token},
};

const SESSIONS_SECRET: &str = "the-secret-of-all-sessions-of-this-test";

#[tokio::test]
async fn no_secret_is_in_what_the_processes_wrote() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let settings = [
        ("HUBBUB_LOG", "trace"),
        ("JWT_SECRET", SECRET),
        ("SESSION_SECRET", SESSIONS_SECRET),
        ("ADMIN_TOKEN", ADMIN),
        ("RATE_LIMIT_LOGIN", "1000/1s"),
        ("SMTP_URL", &url),
        ("MAIL_FROM", "hub@example.com"),
    ];
    let cluster = TestCluster::with(&settings).await;
    let (a, b) = (&cluster.a, &cluster.b);
    let mut secrets = vec![SECRET.to_owned(), SESSIONS_SECRET.into(), ADMIN.into()];

    let jwt = token("ada", json!({"p": "owner"}));
    let mut ada = Visitor::logged_in(a, &json!({"token": jwt})).await;
    a.http().post("/api/login-codes", &json!({"email": "secret-address@example.com"})).await.json();
    let code = sink.mail(1).await.code();
    let body = json!({"email": "secret-address@example.com", "code": code});
    let mut bob = Visitor::logged_in(b, &body).await;
    let mut of_ada = ada.door(b).enter().await;
    of_ada.join("p/r").await;
    let invited = ada.post(a, "/api/projects/p/invitations", &json!({"role": "editor"})).await.json();
    let invitation = invited["token"].as_str().expect("a token").to_owned();
    assert_eq!(bob.post(b, "/api/invitations/accept", &json!({"token": invitation})).await.status, 200);
    bob.post(b, "/api/invitations/accept", &json!({"token": invitation})).await.problem(404, "not_found");
    for visitor in [&ada, &bob] {
        let value = visitor.cookie().split_once('=').expect("a value").1;
        secrets.extend([value.to_owned(), value.replace("%2F", "/")]);
    }
    // Spoilt ones, which errors might repeat.
    let spoilt = format!("{}x", ada.cookie());
    Answer::to(a.http().request(reqwest::Method::GET, "/api/sessions/current").header("Cookie", &spoilt)).await;
    let delete = a.http().request(reqwest::Method::DELETE, "/api/admin/users/ada/sessions").bearer_auth(ADMIN);
    assert_eq!(Answer::to(delete).await.status, 204);
    assert_eq!(of_ada.closed_with().await, 4401);
    secrets.extend([jwt, code, invitation, "secret-address".into()]);

    for hub in [a, b] {
        let said = format!("{}{}", hub.log(), hub.out());
        for secret in &secrets {
            assert!(!said.contains(secret.as_str()), "a secret is in what the hub wrote: {secret}");
        }
    }
}
