//! Making, opening and migrating the database file, before the first message.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::Access, io::Errno};
use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    migrate::{Migrate as _, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    place::Place,
    refusal::{migration_refused, refused},
    turns::Turns,
};
use crate::store::{BATCH_ROWS_MAX, StoreError};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Where sqlx keeps the list of applied migrations.
pub(super) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// SQLite takes the timeout as an `int` of milliseconds; an hour is for ever.
const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// How long a reader waits for a free connection, however short the wait for a lock is.
const READER_WAIT_MIN: Duration = Duration::from_secs(1);

/// The WAL is cut back to this after a checkpoint: a burst does not keep the disk.
const WAL_KEPT_BYTES: &str = "67108864";

/// A database file and how it is opened.
pub(super) struct Database {
    path: PathBuf,
    busy_timeout: Duration,
    options: SqliteConnectOptions,
}

impl Database {
    pub(super) fn new(path: &Path, busy_timeout: Duration) -> Self {
        let busy_timeout = busy_timeout.min(BUSY_TIMEOUT_MAX);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(busy_timeout)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("journal_size_limit", WAL_KEPT_BYTES)
            // SQLite's thread gives the rows of a statement into a channel, and holds the write lock until all are in: it
            // must not have to wait until a busy runtime takes them out.
            .row_buffer_size(2 * BATCH_ROWS_MAX)
            .disable_statement_logging();
        Self { path: path.to_owned(), busy_timeout, options }
    }

    /// Another connection to a file that is there.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        self.options.connect().await.map_err(|error| self.named(refused(&error)))
    }

    /// The order in which the processes that use the file write. One that hangs costs the others half of what they have for
    /// a write, once.
    pub(super) fn turns(&self) -> Result<Turns, StoreError> {
        let turns = Turns::beside(&self.path, self.busy_timeout / 2);
        turns.map_err(|error| self.named(StoreError::Unavailable(plain(&error))))
    }

    /// Connections that only read, opened when they are needed.
    pub(super) fn readers(&self, count: u32) -> SqlitePool {
        // `query_only` and not read-only opening: after the crash of another process the next reader has to repair the
        // index of the WAL, which a file opened read-only forbids.
        let options = self.options.clone().pragma("query_only", "ON");
        SqlitePoolOptions::new()
            .max_connections(count.max(1))
            .acquire_timeout(self.busy_timeout.max(READER_WAIT_MIN))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false) // a round trip to the connection's thread, for a file that does not go away
            .connect_lazy_with(options)
    }

    /// A connection to the file, made if it is missing, with the newest schema, and how many migrations that took.
    pub(super) async fn migrated(&self) -> Result<(SqliteConnection, usize), StoreError> {
        match Place::of(&self.path) {
            Place::Local => {}
            Place::Network(kind) => {
                return Err(self.named(StoreError::Broken(format!(
                    "it is on a network file system ({kind}), which SQLite cannot share safely; put it on a local disk, \
                     or use PostgreSQL"
                ))));
            }
            Place::Doubtful(kind) => tracing::warn!(
                file = %self.path.display(),
                "the database is on a file system of the kind {kind}: if other machines use it, too, they will damage it"
            ),
        }
        let path = self.path.clone();
        let locked = tokio::task::spawn_blocking(move || lock_for_migration(&path)).await;
        let lock = locked
            .map_err(|_| StoreError::Broken("the lock for migrations could not be taken".into()))?
            .map_err(|error| self.named(StoreError::Unavailable(error)))?;

        // Going over to WAL needs the file for itself and does not wait for it, hence under the lock, too.
        let options = self.options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let mut connection = options.connect().await.map_err(|error| self.named(refused(&error)))?;
        let applied = migrate(&mut connection).await.map_err(|error| self.named(error))?;
        drop(lock); // closing the file unlocks it
        Ok((connection, applied))
    }

    /// The error with the file's name in it, for whoever starts the hub.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        let name = self.path.display();
        match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{name}: {text}")),
            StoreError::Broken(text) => StoreError::Broken(format!("{name}: {text}")),
            StoreError::NoRoom => StoreError::NoRoom,
        }
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let refused = |error| migration_refused(&error);
    connection.ensure_migrations_table(MIGRATIONS_TABLE).await.map_err(refused)?;
    let before = connection.list_applied_migrations(MIGRATIONS_TABLE).await.map_err(refused)?.len();
    // Not `run`: its future is not general enough to be Send.
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(refused)?;
    let after = connection.list_applied_migrations(MIGRATIONS_TABLE).await.map_err(refused)?.len();
    Ok(after - before)
}

/// Makes the folder and waits until no other process migrates. The lock lasts as long as the file that is returned.
fn lock_for_migration(path: &Path) -> Result<File, String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("its folder cannot be made: {}", plain(&error)))?;
    }
    // SQLite would open it all the same, for reading, and make files beside it that nobody may write either. Asked without
    // opening it: closing a file lets go of all locks that this process has on it.
    if let Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) = rustix::fs::access(path, Access::WRITE_OK) {
        return Err("the file is not writable".into());
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".migrate.lock");
    let lock_failed = |error: io::Error| format!("its folder is not writable: {}", plain(&error));
    let lock = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(lock_failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            tracing::info!("waiting for another process that brings the database up to date");
            lock.lock().map_err(lock_failed)?;
            Ok(lock)
        }
        Err(TryLockError::Error(error)) => Err(lock_failed(error)),
    }
}

fn plain(error: &io::Error) -> String {
    error.kind().to_string()
}
