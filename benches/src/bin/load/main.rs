//! The load generator: many connections on one thread, sends by the clock, and counts what comes back.
//!
//! It must cost less than the server it measures, or it measures itself: every report says what both used.

mod crowd;
mod cursors;
mod dialect;
mod fanout;
mod idle;
mod phase;
mod pool;
mod ramp;
mod tally;
mod usage;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hubbub_bench::report::Report;

use dialect::Dialect;

/// Generates load for a Hubbub server or the floor, and prints what it cost and how it went.
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
    /// Address of the server.
    #[arg(long, global = true, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// Address of a second instance, to which every other connection goes.
    #[arg(long, global = true)]
    second_addr: Option<SocketAddr>,
    /// Which wire to speak.
    #[arg(long, global = true, value_enum, default_value_t = Dialect::Hubbub)]
    target: Dialect,
    /// Process whose CPU time and memory are read.
    #[arg(long, global = true)]
    server_pid: Option<u32>,
    /// Print one line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Handshakes that may be under way at a time.
    #[arg(long, global = true, default_value_t = 64)]
    handshakes: usize,
    /// Pause between two looks at what arrived, microseconds; at 0 every delivery wakes the generator by itself.
    #[arg(long, global = true, default_value_t = 250)]
    nap_us: u64,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Messages to everyone in the room; with --ramp at a rising rate until the latency gives way.
    Fanout(fanout::Options),
    /// Everyone moves a cursor in one room.
    Cursors(cursors::Options),
    /// Many joined connections that say nothing.
    Idle(idle::Options),
    /// Many people join one room within seconds.
    Crowd(crowd::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let common = &options.common;
    let result = match &options.scenario {
        Scenario::Fanout(fanout) if fanout.ramp => ramp::run(common, fanout),
        Scenario::Fanout(fanout) => fanout::run(common, fanout),
        Scenario::Cursors(cursors) => cursors::run(common, cursors),
        Scenario::Idle(idle) => idle::run(common, idle),
        Scenario::Crowd(crowd) => crowd::run(common, crowd),
    };
    match result.and_then(|report| print(common, &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if stderr is closed as well.
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(common: &Common, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if common.json { writeln!(out, "{}", report.json()) } else { write!(out, "{}", report.table()) }
}
