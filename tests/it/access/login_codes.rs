//! Logging in by a code that comes by mail: once, in time, and without telling whose addresses are known.

use serde_json::json;

use crate::support::{SmtpSink, TestCluster, TestHub, Visitor, hub::Settings};

/// Attempts that no test reaches.
const PATIENT: Settings =
    &[("RATE_LIMIT_LOGIN", "1000/1s"), ("SESSION_SECRET", "one-secret-for-both-instances-of-the-tests")];

fn wrong(code: &str) -> String {
    format!("{:08}", (code.parse::<u64>().expect("digits") + 1) % 100_000_000)
}

#[tokio::test]
async fn a_code_by_mail_lets_somebody_in_once() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let hub = TestHub::with(&[PATIENT, &sink.settings(&url)].concat()).await;
    let http = hub.http();
    let answer = http.post("/api/login-codes", &json!({"email": " Ada@Example.com "})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"expires_in_ms": 300_000})));
    let mail = sink.mail(1).await;
    assert!(mail.to.contains("<ada@example.com>") && mail.from.contains("<hub@example.com>"), "{mail:?}");
    let code = mail.code();
    assert_eq!(code.len(), 8);

    let mut visitor = Visitor::default();
    let login = |email: &str, code: &str| json!({"email": email, "code": code});
    visitor.post(&hub, "/api/sessions", &login("ada@example.com", &wrong(&code))).await.problem(401, "unauthorized");
    visitor.post(&hub, "/api/sessions", &login("bob@example.com", &code)).await.problem(401, "unauthorized");
    let typed = format!("{} {}", &code[..4], &code[4..]);
    let me = visitor.post(&hub, "/api/sessions", &login("ADA@example.com", &typed)).await.json();
    assert_eq!((&me["kind"], &me["user"]["name"]), (&json!("user"), &json!("ada")));
    visitor.post(&hub, "/api/sessions", &login("ada@example.com", &code)).await.problem(401, "unauthorized");

    // The same address is the same person, and the answer is the same as the first time.
    let again = http.post("/api/login-codes", &json!({"email": "ada@example.com"})).await;
    assert_eq!((again.status, again.body), (answer.status, answer.body));
    let code = sink.mail(2).await.code();
    let second = visitor.post(&hub, "/api/sessions", &login("ada@example.com", &code)).await.json();
    assert_eq!(second["user"]["user_id"], me["user"]["user_id"]);
}

#[tokio::test]
async fn a_new_code_replaces_the_old_and_five_wrong_ones_burn_it() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let hub = TestHub::with(&[PATIENT, &sink.settings(&url)].concat()).await;
    let http = hub.http();
    let login = async |code: &str| {
        let body = json!({"email": "ada@example.com", "code": code});
        http.post("/api/sessions", &body).await.status.as_u16()
    };
    let mut codes = Vec::new();
    for n in 1..=2 {
        http.post("/api/login-codes", &json!({"email": "ada@example.com"})).await.json();
        codes.push(sink.mail(n).await.code());
    }
    assert_ne!(codes[0], codes[1]);
    assert_eq!((login(&codes[0]).await, login(&codes[1]).await), (401, 201));
    http.post("/api/login-codes", &json!({"email": "ada@example.com"})).await.json();
    let code = sink.mail(3).await.code();
    for _ in 0..5 {
        assert_eq!(login(&wrong(&code)).await, 401);
    }
    assert_eq!(login(&code).await, 401, "it is burnt");
}

#[tokio::test]
async fn of_two_instances_one_takes_a_code() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let cluster = TestCluster::with(&[PATIENT, &sink.settings(&url)].concat()).await;
    let (a, b) = (cluster.a.http(), cluster.b.http());
    for round in 1..=10 {
        a.post("/api/login-codes", &json!({"email": "ada@example.com"})).await.json();
        let body = json!({"email": "ada@example.com", "code": sink.mail(round).await.code()});
        let answers = tokio::join!(
            a.post("/api/sessions", &body),
            b.post("/api/sessions", &body),
            a.post("/api/sessions", &body),
            b.post("/api/sessions", &body),
        );
        let mut statuses = [answers.0, answers.1, answers.2, answers.3].map(|answer| answer.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401, 401, 401]);
    }
    // What is kept cannot be read back.
    a.post("/api/login-codes", &json!({"email": "ada@example.com"})).await.json();
    let code = sink.mail(11).await.code();
    let keys = cluster.redis.command(&["KEYS", "*secret:*"]).await.texts();
    let kept = cluster.redis.command(&["GET", &keys[0]]).await.texts().concat();
    assert!(keys.len() == 1 && !kept.contains(&code) && !keys[0].contains("ada"), "{keys:?} {kept}");
}

#[tokio::test]
async fn codes_are_not_for_flooding_mailboxes_and_need_a_mail_server() {
    let sink = SmtpSink::start().await;
    let url = sink.url();
    let hub = TestHub::with(&[&[("TRUSTED_PROXIES", "127.0.0.1")], &sink.settings(&url)[..]].concat()).await;
    let ask = async |email: &str, from: &str| {
        let request = hub.http().request(reqwest::Method::POST, "/api/login-codes").json(&json!({"email": email}));
        crate::support::http::Answer::to(request.header("X-Forwarded-For", from)).await.status.as_u16()
    };
    for n in 0..3 {
        assert_eq!(ask("ada@example.com", &format!("192.0.2.{n}")).await, 202);
    }
    assert_eq!(ask("Ada@example.com", "192.0.2.9").await, 429, "from wherever it is asked");
    for n in 0..3 {
        assert_eq!(ask(&format!("somebody-{n}@example.com"), "198.51.100.1").await, 202);
    }
    assert_eq!(ask("somebody-else@example.com", "198.51.100.1").await, 429, "for whomever it is asked");
    for bad in ["", "ada", "a@b\r\nBcc: x@y.z", "@example.com"] {
        assert_eq!(ask(bad, "198.51.100.2").await, 400, "{bad}");
    }
    assert!(sink.count() <= 6);
    let without = TestHub::start().await;
    let refused = without.http().post("/api/login-codes", &json!({"email": "ada@example.com"})).await;
    refused.problem(501, "not_implemented");
    // A server that is not there is the log's affair, not the asker's.
    let nowhere = TestHub::with(&[("SMTP_URL", "smtp://127.0.0.1:1"), ("MAIL_FROM", "hub@example.com")]).await;
    assert_eq!(nowhere.http().post("/api/login-codes", &json!({"email": "ada@example.com"})).await.status, 202);
    crate::support::eventually("the log says so", async || nowhere.log().contains("a mail was not sent").then_some(()))
        .await;
}
