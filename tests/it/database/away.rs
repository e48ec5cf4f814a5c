//! PostgreSQL goes away while the hub serves: messages are refused in time and never acknowledged, all that needs no
//! database goes on, health says so, and everything heals by itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{
    Change, PostgresServer, Proxy, TestClient, TestHub, eventually,
    hub::UNHURRIED,
    postgres::{DATABASE_PASSWORD, USER},
};

/// For a call of the database. Short, so that the tests are.
const PATIENCE_MS: &str = "1000";
/// Two calls: a message may have to wait for the one before it. And a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_millis(2 * 1_000 + 1_500);

/// A hub on this database, with two people in a room in which one message was said.
struct Company {
    hub: TestHub,
    ada: TestClient,
    bob: TestClient,
}

impl Company {
    async fn on(url: &str) -> Self {
        let settings = [("DATABASE_URL", url), ("DATABASE_STATEMENT_TIMEOUT_MS", PATIENCE_MS)];
        let hub = TestHub::with(&[UNHURRIED, &settings].concat()).await;
        let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
        let mut bob = TestClient::joined(&hub, "Bob", "p/r").await;
        ada.next_change().await; // Bob's coming
        ada.send("before").await;
        ada.next_message().await;
        bob.next_message().await;
        Self { hub, ada, bob }
    }

    /// Says something that cannot be stored; gives its id.
    async fn is_refused(&mut self) -> String {
        let id = Uuid::new_v4().to_string();
        let asked = Instant::now();
        let reference = self.ada.post(&id, "later");
        let refused = self.ada.refusal(reference, "unavailable").await;
        assert!(asked.elapsed() < ANSWERED_WITHIN, "it took {:?}", asked.elapsed());
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
        id
    }

    /// What needs no database goes on, and health says what is wrong.
    async fn goes_on(&mut self) {
        let (ada, bob) = (&mut self.ada, &mut self.bob);
        ada.update(json!({"still": "here"}));
        assert!(matches!(bob.next_change().await, Change::Update { state, .. } if state == json!({"still": "here"})));
        ada.move_cursor(json!({"x": 1}));
        assert_eq!(bob.next_cursors().await[0].position, json!({"x": 1}));
        ada.broadcast("typing", json!(true));
        assert_eq!(bob.next_of("broadcast").await["data"], true);

        let http = self.hub.http();
        eventually("the hub is not ready", async || (http.get("/health/ready").await.status == 503).then_some(()))
            .await;
        let problem = http.get("/health/ready").await.problem(503, "unavailable");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("database")), "{problem}");
        assert_eq!(http.get("/health").await.json()["database"], "disconnected");
        assert_eq!(http.get("/health/live").await.status, 200);
        assert_eq!(bob.until_status("degraded").await["reasons"], json!(["database"]));
        let published = http.post("/api/projects/p/rooms/r/messages?name=x", &json!({"body": 1})).await;
        published.problem(503, "unavailable");
    }

    /// As [`goes_on`](Self::goes_on), and what was said before can be read.
    async fn goes_on_reading(&mut self) {
        self.goes_on().await;
        assert_eq!(self.hub.http().whole_history("p/r").await.len(), 1);
    }

    /// All is as if nothing had been: the message is stored once, in its place, and delivered once.
    async fn heals(mut self, id: &str) {
        let http = self.hub.http();
        eventually("the hub is ready", async || (http.get("/health/ready").await.status == 200).then_some(())).await;
        self.bob.until_status("live").await;
        let ack = self.ada.send_as(id, "later").await;
        assert_eq!(ack.seq, 2, "no place was lost");
        self.ada.send("last").await;
        for client in [&mut self.ada, &mut self.bob] {
            let messages = client.messages_until("last").await;
            let told: Vec<_> = messages.iter().map(|message| (message.seq, message.body.clone())).collect();
            assert_eq!(told, [(2, json!("later")), (3, json!("last"))]);
        }
        assert_eq!(http.whole_history("p/r").await.len(), 3);
        self.hub.stop().await;
        assert!(!self.hub.log().contains(DATABASE_PASSWORD), "the password is in the log");
        assert!(self.hub.log().contains("messages cannot be stored"), "it is said once in the log");
    }
}

async fn company_on(server: &PostgresServer) -> Company {
    Company::on(&server.url(&server.database().await)).await
}

#[tokio::test]
async fn a_server_that_is_stopped_and_started() {
    let server = PostgresServer::start();
    let mut company = company_on(&server).await;
    server.stop();
    let id = company.is_refused().await;
    company.goes_on().await;
    server.restart();
    company.heals(&id).await;
}

#[tokio::test]
async fn a_server_that_is_killed() {
    let server = PostgresServer::start();
    let mut company = company_on(&server).await;
    server.kill();
    let id = company.is_refused().await;
    company.goes_on().await;
    server.restart();
    company.heals(&id).await;
}

