//! One route, read by the clock: latency from when a request was due, where its answer came from, and what the database
//! was asked meanwhile.

use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use hubbub_bench::{
    report::{Report, histogram, quantile_ms, record},
    zipf::Zipf,
};

use super::{Common, cache_figure, until};

/// What is read.
#[derive(Debug, Args)]
pub struct Options {
    /// The address; `{n}` becomes the number of a project.
    #[arg(long)]
    path: String,
    /// So many projects are asked for, by Zipf's law.
    #[arg(long, default_value_t = 1)]
    spread: usize,
}

/// What one connection saw.
struct Seen {
    latency: Histogram<u64>,
    /// As the hub says, from the request to its answer.
    inside: Histogram<u64>,
    redis: Histogram<u64>,
    requests: u64,
    errors: u64,
    tiers: [u64; 3],
}

pub(super) fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let mut health = common.connect(0)?;
    let reads = cache_figure(&mut health, "database_reads")?;
    let start = Instant::now() + Duration::from_millis(50);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..common.conns).map(|n| scope.spawn(move || connection(common, options, n, start))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())));
        joined.collect::<io::Result<_>>()
    })?;
    let reads = cache_figure(&mut health, "database_reads")? - reads;
    let (mut latency, mut inside, mut redis) = (histogram(), histogram(), histogram());
    let (mut requests, mut errors, mut tiers) = (0, 0, [0; 3]);
    for one in &seen {
        for (all, mine) in [(&mut latency, &one.latency), (&mut inside, &one.inside), (&mut redis, &one.redis)] {
            all.add(mine).map_err(io::Error::other)?;
        }
        (requests, errors) = (requests + one.requests, errors + one.errors);
        tiers.iter_mut().zip(one.tiers).for_each(|(all, mine)| *all += mine);
    }
    let share = |count: u64| count as f64 / (requests as f64).max(1.0);
    let mut report = Report::default();
    report.figure("requests", requests as f64, "").figure("errors", errors as f64, "");
    for (key, all, q) in [
        ("p50_ms", &latency, 0.5),
        ("p95_ms", &latency, 0.95),
        ("p99_ms", &latency, 0.99),
        ("inside_p50_ms", &inside, 0.5),
        ("inside_p99_ms", &inside, 0.99),
        ("redis_p50_ms", &redis, 0.5),
        ("redis_p99_ms", &redis, 0.99),
    ] {
        report.figure(key, quantile_ms(all, q), "ms");
    }
    report.figure("l1", share(tiers[0]), "").figure("l2", share(tiers[1]), "").figure("miss", share(tiers[2]), "");
    report.figure("database_reads_per_request", reads / (requests as f64).max(1.0), "");
    Ok(report)
}

fn connection(common: &Common, options: &Options, number: usize, start: Instant) -> io::Result<Seen> {
    let mut http = common.connect(number)?;
    let mut zipf = Zipf::new(options.spread, number as u64 + 1);
    let (latency, inside, redis) = (histogram(), histogram(), histogram());
    let mut seen = Seen { latency, inside, redis, requests: 0, errors: 0, tiers: [0; 3] };
    let step = Duration::from_secs_f64(common.conns as f64 / common.rate);
    let mut due = start + step.mul_f64(number as f64 / common.conns as f64);
    let end = start + Duration::from_secs_f64(common.seconds);
    while due < end {
        until(due);
        let path = options.path.replace("{n}", &zipf.draw().to_string());
        let answer = http.ask("GET", &path, "")?;
        record(&mut seen.latency, due.elapsed().as_micros() as u64);
        seen.requests += 1;
        if answer.status == 200 {
            let tier = ["l1", "l2", "miss"].iter().position(|tier| answer.header("x-cache") == Some(tier));
            seen.tiers[tier.unwrap_or(2)] += 1;
            for (name, histogram) in [("total", &mut seen.inside), ("redis", &mut seen.redis)] {
                if let Some(ms) = answer.timing_ms(name) {
                    record(histogram, (ms * 1e3) as u64);
                }
            }
        } else {
            seen.errors += 1;
        }
        due += step;
    }
    Ok(seen)
}
