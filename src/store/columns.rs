//! How a role, a visibility, a time and a place in a room stand in a column, the same in every database.

use std::collections::HashMap;

use chrono::DateTime;

use super::{Role, Seq, StoreError, Visibility};
use crate::{clock::Timestamp, ids::ProjectId};

/// The text of a role.
pub(super) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Owner => "owner",
    }
}

/// The role of a text.
pub(super) fn role(text: &str) -> Result<Role, StoreError> {
    [Role::Viewer, Role::Editor, Role::Owner]
        .into_iter()
        .find(|role| role_text(*role) == text)
        .ok_or(unreadable("role"))
}

/// The roles in the order of the projects, out of rows of both in any order.
pub(super) fn roles_in_order(
    rows: &[(String, String)],
    projects: &[ProjectId],
) -> Result<Vec<Option<Role>>, StoreError> {
    let found: HashMap<&str, &str> = rows.iter().map(|(project, text)| (project.as_str(), text.as_str())).collect();
    projects.iter().map(|project| found.get(project.as_str()).map(|text| role(text)).transpose()).collect()
}

/// The text of a visibility.
pub(super) fn visibility_text(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

/// The visibility of a text.
pub(super) fn visibility(text: &str) -> Result<Visibility, StoreError> {
    let both = [Visibility::Public, Visibility::Private];
    both.into_iter().find(|one| visibility_text(*one) == text).ok_or(unreadable("visibility"))
}

/// A time from its milliseconds since 1970.
pub(super) fn timestamp(millis: i64) -> Result<Timestamp, StoreError> {
    DateTime::from_timestamp_millis(millis).ok_or(unreadable("time"))
}

/// A place in a room as the column has it. Whatever a client may name beyond what a column holds stands for "the end".
pub(super) fn seq_column(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A place in a room from its column; the schema keeps it from being negative.
pub(super) fn seq(column: i64) -> Result<Seq, StoreError> {
    Seq::try_from(column).map_err(|_| unreadable("seq"))
}

/// An id that this version wrote through its parser and cannot parse now.
pub(super) fn id<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| unreadable("id"))
}

/// The column's kind only: what stands in it is the user's.
fn unreadable(kind: &str) -> StoreError {
    StoreError::Broken(format!("a stored {kind} cannot be read"))
}
