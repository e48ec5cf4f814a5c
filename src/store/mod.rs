//! Station 3: the durable order.
//!
//! A room hands a message to the [`GroupCommit`], which gathers what arrives within a few milliseconds from all rooms and
//! commits it with one [`Store::append`]: one fsync for many messages. The sequence number given inside that transaction
//! is the order every client on every instance sees. Nothing here knows about actors, sockets or Redis.

mod changes;
mod checkup;
mod columns;
mod counted;
mod group_commit;
mod open;
mod postgres;
mod search;
mod sqlite;
mod users;

#[cfg(test)]
mod contract;

pub use changes::{CHANGES_KEPT, Change, ChangeLog, ChangeNo, Changes, Reader};
pub use checkup::SchemaState;
pub use counted::CountedStore;
pub use group_commit::{Appending, GroupCommit, GroupCommitLimits, GroupCommitSnapshot};
pub use open::{migrate, open};
pub use postgres::{PostgresCheckup, PostgresFacts, PostgresStore};
pub use search::{
    QUERY_BYTES_MAX, QUERY_WORDS_MAX, QueryError, Search, SearchHit, SearchIndexer, SearchPlace, SearchQuery,
};
pub use sqlite::{MachineWatch, SqliteCheckup, SqliteStore};
pub use users::{ProfileFields, UserProfile};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    clock::Timestamp,
    ids::{MessageId, ProjectId, RoomId, Seq, UserId},
};

/// The database's own number of a room: what messages refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey(pub i64);

/// The most messages one [`Store::append`] takes.
pub const BATCH_ROWS_MAX: usize = 256;

/// What a caller can do about a failed store call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is locked for too long, is full or read-only: try again later. Nothing was
    /// written by the failed call, unless its answer was lost on the way; trying again is harmless either way.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The data or the statement is at fault; trying again will not help.
    #[error("the database refused: {0}")]
    Broken(String),
    /// The room was deleted, or never was: forget it. Said by [`GroupCommit::append`] only; a [`Store`] answers `None`.
    #[error("the room does not exist")]
    NoRoom,
}

/// Who wrote a message, kept with it: a later change of name does not rewrite history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The person.
    pub user_id: UserId,
    /// The name at the time of writing.
    pub name: String,
    /// The connection it came from, as on the wire; `None` when published over HTTP.
    pub connection_id: Option<String>,
}

/// A message about to be made durable.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The room.
    pub room: RoomKey,
    /// Client-chosen id: the same id in the same room is the same message.
    pub id: MessageId,
    /// The writer.
    pub author: Author,
    /// JSON text, checked at the edge.
    pub body: String,
    /// When the hub accepted it.
    pub sent_at: Timestamp,
}

/// What became of an appended message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place in the room.
    pub seq: Seq,
    /// The id was there before: `seq` is the old one and nothing was written.
    pub duplicate: bool,
}

/// A durable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the room.
    pub seq: Seq,
    /// Client-chosen id.
    pub id: MessageId,
    /// The writer.
    pub author: Author,
    /// JSON text.
    pub body: String,
    /// When the hub accepted it.
    pub sent_at: Timestamp,
}

/// What a member of a project may do. Ordered: a later role includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads, is seen, moves a cursor.
    Viewer,
    /// Writes messages and broadcasts, makes rooms.
    Editor,
    /// Changes and deletes the project, manages members.
    Owner,
}

/// Who may see a project without being a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Everybody who may connect, as an editor.
    Public,
    /// Members and bearers of a token that names the project.
    Private,
}

/// A project as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Project {
    /// Its name in room names and addresses.
    pub id: ProjectId,
    /// Its name for people.
    pub name: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A member of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectMember {
    /// The person.
    pub user_id: UserId,
    /// What they may do.
    pub role: Role,
}

/// A room as it is stored, with what one user has to read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    /// The database's number of it.
    pub key: RoomKey,
    /// `project/room`.
    pub id: RoomId,
    /// The `seq` of its latest message, 0 when there is none.
    pub last_seq: Seq,
    /// Up to where the asking user has read, 0 when never.
    pub read_seq: Seq,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What changes in a room with its messages and readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomHead {
    /// The database's number of it.
    pub key: RoomKey,
    /// The `seq` of its latest message, 0 when there is none.
    pub last_seq: Seq,
    /// Up to where the asking user has read, 0 when never.
    pub read_seq: Seq,
}

/// How much there is in a project. Neither number ever falls, so while both are the same no message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectExtent {
    /// Rooms.
    pub rooms: u64,
    /// Messages in all of them.
    pub messages: u64,
}

