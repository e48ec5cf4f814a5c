//! Real browsers: chromedriver on a free port and headless Chromium, a profile of its own for each person.
//!
//! One test at a time has browsers, so that they do not starve the tests beside it. What people do and see on the page
//! is in `page` and `sight`.

mod page;
mod sight;

use std::{
    fs::DirEntry,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    Capabilities, ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver,
    session::handle::SessionHandle,
};
use tokio::sync::{Mutex, MutexGuard};

use super::{eventually, ports::free_port};

pub use page::Page;

/// How long anything may take that a page must show, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The inner size of a window: what a screenshot shows.
const DESKTOP: (u32, u32) = (1280, 800);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The browsers of a test. Dropped, they are killed.
pub struct Browsers {
    driver: Child,
    port: u16,
    home: TempDir,
    opened: Vec<Browser>,
    _turn: MutexGuard<'static, ()>,
}

/// What a person has before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Desktop,
    /// 390 by 844, touch.
    Phone,
}

/// A person's browser: a process and a profile.
#[derive(Clone)]
pub struct Browser {
    session: Arc<SessionHandle>,
    process: Pid,
}

impl Browsers {
    pub async fn start() -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let port = free_port();
        let home = TempDir::new().expect("a folder");
        let driver = Command::new(installed("chromedriver", "chromium-driver"))
            .args([format!("--port={port}"), "--log-level=OFF".into()])
            .env("TMPDIR", home.path()) // Chromium keeps more than its profile
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let this = Self { driver, port, home, opened: Vec::new(), _turn: turn };
        let http = client();
        eventually("chromedriver answered", async || http.get(this.url() + "/status").send().await.ok()).await;
        this
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A person at a desktop; gives their first tab.
    pub async fn person(&mut self) -> Page {
        self.open(Device::Desktop).await
    }

    /// Two people at desktops, each in a browser of their own.
    pub async fn two_people(&mut self) -> (Page, Page) {
        (self.person().await, self.person().await)
    }

    /// A person with such a device; gives their first tab.
    pub async fn open(&mut self, device: Device) -> Page {
        let profile = self.home.path().join(format!("profile-{}", self.opened.len()));
        let wanted = capabilities(&profile.display().to_string(), device).expect("capabilities");
        let driver = WebDriver::builder(self.url(), wanted).client(client()).connect().await;
        let driver = driver.unwrap_or_else(|error| panic!("no Chromium: {error}"));
        let session = Arc::clone(driver.handle());
        driver.leak().expect("ours"); // its end is ours: the process is killed
        let process = session.capabilities().get("goog:processID").and_then(Value::as_i64).expect("a process");
        let process = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
        let browser = Browser { session, process };
        self.opened.push(browser.clone());
        let window = browser.session.window().await.expect("a window");
        let page = Page::of(browser, window);
        page.prepare(device).await;
        page
    }

    /// Asserts that no browser's console holds a warning or error (a breach of the content security policy is one), but
    /// for those `expected`.
    pub async fn assert_quiet(&self, expected: impl Fn(&str) -> bool) {
        for browser in &self.opened {
            let entries = browser.session.browser_log().await.expect("the console");
            let unexpected: Vec<_> = entries
                .into_iter()
                .filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING") && !expected(&entry.message))
                .collect();
            assert!(unexpected.is_empty(), "the console says: {unexpected:#?}");
        }
    }
}

impl Drop for Browsers {
    fn drop(&mut self) {
        // Its children first: those that it leaves behind write on for a moment, into a folder that is being removed.
        for process in self.opened.iter().flat_map(|browser| family(browser.process)).rev() {
            let _ = kill_process(process, Signal::KILL); // may have ended by itself
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// A process and all that descend from it, parents first.
fn family(first: Pid) -> Vec<Pid> {
    let mut family = vec![first];
    let processes: Vec<_> = std::fs::read_dir("/proc").expect("Linux").flatten().filter_map(pid_and_parent).collect();
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

fn pid_and_parent(entry: DirEntry) -> Option<(Pid, Pid)> {
    let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
    let (pid, rest) = stat.split_once(' ')?;
    let (_name, rest) = rest.rsplit_once(") ")?; // a name may hold spaces and brackets
    let parent = rest.split(' ').nth(1)?;
    Some((Pid::from_raw(pid.parse().ok()?)?, Pid::from_raw(parent.parse().ok()?)?))
}

fn capabilities(profile: &str, device: Device) -> Result<Capabilities, thirtyfour::error::WebDriverError> {
    let mut wanted = DesiredCapabilities::chrome();
    wanted.set_binary(&installed("chromium", "chromium").display().to_string())?;
    for arg in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-proxy-server",
        &format!("--user-data-dir={profile}"),
    ] {
        wanted.add_arg(arg)?;
    }
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    if device == Device::Phone {
        let metrics = json!({"width": 390, "height": 844, "pixelRatio": 2, "touch": true, "mobile": true});
        wanted.add_experimental_option("mobileEmulation", json!({"deviceMetrics": metrics}))?;
    }
    Ok(wanted.into())
}

fn installed(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing; apt-get install {package}"))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2).build().expect("a client")
}
