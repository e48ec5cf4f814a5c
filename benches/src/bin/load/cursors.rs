//! Everyone in one room moves a cursor, many times a second; how old is what the others see?
//!
//! Staleness is measured for every position received: now minus the time at which it was due to be sent. A server
//! that leaves positions out can look good there, so the age of a picture is measured too: how old the position of a
//! person had become on a screen when the next one replaced it.

use std::io;
use std::time::Duration;

use clap::Args;
use hubbub_bench::report::{self, Report};
use hubbub_bench::schedule::Schedule;
use hubbub_bench::stamp;

use crate::Common;
use crate::pool::Pool;
use crate::tally::Tally;
use crate::usage::{self, Usage};

/// What is still under way after the last position is waited for this long.
const DRAIN_US: u64 = 500_000;

#[derive(Debug, Args)]
pub struct Options {
    /// Connections in the room, each with a cursor.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..10_000))]
    people: u64,
    /// Positions that each sends per second.
    #[arg(long, default_value_t = 30.0)]
    hz: f64,
    /// Length of the measurement.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Length of the warm-up.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Count the server's socket writes with perf or strace, which slows it down: for a run of its own.
    #[arg(long)]
    count_writes: bool,
}

/// Runs warm-up and measurement as one stream of positions.
pub fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let people = options.people;
    let mut pool = Pool::open(common, people as usize, 1)?;
    let (mut staleness, mut age) = (report::histogram(), report::histogram());
    let (mut updates, mut next, mut unsent) = (0_u64, 0_u64, 0_u64);
    // When the position that `receiver` last saw of `person` was due, at [receiver * people + person].
    let mut seen = vec![0_u64; (people * people) as usize];

    let counter = usage::count_writes(common, options.count_writes)?;
    let start_us = pool.now_us();
    let measured_from = start_us + (options.warm_up * 1e6) as u64;
    let seconds = options.warm_up + options.seconds;
    let schedule = Schedule::new(start_us, people as f64 * options.hz, seconds);
    let end_us = start_us + (seconds * 1e6) as u64;
    let mut usage = None;
    let mut used = None;
    loop {
        let now = pool.now_us();
        if now >= measured_from && usage.is_none() {
            usage = Some(Usage::read(common)?);
            pool.tally = Tally::default();
        }
        if let (true, None, Some(usage)) = (now >= end_us, &used, usage) {
            used = Some((usage.since(common)?, pool.tally.clone()));
        }
        while let Some(due_us) = schedule.due_us(next).filter(|&due| due <= now) {
            let person = next % people;
            next += 1;
            let write = |dialect: crate::dialect::Dialect, out: &mut Vec<u8>| dialect.cursor(out, 0, person, due_us);
            unsent += u64::from(!pool.send(person as usize, write));
        }
        let wake_at = match schedule.due_us(next) {
            Some(due) => due,
            None if now > end_us + DRAIN_US => break,
            None => now + 10_000,
        };
        pool.pump(Duration::from_micros(wake_at.saturating_sub(now)), &mut |receiver, payload, now_us| {
            stamp::each_position(payload, |person, due_us| {
                let own = person == receiver as u64 || person >= people;
                if own || due_us < measured_from {
                    return;
                }
                updates += 1;
                report::record(&mut staleness, now_us.saturating_sub(due_us));
                let last = &mut seen[receiver * people as usize + person as usize];
                if *last != 0 {
                    report::record(&mut age, now_us.saturating_sub(*last));
                }
                *last = due_us;
            })
        })?;
    }

    let (used, tally) = used.ok_or_else(|| io::Error::other("nothing was measured: --seconds is too short"))?;
    if updates == 0 {
        return Err(io::Error::other("not one position arrived"));
    }
    let possible = (people - 1) as f64 * people as f64 * options.hz * options.seconds;
    let per_client_s = people as f64 * options.seconds;
    let mut report = Report::default();
    report
        .name("scenario", "cursors")
        .name("target", common.target.name())
        .figure("people", people as f64, "connections")
        .figure("hz", options.hz, "positions/s and person")
        .figure("seconds", options.seconds, "s")
        .figure("unsent", unsent as f64, "positions")
        .figure("errors", pool.tally.errors as f64, "frames")
        .figure("closed", pool.tally.closed as f64, "connections")
        .quantiles(["staleness_p50_ms", "staleness_p99_ms", "staleness_p999_ms", "staleness_max_ms"], &staleness)
        .figure("age_p99_ms", report::quantile_ms(&age, 0.99), "ms")
        .figure("updates_per_client_s", updates as f64 / per_client_s, "positions/s")
        .figure("updates_share", updates as f64 / possible, "of those sent by others")
        .figure("bytes_per_client_s", tally.bytes as f64 / per_client_s, "bytes/s")
        .figure("frames_per_client_s", tally.frames as f64 / per_client_s, "frames/s");
    used.report(&mut report);
    used.report_per_delivery(&mut report, updates);
    usage::report_memory(common, &mut report)?;
    if let Some(counter) = counter {
        let share = seconds / options.seconds;
        report.figure("writes_per_delivery", counter.finish()? as f64 / (updates as f64 * share), "system calls");
    }
    if let Some(error) = &pool.tally.first_error {
        report.name("first_error", error);
    }
    Ok(report)
}
