//! One stretch of messages at a steady rate, and the account of their deliveries.
//!
//! Message `n` is sent by connection `n % conns` at its due time; it is delivered when a member of the room reads it.
//! What the phase before left under way is told apart by the phase number in the stamp.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use hubbub_bench::ledger::{Arrival, Ledger};
use hubbub_bench::report::{self, Report};
use hubbub_bench::schedule::Schedule;
use hubbub_bench::stamp::Stamp;

use crate::Common;
use crate::dialect::Dialect;
use crate::pool::Pool;
use crate::tally::Tally;
use crate::usage::{Usage, Used};

/// Overdue messages that may be sent before the next look at what arrived.
const SENDS_AT_ONCE: u32 = 32;

/// A phase to come.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of the phase, different from those before.
    pub number: u64,
    /// Messages per second, all rooms together.
    pub rate: f64,
    pub seconds: f64,
    /// How long to wait for deliveries after the last message was due.
    pub drain: Duration,
    pub body_bytes: usize,
}

/// How a phase went.
pub struct Outcome {
    plan: Plan,
    sent: u64,
    unsent: u64,
    expected: u64,
    ledger: Ledger,
    stray: u64,
    /// Frames with a message in them, and their payload bytes.
    message_frames: u64,
    message_bytes: u64,
    /// Due to read by a member.
    pub latency: Histogram<u64>,
    /// Due to sent: what the generator itself was late.
    pub send_lag: Histogram<u64>,
    tally: Tally,
    /// From the first due time to the last delivery, but at least as long as planned.
    active_seconds: f64,
    used: Used,
}

/// Runs a phase to its end.
pub fn run(common: &Common, pool: &mut Pool<'_>, plan: Plan) -> io::Result<Outcome> {
    let conns = pool.len() as u64;
    let rooms = pool.rooms();
    let mut sent_in_room = vec![0_u64; rooms];
    let schedule_from = pool.now_us() + 20_000;
    let schedule = Schedule::new(schedule_from, plan.rate, plan.seconds);
    // Each round of `conns` messages brings a room as many as it has members.
    let per_room = (schedule.total() / conns + 1) * pool.members(0);
    let mut ledger = Ledger::new(pool.len(), per_room);
    let (mut latency, mut send_lag) = (report::histogram(), report::histogram());
    let (mut stray, mut hint, mut last_arrival) = (0, 0, schedule_from);
    let (mut message_frames, mut message_bytes) = (0, 0);
    let (mut sent, mut unsent, mut expected, mut next) = (0, 0, 0, 0);

    pool.tally = Tally::default();
    let usage = Usage::read(common)?;
    let end = schedule_from + (plan.seconds * 1e6) as u64;
    let give_up = end + plan.drain.as_micros() as u64;
    loop {
        let mut now = pool.now_us();
        for _ in 0..SENDS_AT_ONCE {
            let Some(due_us) = schedule.due_us(next).filter(|&due| due <= now) else {
                break;
            };
            let sender = next % conns;
            let room = pool.room(sender as usize);
            let stamp = Stamp { phase: plan.number, sender, number: sent_in_room[room], due_us };
            let serial = plan.number << 32 | next;
            next += 1;
            let write = |dialect: Dialect, out: &mut Vec<u8>| {
                dialect.message(out, room, serial, &stamp, plan.body_bytes);
            };
            if !pool.send(sender as usize, write) {
                unsent += 1;
                continue;
            }
            sent += 1;
            sent_in_room[room] += 1;
            expected += common.target.receivers(pool.members(room));
            report::record(&mut send_lag, now - due_us);
            now = pool.now_us();
        }
        let wake_at = match schedule.due_us(next) {
            Some(due) => due,
            None if now >= give_up => break,
            None if ledger.delivered() >= expected && all_acked(common, &pool.tally, sent) => break,
            None => (now + 10_000).min(give_up),
        };
        pool.pump(Duration::from_micros(wake_at.saturating_sub(now)), &mut |receiver, payload, now_us| {
            let Some(stamp) = Stamp::find(payload, &mut hint) else {
                return false;
            };
            message_frames += 1;
            message_bytes += payload.len() as u64;
            if stamp.phase != plan.number {
                stray += 1;
            } else if ledger.record(receiver, stamp.number) == Arrival::First {
                report::record(&mut latency, now_us.saturating_sub(stamp.due_us));
                last_arrival = now_us;
            }
            true
        })?;
    }
    let active_us = last_arrival.saturating_sub(schedule_from).max((plan.seconds * 1e6) as u64);
    Ok(Outcome {
        plan,
        sent,
        unsent,
        expected,
        ledger,
        stray,
        message_frames,
        message_bytes,
        latency,
        send_lag,
        tally: pool.tally.clone(),
        active_seconds: active_us as f64 / 1e6,
        used: usage.since(common)?,
    })
}