#[tokio::test]
async fn a_server_that_hangs() {
    let server = PostgresServer::start();
    let mut company = company_on(&server).await;
    server.pause();
    let id = company.is_refused().await;
    company.goes_on().await;
    for _ in 0..3 {
        company.is_refused().await;
    }
    server.resume();
    company.heals(&id).await;
}

#[tokio::test]
async fn a_restart_between_two_messages_is_not_noticed() {
    let server = PostgresServer::start();
    let mut company = company_on(&server).await;
    for _ in 0..2 {
        server.stop();
        server.restart();
        company.ada.send("again").await;
    }
    assert_eq!(company.hub.http().whole_history("p/r").await.len(), 3);
}

async fn by_way_of_a_proxy() -> (Proxy, Company) {
    let server = PostgresServer::shared();
    let network = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()))).await;
    let url = server.url(&server.database().await);
    let url = url.replace(&server.port().to_string(), &network.address().port().to_string());
    (network, Company::on(&url).await)
}

#[tokio::test]
async fn a_network_that_loses_everything() {
    let (network, mut company) = by_way_of_a_proxy().await;
    network.lose();
    let id = company.is_refused().await;
    company.goes_on().await;
    network.resume();
    company.heals(&id).await;
}

#[tokio::test]
async fn a_network_that_is_cut() {
    let (network, mut company) = by_way_of_a_proxy().await;
    network.cut_off();
    let id = company.is_refused().await;
    company.goes_on().await;
    network.resume();
    company.heals(&id).await;
}

/// The server has stored the message, and its answer never came.
#[tokio::test]
async fn a_message_whose_answer_was_lost_is_the_same_message_when_it_is_sent_again() {
    let (network, mut company) = by_way_of_a_proxy().await;
    network.mute();
    let id = company.is_refused().await;
    network.resume();
    let ack = company.ada.send_as(&id, "later").await;
    assert_eq!((ack.seq, ack.duplicate), (2, true), "it was stored the first time");
    company.ada.send("last").await;
    for client in [&mut company.ada, &mut company.bob] {
        let messages = client.messages_until("last").await;
        let told: Vec<_> = messages.iter().map(|message| (message.seq, message.body.clone())).collect();
        assert_eq!(told, [(2, json!("later")), (3, json!("last"))], "it is delivered once all the same");
    }
}

/// A user of the hub's own, to whom the server may do something.
async fn as_a_user() -> (PostgresServer, String, Company) {
    let server = PostgresServer::start();
    let database = server.database().await;
    server.execute("postgres", &format!("CREATE USER app PASSWORD '{DATABASE_PASSWORD}'")).await;
    server.execute("postgres", &format!("ALTER DATABASE {database} OWNER TO app")).await;
    let url = server.url(&database).replace(&format!("//{USER}:"), "//app:");
    let company = Company::on(&url).await;
    (server, database, company)
}

const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";

#[tokio::test]
async fn a_server_without_a_free_connection() {
    let (server, _, mut company) = as_a_user().await;
    server.execute("postgres", "ALTER USER app CONNECTION LIMIT 0").await;
    server.execute("postgres", TERMINATE).await;
    let id = company.is_refused().await;
    company.goes_on().await;
    assert!(company.hub.log().contains("max_connections"), "the log names the remedy");
    server.execute("postgres", "ALTER USER app CONNECTION LIMIT -1").await;
    company.heals(&id).await;
}

#[tokio::test]
async fn a_password_that_was_changed() {
    let (server, _, mut company) = as_a_user().await;
    server.execute("postgres", "ALTER USER app PASSWORD 'another'").await;
    server.execute("postgres", TERMINATE).await;
    let id = company.is_refused().await;
    company.goes_on().await;
    assert!(company.hub.log().contains("the server refused user or password"));
    server.execute("postgres", &format!("ALTER USER app PASSWORD '{DATABASE_PASSWORD}'")).await;
    company.heals(&id).await;
}

/// As a standby, after the others have gone over to another server.
#[tokio::test]
async fn a_server_that_only_reads() {
    let (server, database, mut company) = as_a_user().await;
    server.execute("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    server.execute("postgres", TERMINATE).await;
    let id = company.is_refused().await;
    company.goes_on_reading().await;
    server.execute("postgres", &format!("ALTER DATABASE {database} RESET default_transaction_read_only")).await;
    company.heals(&id).await;
}

/// Somebody else holds a room's lock: that room waits and is refused, others go on.
#[tokio::test]
async fn a_room_that_is_locked_by_somebody_else() {
    let server = PostgresServer::shared();
    let database = server.database().await;
    let mut company = Company::on(&server.url(&database)).await;
    let mut other = server.connect(&database).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM rooms FOR UPDATE").execute(&mut other).await.expect("the lock");
    let id = company.is_refused().await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("the end of the lock");
    let ack = company.ada.send_as(&id, "later").await;
    assert_eq!((ack.seq, ack.duplicate), (2, false), "nothing was written, and no place was lost");
    let http = company.hub.http();
    eventually("the hub is ready", async || (http.get("/health/ready").await.status == 200).then_some(())).await;
}
