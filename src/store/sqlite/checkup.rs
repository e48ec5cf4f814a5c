//! A look at a SQLite file for `hubbub doctor`: it must be there, and is left as it was.

use std::{path::Path, time::Duration};

use sqlx::{Connection as _, Row as _, SqliteConnection, migrate::Migrate as _};

use super::{
    connect::{Database, MIGRATIONS, MIGRATIONS_TABLE},
    refusal::{migration_refused, refused},
};
use crate::{
    clock::now_utc,
    store::{
        StoreError,
        checkup::{SchemaState, WRITTEN},
    },
};

/// A connection to a file.
pub struct SqliteCheckup(SqliteConnection);

impl SqliteCheckup {
    /// Opens the file and reads its first page. It is neither made nor changed; `busy_timeout` as for the store.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub async fn open(path: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let mut this = Self(Database::new(path, busy_timeout).connect().await?);
        this.text("SELECT CAST(count(*) AS TEXT) FROM sqlite_master").await?;
        Ok(this)
    }

    /// The version of SQLite in this hub.
    ///
    /// # Errors
    /// The file's refusal.
    pub async fn version(&mut self) -> Result<String, StoreError> {
        self.text("SELECT sqlite_version()").await
    }

    /// How the file keeps what is being written: `wal` once a hub has opened it.
    ///
    /// # Errors
    /// The file's refusal.
    pub async fn journal_mode(&mut self) -> Result<String, StoreError> {
        self.text("PRAGMA journal_mode").await
    }

    /// How far its schema is.
    ///
    /// # Errors
    /// The file's refusal.
    pub async fn schema(&mut self) -> Result<SchemaState, StoreError> {
        let table = "SELECT CAST(count(*) AS TEXT) FROM sqlite_master WHERE name = '_sqlx_migrations'";
        if self.text(table).await? == "0" {
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
            let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query(WRITTEN).bind(now_utc().timestamp_millis()).execute(&mut *transaction).await?;
            transaction.rollback().await
        };
        written.await.map_err(|error| refused(&error))
    }

    async fn text(&mut self, sql: &'static str) -> Result<String, StoreError> {
        let row = sqlx::query(sql).fetch_one(&mut self.0).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| refused(&error))
    }
}
