//! Redis as a real server: on a free port, in a folder of its own, without persistence.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
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
    arguments: Vec<String>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::launch(None, &[]).await
    }

    pub async fn with_password(password: &str) -> Self {
        Self::launch(Some(password.to_owned()), &[]).await
    }

    /// With more settings, as in redis.conf: `["maxmemory", "5mb"]` in one line after the other.
    pub async fn with_settings(settings: &[[&str; 2]]) -> Self {
        Self::launch(None, settings).await
    }

    /// With more settings and a password.
    pub async fn launch(password: Option<String>, settings: &[[&str; 2]]) -> Self {
        let home = TempDir::new().expect("a folder");
        let arguments = settings.iter().flat_map(|[name, value]| [format!("--{name}"), (*value).to_owned()]).collect();
        let mut redis = Self { child: None, home, port: free_port(), password, arguments };
        redis.restart().await;
        redis
    }

    /// The folder it runs in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn port(&self) -> u16 {
        self.port
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
        self.spawn();
        eventually("Redis answered", async || match self.try_command(&["PING"]).await {
            Ok(Reply::Text(pong)) if pong == "PONG" => Some(Instant::now()),
            _ => None,
        })
        .await
    }

    /// Starts it without waiting until it is ready.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).expect("a file");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(self.password.iter().flat_map(|password| ["--requirepass", password.as_str()]))
            .args(&self.arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"));
        self.child = Some(child);
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it ran");
        eventually("Redis ended", async || child.try_wait().expect("its status")).await;
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
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

    /// As [`command`](Self::command) where an error is a failure of the test; gives the texts of the answer.
    pub async fn ask(&self, words: &[&str]) -> Vec<String> {
        self.command(words).await.texts()
    }

    /// A figure of `INFO`.
    pub async fn figure(&self, section: &str, name: &str) -> u64 {
        let info = self.ask(&["INFO", section]).await.concat();
        let figure = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
    }

    /// How often a command was called since the start.
    pub async fn calls(&self, command: &str) -> u64 {
        let info = self.ask(&["INFO", "commandstats"]).await.concat();
        let start = format!("cmdstat_{command}:calls=");
        let calls = info.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    }

    async fn try_command(&self, words: &[&str]) -> std::io::Result<Reply> {
        resp::command(self.address(), self.password.as_deref(), words).await
    }

    /// The channels of rooms that somebody listens on, sorted; those of the whole hub are left out.
    pub async fn room_channels(&self) -> Vec<String> {
        let mut channels = self.command(&["PUBSUB", "CHANNELS"]).await.texts();
        channels.retain(|channel| channel.contains("room:"));
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
