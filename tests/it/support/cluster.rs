//! Several instances that share one database file and one Redis.

use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::{
    Change, RedisServer, TestClient, TestHub, eventually,
    hub::{FAST, Settings, UNHURRIED},
};

/// What the hubs are given as Redis' password, to be searched for in all they say.
pub const PASSWORD: &str = "p4ssw0rd-of-the-tests";

/// Two instances.
pub struct TestCluster {
    pub a: TestHub,
    pub b: TestHub,
    pub redis: RedisServer,
}

impl TestCluster {
    /// Two instances that hear each other, with fast presence and no limits on rates.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// As [`start`](Self::start), with more settings for both.
    pub async fn with(settings: Settings<'_>) -> Self {
        let redis = RedisServer::with_password(PASSWORD).await;
        let url = redis.url();
        let [a, b] = instances(&[&[("REDIS_URL", url.as_str())], settings].concat()).await;
        Self { a, b, redis }
    }

    /// Asserts that no log holds Redis' password.
    pub fn assert_no_password_logged(&self) {
        for hub in [&self.a, &self.b] {
            assert!(!hub.log().contains(PASSWORD), "the password is in a log");
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_password_logged();
        }
    }
}

/// Two instances that share a database, with fast presence and no limits on rates, when they have found Redis.
pub async fn instances(settings: Settings<'_>) -> [TestHub; 2] {
    let home = Arc::new(TempDir::new().expect("a folder"));
    let settings = [FAST, UNHURRIED, settings].concat();
    let (a, b) = tokio::join!(TestHub::start_in(Arc::clone(&home), &settings), TestHub::start_in(home, &settings));
    connected(&a).await;
    connected(&b).await;
    [a, b]
}

/// Asserts that what happens in a room of one instance is seen on the other, both ways.
pub async fn are_one(a: &TestHub, b: &TestHub, room: &str) {
    let mut ada = TestClient::joined(a, "Ada", room).await;
    let mut bob = TestClient::connect(b, "Bob").await;
    let joined = bob.join(room).await;
    assert_eq!(joined.names(), ["Ada", "Bob"], "{room}");
    assert!(matches!(ada.next_change().await, Change::Join { .. }), "{room}");
    let first = ada.send("from A").await;
    assert_eq!(bob.next_message().await.seq, first, "{room}");
    let second = bob.send("from B").await;
    ada.next_message().await;
    assert_eq!(ada.next_message().await.seq, second, "{room}");
    ada.move_cursor(json!({"x": 1}));
    assert_eq!(bob.next_cursors().await[0].position, json!({"x": 1}), "{room}");
}

/// Waits until an instance and Redis have found each other.
pub async fn connected(hub: &TestHub) {
    let http = hub.http();
    eventually("Redis is connected", async || (http.get("/health").await.json()["redis"] == "connected").then_some(()))
        .await;
}
