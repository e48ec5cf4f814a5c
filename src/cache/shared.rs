//! The second tier: Redis, behind the circuit breaker and a patience of its own.
//!
//! Nothing here fails: whatever goes wrong is a value that is not there. What is found is believed by its stamp only, so
//! Redis may lose keys, bring old ones back or be another server than before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{
    breaker::{Breaker, Outcome, Pass, Rules, State},
    figures::Figures,
    ledger::Stamp,
    trace,
    value::Packing,
};
use crate::{
    clock::{Duration, Instant},
    config::CacheConfig,
    redis::{Commands, Fault, When},
};

/// Put before every name.
const SECTION: &str = "cache:";
/// Fills under way beyond which new ones are left out: the next load fills.
const FILLS_MAX: usize = 512;
/// How long one instance may keep the others from loading the same.
const LOAD_LEASE: Duration = Duration::from_secs(3);

/// A value on its way into Redis.
pub(super) struct Fill {
    pub(super) name: Arc<str>,
    pub(super) value: Bytes,
    pub(super) stamp: Stamp,
    pub(super) lifetime: Duration,
}

/// The second tier. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    redis: Commands,
    breaker: Mutex<Breaker>,
    patience: Duration,
    packing: Packing,
    fills: Semaphore,
    figures: Arc<Figures>,
}

impl Shared {
    pub(super) fn new(redis: Commands, config: &CacheConfig, figures: Arc<Figures>) -> Self {
        Self(Arc::new(Inner {
            redis,
            breaker: Mutex::new(Breaker::new(Rules {
                failures_to_open: config.breaker_failures,
                rest: config.breaker_rest,
                successes_to_close: config.breaker_successes,
            })),
            patience: config.l2_timeout,
            packing: Packing { compress_from: config.compress_from_bytes, bytes_max: config.value_bytes_max },
            fills: Semaphore::new(FILLS_MAX),
            figures,
        }))
    }

    pub(super) async fn get(&self, name: &str) -> Option<(Stamp, Bytes)> {
        let key = key(name);
        let found = self.call(self.0.redis.get(&key)).await??;
        self.0.packing.unpack(&found)
    }

    pub(super) async fn get_many(&self, names: &[Arc<str>]) -> Vec<Option<(Stamp, Bytes)>> {
        let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
        let found = self.call(self.0.redis.mget(&keys)).await.unwrap_or_default();
        let mut found: Vec<_> =
            found.into_iter().map(|found| found.and_then(|packed| self.0.packing.unpack(&packed))).collect();
        found.resize(names.len(), None);
        found
    }

    /// Puts values there, while nobody waits; after that gives back the leave to load them.
    pub(super) fn fill_later(&self, fills: Vec<Fill>, leave: Option<LoadLeave>) {
        let this = self.clone();
        if fills.is_empty() || !this.may_ask() || this.0.fills.available_permits() == 0 {
            return;
        }
        tokio::spawn(async move {
            let Ok(_permit) = this.0.fills.try_acquire() else { return };
            let pack = |fill: Fill| {
                let packed = this.0.packing.pack(fill.stamp, &fill.value)?;
                Some((key(&fill.name), packed, fill.lifetime))
            };
            let entries: Vec<_> = fills.into_iter().filter_map(pack).collect();
            if !entries.is_empty() {
                this.call(this.0.redis.mset(entries)).await;
            }
            drop(leave);
        });
    }

    pub(super) async fn set(&self, name: &str, value: Bytes, lifetime: Duration) {
        let key = key(name);
        self.call(self.0.redis.set(&key, value, lifetime, When::Always)).await;
    }

    /// A value without a stamp.
    pub(super) async fn get_plain(&self, name: &str) -> Option<Bytes> {
        let key = key(name);
        self.call(self.0.redis.get(&key)).await?
    }

