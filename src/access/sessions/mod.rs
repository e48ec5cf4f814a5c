//! Cookie sessions: who somebody showed themselves to be, remembered for a day over reloads, restarts and instances.
//!
//! A session's secret is in its cookie and nowhere else; what is kept goes by its hash. It is kept in Redis, where every
//! instance finds it, or in memory where the hub has no Redis. In front of Redis each instance remembers for a while what
//! it found ([`KNOWN_FOR`]), and forgets at once when it is told that a session is over (`news`), which closes the
//! session's sockets, too.
//!
//! Invariant: a session that was revoked is not used from then on by an instance that hears the others. One that does not
//! asks Redis every time; when that is away, too, it goes on with what it knows for at most [`KNOWN_FOR`], and when it is
//! back looks at all of it again.

mod memory;
mod middleware;
mod news;
mod record;
mod redis;
mod reference;
mod sockets;

pub use middleware::{COOKIE, Outcome, SessionBackend, observed, session_middleware};
pub use record::{Listed, Owner, Presented, ends_at, enter, follow, presented};
pub use reference::{SessionRef, UserTag};
pub use sockets::{CloseConnection, Registered, RolesChanged, Socket, Sockets};

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

use self::{memory::Memory, news::News, record::Found};
use super::Unavailable;
use crate::{
    bus::Bus,
    clock::now_utc,
    ids::{ProjectId, UserId},
    redis::Commands,
};

/// How long an instance goes by what it found in Redis; less where sessions are short.
pub const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);
/// Sessions an instance remembers.
const KNOWN_MAX: u64 = 5_000;
/// A session's end is moved when that gains at least this part of its lifetime: not at every request.
const STEPS: u32 = 24;

/// The sessions of the hub, as this instance sees them.
pub struct Sessions {
    kept: Kept,
    known: Cache<SessionRef, Found>,
    /// Counts what ended: what was looked up before is not remembered after.
    endings: AtomicU64,
    ttl: Duration,
    bus: Arc<dyn Bus>,
    sockets: Arc<Sockets>,
}

enum Kept {
    Redis(Commands),
    Memory(Memory),
}

impl Sessions {
    /// Sessions that last `ttl` after their last use. Must be called in an actix system.
    pub fn start(redis: Option<Commands>, bus: Arc<dyn Bus>, ttl: Duration) -> Arc<Self> {
        let known_for = KNOWN_FOR.min(ttl / STEPS);
        let this = Arc::new(Self {
            kept: redis.map_or_else(|| Kept::Memory(Memory::new()), Kept::Redis),
            known: Cache::builder().max_capacity(KNOWN_MAX).time_to_live(known_for).build(),
            endings: AtomicU64::new(0),
            ttl,
            bus,
            sockets: Arc::default(),
        });
        news::listen(&this);
        this
    }

    /// The open sockets of this instance.
    pub fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Until when a session lasts unless it is used, ms since 1970; `None` when it is over. Does not count as a use.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn end_of(&self, session: &SessionRef) -> Result<Option<i64>, Unavailable> {
        let found = match &self.kept {
            Kept::Redis(redis) => redis::look(redis, session, self.ttl, Duration::MAX).await?,
            Kept::Memory(memory) => memory.look(session, self.ttl, Duration::MAX).await,
        };
        Ok(found.map(|found| found.expires_at_ms))
    }

    /// Whether this instance has just seen the session and heard of no end: a socket that is registered and finds it
    /// known will be told.
    pub fn is_known(&self, session: &SessionRef) -> bool {
        self.known.contains_key(session)
    }

