//! Fan-out at a rising rate, to find the most deliveries per second that a server sustains.
//!
//! A step holds if its p99 stays within the bound, nothing is lost and nobody is thrown out. One that does not is tried
//! once more, because a moment's noise on the machine is enough to miss the bound. After the first that fails twice,
//! the rate between it and the last good one is narrowed down by halves.

use std::io::{self, Write as _};

use hubbub_bench::report::{Report, quantile_ms};

use crate::Common;
use crate::fanout::Options;
use crate::phase::{self, Outcome};
use crate::pool::Pool;
use crate::usage;

/// Halvings after the first failure: with a factor of 1.5 the result is then exact to 6 %.
const HALVINGS: u32 = 3;
/// From this share of its core on, a late step may be the generator's fault.
const GENERATOR_BUSY: f64 = 0.9;

/// Climbs, narrows down, reports the best step.
pub fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let mut pool = Pool::open(common, options.conns, options.rooms)?;
    phase::run(common, &mut pool, options.plan(1, options.rate, options.warm_up))?;

    let (mut best, mut worst): (Option<(f64, Outcome)>, Option<f64>) = (None, None);
    let (mut rate, mut halvings, mut steps, mut generator_busy) = (options.rate, 0, 0, false);
    let mut second_try = false;
    while halvings < HALVINGS {
        steps += 1;
        let outcome = phase::run(common, &mut pool, options.plan(1 + steps, rate, options.seconds))?;
        let p99_ms = quantile_ms(&outcome.latency, 0.99);
        let holds = outcome.is_clean() && p99_ms <= options.ramp_p99_ms;
        tell(&outcome, rate, p99_ms, holds)?;
        if !holds {
            // What an overloaded server still has under way must not weigh on the next step.
            pool.settle()?;
            pool.reopen()?;
            if !second_try {
                second_try = true;
                continue;
            }
            worst = Some(rate);
            generator_busy = outcome.generator_cores() > GENERATOR_BUSY;
        } else {
            best = Some((rate, outcome));
        }
        second_try = false;
        rate = match (&best, worst) {
            (Some((good, _)), None) => good * options.ramp_factor,
            (Some((good, _)), Some(bad)) => {
                halvings += 1;
                f64::midpoint(*good, bad)
            }
            (None, _) => return Err(io::Error::other("not even the first step held: lower --rate")),
        };
    }

    let mut report = options.begin_report(common, "ramp");
    report.figure("steps", steps as f64, "steps");
    if generator_busy {
        report.name("limit", "the generator was busy too: the server may sustain more");
    }
    if let Some((_, outcome)) = best {
        outcome.report(&mut report);
    }
    usage::report_memory(common, &mut report)?;
    Ok(report)
}

fn tell(outcome: &Outcome, rate: f64, p99_ms: f64, holds: bool) -> io::Result<()> {
    let mut verdict = String::new();
    if !holds {
        verdict = format!("  <- does not hold, {}", outcome.complaints());
    }
    writeln!(
        io::stderr(),
        "  ramp: {rate:>8.0} messages/s, {:>9.0} deliveries/s, p99 {p99_ms:>8.1} ms, generator {:.2} cores{verdict}",
        outcome.deliveries_per_s(),
        outcome.generator_cores(),
    )
}
