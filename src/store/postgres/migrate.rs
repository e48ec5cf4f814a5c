//! Bringing the schema up to date, once, however many instances start at the same moment.

use std::sync::LazyLock;

use sqlx::{
    Connection as _, PgConnection, Row as _,
    migrate::{AppliedMigration, Migrate as _, Migrator},
};

use super::refusal::{migration_refused, refused};
use crate::store::StoreError;

/// Without the library's own lock: it belongs to a session, which a pooler between hub and server does not keep.
pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations/postgres");
    migrations.set_locking(false);
    migrations
});

/// Where sqlx keeps the list of applied migrations.
pub(super) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// Who brings a database up to date holds this; any number that others are unlikely to use in the same database.
const LOCK: i64 = 0x6875_6262_7562; // "hubbub"

/// Applies what is missing, all or nothing, and answers how many migrations that were.
///
/// A schema that is up to date is only looked at, so that a hub may run as a user who may not change it.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<usize, StoreError> {
    if is_up_to_date(connection).await? {
        return Ok(0);
    }
    // From here on others may have to be waited for, and large tables to be changed.
    let mut transaction = connection.begin().await.map_err(|error| refused(&error))?;
    let unbounded = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(unbounded).execute(&mut *transaction).await.map_err(|error| refused(&error))?;
    let free = sqlx::query("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK).fetch_one(&mut *transaction).await;
    if !free.and_then(|row| row.try_get::<bool, _>(0)).map_err(|error| refused(&error))? {
        tracing::info!("waiting for another instance that brings the database up to date");
        let wait = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
        wait.execute(&mut *transaction).await.map_err(|error| refused(&error))?;
    }
    let outcome = apply(&mut transaction).await?;
    transaction.commit().await.map_err(|error| refused(&error))?;
    Ok(outcome)
}

async fn apply(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let refused = |error| migration_refused(&error);
    connection.ensure_migrations_table(MIGRATIONS_TABLE).await.map_err(refused)?;
    let before = connection.list_applied_migrations(MIGRATIONS_TABLE).await.map_err(refused)?.len();
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(refused)?;
    let after = connection.list_applied_migrations(MIGRATIONS_TABLE).await.map_err(refused)?.len();
    Ok(after - before)
}

async fn is_up_to_date(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let exists = sqlx::query("SELECT to_regclass($1) IS NOT NULL").bind(MIGRATIONS_TABLE).fetch_one(&mut *connection);
    let exists = exists.await.and_then(|row| row.try_get::<bool, _>(0)).map_err(|error| refused(&error))?;
    if !exists {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(MIGRATIONS_TABLE).await;
    let applied = applied.map_err(|error| migration_refused(&error))?;
    let known = MIGRATIONS.iter().map(|known| (known.version, &known.checksum));
    Ok(known.eq(applied.iter().map(|AppliedMigration { version, checksum, .. }| (*version, checksum))))
}
