//! Reads over HTTP: what a route costs hot and cold, and whether what many clients on two instances read is ever older than
//! what was written.
//!
//! A thread per keep-alive connection: a reader waits for its answer anyway.

mod check;
mod fill;
mod route;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use hubbub_bench::{http::Http, report::Report};

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    scenario: Scenario,
}

/// What every scenario needs to know.
#[derive(Debug, Args)]
pub struct Common {
    /// Addresses of the instances.
    #[arg(long, global = true, default_value = "127.0.0.1:8080")]
    addr: Vec<SocketAddr>,
    /// Whose token is shown.
    #[arg(long, global = true, default_value = "")]
    token: String,
    /// Connections at the same time.
    #[arg(long, global = true, default_value_t = 64)]
    conns: usize,
    /// How long it lasts.
    #[arg(long, global = true, default_value_t = 5.0)]
    seconds: f64,
    /// Requests per second in all.
    #[arg(long, global = true, default_value_t = 1_000.0)]
    rate: f64,
    /// Print one line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

impl Common {
    fn connect(&self, instance: usize) -> io::Result<Http> {
        let addresses = &self.addr;
        let address = addresses.get(instance % addresses.len().max(1)).ok_or(io::ErrorKind::InvalidInput)?;
        Http::connect(*address, &self.token)
    }
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Makes projects, rooms and messages to read.
    Fill(fill::Options),
    /// Reads one route by the clock.
    Route(route::Options),
    /// Reads and writes projects on all instances, and checks every answer.
    Check(check::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let common = &options.common;
    let result = match &options.scenario {
        Scenario::Fill(fill) => fill::run(common, fill),
        Scenario::Route(route) => route::run(common, route),
        Scenario::Check(check) => check::run(common, check),
    };
    match result.and_then(|report| print(common, &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if stderr is closed as well.
            let _ = writeln!(io::stderr(), "reads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(common: &Common, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if common.json { writeln!(out, "{}", report.json()) } else { write!(out, "{}", report.table()) }
}

/// What the hub says of its cache: a figure of `/health/cache`.
fn cache_figure(http: &mut Http, name: &str) -> io::Result<f64> {
    let answer = http.ask("GET", "/health/cache", "")?;
    let figure = answer.member(name).and_then(|figure| figure.parse().ok());
    figure.ok_or_else(|| io::Error::other(format!("/health/cache has no {name}")))
}

/// Waits for the time at which a request is due.
#[expect(clippy::disallowed_methods, reason = "each connection has a thread of its own, and there is no runtime")]
fn until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
