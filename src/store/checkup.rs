//! For `hubbub doctor`: looks at a database without changing it, whatever state it is in.

use sqlx::migrate::{AppliedMigration, Migrator};

/// How far the schema of a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations of this version of the hub that are applied.
    pub applied: usize,
    /// Those that are not.
    pub pending: usize,
    /// Whether others are applied, or these in another form: by a newer hub, or a changed one.
    pub foreign: bool,
}

impl SchemaState {
    pub(super) fn of(known: &Migrator, found: &[AppliedMigration]) -> Self {
        let applied = known
            .iter()
            .filter(|known| found.iter().any(|it| it.version == known.version && it.checksum == known.checksum))
            .count();
        Self { applied, pending: known.iter().count() - applied, foreign: applied < found.len() }
    }
}

/// A project that no client can name, written and taken back. One bind: its creation, milliseconds since 1970.
pub(super) const WRITTEN: &str =
    "INSERT INTO projects (project_id, name, visibility, created_at) VALUES (':doctor:', 'doctor', 'private', $1)";

/// The same project gone.
pub(super) const DELETED: &str = "DELETE FROM projects WHERE project_id = ':doctor:'";
