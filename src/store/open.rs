//! From the settings to a store: the one place that knows which databases there are.

use std::sync::Arc;

use super::{PostgresStore, SqliteStore, Store, StoreError};
use crate::config::{DatabaseConfig, DatabaseLocation};

/// Opens the database that the settings name, with the newest schema.
///
/// # Errors
/// Why it cannot be used, with the name of the file or server and never with a password.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &config.location {
        DatabaseLocation::Sqlite(path) => Arc::new(SqliteStore::open(path, config.busy_timeout, config.readers).await?),
        DatabaseLocation::Postgres(address) => Arc::new(PostgresStore::open(address, config).await?),
    })
}

/// Brings the schema up to date and answers how many migrations that took.
///
/// # Errors
/// As [`open`].
pub async fn migrate(config: &DatabaseConfig) -> Result<usize, StoreError> {
    match &config.location {
        DatabaseLocation::Sqlite(path) => SqliteStore::migrate_only(path, config.busy_timeout).await,
        DatabaseLocation::Postgres(address) => PostgresStore::migrate_only(address, config).await,
    }
}
