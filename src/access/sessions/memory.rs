//! Sessions of an instance without Redis: in memory, bounded, gone with the process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{
    Expiry,
    future::Cache,
    ops::compute::{CompResult, Op},
};

use super::{
    SessionRef, UserTag,
    record::{Found, Listed},
    redis::millis,
};
use crate::clock::{Timestamp, now_utc};

/// Sessions kept, about 50 MB; beyond it those not used for the longest time end.
const SESSIONS_MAX: u64 = 100_000;

#[derive(Debug, Clone)]
struct Kept {
    owner: Arc<str>,
    created_at_ms: i64,
    expires_at_ms: i64,
    ends_at_ms: Option<i64>,
}

/// Forgets a session when it ends.
struct AtItsEnd;

impl Expiry<SessionRef, Kept> for AtItsEnd {
    fn expire_after_create(&self, _: &SessionRef, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.left())
    }

    fn expire_after_update(&self, _: &SessionRef, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.left())
    }
}

impl Kept {
    fn left(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.expires_at_ms - now_utc().timestamp_millis()).unwrap_or(0))
    }

    fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

pub(super) struct Memory(Cache<SessionRef, Kept>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(SESSIONS_MAX).expire_after(AtItsEnd).build())
    }

    pub(super) async fn look(&self, session: &SessionRef, ttl: Duration, step: Duration) -> Option<Found> {
        let kept = self.0.get(session).await.filter(|kept| !kept.is_over())?;
        let to = end(ttl, kept.ends_at_ms);
        let extended = to - kept.expires_at_ms >= millis(step);
        let expires_at_ms = if extended { to } else { kept.expires_at_ms };
        if extended {
            // Only if it is still there: it may have been revoked since.
            let extend = |entry: Option<moka::Entry<_, Kept>>| {
                let op = entry.map_or(Op::Nop, |entry| Op::Put(Kept { expires_at_ms, ..entry.into_value() }));
                std::future::ready(op)
            };
            self.0.entry_by_ref(session).and_compute_with(extend).await;
        }
        Some(Found { owner: kept.owner.to_string(), expires_at_ms, extended })
    }

    pub(super) async fn save(&self, session: SessionRef, ttl: Duration, ends_at_ms: Option<i64>, owner: &str) -> bool {
        let kept = Kept {
            owner: owner.into(),
            created_at_ms: now_utc().timestamp_millis(),
            expires_at_ms: end(ttl, ends_at_ms),
            ends_at_ms,
        };
        let good = !kept.is_over();
        if good {
            self.0.insert(session, kept).await;
        }
        good
    }

    pub(super) async fn change(&self, session: &SessionRef, owner: &str) -> bool {
        let change = |entry: Option<moka::Entry<_, Kept>>| {
            let op = entry.map_or(Op::Nop, |entry| Op::Put(Kept { owner: owner.into(), ..entry.into_value() }));
            std::future::ready(op)
        };
        let outcome = self.0.entry_by_ref(session).and_compute_with(change).await;
        matches!(outcome, CompResult::ReplacedWith(_))
    }

    pub(super) async fn end(&self, session: &SessionRef) -> bool {
        self.0.remove(session).await.is_some()
    }

    pub(super) async fn end_all(&self, user: &UserTag) -> bool {
        let theirs = self.list(user);
        for listed in &theirs {
            self.0.invalidate(&listed.session).await;
        }
        !theirs.is_empty()
    }

    /// Walks over all: rare, and a matter of milliseconds.
    pub(super) fn list(&self, user: &UserTag) -> Vec<Listed> {
        let theirs = self.0.iter().filter(|(session, kept)| session.user == *user && !kept.is_over());
        let listed = |(session, kept): (Arc<SessionRef>, Kept)| {
            Some(Listed {
                session: (*session).clone(),
                created_at: Timestamp::from_timestamp_millis(kept.created_at_ms)?,
                expires_at: Timestamp::from_timestamp_millis(kept.expires_at_ms)?,
            })
        };
        theirs.filter_map(listed).collect()
    }
}

fn end(ttl: Duration, ends_at_ms: Option<i64>) -> i64 {
    let to = now_utc().timestamp_millis().saturating_add(millis(ttl));
    ends_at_ms.map_or(to, |end| to.min(end))
}
