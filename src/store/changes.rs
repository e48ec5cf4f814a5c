//! What was changed in the database, in the order of the commits: what the caches of all instances are measured by.
//!
//! Triggers write it in the transaction of the change itself, so nothing that was committed is missing, and whoever reads
//! it knows which answers of earlier are stale. Besides, the database knows which instances answer from their caches
//! (`readers`), so that a writer knows for whom to wait.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    clock::Duration,
    ids::{InstanceId, ProjectId, UserId},
};

/// The number of a change: from 1, without holes, in the order of the commits.
pub type ChangeNo = u64;

/// How many changes are kept.
pub const CHANGES_KEPT: u64 = 10_000;

/// What a change makes stale.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A project was made, changed or deleted, with all that is below it.
    Project(ProjectId),
    /// Which projects are public.
    Listing,
    /// What somebody is in a project.
    Member(ProjectId, UserId),
    /// A profile.
    Profile(UserId),
    /// All of it: an operator said so.
    Everything,
}

/// The log as one statement saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Tells the databases apart: random, made with the schema.
    pub log: i64,
    /// The latest change, 0 when there was none.
    pub last: ChangeNo,
    /// Those after the number that was asked for, as far as they are kept: the latest [`CHANGES_KEPT`].
    pub entries: Vec<(ChangeNo, Change)>,
    /// The instances that answer from their caches.
    pub readers: Vec<Reader>,
}

/// An instance that may be answering from its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The instance.
    pub instance: InstanceId,
    /// It was told to stop, and has to enter again; until its time is over it may not have noticed.
    pub ending: bool,
}

/// The log of changes. Contract:
///
/// - A change is in the log from its commit on, and every later call of [`changes_after`](ChangeLog::changes_after), of
///   any process, sees it.
/// - A reader is listed from the return of [`enter_readers`](ChangeLog::enter_readers) until it leaves, or until the time
///   given to [`end_readers`](ChangeLog::end_readers) is over.
#[async_trait]
pub trait ChangeLog: Send + Sync + 'static {
    /// What was changed after that number.
    async fn changes_after(&self, after: ChangeNo) -> Result<Changes, StoreError>;

    /// Says that everything is stale.
    async fn change_everything(&self) -> Result<(), StoreError>;

    /// From now on this instance may answer from its cache, also when it was told to stop before.
    async fn enter_readers(&self, instance: InstanceId) -> Result<(), StoreError>;

    /// This instance does not answer from its cache any more.
    async fn leave_readers(&self, instance: InstanceId) -> Result<(), StoreError>;

    /// Tells instances to stop; they are listed as `ending` for `grace`, counted from the first time they were told.
    async fn end_readers(&self, instances: &[InstanceId], grace: Duration) -> Result<(), StoreError>;
}

/// The kinds of rows of the one statement that reads the log: its head, a change, a reader.
pub(super) type LogColumns = (i64, i64, Option<String>, Option<String>, Option<String>);

const HEAD_ROW: i64 = 0;
const CHANGE_ROW: i64 = 1;

impl Changes {
    /// Puts the rows together, whose first is the log's head: (0, last, identity), then (1, number, kind, project, user)
    /// in order and (2, whether it is ending, instance).
    pub(super) fn from_rows(rows: Vec<LogColumns>) -> Result<Self, StoreError> {
        let mut changes = Self { log: 0, last: 0, entries: Vec::with_capacity(rows.len()), readers: Vec::new() };
        for (row, number, first, project, user) in rows {
            let first = first.ok_or_else(unreadable)?;
            match row {
                HEAD_ROW => {
                    changes.log = first.parse().map_err(|_| unreadable())?;
                    changes.last = number.try_into().map_err(|_| unreadable())?;
                }
                CHANGE_ROW => {
                    let number = number.try_into().map_err(|_| unreadable())?;
                    changes.entries.push((number, change(&first, project, user)?));
                }
                _ => {
                    let instance = first.parse().map_err(|_| unreadable())?;
                    changes.readers.push(Reader { instance, ending: number == 1 });
                }
            }
        }
        Ok(changes)
    }
}

fn change(kind: &str, project: Option<String>, user: Option<String>) -> Result<Change, StoreError> {
    let project = project.map(|text| text.parse().map_err(|_| unreadable())).transpose()?;
    let user = user.map(|text| text.parse().map_err(|_| unreadable())).transpose()?;
    match (kind, project, user) {
        ("project", Some(project), None) => Ok(Change::Project(project)),
        ("listing", None, None) => Ok(Change::Listing),
        ("member", Some(project), Some(user)) => Ok(Change::Member(project, user)),
        ("profile", None, Some(user)) => Ok(Change::Profile(user)),
        // A kind of a later version: what it makes stale is not known here.
        _ => Ok(Change::Everything),
    }
}

fn unreadable() -> StoreError {
    StoreError::Broken("the log of changes cannot be read".into())
}