    /// The sessions of a user, the newest first.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn list(&self, user: &UserTag) -> Result<Vec<Listed>, Unavailable> {
        let mut listed = match &self.kept {
            Kept::Redis(redis) => redis::list(redis, user).await?,
            Kept::Memory(memory) => memory.list(user),
        };
        listed.sort_by(|one, other| (other.created_at, &other.session.hash).cmp(&(one.created_at, &one.session.hash)));
        Ok(listed)
    }

    /// Ends a session everywhere and closes its sockets. Whether there was one.
    ///
    /// # Errors
    /// Redis is away; then it is over on this instance only.
    pub async fn revoke(&self, session: &SessionRef) -> Result<bool, Unavailable> {
        let ended = match &self.kept {
            Kept::Redis(redis) => redis::end(redis, session).await,
            Kept::Memory(memory) => Ok(memory.end(session).await),
        };
        self.ended(session).await;
        self.tell(&News::SessionEnded(session.to_string()));
        Ok(ended?)
    }

    /// Ends all sessions of a user everywhere and closes their sockets. Whether there were any.
    ///
    /// # Errors
    /// Redis is away; then they are over on this instance only.
    pub async fn revoke_all(&self, user: &UserTag) -> Result<bool, Unavailable> {
        let ended = match &self.kept {
            Kept::Redis(redis) => redis::end_all(redis, user).await,
            Kept::Memory(memory) => Ok(memory.end_all(user).await),
        };
        self.all_ended(user).await;
        self.tell(&News::SessionsEnded(user.as_str().into()));
        Ok(ended?)
    }

    /// A user's role in a project was changed or taken: all instances let their open sockets ask again.
    pub fn tell_role_changed(&self, user: &UserId, project: &ProjectId) {
        self.tell(&News::RoleChanged(user.clone(), project.clone()));
    }

    /// Finds the session of a request, and counts as a use of it.
    async fn look(&self, session: &SessionRef) -> Result<Option<Found>, Unavailable> {
        let redis = match &self.kept {
            Kept::Memory(memory) => return Ok(memory.look(session, self.ttl, self.step()).await),
            Kept::Redis(redis) => redis,
        };
        // Who does not hear the others may not have heard of the end.
        let known = self.known.get(session).await.filter(|found| found.expires_at_ms > now_utc().timestamp_millis());
        if let Some(found) = known.clone().filter(|_| self.bus.is_up(&news::TOPIC)) {
            return Ok(Some(found));
        }
        let endings = self.endings.load(Ordering::Acquire);
        match redis::look(redis, session, self.ttl, self.step()).await {
            Ok(Some(found)) => {
                self.remember(session, &found, endings).await;
                Ok(Some(found))
            }
            Ok(None) => {
                self.known.invalidate(session).await;
                Ok(None)
            }
            Err(fault) => known.map_or_else(|| Err(fault.into()), |found| Ok(Some(found))),
        }
    }

    /// Remembers what was found, unless something ended since it was asked for.
    async fn remember(&self, session: &SessionRef, found: &Found, endings: u64) {
        self.known.insert(session.clone(), Found { extended: false, ..found.clone() }).await;
        if self.endings.load(Ordering::Acquire) != endings {
            self.known.invalidate(session).await;
        }
    }

    async fn save(&self, session: &SessionRef, ends_at_ms: Option<i64>, owner: &str) -> Result<bool, Unavailable> {
        Ok(match &self.kept {
            Kept::Redis(redis) => redis::save(redis, session, self.ttl, ends_at_ms, owner).await?,
            Kept::Memory(memory) => memory.save(session.clone(), self.ttl, ends_at_ms, owner).await,
        })
    }

    /// Whether the session is still there.
    async fn change(&self, session: &SessionRef, owner: &str) -> Result<bool, Unavailable> {
        let changed = match &self.kept {
            Kept::Redis(redis) => redis::change(redis, session, owner).await?,
            Kept::Memory(memory) => memory.change(session, owner).await,
        };
        self.endings.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate(session).await;
        Ok(changed)
    }

    async fn is_there(&self, session: &SessionRef) -> Result<bool, Unavailable> {
        Ok(self.end_of(session).await?.is_some())
    }

    async fn ended(&self, session: &SessionRef) {
        self.endings.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate(session).await;
        self.sockets.close_session(session);
    }

    async fn all_ended(&self, user: &UserTag) {
        self.endings.fetch_add(1, Ordering::AcqRel);
        let theirs: Vec<_> = self.known.iter().filter(|(session, _)| session.user == *user).collect();
        for (session, _) in theirs {
            self.known.invalidate(&*session).await;
        }
        self.sockets.close_user(user);
    }

    /// What may have ended unheard must be looked up again.
    async fn forget_known(&self) {
        self.endings.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
    }

    fn tell(&self, news: &News) {
        self.bus.publish(news::TOPIC, news.encode(), None);
    }

    fn step(&self) -> Duration {
        self.ttl / STEPS
    }
}
