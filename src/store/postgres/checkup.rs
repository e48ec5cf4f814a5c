//! A look at a PostgreSQL server for `hubbub doctor`: nothing is left of it.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, Row as _, migrate::Migrate as _, postgres::PgRow};

use super::{
    connect::Server,
    migrate::{MIGRATIONS, MIGRATIONS_TABLE},
    refusal::{migration_refused, refused},
};
use crate::{
    clock::now_utc,
    config::{DatabaseConfig, PostgresAddress},
    store::{
        StoreError,
        checkup::{DELETED, SchemaState, WRITTEN},
    },
};

/// A connection to a server.
pub struct PostgresCheckup(PgConnection);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresFacts {
    /// As it writes it, as in `15.8`.
    pub version: String,
    /// As in 150008.
    pub version_number: i32,
    /// How the database keeps texts; `UTF8` is needed.
    pub encoding: String,
    /// Whether commits reach the disk at all.
    pub fsync: bool,
    /// `synchronous_commit` of the hub's own connections.
    pub synchronous_commit: String,
    /// Whether it is a standby, which takes no writes.
    pub is_standby: bool,
    /// Connections it takes from users like this one.
    pub connections_max: i64,
    /// Those that are open, of all users.
    pub connections: i64,
    /// Its clock, milliseconds since 1970.
    pub clock_ms: i64,
}

const FACTS: &str = "SELECT current_setting('server_version') AS version, \
     current_setting('server_version_num')::int AS version_number, \
     current_setting('server_encoding') AS encoding, \
     current_setting('fsync') = 'on' AS fsync, \
     current_setting('synchronous_commit') AS synchronous_commit, \
     pg_is_in_recovery() AS is_standby, \
     current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
         AS connections_max, \
     (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS connections, \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS clock_ms";

impl PostgresCheckup {
    /// Connects as the hub does, once.
    ///
    /// # Errors
    /// Why the server cannot be used; no password in it.
    pub async fn connect(address: &PostgresAddress, config: &DatabaseConfig) -> Result<Self, StoreError> {
        let server = Server::new(address, config.statement_timeout)?;
        server.connect().await.map(Self).map_err(|error| refused(&error))
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn facts(&mut self) -> Result<PostgresFacts, StoreError> {
        let row = sqlx::query(FACTS).fetch_one(&mut self.0).await;
        row.and_then(|row| facts_of(&row)).map_err(|error| refused(&error))
    }

    /// How far the schema is.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn schema(&mut self) -> Result<SchemaState, StoreError> {
        let exists = sqlx::query("SELECT to_regclass($1) IS NOT NULL").bind(MIGRATIONS_TABLE).fetch_one(&mut self.0);
        if !exists.await.and_then(|row| row.try_get::<bool, _>(0)).map_err(|error| refused(&error))? {
            return Ok(SchemaState::of(&MIGRATIONS, &[]));
        }
        let found = self.0.list_applied_migrations(MIGRATIONS_TABLE).await;
        Ok(SchemaState::of(&MIGRATIONS, &found.map_err(|error| migration_refused(&error))?))
    }

    /// Writes a row and takes it back.
    ///
    /// # Errors
    /// Why nothing can be written.
    pub async fn write_and_take_back(&mut self) -> Result<(), StoreError> {
        let written = async {
            let mut transaction = self.0.begin().await?;
            sqlx::query(WRITTEN).bind(now_utc().timestamp_millis()).execute(&mut *transaction).await?;
            transaction.rollback().await
        };
        written.await.map_err(|error| refused(&error))
    }

    /// How long commits take that reach the disk; what is written is deleted before, so nobody ever sees it.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn commit_times(&mut self, count: usize) -> Result<Vec<Duration>, StoreError> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let committed = async {
                let mut transaction = self.0.begin().await?;
                sqlx::query(WRITTEN).bind(now_utc().timestamp_millis()).execute(&mut *transaction).await?;
                sqlx::query(DELETED).execute(&mut *transaction).await?;
                let begun = Instant::now();
                transaction.commit().await?;
                Ok(begun.elapsed())
            };
            times.push(committed.await.map_err(|error| refused(&error))?);
        }
        Ok(times)
    }

    /// Says goodbye.
    pub async fn close(self) {
        drop(self.0.close().await); // whatever the server thinks of it
    }
}

fn facts_of(row: &PgRow) -> Result<PostgresFacts, sqlx::Error> {
    Ok(PostgresFacts {
        version: row.try_get("version")?,
        version_number: row.try_get("version_number")?,
        encoding: row.try_get("encoding")?,
        fsync: row.try_get("fsync")?,
        synchronous_commit: row.try_get("synchronous_commit")?,
        is_standby: row.try_get("is_standby")?,
        connections_max: row.try_get("connections_max")?,
        connections: row.try_get("connections")?,
        clock_ms: row.try_get("clock_ms")?,
    })
}
