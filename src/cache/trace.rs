//! Where the answer to one request came from, gathered while it is made: for its headers and its line in the log.
//!
//! A route is traced by running it in [`traced`]; whatever it reads through the cache notes itself, at any depth.

use std::cell::Cell;

use crate::clock::Duration;

/// Where something was found, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// In this process.
    L1,
    /// In Redis.
    L2,
    /// In the database.
    Miss,
}

impl Tier {
    /// As `X-Cache` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Miss => "miss",
        }
    }
}

/// What one request asked of the cache.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace {
    /// The farthest it had to go; `None` if it asked for nothing.
    pub tier: Option<Tier>,
    /// Time spent in Redis.
    pub l2: Duration,
    /// Time spent in the database, by what the cache loaded or had validated.
    pub store: Duration,
}

tokio::task_local! {
    static TRACE: Cell<Trace>;
}

/// Runs something, and tells what it asked of the cache.
pub async fn traced<T>(task: impl Future<Output = T>) -> (T, Trace) {
    TRACE
        .scope(Cell::default(), async {
            let done = task.await;
            (done, TRACE.with(Cell::get))
        })
        .await
}

/// Something was found in a tier, or there was nothing to be found.
pub(super) fn found_in(tier: Tier) {
    note(|trace| trace.tier = trace.tier.max(Some(tier)));
}

/// Redis was asked.
pub(super) fn asked_redis(took: Duration) {
    note(|trace| trace.l2 += took);
}

/// The database was asked.
pub(super) fn asked_store(took: Duration) {
    note(|trace| trace.store += took);
}

/// Nobody listens outside of a traced route.
fn note(change: impl FnOnce(&mut Trace)) {
    let noted = TRACE.try_with(|cell| {
        let mut trace = cell.get();
        change(&mut trace);
        cell.set(trace);
    });
    noted.unwrap_or_default();
}
