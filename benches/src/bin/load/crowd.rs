//! Many people join one room within seconds; what does each of them cost, and when does everybody know of everybody?
//!
//! Each connection is a person. Who joins is told how many there are, and of everybody who comes after.

use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use clap::Args;
use hubbub_bench::procfs;
use hubbub_bench::report::Report;
use memchr::memmem::Finder;

use crate::Common;
use crate::pool::Pool;
use crate::usage::Usage;

/// How long after the last join everybody must know of everybody.
const PATIENCE: Duration = Duration::from_secs(30);

static TOTAL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""members_total":"#));
static FIRST: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""first":true"#));

#[derive(Debug, Args)]
pub struct Options {
    /// Connections, each a person.
    #[arg(long, default_value_t = 5_000)]
    conns: usize,
    /// How many connect per second.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
}

/// What the clients have seen.
struct Sight {
    /// Bytes of text frames, and frames, per client.
    bytes: Vec<u64>,
    frames: u64,
    /// How many people each client knows of.
    known: Vec<usize>,
    complete: usize,
}

impl Sight {
    fn take(&mut self, client: usize, payload: &[u8]) {
        self.bytes[client] += payload.len() as u64;
        self.frames += 1;
        let known = &mut self.known[client];
        let before = *known;
        match TOTAL.find(payload) {
            Some(at) => *known = number(&payload[at + TOTAL.needle().len()..]),
            None if before > 0 => *known += FIRST.find_iter(payload).count(),
            None => {}
        }
        let all = self.bytes.len();
        self.complete += usize::from(before < all && *known >= all);
    }
}

fn number(digits: &[u8]) -> usize {
    let digits = digits.iter().take_while(|digit| digit.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Lets them join at the rate, waits until all know of all.
pub fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let conns = options.conns;
    let mut sight = Sight { bytes: vec![0; conns], frames: 0, known: vec![0; conns], complete: 0 };
    let before = common.server_pid.map(procfs::resident_bytes).transpose()?;
    let (begun, usage) = (Instant::now(), Usage::read(common)?);
    let mut pool = Pool::new(common, conns, 1)?;
    pool.fill(options.rate, &mut |client, payload, _| {
        sight.take(client, payload);
        true
    })?;
    let joined = begun.elapsed();
    while sight.complete < conns && begun.elapsed() < joined + PATIENCE {
        pool.pump(Duration::from_millis(50), &mut |client, payload, _| {
            sight.take(client, payload);
            true
        })?;
    }
    let complete = begun.elapsed();
    let used = usage.since(common)?;
    writeln!(io::stderr(), "  crowd: {} of {conns} know of all after {:.1} s", sight.complete, complete.as_secs_f64())?;

    let people = conns as f64;
    let mut report = Report::default();
    report
        .name("scenario", "crowd")
        .name("target", common.target.name())
        .figure("conns", people, "connections")
        .figure("rate", options.rate, "joins/s")
        .figure("joined_seconds", joined.as_secs_f64(), "s until the last had joined")
        .figure("complete", sight.complete as f64, "clients that know of all")
        .figure("complete_after_ms", (complete - joined).as_secs_f64() * 1e3, "ms after the last had joined")
        .figure("kib_per_client", sight.bytes.iter().sum::<u64>() as f64 / 1_024.0 / people, "KiB per client")
        .figure("kib_most", sight.bytes.iter().copied().max().unwrap_or(0) as f64 / 1_024.0, "KiB, most of a client")
        .figure("frames_per_client", sight.frames as f64 / people, "frames per client")
        .figure("closed", pool.tally.closed as f64, "connections");
    if let Some(cpu) = used.server_cpu {
        report.figure("server_cpu_s", cpu.as_secs_f64(), "s of server CPU").figure(
            "join_cpu_us",
            cpu.as_secs_f64() * 1e6 / people,
            "µs of server CPU per join",
        );
    }
    if let (Some(pid), Some(before)) = (common.server_pid, before) {
        let grown = |bytes: u64| bytes.saturating_sub(before) as f64;
        report
            .figure("rss_kib_per_conn", grown(procfs::resident_bytes(pid)?) / 1_024.0 / people, "KiB per connection")
            .figure("rss_peak_mib", grown(procfs::peak_resident_bytes(pid)?) / f64::from(1 << 20), "MiB grown at most");
    }
    used.report(&mut report);
    if let Some(error) = &pool.tally.first_error {
        report.name("first_error", error);
    }
    Ok(report)
}
