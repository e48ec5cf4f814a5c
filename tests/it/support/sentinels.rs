//! A primary, its replicas and the Sentinels that watch over them.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    RedisServer, eventually,
    ports::free_port,
    resp::{self, Reply},
};

/// What the Sentinels call the primary.
pub const SERVICE: &str = "hub";
/// After so many milliseconds of silence the primary is taken for dead.
const DOWN_AFTER_MS: u32 = 600;

/// Three servers and three Sentinels.
pub struct Sentinels {
    /// The first one is the primary at the start.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    child: Child,
    port: u16,
    _home: TempDir,
}

impl Sentinels {
    /// Starts all; the servers ask for one password, the Sentinels for another.
    pub async fn start(password: &str, sentinel_password: &str) -> Self {
        let primary = RedisServer::launch(Some(password.into()), &[["masterauth", password]]).await;
        let mut servers = vec![primary];
        for _ in 0..2 {
            let of = format!("127.0.0.1 {}", servers[0].port());
            let settings = [["masterauth", password], ["replicaof", &of], ["repl-diskless-sync-delay", "0"]];
            servers.push(RedisServer::launch(Some(password.into()), &settings).await);
        }
        for replica in &servers[1..] {
            eventually("a replica is in step", async || {
                let info = replica.ask(&["INFO", "replication"]).await.concat();
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        let watched = (servers[0].port(), password);
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(watched, sentinel_password)).collect();
        for sentinel in &sentinels {
            eventually("a Sentinel knows the others", async || {
                let Ok(Reply::List(primary)) = sentinel.ask(sentinel_password, &["SENTINEL", "MASTER", SERVICE]).await
                else {
                    return None;
                };
                let texts = Reply::List(primary).texts();
                let figure = |name| Some(texts.get(texts.iter().position(|text| text == name)? + 1)?.clone());
                let known = (figure("num-other-sentinels")?, figure("num-slaves")?);
                (known == ("2".into(), "2".into())).then_some(())
            })
            .await;
        }
        Self { servers, sentinels }
    }

    /// For `REDIS_URL`.
    pub fn url(&self, password: &str, sentinel_password: &str) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        let hosts = hosts.join(",");
        format!(
            "redis-sentinel://:{password}@{hosts}?sentinelServiceName={SERVICE}&sentinelPassword={sentinel_password}"
        )
    }

    /// SIGKILL.
    pub fn kill_all_sentinels_but_the_first(&mut self) {
        self.sentinels.truncate(1);
    }

    /// The server that is primary now.
    pub async fn primary(&self) -> Option<&RedisServer> {
        for server in self.servers.iter().filter(|server| server.is_running()) {
            if server.ask(&["ROLE"]).await[0] == "master" {
                return Some(server);
            }
        }
        None
    }
}

impl Sentinel {
    fn start((primary, password): (u16, &str), own_password: &str) -> Self {
        let (home, port) = (TempDir::new().expect("a folder"), free_port());
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nrequirepass {own_password}\nsentinel sentinel-pass {own_password}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\nsentinel auth-pass {SERVICE} {password}\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\nsentinel failover-timeout {SERVICE} 3000\n"
        );
        std::fs::write(home.path().join("sentinel.conf"), conf).expect("a file");
        let log = File::create(home.path().join("log")).expect("a file");
        let child = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server: apt-get install redis-server");
        Self { child, port, _home: home }
    }

    async fn ask(&self, password: &str, words: &[&str]) -> std::io::Result<Reply> {
        resp::command(([127, 0, 0, 1], self.port).into(), Some(password), words).await
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }
}
