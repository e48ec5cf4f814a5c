//! Clients on all instances read and write projects; every answer is compared with the last write that had been answered
//! when it was asked for.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hubbub_bench::{
    report::{Report, histogram, quantile_ms, record},
    zipf::Zipf,
};

use super::{Common, cache_figure, until};

/// Who reads and writes what.
#[derive(Debug, Args)]
pub struct Options {
    /// Projects b0, b1, …, asked for by Zipf's law.
    #[arg(long, default_value_t = 10_000)]
    projects: usize,
    /// The share of requests that write.
    #[arg(long, default_value_t = 0.01)]
    writes: f64,
}

/// The versions of one project, in its name.
#[derive(Default)]
struct Versions {
    begun: AtomicU64,
    answered: AtomicU64,
    writing: Mutex<()>,
}

pub(super) fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let projects: Vec<Versions> = std::iter::repeat_with(Versions::default).take(options.projects).collect();
    let figures = |name| -> io::Result<f64> {
        (0..common.addr.len()).map(|instance| cache_figure(&mut common.connect(instance)?, name)).sum()
    };
    let names = ["hits", "misses", "database_reads"];
    let before: Vec<f64> = names.iter().map(|name| figures(name)).collect::<io::Result<_>>()?;
    let (reads, stale) = (AtomicU64::new(0), AtomicU64::new(0));
    let (read_times, write_times) = (Mutex::new(histogram()), Mutex::new(histogram()));
    let end = Instant::now() + Duration::from_secs_f64(common.seconds);
    let client = |number: usize| -> io::Result<()> {
        let mut instances = (0..common.addr.len()).map(|n| common.connect(n)).collect::<io::Result<Vec<_>>>()?;
        let mut zipf = Zipf::new(options.projects, number as u64 + 1);
        let (mut my_reads, mut my_writes) = (histogram(), histogram());
        let step = Duration::from_secs_f64(common.conns as f64 / common.rate);
        let mut due = Instant::now() + step.mul_f64(number as f64 / common.conns as f64);
        while due < end {
            until(due);
            let (number, writes) = (zipf.draw(), zipf.chance() < options.writes);
            let instance = (zipf.chance() * instances.len() as f64) as usize;
            let (http, project) = (&mut instances[instance], &projects[number]);
            let path = format!("/api/projects/b{number}");
            let begun = Instant::now();
            if writes {
                let _one_at_a_time = project.writing.lock();
                let version = project.begun.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = http.ask("PATCH", &path, &format!(r#"{{"name":"{version}"}}"#))?;
                if answer.status != 200 {
                    return Err(io::Error::other(format!("a write was answered with {}", answer.status)));
                }
                project.answered.store(version, Ordering::SeqCst);
                record(&mut my_writes, begun.elapsed().as_micros() as u64);
            } else {
                let least = project.answered.load(Ordering::SeqCst);
                let answer = http.ask("GET", &path, "")?;
                let version = answer.member("name").and_then(|name| name.parse::<u64>().ok());
                match version {
                    Some(version) if version >= least => {}
                    Some(_) => drop(stale.fetch_add(1, Ordering::Relaxed)),
                    None => return Err(io::Error::other(format!("a read was answered with {}", answer.status))),
                }
                record(&mut my_reads, begun.elapsed().as_micros() as u64);
                reads.fetch_add(1, Ordering::Relaxed);
            }
            due += step;
        }
        for (all, mine) in [(&read_times, &my_reads), (&write_times, &my_writes)] {
            let mut all = all.lock().map_err(|_| io::Error::other("another client failed"))?;
            all.add(mine).map_err(io::Error::other)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..common.conns).map(|number| scope.spawn(move || client(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())))
    })?;
    let after: Vec<f64> = names.iter().map(|name| figures(name)).collect::<io::Result<_>>()?;
    let [hits, misses, database] = [0, 1, 2].map(|n| after[n] - before[n]);
    let reads = reads.load(Ordering::Relaxed) as f64;
    let times = |all: Mutex<_>| all.into_inner().map_err(|_| io::Error::other("a client failed"));
    let (read_times, write_times) = (times(read_times)?, times(write_times)?);
    let mut report = Report::default();
    report
        .figure("reads", reads, "")
        .figure("writes", write_times.len() as f64, "")
        .figure("stale", stale.load(Ordering::Relaxed) as f64, "")
        .figure("hit_rate_percent", hits * 100.0 / (hits + misses).max(1.0), "%")
        .figure("database_reads_per_request", database / reads.max(1.0), "")
        .figure("read_p50_ms", quantile_ms(&read_times, 0.5), "ms")
        .figure("read_p99_ms", quantile_ms(&read_times, 0.99), "ms")
        .figure("write_p50_ms", quantile_ms(&write_times, 0.5), "ms")
        .figure("write_p99_ms", quantile_ms(&write_times, 0.99), "ms");
    Ok(report)
}
