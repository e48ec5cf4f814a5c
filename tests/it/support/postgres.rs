//! PostgreSQL as a real server: in a folder of its own, on a free port, asking for a password. The unit tests of the store
//! stand on this file as well, so it knows nothing of the others.
//!
//! A server does not run as root: started by root it runs as `postgres`, or as `nobody`. `initdb` runs once per test
//! process; every server starts on a copy of what it made. A shell watches over each server and takes it down, folder and
//! all, when the test process is gone, however it went.

use std::{
    fmt, fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

/// What the server asks for; to be searched for in all that the hub says.
pub const DATABASE_PASSWORD: &str = "d4tab4se-p4ssw0rd";
/// Who the server belongs to: no limit counts for this user.
pub const USER: &str = "hubbub";
/// Debian keeps the binaries where no PATH leads.
const DEBIAN: &str = "/usr/lib/postgresql";
/// A start takes a fifth of a second, and longer on a machine that is busy with other tests.
const START_PATIENCE_S: &str = "60";
/// How long a process may take to stop or to die.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(10);

/// A running (or stopped) server. Dropped, it is killed.
pub struct PostgresServer {
    home: PathBuf,
    port: u16,
    settings: Vec<String>,
    _watch: Watch,
}

impl PostgresServer {
    /// A server of its own.
    pub fn start() -> Self {
        Self::with(&[], &[])
    }

    /// A server of its own with more settings, as in `ssl=on`, and files in its folder that only it may read.
    pub fn with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let home = TempDir::new().expect("a folder").keep();
        let watch = Watch::over(&home);
        copy(&TEMPLATE.0.join("data"), &home.join("data"));
        for (name, text) in files {
            let file = home.join("data").join(name);
            fs::write(&file, text).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner may");
        }
        own(&home);
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { home, port: 0, settings, _watch: watch };
        // Somebody else may take a free port before the server does.
        let started = (0..5).any(|_| {
            server.port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
            server.try_start()
        });
        assert!(started, "PostgreSQL does not start:\n{}", server.log());
        server
    }

    /// A server that this test process shares, for tests that leave it running.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<PostgresServer> = LazyLock::new(PostgresServer::start);
        &SHARED
    }

    /// Makes a fresh database and gives its name.
    pub async fn database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("hub_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}")).await;
        name
    }

    /// For `DATABASE_URL`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{DATABASE_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces one of the files in its folder and lets it read its settings again.
    pub async fn change(&self, file: &str, text: &str) {
        fs::write(self.home.join("data").join(file), text).expect("a file");
        self.execute("postgres", "SELECT pg_reload_conf()").await;
    }

    pub async fn connect(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(USER)
            .password(DATABASE_PASSWORD)
            .database(database);
        options.connect().await.expect("a connection to PostgreSQL")
    }

    pub async fn execute(&self, database: &str, sql: &str) {
        self.connect(database).await.execute(AssertSqlSafe(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Starts it again after it ended, on the same port.
    pub fn restart(&self) {
        assert!(self.try_start(), "PostgreSQL does not start:\n{}", self.log());
    }

    /// Ends it in good order; connections are told.
    pub fn stop(&self) {
        let mut stop = as_server(&binary("pg_ctl"));
        let status = stop.args(["stop", "-w", "-s", "-m", "fast", "-D"]).arg(self.home.join("data")).status();
        assert!(status.expect("pg_ctl runs").success(), "PostgreSQL does not stop:\n{}", self.log());
    }

    /// SIGKILL to all of it: no goodbye, nothing flushed.
    pub fn kill(&self) {
        for pid in self.signal(Signal::KILL) {
            await_state(pid, "Z");
        }
        // Where nobody takes note of the dead, the server would believe that the old one still runs.
        for file in ["data/postmaster.pid", &format!(".s.PGSQL.{}.lock", self.port)] {
            fs::remove_file(self.home.join(file)).expect("a file with its pid");
        }
    }

    /// SIGSTOP to all of it: connections stay open and silent, new ones are never answered.
    pub fn pause(&self) {
        for pid in self.signal(Signal::STOP) {
            await_state(pid, "TZ");
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Gives the processes that got it.
    fn signal(&self, signal: Signal) -> Vec<i32> {
        let pid_file = fs::read_to_string(self.home.join("data/postmaster.pid")).expect("it runs");
        let postmaster: i32 = pid_file.lines().next().and_then(|pid| pid.parse().ok()).expect("a pid");
        // The parent is stopped first, and seen to be, so that no child is born that is not on the list.
        kill(postmaster, Signal::STOP);
        await_state(postmaster, "TZ");
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        let children = children.expect("its children");
        let children = children.split_whitespace().map(|child| child.parse().expect("a pid"));
        let all: Vec<i32> = children.chain([postmaster]).collect();
        for pid in &all {
            kill(*pid, signal);
        }
        all
    }

    fn try_start(&self) -> bool {
        let (home, port) = (self.home.display(), self.port);
        let settings: Vec<_> = self.settings.iter().map(|setting| format!("-c {setting}")).collect();
        let settings = settings.join(" ");
        let status = as_server(&binary("pg_ctl"))
            .args(["start", "-w", "-s", "-t", START_PATIENCE_S, "-D", &format!("{home}/data")])
            .args(["-l", &format!("{home}/log"), "-o", &format!("-p {port} -k {home} {settings}")])
            .status();
        status.expect("pg_ctl runs").success()
    }

    /// All that the server logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL at port {}", self.port)
    }
}

fn kill(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a pid");
    kill_process(pid, signal).ok(); // it may have ended by itself
}

/// Waits until a process is in one of these states, `T` for stopped, `Z` for dead and not yet buried, or is gone.
fn await_state(pid: i32, states: &str) {
    let begun = Instant::now();
    // `pid (name) state …`
    while let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat"))
        && stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(|state| states.contains(state)))
    {
        assert!(begun.elapsed() < SIGNAL_PATIENCE, "{pid} does not heed a signal: {stat}");
        std::thread::yield_now();
    }
}

/// What `initdb` made, to be copied.
static TEMPLATE: LazyLock<(PathBuf, Watch)> = LazyLock::new(|| {
    let home = TempDir::new().expect("a folder").keep();
    let watch = Watch::over(&home);
    fs::write(home.join("password"), DATABASE_PASSWORD).expect("a file");
    own(&home);
    let output = as_server(&binary("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "-U", USER, "--pwfile"])
        .arg(home.join("password"))
        .arg("-D")
        .arg(home.join("data"))
        .output()
        .expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    // Processes are killed here, machines are not; what they share is in their folder, and gone with it.
    let settings = "listen_addresses = '127.0.0.1'\nfsync = off\nmax_connections = 200\nshared_buffers = 16MB\n\
                    wal_level = minimal\nmax_wal_senders = 0\ndynamic_shared_memory_type = mmap\n";
    let file = home.join("data/postgresql.conf");
    fs::write(&file, fs::read_to_string(&file).expect("a file") + settings).expect("a file");
    (home, watch)
});

/// A shell that waits for the end of its input, kills the server in a folder and removes the folder.
struct Watch(Child);

impl Watch {
    fn over(home: &Path) -> Self {
        // A pid file that was left behind may name somebody else by now: only a process in that folder is killed.
        const SCRIPT: &str = r#"
            trap '' INT TERM HUP
            read -r _
            pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
            if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then
                kill -KILL "$pid" $(cat "/proc/$pid/task/$pid/children")
            fi
            rm -rf "$1" || rm -rf "$1""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "watch"]).arg(home).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().expect("a shell"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// A program of PostgreSQL, the newest that is installed.
fn binary(name: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let mut debian: Vec<_> = debian.collect();
    debian.sort_by_key(|bin| bin.parent().and_then(|dir| dir.file_name()?.to_str()?.parse::<u32>().ok()));
    let folders = std::env::split_paths(&on_path).chain(debian.into_iter().rev());
    let mut found = folders.map(|folder| folder.join(name)).filter(|file| file.is_file());
    found.next().unwrap_or_else(|| panic!("{name} is not installed; apt-get install postgresql"))
}

/// The command, as a user who may run a server.
fn as_server(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("LC_ALL", "C").current_dir("/");
    if let Some((user, group)) = *SERVER_USER {
        command.uid(user).gid(group);
    }
    command
}

/// Hands a folder and all in it to that user.
fn own(folder: &Path) {
    let Some((user, group)) = *SERVER_USER else { return };
    chown(folder, Some(user), Some(group)).expect("root may");
    let status = Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(folder).status();
    assert!(status.expect("chown runs").success(), "chown failed");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(status.expect("cp runs").success(), "cp failed");
}

/// Who runs the server instead of root: user and group. `None`: whoever runs the tests.
static SERVER_USER: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    Some(of("postgres").or(of("nobody")).expect("a user other than root"))
});