    /// Asks for the leave to load something, so that the other instances need not.
    pub(super) async fn load_leave(&self, name: &str) -> Leave {
        let key = key(&format!("-loading:{name}"));
        match self.call(self.0.redis.set(&key, Bytes::from_static(b"1"), LOAD_LEASE, When::Absent)).await {
            Some(true) => Leave::Given(LoadLeave { shared: self.clone(), key: Some(key) }),
            Some(false) => Leave::Taken,
            None => Leave::Unknown,
        }
    }

    /// Tries Redis: so that the breaker knows of an outage, and of its end, before somebody has to wait for it.
    pub(super) async fn probe(&self) {
        self.call(self.0.redis.ping()).await;
    }

    /// Removes all keys whose names begin so, in steps; says how many.
    ///
    /// # Errors
    /// Redis' fault; some may be left.
    pub(super) async fn remove_prefix(&self, start: &str) -> Result<u64, Fault> {
        let mut scan = self.0.redis.scan(&key(start));
        let mut removed = 0;
        while let Some(keys) = scan.next().await? {
            if !keys.is_empty() {
                removed += self.0.redis.unlink(&keys).await?;
            }
        }
        Ok(removed)
    }

    pub(super) fn reset_breaker(&self) {
        self.breaker().reset();
        tracing::info!("an operator closed the circuit breaker before Redis");
    }

    pub(super) fn breaker_snapshot(&self) -> (State, u32, u32) {
        self.breaker().snapshot(Instant::now())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.0.redis.is_up()
    }

    pub(super) fn is_available(&self) -> bool {
        self.0.redis.is_up() && self.may_ask()
    }

    fn may_ask(&self) -> bool {
        self.breaker_snapshot().0 != State::Open
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.0.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks Redis if the breaker lets the call through.
    async fn call<T>(&self, command: impl Future<Output = Result<T, Fault>>) -> Option<T> {
        let pass = self.breaker().ask(Instant::now())?;
        let mut report = Report { shared: self, pass: Some(pass) };
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.0.patience, command).await;
        let took = begun.elapsed();
        trace::asked_redis(took);
        match answer {
            Ok(Ok(answer)) => {
                self.0.figures.redis_answered(took);
                report.give(Outcome::Succeeded);
                Some(answer)
            }
            Ok(Err(fault)) => {
                tracing::debug!(%fault, "the cache goes on without Redis");
                report.give(Outcome::Failed);
                None
            }
            Err(_) => {
                report.give(Outcome::Failed);
                None
            }
        }
    }
}

fn key(name: &str) -> String {
    format!("{SECTION}{name}")
}

/// Tells the breaker what became of a call, also when whoever made it went away.
struct Report<'a> {
    shared: &'a Shared,
    pass: Option<Pass>,
}

impl Report<'_> {
    fn give(&mut self, outcome: Outcome) {
        let Some(pass) = self.pass.take() else { return };
        let now = Instant::now();
        let mut breaker = self.shared.breaker();
        if breaker.report(pass, outcome, now) {
            let state = breaker.snapshot(now).0.as_str();
            drop(breaker);
            match outcome {
                Outcome::Failed => tracing::warn!(state, "the circuit breaker before Redis opened"),
                Outcome::Succeeded | Outcome::Abandoned => {
                    tracing::info!(state, "the circuit breaker before Redis closed");
                }
            }
        }
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.give(Outcome::Abandoned);
    }
}

/// Who loads something.
pub(super) enum Leave {
    /// This instance.
    Given(LoadLeave),
    /// Another one, just now.
    Taken,
    /// Redis did not say.
    Unknown,
}

/// The leave of this instance to load something; given back at the end, whatever that is.
pub(super) struct LoadLeave {
    shared: Shared,
    key: Option<String>,
}

impl Drop for LoadLeave {
    fn drop(&mut self) {
        let (shared, Some(key)) = (self.shared.clone(), self.key.take()) else { return };
        // If that fails it ends by its lifetime. Another one's may be removed if ours had ended: then two load at once.
        tokio::spawn(async move { shared.call(shared.0.redis.unlink(&[key])).await });
    }
}
