//! The first tier: values in this process, bounded in bytes and entries, each for its time.
//!
//! An entry lies under its name and the version of the data it is from. When the data changes the version does, too: the
//! entry is not found any more, a load that began before fills a place where nobody looks, and who comes after the change
//! never joins a load from before it.

use std::{any::Any, sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use moka::{Expiry, future::Cache};

use super::ledger::Version;
use crate::{clock::Duration, config::CacheConfig};

/// What an entry costs besides its value and name, about.
const ENTRY_BYTES: u64 = 200;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    name: Arc<str>,
    version: Version,
}

#[derive(Clone)]
struct Held {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    lifetime: Duration,
}

/// A value on its way into memory.
pub(super) struct Filled<V> {
    pub(super) value: Arc<V>,
    pub(super) bytes: usize,
    pub(super) lifetime: Duration,
    /// Otherwise those who wait get it, and it is forgotten.
    pub(super) keep: bool,
}

/// Why nothing was put into memory.
enum NotKept<E> {
    Value(Arc<dyn Any + Send + Sync>),
    Failed(E),
}

struct ByLifetime;

impl Expiry<Place, Held> for ByLifetime {
    fn expire_after_create(&self, _: &Place, held: &Held, _: Instant) -> Option<Duration> {
        Some(held.lifetime)
    }

    fn expire_after_update(&self, _: &Place, held: &Held, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(held.lifetime)
    }
}

pub(super) struct Memory {
    entries: Cache<Place, Held>,
    value_bytes_max: usize,
}

impl Memory {
    pub(super) fn new(config: &CacheConfig) -> Self {
        // One bound for both: an entry weighs at least its share of the bytes.
        let share = config.l1_bytes_max / config.l1_entries_max.max(1);
        let weigh = move |place: &Place, held: &Held| {
            let bytes = held.bytes as u64 + place.name.len() as u64 + ENTRY_BYTES;
            u32::try_from(bytes.max(share)).unwrap_or(u32::MAX)
        };
        let entries =
            Cache::builder().max_capacity(config.l1_bytes_max).weigher(weigh).expire_after(ByLifetime).build();
        Self { entries, value_bytes_max: config.value_bytes_max }
    }

    pub(super) async fn get<V: Send + Sync + 'static>(&self, name: &Arc<str>, version: Version) -> Option<Arc<V>> {
        let place = Place { name: Arc::clone(name), version };
        self.entries.get(&place).await?.value.downcast().ok()
    }

    /// What is there, or what `fill` brings; of several who come at once one fills, and all get that.
    pub(super) async fn get_or_fill<V, E>(
        &self,
        name: &Arc<str>,
        version: Version,
        fill: BoxFuture<'_, Result<Filled<V>, E>>,
    ) -> Result<Arc<V>, E>
    where
        V: Send + Sync + 'static,
        E: Clone + Send + Sync + 'static,
    {
        let place = Place { name: Arc::clone(name), version };
        let fill = Box::pin(async {
            let filled = fill.await.map_err(NotKept::Failed)?;
            let value: Arc<dyn Any + Send + Sync> = filled.value;
            if !filled.keep || filled.bytes > self.value_bytes_max {
                return Err(NotKept::Value(value));
            }
            Ok(Held { value, bytes: filled.bytes, lifetime: filled.lifetime })
        });
        let value = match self.entries.try_get_with(place, fill).await {
            Ok(held) => held.value,
            Err(not_kept) => match &*not_kept {
                NotKept::Value(value) => Arc::clone(value),
                NotKept::Failed(error) => return Err(error.clone()),
            },
        };
        // Invariant of the keys: one name, one type.
        Ok(value.downcast().unwrap_or_else(|_| unreachable!("two types under one name")))
    }

    pub(super) async fn put<V: Send + Sync + 'static>(&self, name: Arc<str>, version: Version, filled: Filled<V>) {
        if filled.keep && filled.bytes <= self.value_bytes_max {
            let held = Held { value: filled.value, bytes: filled.bytes, lifetime: filled.lifetime };
            self.entries.insert(Place { name, version }, held).await;
        }
    }

    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Lets go of what is too much or too old. It happens by itself only when something is put in or looked for.
    pub(super) async fn tidy(&self) {
        self.entries.run_pending_tasks().await;
    }

    /// Entries, and their size as it is counted, when it was last tidied.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}
