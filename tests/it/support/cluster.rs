//! Several instances that share one database file and one Redis.

use std::sync::Arc;

use tempfile::TempDir;

use super::{
    RedisServer, TestHub, eventually,
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
        let home = Arc::new(TempDir::new().expect("a folder"));
        let url = redis.url();
        let settings = [FAST, UNHURRIED, &[("REDIS_URL", &url)], settings].concat();
        let (a, b) = tokio::join!(TestHub::start_in(Arc::clone(&home), &settings), TestHub::start_in(home, &settings));
        let this = Self { a, b, redis };
        connected(&this.a).await;
        connected(&this.b).await;
        this
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

/// Waits until an instance and Redis have found each other.
pub async fn connected(hub: &TestHub) {
    let http = hub.http();
    eventually("Redis is connected", async || (http.get("/health").await.json()["redis"] == "connected").then_some(()))
        .await;
}
