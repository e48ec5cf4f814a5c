//! HAProxy as a real process, with the configuration that `deploy` offers.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{eventually, http::Http, ports::free_port};

/// A running HAProxy in front of two hubs. Dropped, it is killed.
pub struct HaProxy {
    child: Child,
    address: SocketAddr,
    home: TempDir,
}

impl HaProxy {
    pub async fn before(hubs: [SocketAddr; 2]) -> Self {
        let home = TempDir::new().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(home.path().join("log")).expect("a file");
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy.cfg"))
            .env("HUBBUB_LISTEN", address.to_string())
            .env("HUBBUB_A", hubs[0].to_string())
            .env("HUBBUB_B", hubs[1].to_string())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("haproxy: {error}; apt-get install haproxy"));
        let this = Self { child, address, home };
        for server in ["a", "b"] {
            this.serves(server).await;
        }
        this
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a request is answered by this server.
    pub async fn serves(&self, server: &str) {
        let http = Http::to(self.address);
        eventually(&format!("HAProxy sends to {server}"), async || {
            let answer = http.request(reqwest::Method::GET, "/health/live").send().await.ok()?;
            (answer.headers().get("x-served-by")? == server).then_some(())
        })
        .await;
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).expect("its log")
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the end of HAProxy's log ---\n{}\n---", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}
