//! Many joined connections that say nothing but pong: what do they cost in memory, CPU and Redis commands?

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use hubbub_bench::procfs;
use hubbub_bench::redis_count::{COMMANDS_PER_PROBE, commands_processed};
use hubbub_bench::report::Report;

use crate::Common;
use crate::pool::Pool;
use crate::tally::Tally;
use crate::usage::Usage;

#[derive(Debug, Args)]
pub struct Options {
    /// Connections.
    #[arg(long, default_value_t = 10_000)]
    conns: usize,
    /// Rooms that they are spread over.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// How long to hold them.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Redis server whose commands are counted meanwhile.
    #[arg(long)]
    redis: Option<SocketAddr>,
}

/// Connects, waits until the joins are digested, holds.
pub fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let resident = || common.server_pid.map(procfs::resident_bytes).transpose();
    let before = resident()?;
    let begun = (Instant::now(), Usage::read(common)?);
    let mut pool = Pool::open(common, options.conns, options.rooms)?;
    let connect_seconds = begun.0.elapsed().as_secs_f64();
    let connecting = begun.1.since(common)?;
    let joined = resident()?;
    writeln!(io::stderr(), "  idle: {} joined after {connect_seconds:.1} s, holding", pool.joined())?;

    pool.tally = Tally::default();
    let redis_before = options.redis.map(commands_processed).transpose()?;
    let usage = Usage::read(common)?;
    let until = pool.now_us() + (options.seconds * 1e6) as u64;
    while let Some(left) = until.checked_sub(pool.now_us()).filter(|&left| left > 0) {
        pool.pump(Duration::from_micros(left), &mut |_, _, _| false)?;
    }
    let used = usage.since(common)?;
    let redis_after = options.redis.map(commands_processed).transpose()?;
    let after = resident()?;

    let conns = options.conns as f64;
    let mut report = Report::default();
    report
        .name("scenario", "idle")
        .name("target", common.target.name())
        .figure("conns", conns, "connections")
        .figure("rooms", options.rooms as f64, "rooms")
        .figure("seconds", options.seconds, "s")
        .figure("connect_seconds", connect_seconds, "s, joins settled")
        .figure("still_joined", pool.joined() as f64, "connections")
        .figure("closed", pool.tally.closed as f64, "connections")
        .figure("pings_per_conn_s", pool.tally.pings as f64 / conns / used.seconds, "1/s")
        .figure("frames_per_conn_s", pool.tally.frames as f64 / conns / used.seconds, "1/s");
    if let Some(cpu) = connecting.server_cpu {
        report.figure("connect_cpu_us", cpu.as_secs_f64() * 1e6 / conns, "µs of server CPU per connection");
    }
    if let (Some(before), Some(joined), Some(after)) = (before, joined, after) {
        let kib_per_conn = |bytes: u64| bytes.saturating_sub(before) as f64 / 1_024.0 / conns;
        report
            .figure("rss_before_mib", before as f64 / f64::from(1 << 20), "MiB")
            .figure("rss_joined_kib_per_conn", kib_per_conn(joined), "KiB per connection")
            .figure("rss_kib_per_conn", kib_per_conn(after), "KiB per connection, after the hold");
    }
    used.report(&mut report);
    if let (Some(before), Some(after)) = (redis_before, redis_after) {
        let commands = (after - before).saturating_sub(COMMANDS_PER_PROBE);
        report.figure("redis_commands_per_s", commands as f64 / used.seconds, "1/s");
    }
    if let Some(error) = &pool.tally.first_error {
        report.name("first_error", error);
    }
    Ok(report)
}
