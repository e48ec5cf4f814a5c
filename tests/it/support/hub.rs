//! The hub as a real process: the binary of this build, an environment of its own, a log in a file.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{eventually, eventually_within, http::Http, poll::PATIENCE};

/// How much of a log is shown when a test fails.
const LOG_LINES_SHOWN: usize = 20;

/// Settings by variable.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// Rates that no test reaches.
pub const UNHURRIED: Settings = &[
    ("RATE_MESSAGES", "100000"),
    ("RATE_JOINS", "100000"),
    ("RATE_CURSORS", "100000"),
    ("RATE_PRESENCE", "100000"),
    ("RATE_BROADCASTS", "100000"),
];

/// Times in which presence can be watched: a beat is a third of a second.
pub const FAST: Settings = &[
    ("HEARTBEAT_INTERVAL_MS", "300"),
    ("PRESENCE_TTL_MS", "1500"),
    ("PRESENCE_GRACE_MS", "500"),
    ("ROOM_IDLE_MS", "300"),
];

/// A running (or ended) hub. Dropped, it is killed, and its log is searched for panics.
pub struct TestHub {
    child: Child,
    address: SocketAddr,
    home: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    out: PathBuf,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl TestHub {
    /// A hub on its own, with defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A hub on its own with these settings.
    pub async fn with(settings: Settings<'_>) -> Self {
        Self::start_in(Arc::new(TempDir::new().expect("a folder")), settings).await
    }

    /// A hub whose working directory and database are in `home`, which several may share.
    pub async fn start_in(home: Arc<TempDir>, settings: Settings<'_>) -> Self {
        let mut all = BTreeMap::from([("PORT".to_owned(), "0".to_owned()), ("WORKERS".into(), "2".into())]);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::launch(home, all).await
    }

    async fn launch(home: Arc<TempDir>, settings: BTreeMap<String, String>) -> Self {
        static RUN: AtomicUsize = AtomicUsize::new(0);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        let (out, log) = (home.path().join(format!("out-{run}")), home.path().join(format!("log-{run}")));
        let child = command(home.path())
            .envs(&settings)
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the hub's binary");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut hub = Self { child, address, home, settings, out, log, ended: None };
        hub.address = eventually("the hub printed its address", async || {
            if let Some(status) = hub.try_wait() {
                panic!("the hub ended with {status}:\n{}", hub.log());
            }
            let out = std::fs::read_to_string(&hub.out).expect("its output");
            let line = out.lines().find(|_| out.ends_with('\n'))?;
            let address = line.strip_prefix("Hubbub is listening at http://").expect("the line of the address");
            Some(address.parse().expect("an address"))
        })
        .await;
        hub
    }

    // --- what it is ---

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn home(&self) -> &Arc<TempDir> {
        &self.home
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    pub fn http(&self) -> Http {
        Http::to(self.address)
    }

    /// Its resident memory.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    // --- what is done to it ---

    /// Ends it in good order: asserts exit code 0 and that nothing was left, and says how long it took.
    pub async fn stop(&mut self) -> Duration {
        self.stop_by(Signal::TERM).await
    }

    /// As [`stop`](Self::stop), by another signal.
    pub async fn stop_by(&mut self, signal: Signal) -> Duration {
        let begun = Instant::now();
        self.signal(signal);
        let status = self.exit().await;
        assert!(status.success(), "the hub ended with {status}");
        let log = self.log();
        assert!(log.contains("stopped connections=0 rooms=0"), "something was left when the hub stopped");
        begun.elapsed()
    }

    /// Waits until it has ended by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        eventually("the hub ended", async || self.try_wait()).await
    }

    /// SIGKILL: no goodbye.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.child.kill().expect("it ran");
            self.ended = Some(self.child.wait().expect("it ended"));
        }
    }

    /// SIGSTOP: alive and silent.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "the hub has ended");
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("its process");
    }

    /// Starts it again after it ended, on the same port and database.
    pub async fn restart(&mut self) {
        assert!(self.ended.is_some(), "stop or kill it first");
        let mut settings = self.settings.clone();
        settings.insert("PORT".into(), self.address.port().to_string());
        let next = Self::launch(Arc::clone(&self.home), settings).await;
        drop(std::mem::replace(self, next));
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("its status");
        }
        self.ended
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<_> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
            eprintln!("--- the end of the log of the hub at {} ---\n{shown}\n---", self.address);
        } else {
            assert!(!log.contains("panicked"), "the hub panicked:\n{log}");
        }
    }
}

/// The binary in a clean environment and in the folder `home`, where its database goes by default.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    command.env_clear().current_dir(home).stdin(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// What the binary did that was expected to end by itself.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    pub out: String,
    pub err: String,
}

/// Runs the binary to its end.
pub async fn run(home: &Path, settings: Settings<'_>, arguments: &[&str]) -> Ended {
    let mut child = command(home)
        .envs(settings.iter().copied())
        .args(arguments)
        .stdout(File::create(home.join("run-out")).expect("a file"))
        .stderr(File::create(home.join("run-err")).expect("a file"))
        .spawn()
        .expect("the hub's binary");
    // The patience of `eventually` must not end first, or the process would be left.
    let wait = eventually_within(PATIENCE * 2, "it ended", async || child.try_wait().expect("its status"));
    let ended = tokio::time::timeout(PATIENCE, wait);
    let Ok(status) = ended.await else {
        child.kill().expect("it ran");
        child.wait().expect("it ended");
        panic!("it did not end: {arguments:?} {settings:?}");
    };
    let read = |name| std::fs::read_to_string(home.join(name)).expect("its output");
    let ended = Ended { success: status.success(), out: read("run-out"), err: read("run-err") };
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    ended
}