/// Which projects a listing shows.
#[derive(Debug, Clone)]
pub struct ProjectFilter {
    /// Projects this user is a member of …
    pub member: Option<UserId>,
    /// … or whose ids are named by the caller's token …
    pub named: Vec<ProjectId>,
    /// … or that are public, if this is set.
    pub public: bool,
}

/// The durable side of the hub. Contract, proven for every implementation by one suite (`contract`):
///
/// - [`append`](Store::append) gives every new message of a room the next `seq` (1, 2, 3, … without holes), in the order
///   of the batch, and makes it durable before it returns. Either the whole batch is durable or, on an error, none of it.
///   Any number of processes may append to the same room at once.
/// - A message id that the room has already, or that stands twice in a batch, is answered with its `seq` and
///   `duplicate`, and not written again.
/// - A message for a room that does not exist (its project was deleted under way) is answered with `None` and holds up
///   nobody else's. The key of a deleted room never comes back.
/// - Names and user ids are ordered byte by byte.
/// - Absence is `Ok(None)` or an empty list, never an error.
/// - After an `Err` the store is as before the call.
#[async_trait]
pub trait Store: ChangeLog {
    /// Makes the batch durable, at most [`BATCH_ROWS_MAX`] messages; answers in the order of the batch, `None` where the
    /// room does not exist.
    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError>;

    /// How many appends, of different rooms, may usefully run at once.
    fn appends_at_once(&self) -> usize {
        1
    }

    /// The `seq` of the room's latest message, 0 when there is none.
    async fn head(&self, room: RoomKey) -> Result<Seq, StoreError>;

    /// Up to `limit` messages with `seq > after`, oldest first.
    async fn messages_after(&self, room: RoomKey, after: Seq, limit: u32) -> Result<Vec<StoredMessage>, StoreError>;

    /// Up to `limit` messages with `seq < before` (all when `None`), newest first.
    async fn messages_before(
        &self,
        room: RoomKey,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError>;

    /// The project, if there is one.
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError>;

    /// Projects by id, after `after`, at most `limit`.
    async fn projects(
        &self,
        filter: &ProjectFilter,
        after: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError>;

    /// Makes a project with its first owner, if given. `false` when the id is taken (and nothing was changed).
    async fn create_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError>;

    /// Changes name and visibility where given; `None` when there is no such project.
    async fn update_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError>;

    /// Deletes the project with its rooms, messages, members and markers. `false` when there was none.
    async fn delete_project(&self, id: &ProjectId) -> Result<bool, StoreError>;

    /// The stored role of a user in a project.
    async fn role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError>;

    /// As [`role`](Store::role), of many projects, in their order.
    async fn roles(&self, user: &UserId, projects: &[ProjectId]) -> Result<Vec<Option<Role>>, StoreError>;

    /// The members by user id, after `after`, at most `limit`.
    async fn members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<ProjectMember>, StoreError>;

    /// Sets a member's role. `false` when there is no such project.
    async fn put_member(&self, project: &ProjectId, user: &UserId, role: Role) -> Result<bool, StoreError>;

    /// Removes a member. `false` when they were none.
    async fn remove_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError>;

    /// The room, as `reader` sees it.
    async fn room(&self, id: &RoomId, reader: Option<&UserId>) -> Result<Option<RoomRow>, StoreError>;

    /// The rooms of a project by name, after `after`, at most `limit`.
    async fn rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError>;

    /// As [`rooms`](Store::rooms), without what never changes.
    async fn room_heads(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomHead>, StoreError>;

    /// How much there is in a project; nothing where there is none.
    async fn project_extent(&self, project: &ProjectId) -> Result<ProjectExtent, StoreError>;

    /// Makes the room if it is missing; `None` when its project does not exist. Safe when several instances do it at once.
    async fn ensure_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError>;

    /// A user's profile, if one is kept.
    async fn user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError>;

    /// The user of `new`'s address; `new`, made so, when there is none. Of several who make one at once all get the same.
    async fn user_of_email(&self, new: &UserProfile) -> Result<UserProfile, StoreError>;

    /// Writes these fields of a profile and answers with the whole; all fields when there is none yet.
    async fn put_profile(&self, profile: &UserProfile, fields: ProfileFields) -> Result<UserProfile, StoreError>;

    /// Moves read markers forward (never back), one transaction for all.
    async fn mark_read(&self, marks: &[(RoomKey, UserId, Seq)]) -> Result<(), StoreError>;

    /// Messages in which all of the query is found, newest first. Those that were appended before the call, by any process,
    /// are among them.
    async fn search(&self, search: &Search) -> Result<Vec<SearchHit>, StoreError>;

    /// Brings what was appended into the search index, so that a search has less to do. Called every now and then.
    async fn update_search_index(&self) -> Result<(), StoreError>;

    /// A query that touches the database, for health.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what was begun and closes the connections.
    async fn close(&self);
}
