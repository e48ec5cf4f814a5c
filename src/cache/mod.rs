//! The read side: what was read once is kept in this process (L1) and in Redis (L2), and never answered when it is stale.
//!
//! Handlers and `access` read through the [`Catalogue`], or by a typed [`Key`] with [`Cache::get_or_load`]; nobody else
//! puts keys together. Three parts decide what comes back:
//!
//! 1. `freshness` knows whether this instance may use what is cached at all, and brings in what has changed (`ledger`);
//! 2. `memory` and `shared` are the tiers, the second behind a circuit `breaker`; an entry counts by the state of the data
//!    that it is from, so nothing has to be deleted in time, and nothing that comes late can do harm;
//! 3. whoever changes something goes through the [`Catalogue`], too, which answers when no instance can say anything else.
//!
//! What can be checked cheaper than it can be announced (messages and read markers, which change all the time) is
//! validated by one small query instead. Secrets, tokens, codes and sessions are never in it.

mod breaker;
mod catalogue;
mod figures;
mod freshness;
mod key;
mod ledger;
mod memory;
mod shared;
mod trace;
mod turn;
mod value;
mod warm;

pub use breaker::State as BreakerState;
pub use catalogue::Catalogue;
pub use figures::Snapshot;
pub use key::{
    Class, HistoryKey, Key, ProfileKey, ProjectKey, ProjectsPageKey, RoleKey, RoomNamesKey, RoomPlaceKey, SearchKey,
    Span,
};
pub use ledger::Tag;
pub use trace::{Tier, Trace, traced};
pub use value::{Ids, Page, RoomNames, Value};

use std::sync::Arc;

use rand::Rng as _;

use self::{
    breaker::State,
    figures::Figures,
    freshness::{Freshness, Sight},
    ledger::Stamp,
    memory::{Filled, Memory},
    shared::{Fill, Leave, LoadLeave, Shared},
};
use crate::{
    bus::Bus,
    clock::{Duration, Instant},
    config::CacheConfig,
    ids::InstanceId,
    redis::{Commands, Fault},
    store::{Store, StoreError},
};

/// Lifetimes differ by up to this part of them either way, so that what came together does not go together.
const JITTER: f64 = 0.1;
/// How long an expensive load of another instance is waited for, and how often it is looked for.
const LOAD_PATIENCE: Duration = Duration::from_secs(1);
const LOAD_LOOK: Duration = Duration::from_millis(20);
/// How often memory is tidied and Redis tried.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// Both tiers, and what decides about them. One for the whole hub.
pub struct Cache {
    config: CacheConfig,
    memory: Memory,
    shared: Option<Shared>,
    freshness: Arc<Freshness>,
    figures: Arc<Figures>,
}

/// What a load brought.
#[derive(Debug)]
pub enum Loaded<V> {
    /// To be kept as far as the key keeps it.
    Keep(V),
    /// To be answered only.
    Pass(V),
}

/// How much was known when something began to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Mark(Option<Stamp>);

impl Mark {
    /// Whether what is loaded now may be kept, and what is kept be answered.
    pub fn is_fresh(self) -> bool {
        self.0.is_some()
    }
}

impl Cache {
    /// An empty cache. It is used from the first reading of the log on, within moments.
    pub fn start(
        config: &CacheConfig,
        instance: InstanceId,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        redis: Option<Commands>,
    ) -> Arc<Self> {
        let freshness = Freshness::new(store, bus, instance, config.enabled);
        freshness.start();
        let figures = Arc::new(Figures::new());
        let redis = redis.filter(|_| config.enabled);
        let this = Arc::new(Self {
            config: config.clone(),
            memory: Memory::new(config),
            shared: redis.map(|redis| Shared::new(redis, config, Arc::clone(&figures))),
            freshness,
            figures,
        });
        tokio::spawn(Arc::clone(&this).keep_tidy());
        this
    }