fn all_acked(common: &Common, tally: &Tally, sent: u64) -> bool {
    !common.target.acknowledges() || tally.acks + tally.errors >= sent
}

impl Outcome {
    /// Deliveries that never came, those of messages that could not be sent not counted.
    pub fn lost(&self) -> u64 {
        self.ledger.lost(self.expected)
    }

    /// Whether nothing was lost, doubled, refused or closed.
    pub fn is_clean(&self) -> bool {
        let bad = self.lost() + self.ledger.duplicates() + self.ledger.unknown();
        bad + self.unsent + self.tally.errors + self.tally.closed == 0
    }

    /// What was not clean, in words.
    pub fn complaints(&self) -> String {
        format!(
            "lost {}, duplicates {}, unsent {}, errors {}, closed {} {}",
            self.lost(),
            self.ledger.duplicates(),
            self.unsent,
            self.tally.errors,
            self.tally.closed,
            self.tally.first_error.as_deref().unwrap_or_default(),
        )
    }

    /// Deliveries per second, as planned if the server kept up.
    pub fn deliveries_per_s(&self) -> f64 {
        self.ledger.delivered() as f64 / self.active_seconds
    }

    /// Deliveries, each counted once.
    pub fn delivered(&self) -> u64 {
        self.ledger.delivered()
    }

    /// Share of a core that the generator used.
    pub fn generator_cores(&self) -> f64 {
        self.used.own_cpu.as_secs_f64() / self.used.seconds
    }

    /// Adds all figures.
    pub fn report(&self, report: &mut Report) {
        let delivered = self.delivered();
        report
            .figure("rate", self.plan.rate, "messages/s")
            .figure("seconds", self.plan.seconds, "s")
            .figure("sent", self.sent as f64, "messages")
            .figure("unsent", self.unsent as f64, "messages")
            .figure("expected", self.expected as f64, "deliveries")
            .figure("delivered", delivered as f64, "deliveries")
            .figure("lost", self.lost() as f64, "deliveries")
            .figure("duplicates", self.ledger.duplicates() as f64, "deliveries")
            .figure("unknown", (self.ledger.unknown() + self.stray) as f64, "deliveries")
            .figure("acks", self.tally.acks as f64, "messages")
            .figure("errors", self.tally.errors as f64, "frames")
            .figure("closed", self.tally.closed as f64, "connections")
            .figure("deliveries_per_s", self.deliveries_per_s().round(), "1/s")
            .quantiles(["p50_ms", "p99_ms", "p999_ms", "max_ms"], &self.latency)
            .figure("send_lag_p99_ms", report::quantile_ms(&self.send_lag, 0.99), "ms")
            .figure("frame_bytes", self.message_bytes as f64 / self.message_frames as f64, "bytes of payload")
            .figure("frames_per_read", self.tally.frames as f64 / self.tally.reads as f64, "frames");
        self.used.report(report);
        self.used.report_per_delivery(report, delivered);
        if let Some(error) = &self.tally.first_error {
            report.name("first_error", error);
        }
    }
}
