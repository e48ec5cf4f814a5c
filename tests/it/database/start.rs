//! A start with a PostgreSQL that is not what the address says: refused in time, in plain words, without the password.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{
    PostgresServer, Proxy, TestClient, TestHub, eventually,
    hub::run,
    ports::free_port,
    postgres::{DATABASE_PASSWORD, USER},
};

const CONNECT_TIMEOUT_MS: &str = "1500";
/// The above, and a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(4);

/// A start that must fail, within the time to connect, by naming the setting and these words.
async fn refused(url: &str, words: &str) {
    let home = TempDir::new().expect("a folder");
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", url),
        ("DATABASE_CONNECT_TIMEOUT_MS", CONNECT_TIMEOUT_MS),
        ("HUBBUB_LOG", "debug"),
    ];
    for arguments in [&[][..], &["migrate"]] {
        let begun = Instant::now();
        let ended = run(home.path(), &settings, arguments).await;
        assert!(!ended.success && ended.out.is_empty(), "it started: {ended:?}");
        assert!(begun.elapsed() < REFUSED_WITHIN, "it took {:?}", begun.elapsed());
        let told = ended.err.lines().last().unwrap_or_default();
        assert!(told.starts_with("DATABASE_URL: ") && told.contains(words), "{told}");
        assert!(!ended.err.contains(DATABASE_PASSWORD), "the password is shown: {}", ended.err);
    }
}

#[tokio::test]
async fn nobody_there() {
    let port = free_port();
    refused(&format!("postgres://{USER}:{DATABASE_PASSWORD}@127.0.0.1:{port}/hub"), "nobody listens").await;
    refused(&format!("postgres://{USER}:{DATABASE_PASSWORD}@%2Ftmp%2Fnowhere/hub"), "nobody listens").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let url = format!("postgresql://{USER}:{DATABASE_PASSWORD}@postgres.invalid/hub");
    refused(&url, "postgres.invalid:5432, database hub: its host name cannot be resolved").await;
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    let server = PostgresServer::start();
    let url = server.url(&server.database().await);
    server.pause();
    refused(&url, "no answer within 1500 ms").await;
}

#[tokio::test]
async fn a_wrong_user_or_password() {
    let server = PostgresServer::shared();
    let url = server.url(&server.database().await);
    let other = url.replace(DATABASE_PASSWORD, "another");
    refused(&other, "the server refused user or password").await;
    refused(&url.replace(USER, "nobody"), "the server refused user or password").await;
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    refused(&PostgresServer::shared().url("missing"), "there is no such database").await;
}

#[tokio::test]
async fn something_that_is_no_postgres() {
    let hub = TestHub::start().await;
    refused(&format!("postgres://{USER}:{DATABASE_PASSWORD}@{}/hub", hub.address()), "PostgreSQL").await;
}

#[tokio::test]
async fn a_server_that_comes_up_a_little_later_is_waited_for() {
    let server = PostgresServer::start();
    let url = server.url(&server.database().await);
    // What listens at the server's address, and refuses at first.
    let network = Proxy::to(([127, 0, 0, 1], server.port()).into()).await;
    server.stop();
    let url = url.replace(&server.port().to_string(), &network.address().port().to_string());
    let settings = [("DATABASE_URL", url.as_str()), ("HUBBUB_LOG", "debug")];
    let home = std::sync::Arc::new(TempDir::new().expect("a folder"));
    let starting = TestHub::start_in(std::sync::Arc::clone(&home), &settings);
    let coming = async {
        eventually("the hub waits", async || {
            let files = std::fs::read_dir(home.path()).expect("a folder").flatten();
            let waits = |file: std::fs::DirEntry| {
                std::fs::read_to_string(file.path()).is_ok_and(|log| log.contains("waiting for the database"))
            };
            files.into_iter().any(waits).then_some(())
        })
        .await;
        server.restart();
    };
    let (hub, ()) = tokio::join!(starting, coming);
    TestClient::joined(&hub, "Ada", "p/r").await.send("hi").await;
}

#[tokio::test]
async fn an_address_that_cannot_be_is_refused_before_anything_is_tried() {
    let home = TempDir::new().expect("a folder");
    for (url, words) in [
        ("postgres://u:p4ss@h/d?ssl_mode=require", "`ssl_mode` is not known"),
        ("postgres://u:p4ss@h/d?sslmode=yes", "sslmode"),
        ("postgres://u:p4ss@h/d?sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("postgres://u:p4ss@h/d?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgres://u:p4ss#word@h/d", "percent-encode"),
        ("postgres://u:1#p4ss@h/d", "%23"),
        ("postgres://u:p4ss@h1,h2:x/d", "one server"),
        ("mysql://u:p4ss@h/d", "postgres://"),
    ] {
        let ended = run(home.path(), &[("PORT", "x"), ("DATABASE_URL", url)], &[]).await;
        assert!(ended.err.contains("DATABASE_URL: ") && ended.err.contains(words), "{url}: {}", ended.err);
        assert!(ended.err.contains("PORT: "), "with all other faults: {}", ended.err);
        assert!(!ended.err.contains("p4ss"), "{}", ended.err);
    }
}