    async fn keep_tidy(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TIDY_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.freshness.is_stopped() {
            tick.tick().await;
            self.memory.tidy().await;
            if let Some(shared) = &self.shared {
                shared.probe().await;
            }
        }
    }

    /// The value of a key: from memory, from Redis, or by `load`, which is not begun otherwise. Of several on this instance
    /// who ask for the same at once one loads.
    ///
    /// # Errors
    /// What the load says.
    pub async fn get_or_load<K: Key>(
        &self,
        key: &K,
        load: impl Future<Output = Result<Loaded<K::Value>, StoreError>> + Send,
    ) -> Result<Arc<K::Value>, StoreError> {
        let begun = Instant::now();
        let Some(sight) = self.freshness.sight(&key.tags()) else {
            let (Loaded::Keep(value) | Loaded::Pass(value)) = self.bypass(key.class(), load).await?;
            return Ok(Arc::new(value));
        };
        let name = name_of(key);
        let mut tier = Tier::L1;
        let value = match self.memory.get(&name, sight.version).await {
            Some(value) => value,
            None => {
                tier = Tier::Miss; // also for who waits for another's load
                // Boxed: what waits for moka is deep enough without it.
                let fill = Box::pin(async {
                    if let Some(value) = self.in_redis(&name, sight).await {
                        tier = Tier::L2;
                        return Ok(self.filled(key, Arc::new(value), true));
                    }
                    if self.shared.is_some() {
                        self.figures.missed_in_redis(key.class());
                    }
                    let leave = match self.load_leave(key, &name, sight).await {
                        Ok(leave) => leave,
                        Err(value) => {
                            tier = Tier::L2;
                            return Ok(self.filled(key, Arc::new(value), true));
                        }
                    };
                    let loaded = self.timed(load).await?;
                    Ok(self.loaded(key, &name, sight.stamp, loaded, leave))
                });
                self.memory.get_or_fill(&name, sight.version, fill).await?
            }
        };
        trace::found_in(tier);
        self.figures.found(key.class(), tier, begun.elapsed());
        Ok(value)
    }

    /// Whether what is cached may be answered now. Otherwise nothing has to be validated either.
    pub fn is_fresh(&self) -> bool {
        self.freshness.is_fresh()
    }

    /// Loads without looking, while nothing cached may be answered.
    ///
    /// # Errors
    /// What the load says.
    pub async fn bypass<T>(
        &self,
        class: Class,
        load: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let loaded = self.timed(load).await;
        trace::found_in(Tier::Miss);
        self.figures.bypassed(class, begun.elapsed());
        loaded
    }

