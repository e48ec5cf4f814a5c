//! Fan-out at one rate: every message goes to everyone in the sender's room.

use std::io;
use std::time::Duration;

use clap::Args;
use hubbub_bench::report::Report;
use hubbub_bench::stamp::BODY_BYTES_MIN;

use crate::Common;
use crate::phase::{self, Plan};
use crate::pool::Pool;
use crate::usage;

/// Number of the phase whose figures do not count.
const WARM_UP: u64 = 1;
/// Number of the phase that is measured.
const MEASURED: u64 = 2;

#[derive(Debug, Args)]
pub struct Options {
    /// Connections.
    #[arg(long, default_value_t = 500)]
    pub conns: usize,
    /// Rooms that they are spread over.
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Messages per second, all rooms together; with --ramp the first step's.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Length of the measurement; with --ramp of each step.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Length of the warm-up.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// How long to wait for late deliveries before they count as lost, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 128)]
    pub body_bytes: usize,
    /// Raise the rate in steps until the p99 of the delivery latency passes --ramp-p99-ms.
    #[arg(long)]
    pub ramp: bool,
    /// The latency at which the ramp ends, milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub ramp_p99_ms: f64,
    /// Factor from step to step; the last one is then narrowed down by halves.
    #[arg(long, default_value_t = 1.5)]
    pub ramp_factor: f64,
    /// Count the server's socket writes with perf or strace, which slows it down: for a run of its own.
    #[arg(long)]
    pub count_writes: bool,
}

impl Options {
    /// The phase `number` at `rate` for `seconds`.
    pub fn plan(&self, number: u64, rate: f64, seconds: f64) -> Plan {
        Plan {
            number,
            rate,
            seconds,
            drain: Duration::from_secs_f64(self.drain),
            body_bytes: self.body_bytes.max(BODY_BYTES_MIN),
        }
    }

    /// A report that says what was asked for.
    pub fn begin_report(&self, common: &Common, scenario: &str) -> Report {
        let mut report = Report::default();
        report
            .name("scenario", scenario)
            .name("target", common.target.name())
            .figure("conns", self.conns as f64, "connections")
            .figure("rooms", self.rooms as f64, "rooms")
            .figure("body_bytes", self.body_bytes as f64, "bytes");
        report
    }
}

/// Warm-up, measurement, report.
pub fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let mut pool = Pool::open(common, options.conns, options.rooms)?;
    phase::run(common, &mut pool, options.plan(WARM_UP, options.rate, options.warm_up))?;
    let counter = usage::count_writes(common, options.count_writes)?;
    let outcome = phase::run(common, &mut pool, options.plan(MEASURED, options.rate, options.seconds))?;
    let mut report = options.begin_report(common, "fanout");
    outcome.report(&mut report);
    usage::report_memory(common, &mut report)?;
    if let Some(counter) = counter {
        let writes = counter.finish()? as f64 / outcome.delivered() as f64;
        report.figure("writes_per_delivery", writes, "system calls");
    }
    Ok(report)
}
