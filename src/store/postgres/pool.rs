//! The connections of this process to the server, each lent to one call at a time, for a bounded time.
//!
//! sqlx's own pool asks the server about every connection that comes back, which is a third round trip for each of our
//! statements, and waits for the answer without limit: against a server that hangs, the pool would be used up for ever.
//! Here a connection comes back only after a statement that ended well, or with an error that left it in order. All others
//! (a time-out, a call that was given up, a lost server) are closed, and the server ends by itself what it was doing.
//!
//! Appends have connections of their own: they never wait behind a flood of reads.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    connect::Server,
    refusal::{is_conflict, is_lost_connection, leaves_connection_usable, refused},
};
use crate::store::StoreError;

/// One connection in so many is kept for appends.
const APPENDS_SHARE: usize = 3;
/// A connection that was not used for so long is asked whether it is still there.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// One that was not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// How often a statement is run when what others write in the same moment rolls it back.
const TRIES: u32 = 4;
/// How long closing may wait for the server to take the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A statement with its arguments.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// What a call does to the database, and so which connections it may use and what may be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Appends messages. Done twice it is done once.
    Append,
    /// Changes anything else: the answer to a second time may be another one.
    Change,
    /// Changes nothing.
    Read,
}

pub(super) struct Pool {
    server: Server,
    connect_timeout: Duration,
    patience: Duration,
    appends: Permits,
    others: Permits,
    idle: Mutex<Vec<Idle>>,
    /// Counts how often the server was found gone: what was connected before is not used again.
    losses: AtomicU64,
    /// The last statement that writes failed for a reason that may pass, or there was none yet.
    fails_to_write: AtomicBool,
}

/// The right to have a connection.
struct Permits {
    semaphore: Semaphore,
    count: u32,
}

/// A connection that waits for its next use; the last one that came goes first.
struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// A connection lent to a call.
struct Lease<'a> {
    connection: PgConnection,
    _permit: SemaphorePermit<'a>,
    /// What was lost when it was lent.
    losses: u64,
    /// It has been used before: whether the server is still there may show only now.
    reused: bool,
}

impl Pool {
    /// `size` connections at most (at least 2), opened when they are needed. A call has `patience` from asking for a
    /// connection to its answer.
    pub(super) fn new(server: Server, size: usize, connect_timeout: Duration, patience: Duration) -> Self {
        let appends = (size / APPENDS_SHARE).max(1);
        Self {
            server,
            connect_timeout,
            patience,
            appends: Permits::new(appends),
            others: Permits::new(size.saturating_sub(appends).max(1)),
            idle: Mutex::new(Vec::new()),
            losses: AtomicU64::new(0),
            fails_to_write: AtomicBool::new(true), // until it was tried
        }
    }

    /// How many connections are kept for appends.
    pub(super) fn appends_at_once(&self) -> usize {
        self.appends.count as usize
    }

    /// Whether the last statement that writes failed for a reason that may pass, or there was none yet.
    pub(super) fn fails_to_write(&self) -> bool {
        self.fails_to_write.load(Relaxed)
    }

    /// Puts in a connection that was made elsewhere.
    pub(super) fn put(&self, connection: PgConnection) {
        self.idle().push(Idle { connection, since: Instant::now() });
    }

    /// The error with the server's name in it, for whoever starts the hub.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        self.server.named(error)
    }

    /// Runs one statement, which commits by itself, and gives its rows once it has committed.
    ///
    /// One that was rolled back because of what others wrote is run again. So is one on a connection that turned out to be
    /// gone, if that is harmless.
    pub(super) async fn run<'q>(
        &self,
        kind: Kind,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let outcome = self.try_run(kind, statement).await;
        if kind != Kind::Read {
            self.fails_to_write.store(matches!(outcome, Err(StoreError::Unavailable(_))), Relaxed);
        }
        outcome
    }

    async fn try_run<'q>(&self, kind: Kind, statement: impl Fn() -> Statement<'q>) -> Result<Vec<PgRow>, StoreError> {
        let deadline = Instant::now() + self.patience;
        let mut tries = 0;
        loop {
            tries += 1;
            let lease = timeout_at(deadline, self.lease(kind, deadline)).await;
            let mut lease = lease.unwrap_or_else(|_| Err(StoreError::Unavailable("no connection was free".into())))?;
            // Given up here or by the caller, the lease is dropped and its connection closed.
            let rows = timeout_at(deadline, statement().fetch_all(&mut lease.connection)).await;
            let Ok(outcome) = rows else {
                self.lost(lease.losses);
                return Err(StoreError::Unavailable("no answer in time".into()));
            };
            let error = match outcome {
                Ok(rows) => {
                    self.put(lease.connection);
                    return Ok(rows);
                }
                Err(error) => error,
            };
            let stale = lease.reused && is_lost_connection(&error);
            if leaves_connection_usable(&error) {
                self.put(lease.connection);
            } else if is_lost_connection(&error) {
                self.lost(lease.losses);
            }
            let again = is_conflict(&error) || (stale && kind != Kind::Change);
            if !again || tries == TRIES {
                return Err(refused(&error));
            }
        }
    }

    /// A connection in working order, as far as that can be told without a round trip.
    async fn lease(&self, kind: Kind, deadline: Instant) -> Result<Lease<'_>, StoreError> {
        let permits = if kind == Kind::Append { &self.appends } else { &self.others };
        let permit = permits.semaphore.acquire().await.map_err(|_| StoreError::Unavailable("it was closed".into()))?;
        let losses = self.losses.load(Relaxed);
        loop {
            let idle = self.idle().pop();
            let Some(Idle { mut connection, since }) = idle else { break };
            let unused = since.elapsed();
            if unused > IDLE_MAX {
                continue; // as are those below it
            }
            if unused < TRUSTED_IDLE || connection.ping().await.is_ok() {
                return Ok(Lease { connection, _permit: permit, losses, reused: true });
            }
            self.lost(losses);
        }
        let connected = timeout_at(deadline.min(Instant::now() + self.connect_timeout), self.server.connect()).await;
        let connected = connected.map_err(|_| StoreError::Unavailable("no connection to the server in time".into()))?;
        let connection = connected.map_err(|error| refused(&error))?;
        Ok(Lease { connection, _permit: permit, losses, reused: false })
    }

    /// The server is gone, and so are all connections that were made to it before.
    fn lost(&self, losses: u64) {
        if self.losses.compare_exchange(losses, losses + 1, Relaxed, Relaxed).is_ok() {
            let idle = std::mem::take(&mut *self.idle());
            drop(idle); // outside of the lock
        }
    }

    /// No call gets a connection from now on. Waits for those that have one; their time is bounded.
    pub(super) async fn close(&self) {
        for permits in [&self.appends, &self.others] {
            let all = permits.semaphore.acquire_many(permits.count).await;
            permits.semaphore.close();
            drop(all);
        }
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            timeout(GOODBYE, connection.close()).await.ok(); // a server that is gone need not be told
        }
    }

    /// A connection of its own, for a look from beside.
    #[cfg(test)]
    pub(super) async fn connection(&self) -> PgConnection {
        self.server.connect().await.unwrap()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner) // a list of connections, whole at any time
    }
}

impl Permits {
    fn new(count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        Self { semaphore: Semaphore::new(count), count: u32::try_from(count).unwrap_or(u32::MAX) }
    }
}
