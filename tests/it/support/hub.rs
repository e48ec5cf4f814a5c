//! The hub as a real process: the binary of this build, an environment of its own, a log in a file.

use std::{
    collections::BTreeMap,
    ffi::OsString,
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

use rustix::process::{Pid, Signal, geteuid, kill_process};
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

/// Room for a crowd from one address, and each read of messages in the log.
pub const CROWDED: Settings = &[
    ("MAX_CONNECTIONS_PER_IP", "100000"),
    ("MAX_CONNECTIONS_PER_USER", "100000"),
    ("HUBBUB_LOG", "info,hubbub::room=debug"),
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
        Self::launch(home, with_defaults(settings)).await
    }

    /// As [`start_in`](Self::start_in), without the rights of root.
    pub async fn powerless_in(home: Arc<TempDir>, settings: Settings<'_>) -> Self {
        Self::launch_by(powerless(home.path()), home, with_defaults(settings)).await
    }

    async fn launch(home: Arc<TempDir>, settings: BTreeMap<String, String>) -> Self {
        let program = if settings.contains_key(SABOTAGE) { sabotaged() } else { binary() };
        Self::launch_by(command_of(program, home.path()), home, settings).await
    }

    async fn launch_by(mut command: Command, home: Arc<TempDir>, settings: BTreeMap<String, String>) -> Self {
        static RUN: AtomicUsize = AtomicUsize::new(0);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        let (out, log) = (home.path().join(format!("out-{run}")), home.path().join(format!("log-{run}")));
        let child = command
            .envs(&settings)
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the hub's binary");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut hub = Self { child, address, home, settings, out, log, ended: None };
        hub.address = eventually("the hub printed its address", async || {
            if let Some(status) = hub.has_ended() {
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

    /// How often it has read messages from the store for its rooms; told with [`CROWDED`].
    pub fn store_reads(&self) -> usize {
        self.log().matches("messages are read from the store").count()
    }

    /// All that it printed so far.
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).expect("its output")
    }

    pub fn http(&self) -> Http {
        Http::to(self.address)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its resident memory.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// The processor time it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields = stat.rsplit(')').next().expect("after its name").split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10) // Linux counts in hundredths of a second
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

    /// Ends it by SIGTERM, whatever is wrong around it: asserts exit code 0 alone.
    pub async fn stop_in_trouble(&mut self) {
        self.signal(Signal::TERM);
        let status = self.exit().await;
        assert!(status.success(), "the hub ended with {status}");
    }

    /// Waits until it has ended by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        eventually("the hub ended", async || self.has_ended()).await
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
        kill_process(self.pid(), signal).expect("its process");
    }

    /// Starts it again after it ended, on the same port and database.
    pub async fn restart(&mut self) {
        assert!(self.ended.is_some(), "stop or kill it first");
        let mut settings = self.settings.clone();
        settings.insert("PORT".into(), self.address.port().to_string());
        let next = Self::launch(Arc::clone(&self.home), settings).await;
        drop(std::mem::replace(self, next));
    }

    /// Whether it has ended by itself, and how.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
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

/// Any free port, and as many workers wherever the tests run.
fn with_defaults(settings: Settings<'_>) -> BTreeMap<String, String> {
    // All requests of the tests come from one address; those that try the limit set it.
    let own = [("PORT", "0"), ("WORKERS", "2"), ("RATE_LIMIT_API", "off")];
    let mut all: BTreeMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}

/// The hub's binary: the one built with the tests, or what `HUBBUB_BIN` names.
fn binary() -> OsString {
    std::env::var_os("HUBBUB_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hubbub").into())
}

/// The variable that names a fault; a hub that is given one is the binary that has them.
pub const SABOTAGE: &str = "HUBBUB_SABOTAGE";

/// The hub with faults on purpose, beside the one built with the tests.
fn sabotaged() -> OsString {
    let program = Path::new(env!("CARGO_BIN_EXE_hubbub")).with_file_name("hubbub-sabotaged");
    let build = "cargo build --features sabotage --bin hubbub-sabotaged";
    assert!(program.is_file(), "{} is missing; tests/run builds it, or: {build}", program.display());
    program.into()
}

/// The binary in a clean environment and in the folder `home`, where its database goes by default.
pub fn command(home: &Path) -> Command {
    command_of(binary(), home)
}

fn command_of(program: OsString, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(home).stdin(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// As [`command`]; even where the tests run as root, the hub may write only what the modes of files allow.
fn powerless(home: &Path) -> Command {
    let binary = command(home);
    if !geteuid().is_root() {
        return binary;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]).arg(binary.get_program());
    command.env_clear().envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(home).stdin(Stdio::null());
    command
}

/// What the binary did that was expected to end by itself.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    /// The exit status, unless a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the binary to its end.
pub async fn run(home: &Path, settings: Settings<'_>, arguments: &[&str]) -> Ended {
    run_by(command(home), home, settings, arguments).await
}

/// As [`run`], without the rights of root.
pub async fn run_powerless(home: &Path, settings: Settings<'_>) -> Ended {
    run_by(powerless(home), home, settings, &[]).await
}

async fn run_by(mut command: Command, home: &Path, settings: Settings<'_>, arguments: &[&str]) -> Ended {
    let mut child = command
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
    let ended = Ended { success: status.success(), code: status.code(), out: read("run-out"), err: read("run-err") };
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    ended
}