    /// The values of keys, in their order, with one question to Redis for all that are not in memory; `load` gives those
    /// that are nowhere, in the order in which it is given them.
    ///
    /// # Errors
    /// What the load says.
    pub async fn get_many<K: Key>(
        &self,
        keys: &[K],
        load: impl AsyncFnOnce(&[K]) -> Result<Vec<K::Value>, StoreError>,
    ) -> Result<Vec<Arc<K::Value>>, StoreError> {
        let mark = self.mark();
        let mut values: Vec<Option<Arc<K::Value>>> = vec![None; keys.len()];
        let mut missing = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let begun = Instant::now();
            let Some(sight) = self.freshness.sight(&key.tags()) else { continue };
            let name = name_of(key);
            values[index] = self.memory.get(&name, sight.version).await;
            match &values[index] {
                Some(_) => self.found(key, Tier::L1, begun),
                None => missing.push((index, name, sight)),
            }
        }
        if let Some(shared) = self.shared.as_ref().filter(|_| !missing.is_empty()) {
            let begun = Instant::now();
            let names: Vec<_> = missing.iter().map(|(_, name, _)| Arc::clone(name)).collect();
            for ((index, name, sight), found) in missing.into_iter().zip(shared.get_many(&names).await) {
                let key = &keys[index];
                let value = found.and_then(|(stamp, bytes)| self.counting(stamp, sight, bytes));
                let Some(value) = value.map(Arc::new) else { continue };
                self.memory.put(name, sight.version, self.filled(key, Arc::clone(&value), true)).await;
                values[index] = Some(value);
                self.found(key, Tier::L2, begun);
            }
        }
        let missing: Vec<usize> = (0..keys.len()).filter(|index| values[*index].is_none()).collect();
        if !missing.is_empty() {
            let begun = Instant::now();
            let wanted: Vec<K> = missing.iter().map(|index| keys[*index].clone()).collect();
            let loaded: Vec<_> = self.timed(load(&wanted)).await?.into_iter().map(Arc::new).collect();
            for (index, value) in missing.into_iter().zip(&loaded) {
                values[index] = Some(Arc::clone(value));
                self.found(&keys[index], Tier::Miss, begun);
            }
            self.put_many(mark, wanted.iter().zip(loaded)).await;
        }
        let values: Option<Vec<_>> = values.into_iter().collect();
        values.ok_or_else(|| StoreError::Broken("fewer values were loaded than asked for".into()))
    }

    /// To be taken before something is loaded that [`put_many`](Self::put_many) gets.
    pub fn mark(&self) -> Mark {
        Mark(self.freshness.sight(&[]).map(|sight| sight.stamp))
    }

    /// Keeps what was loaded after the mark, as far as it has not changed since.
    pub async fn put_many<'k, K: Key>(&self, mark: Mark, entries: impl IntoIterator<Item = (&'k K, Arc<K::Value>)>) {
        let Mark(Some(stamp)) = mark else { return };
        let mut fills = Vec::new();
        for (key, value) in entries {
            let Some(sight) = self.freshness.sight(&key.tags()) else { return };
            if !self.freshness.counts(stamp, sight) || !key.keeps(&value) {
                continue;
            }
            let name = name_of(key);
            fills.extend(self.fill(key, &name, stamp, &value));
            self.memory.put(name, sight.version, self.filled(key, value, true)).await;
        }
        if let Some(shared) = &self.shared {
            shared.fill_later(fills, None);
        }
    }

    /// After a commit and before its answer: returns when no instance can answer with what was before; after two seconds
    /// at most, when one hangs.
    pub async fn settle(&self) {
        self.freshness.settle().await;
    }

    /// Removes from Redis what belongs to a project. Nobody would believe it any more; but it need not lie there.
    pub(crate) fn forget_project(&self, project: &crate::ids::ProjectId) {
        let Some(shared) = self.shared.clone() else { return };
        let start = format!("{}:", project.as_str());
        tokio::spawn(async move {
            if let Err(fault) = shared.remove_prefix(&start).await {
                tracing::debug!(%fault, "what was cached of a deleted project goes when its time is over");
            }
        });
    }

    /// Empties the memory of this instance and everything in Redis; says how many keys there were. (The other instances are
    /// told through the log of changes.)
    ///
    /// # Errors
    /// Redis' fault; what is left there counts no more all the same.
    pub async fn clear(&self) -> Result<u64, Fault> {
        self.memory.clear();
        match &self.shared {
            Some(shared) => shared.remove_prefix("").await,
            None => Ok(0),
        }
    }

    /// Closes the circuit breaker.
    pub fn reset_breaker(&self) {
        if let Some(shared) = &self.shared {
            shared.reset_breaker();
        }
    }

    /// Its state, from memory.
    pub fn snapshot(&self) -> Snapshot {
        let (entries, bytes) = self.memory.size();
        Snapshot {
            enabled: self.config.enabled,
            fresh: self.freshness.is_fresh(),
            has_redis: self.shared.is_some(),
            redis_available: self.shared.as_ref().is_some_and(Shared::is_available),
            l1_hits: self.figures.hits(Tier::L1),
            l2_hits: self.figures.hits(Tier::L2),
            misses: self.figures.misses(),
            latency: self.figures.latency(),
            entries,
            bytes,
            breaker: self.shared.as_ref().map_or((State::Closed, 0, 0), Shared::breaker_snapshot),
        }
    }

    /// From now on nothing is answered from here, and no writer waits for this instance.
    pub async fn stop(&self) {
        self.freshness.stop().await;
    }

    /// Runs a question to the database whose answer validates what is cached.
    pub(crate) async fn timed<T>(&self, question: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = question.await;
        trace::asked_store(begun.elapsed());
        answer
    }

    async fn in_redis<V: Value>(&self, name: &str, sight: Sight) -> Option<V> {
        let (stamp, bytes) = self.shared.as_ref()?.get(name).await?;
        self.counting(stamp, sight, bytes)
    }

    /// The value, if its stamp says that it is not older than what is known.
    fn counting<V: Value>(&self, stamp: Stamp, sight: Sight, bytes: bytes::Bytes) -> Option<V> {
        if self.freshness.counts(stamp, sight) { V::decode(bytes) } else { None }
    }

    /// For expensive keys the leave to load, or what another instance loaded while this one waited for it. Who waited
    /// for long enough loads without leave: whoever has it takes too long, or died.
    async fn load_leave<K: Key>(&self, key: &K, name: &Arc<str>, sight: Sight) -> Result<Option<LoadLeave>, K::Value> {
        let Some(shared) = self.shared.as_ref().filter(|_| key.is_expensive()) else { return Ok(None) };
        let begun = Instant::now();
        loop {
            let leave = match shared.load_leave(name).await {
                Leave::Given(leave) => Some(leave),
                Leave::Taken if begun.elapsed() < LOAD_PATIENCE => None,
                Leave::Taken | Leave::Unknown => return Ok(None),
            };
            if leave.is_none() {
                tokio::time::sleep(LOAD_LOOK).await;
            }
            // Also with the leave: whoever had it may have given it back since Redis was looked into.
            if let Some(value) = self.in_redis(name, sight).await {
                return Err(value);
            }
            if leave.is_some() {
                return Ok(leave);
            }
        }
    }

    fn loaded<K: Key>(
        &self,
        key: &K,
        name: &Arc<str>,
        stamp: Stamp,
        loaded: Loaded<K::Value>,
        leave: Option<LoadLeave>,
    ) -> Filled<K::Value> {
        let (value, keep) = match loaded {
            Loaded::Keep(value) => {
                let keep = key.keeps(&value);
                (value, keep)
            }
            Loaded::Pass(value) => (value, false),
        };
        if let Some(shared) = self.shared.as_ref().filter(|_| keep) {
            shared.fill_later(self.fill(key, name, stamp, &value).into_iter().collect(), leave);
        }
        self.filled(key, Arc::new(value), keep)
    }

    fn fill<K: Key>(&self, key: &K, name: &Arc<str>, stamp: Stamp, value: &K::Value) -> Option<Fill> {
        self.shared.as_ref()?;
        Some(Fill { name: Arc::clone(name), value: value.encode(), stamp, lifetime: self.lifetime(key.class()) })
    }

    fn filled<K: Key>(&self, key: &K, value: Arc<K::Value>, keep: bool) -> Filled<K::Value> {
        Filled { bytes: value.bytes(), value, lifetime: self.lifetime(key.class()), keep }
    }

    fn found<K: Key>(&self, key: &K, tier: Tier, begun: Instant) {
        trace::found_in(tier);
        self.figures.found(key.class(), tier, begun.elapsed());
    }

    fn lifetime(&self, class: Class) -> Duration {
        let lifetime = class.lifetime(&self.config.lifetimes);
        lifetime.mul_f64(rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER))
    }
}

fn name_of(key: &impl Key) -> Arc<str> {
    let mut name = String::with_capacity(64);
    key.name(&mut name);
    name.into()
}
