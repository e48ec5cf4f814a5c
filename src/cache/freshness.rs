//! Whether this instance may answer from its caches, and what the others must know before a write is answered.
//!
//! The database is what all instances share for certain, so it is the judge. Each instance reads the log of changes twice a
//! second, and may answer from what is cached for [`LEASE`] after the moment at which it *asked* for a reading that
//! came. A clock that went on while the process was stopped ends the lease as well.
//!
//! A writer, after its commit: has its own instance read the log, says over the bus "look", and waits until every instance
//! that may be answering from a cache has looked (each says so over the bus), or until the lease of one that does not answer
//! is over. So the bus only makes it fast: lost, split or lying it costs time, never the truth.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, watch};

use super::{
    ledger::{Ledger, Stamp, Tag, Version},
    turn::Turns,
};
use crate::{
    bus::{Bus, BusDelivery, Channel},
    clock::{Duration, Instant},
    ids::InstanceId,
    store::{Reader, Store, StoreError},
    vital::vital,
};

/// How long a reading of the log is good for, and so how long a writer waits for an instance that hangs.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// How often the log is read: often enough that a reading may take half a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// An instance that a writer did not hear stays away from its cache: until the bus is up, or for so long without one.
const AWAY: Duration = Duration::from_secs(60);
/// How often the others are told to look until they have.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// Where instances tell each other.
const TOPIC: Channel = Channel::Hub("cache");

pub(super) struct Freshness {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    instance: InstanceId,
    /// Otherwise nothing is cached, but writes are told all the same.
    enabled: bool,
    ledger: RwLock<Ledger>,
    looks: Turns<Result<Arc<[Reader]>, StoreError>>,
    /// Until when, in milliseconds after `base`; 0 for not at all.
    lease_ends_ms: AtomicU64,
    base: Instant,
    /// When a writer told it to stop, the last time.
    away_since: Mutex<Option<Instant>>,
    entered: AtomicBool,
    stopped: AtomicBool,
    writes: Mutex<HashMap<u64, watch::Sender<HashSet<InstanceId>>>>,
    next_write: AtomicU64,
}

/// What is known at the moment of a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// Where an entry for it lies in memory, and what one in Redis must not be older than.
    pub(super) version: Version,
    /// What a load that begins now sees at least.
    pub(super) stamp: Stamp,
}

impl Freshness {
    pub(super) fn new(store: Arc<dyn Store>, bus: Arc<dyn Bus>, instance: InstanceId, enabled: bool) -> Arc<Self> {
        Arc::new(Self {
            store,
            bus,
            instance,
            enabled,
            ledger: RwLock::default(),
            looks: Turns::default(),
            lease_ends_ms: AtomicU64::new(0),
            base: Instant::now(),
            away_since: Mutex::new(None),
            entered: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            writes: Mutex::default(),
            next_write: AtomicU64::new(1),
        })
    }

    /// Listens to the others and reads the log, until [`stop`](Self::stop).
    pub(super) fn start(self: &Arc<Self>) {
        let (inbox, mut deliveries) = mpsc::unbounded_channel();
        self.bus.subscribe(TOPIC, inbox.into());
        let this = Arc::clone(self);
        tokio::spawn(vital("news of the cache", async move {
            while let Some(delivery) = deliveries.recv().await {
                match delivery {
                    BusDelivery::Event(text) => this.hear(&text),
                    BusDelivery::Restored => {} // whatever was missed is in the log
                }
            }
        }));
        if self.enabled {
            let this = Arc::clone(self);
            tokio::spawn(vital("cache log", async move {
                let mut tick = tokio::time::interval(LOOK_INTERVAL);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while !this.stopped.load(Ordering::Acquire) {
                    tick.tick().await;
                    if let Err(error) = this.keep_looking().await {
                        tracing::debug!(%error, "the cache cannot be used without the database");
                    }
                }
            }));
        }
    }

