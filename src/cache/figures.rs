//! How often something was found, where, and how fast.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

use metrics::{Counter, Histogram, counter, histogram};

use super::{Class, breaker::State, trace::Tier};
use crate::clock::Duration;

/// Counters, made once.
pub(super) struct Figures {
    hits: [AtomicU64; 2],
    misses: AtomicU64,
    /// The latest answer of Redis, microseconds.
    l2_us: AtomicU64,
    /// By class, then: found in L1, found in L2, not in L2, loaded, loaded because the cache may not be used.
    counters: [[Counter; 5]; Class::ALL.len()],
    seconds: [Histogram; 3],
}

/// The state of the cache for the health routes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether this instance may answer from it at the moment.
    pub fresh: bool,
    /// Whether there is a second tier at all.
    pub has_redis: bool,
    /// Whether Redis can be asked now: connected, and the breaker not open.
    pub redis_available: bool,
    /// Found in L1 since the start.
    pub l1_hits: u64,
    /// Found in L2 since the start.
    pub l2_hits: u64,
    /// Loaded since the start.
    pub misses: u64,
    /// How long Redis took the last time it answered.
    pub latency: Duration,
    /// Entries in L1.
    pub entries: u64,
    /// Their size as it is counted.
    pub bytes: u64,
    /// The breaker, and its failures or successes in a row.
    pub breaker: (State, u32, u32),
}

impl Snapshot {
    /// Found in either tier.
    pub fn hits(&self) -> u64 {
        self.l1_hits + self.l2_hits
    }

    /// Hits of all that was asked, in percent; 0 before the first question.
    pub fn hit_rate_percent(&self) -> f64 {
        let asked = self.hits() + self.misses;
        if asked == 0 { 0.0 } else { (self.hits() as f64 * 10_000.0 / asked as f64).round() / 100.0 }
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        let outcomes = [("l1", "hit"), ("l2", "hit"), ("l2", "miss"), ("store", "load"), ("store", "bypass")];
        let counters = Class::ALL.map(|class| {
            outcomes.map(|(tier, outcome)| {
                counter!("hubbub_cache_requests_total", "tier" => tier, "outcome" => outcome, "class" => class.as_str())
            })
        });
        let seconds = ["l1", "l2", "store"].map(|tier| histogram!("hubbub_cache_seconds", "tier" => tier));
        Self {
            hits: array::from_fn(|_| AtomicU64::new(0)),
            misses: AtomicU64::new(0),
            l2_us: AtomicU64::new(0),
            counters,
            seconds,
        }
    }

    pub(super) fn found(&self, class: Class, tier: Tier, took: Duration) {
        let index = tier as usize;
        match tier {
            Tier::L1 | Tier::L2 => self.hits[index].fetch_add(1, Ordering::Relaxed),
            Tier::Miss => self.misses.fetch_add(1, Ordering::Relaxed),
        };
        self.counters[class as usize][if tier == Tier::Miss { 3 } else { index }].increment(1);
        self.seconds[index].record(took.as_secs_f64());
    }

    /// Loaded without looking.
    pub(super) fn bypassed(&self, class: Class, took: Duration) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.counters[class as usize][4].increment(1);
        self.seconds[2].record(took.as_secs_f64());
    }

    pub(super) fn missed_in_redis(&self, class: Class) {
        self.counters[class as usize][2].increment(1);
    }

    pub(super) fn redis_answered(&self, took: Duration) {
        self.l2_us.store(took.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.l2_us.load(Ordering::Relaxed))
    }

    pub(super) fn hits(&self, tier: Tier) -> u64 {
        self.hits[tier as usize].load(Ordering::Relaxed)
    }

    pub(super) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}
