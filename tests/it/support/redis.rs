//! Redis as a real server: on a free port, in a folder of its own, without persistence.

use std::{
    fs::File,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    eventually,
    ports::free_port,
    resp::{self, Reply},
};

/// A running (or stopped) Redis. Dropped, it is killed.
pub struct RedisServer {
    child: Option<Child>,
    home: TempDir,
    port: u16,
    password: Option<String>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    pub async fn with_password(password: &str) -> Self {
        Self::launch(Some(password.to_owned())).await
    }

    async fn launch(password: Option<String>) -> Self {
        let home = TempDir::new().expect("a folder");
        let mut redis = Self { child: None, home, port: free_port(), password };
        redis.restart().await;
        redis
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// For `REDIS_URL`, by way of a proxy.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}{address}")
    }

    /// Starts it (again, on the same port and empty); gives the moment of its first answer to PING.
    pub async fn restart(&mut self) -> Instant {
        assert!(self.child.is_none(), "stop it first");
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).expect("a file");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(self.password.iter().flat_map(|password| ["--requirepass", password.as_str()]))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"));
        self.child = Some(child);
        eventually("Redis answered", async || match self.try_command(&["PING"]).await {
            Ok(Reply::Text(pong)) if pong == "PONG" => Some(Instant::now()),
            _ => None,
        })
        .await
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it ran");
        eventually("Redis ended", async || child.try_wait().expect("its status")).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it ran");
            child.wait().expect("it ended");
        }
    }

    /// SIGSTOP: its connections stay open and silent.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub async fn command(&self, words: &[&str]) -> Reply {
        self.try_command(words).await.expect("Redis answers")
    }

    async fn try_command(&self, words: &[&str]) -> std::io::Result<Reply> {
        resp::command(self.address(), self.password.as_deref(), words).await
    }

    /// The channels somebody listens on, sorted; those by which instances try the bus are left out.
    pub async fn room_channels(&self) -> Vec<String> {
        let mut channels = self.command(&["PUBSUB", "CHANNELS"]).await.texts();
        channels.retain(|channel| !channel.contains("probe:"));
        channels.sort();
        channels
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("its process");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