    /// From now on nothing is answered from a cache here, and no writer waits for this instance.
    pub(super) async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.lease_ends_ms.store(0, Ordering::Release);
        if self.entered.swap(false, Ordering::AcqRel)
            && let Err(error) = self.store.leave_readers(self.instance).await
        {
            tracing::debug!(%error, "the others will wait for this instance once");
        }
    }

    /// Whether the hub stops.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether what is cached may be answered now.
    pub(super) fn is_fresh(&self) -> bool {
        !self.stopped.load(Ordering::Acquire) && self.now_ms() < self.lease_ends_ms.load(Ordering::Acquire)
    }

    /// What is known of something; `None` while nothing cached may be answered.
    pub(super) fn sight(&self, tags: &[Tag]) -> Option<Sight> {
        // In this order: what the lease's reading brought is in the ledger.
        if !self.is_fresh() {
            return None;
        }
        let ledger = self.ledger.read().unwrap_or_else(PoisonError::into_inner);
        Some(Sight { version: ledger.version(tags), stamp: ledger.stamp() })
    }

    /// Whether an entry with that stamp is not older than what was known.
    pub(super) fn counts(&self, stamp: Stamp, sight: Sight) -> bool {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).counts(stamp, sight.version)
    }

    /// After a commit and before its answer: returns when no instance can answer with what was before.
    pub(super) async fn settle(&self) {
        let deadline = Instant::now() + LEASE;
        let number = self.next_write.fetch_add(1, Ordering::Relaxed);
        let (seen, mut by) = watch::channel(HashSet::new());
        let _write = PendingWrite::new(self, number, seen);
        let ask = || self.bus.publish(TOPIC, format!("look {} {number}", self.instance), None);
        ask();
        let Ok(Ok(readers)) = tokio::time::timeout_at(deadline.into(), self.look()).await else {
            // Nobody knows who reads; but every lease that is not over then was given after the commit.
            return tokio::time::sleep_until(deadline.into()).await;
        };
        let others: Vec<Reader> = readers.iter().filter(|reader| reader.instance != self.instance).copied().collect();
        let all = |seen: &HashSet<InstanceId>| others.iter().all(|reader| seen.contains(&reader.instance));
        loop {
            let wait = deadline.min(Instant::now() + ASK_INTERVAL);
            if tokio::time::timeout_at(wait.into(), by.wait_for(all)).await.is_ok() {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            ask(); // the bus may just have lost it, there or back
        }
        let seen = by.borrow().clone();
        let silent = others.iter().filter(|reader| !reader.ending && !seen.contains(&reader.instance));
        self.end(silent.map(|reader| reader.instance).collect());
    }

    /// The next writers need not wait for them again, once they must have noticed.
    fn end(&self, silent: Vec<InstanceId>) {
        if silent.is_empty() {
            return;
        }
        tracing::warn!(instances = ?silent, "a write had to wait for instances that did not answer");
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.end_readers(&silent, LEASE).await {
                tracing::debug!(%error, "silent instances could not be told to stop");
            }
        });
    }

    /// Someone else's "look", or an answer to ours.
    fn hear(self: &Arc<Self>, text: &str) {
        let mut words = text.split(' ');
        let (word, writer, number) = (words.next(), words.next(), words.next());
        let (Some(Ok(writer)), Some(Ok(number))) =
            (writer.map(str::parse::<InstanceId>), number.map(str::parse::<u64>))
        else {
            return;
        };
        match (word, words.next().map(str::parse::<InstanceId>)) {
            (Some("look"), None) if writer != self.instance => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    if this.look().await.is_ok() {
                        this.bus.publish(TOPIC, format!("seen {writer} {number} {}", this.instance), None);
                    }
                });
            }
            (Some("seen"), Some(Ok(reader))) if writer == self.instance => {
                if let Some(write) = self.writes().get(&number) {
                    write.send_modify(|seen| {
                        seen.insert(reader);
                    });
                }
            }
            _ => {}
        }
    }

    async fn keep_looking(&self) -> Result<(), StoreError> {
        if !self.entered.load(Ordering::Acquire) && self.may_enter() {
            self.store.enter_readers(self.instance).await?;
            self.entered.store(true, Ordering::Release);
        }
        self.look().await.map(drop)
    }

    fn may_enter(&self) -> bool {
        if self.stopped.load(Ordering::Acquire) {
            return false;
        }
        let away_since = *self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        away_since.is_none_or(|since| self.bus.is_up(&TOPIC) || since.elapsed() >= AWAY)
    }

    /// Reads the log from where it was read to; the answer is not older than the call. Gives who may answer from a cache.
    async fn look(&self) -> Result<Arc<[Reader]>, StoreError> {
        self.looks
            .next(async || {
                let asked_ms = self.now_ms();
                let position = self.ledger.read().unwrap_or_else(PoisonError::into_inner).position();
                let changes = self.store.changes_after(position).await?;
                self.ledger.write().unwrap_or_else(PoisonError::into_inner).apply(&changes);
                let here = changes.readers.iter().find(|reader| reader.instance == self.instance);
                match here {
                    Some(Reader { ending: false, .. }) => {
                        let ends = asked_ms + LEASE.as_millis() as u64;
                        self.lease_ends_ms.fetch_max(ends, Ordering::AcqRel);
                    }
                    Some(Reader { ending: true, .. }) => {
                        *self.away_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                        self.leave_cache();
                    }
                    None => self.leave_cache(),
                }
                Ok(changes.readers.into())
            })
            .await
    }

    /// Not listed any more: what is cached must not be answered until this instance has entered again.
    fn leave_cache(&self) {
        self.lease_ends_ms.store(0, Ordering::Release);
        self.entered.store(false, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn writes(&self) -> MutexGuard<'_, HashMap<u64, watch::Sender<HashSet<InstanceId>>>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that waits for the others; forgotten when whoever made it goes away.
struct PendingWrite<'a> {
    freshness: &'a Freshness,
    number: u64,
}

impl<'a> PendingWrite<'a> {
    fn new(freshness: &'a Freshness, number: u64, seen: watch::Sender<HashSet<InstanceId>>) -> Self {
        freshness.writes().insert(number, seen);
        Self { freshness, number }
    }
}

impl Drop for PendingWrite<'_> {
    fn drop(&mut self) {
        self.freshness.writes().remove(&self.number);
    }
}
