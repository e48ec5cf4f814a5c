//! What SQLite's refusals mean for a caller, in words that carry no statement and nothing of what a user wrote.

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

// Primary result codes, <https://www.sqlite.org/rescode.html>.
const PERM: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NO_MEMORY: u32 = 7;
const READ_ONLY: u32 = 8;
const INTERRUPTED: u32 = 9;
const IO: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANNOT_OPEN: u32 = 14;
const PROTOCOL: u32 = 15;
const CONSTRAINT: u32 = 19;
const NOT_A_DATABASE: u32 = 26;

/// The error as a caller sees it.
pub(super) fn refused(error: &sqlx::Error) -> StoreError {
    let unavailable = |text: &str| StoreError::Unavailable(text.into());
    let broken = |text: &str| StoreError::Broken(text.into());
    match error {
        sqlx::Error::Database(_) => {
            let extended = extended_code(error).unwrap_or_default();
            match extended & 0xff {
                BUSY | LOCKED | PROTOCOL => unavailable("another process has been writing for too long"),
                FULL => unavailable("the disk is full"),
                READ_ONLY | PERM => unavailable("the file or its folder is not writable"),
                CANNOT_OPEN => unavailable("the file cannot be opened"),
                IO => StoreError::Unavailable(format!("reading or writing the file failed (SQLite code {extended})")),
                NO_MEMORY => unavailable("there is not enough memory"),
                INTERRUPTED => unavailable("the statement was interrupted"),
                CORRUPT => broken("the file is damaged"),
                NOT_A_DATABASE => broken("the file is not a SQLite database"),
                CONSTRAINT => StoreError::Broken(format!("a rule of the schema was broken (SQLite code {extended})")),
                _ => StoreError::Broken(format!("SQLite code {extended}")),
            }
        }
        sqlx::Error::Io(error) => StoreError::Unavailable(error.kind().to_string()),
        sqlx::Error::PoolTimedOut => unavailable("every reading connection has been in use for too long"),
        sqlx::Error::PoolClosed => unavailable("it was closed"),
        sqlx::Error::WorkerCrashed => unavailable("the connection's thread has ended"),
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Broken(format!("column {index} cannot be read")),
        _ => broken("an unexpected answer"),
    }
}

/// Somebody else was writing; the connection is as good as before.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED))
}

/// A rule of the schema was broken, and nothing was written.
pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| code & 0xff == CONSTRAINT)
}

/// The error of a migration as a caller sees it.
pub(super) fn migration_refused(error: &MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(error),
        MigrateError::VersionMissing(version) => StoreError::Broken(format!(
            "its schema has migration {version}, which this version of hubbub does not know"
        )),
        MigrateError::VersionMismatch(version) => {
            StoreError::Broken(format!("migration {version} was applied in another form than this version's"))
        }
        MigrateError::Dirty(version) => StoreError::Broken(format!("migration {version} was left half applied")),
        _ => StoreError::Broken("its schema cannot be brought up to date".into()),
    }
}

fn extended_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}
