//! The durable order on SQLite: one file, any number of hub processes on the same machine.
//!
//! One connection writes, since SQLite has one writer anyway; a few others only read, and neither waits for the other (WAL).
//! `synchronous=FULL`: what was acknowledged survives a power cut. Each call is one statement that commits by itself
//! wherever that is possible, for a statement costs more on its way to SQLite's thread than inside it.

mod append;
mod changes;
mod checkup;
mod connect;
mod machines;
mod messages;
mod place;
mod projects;
mod refusal;
mod rooms;
mod search;
#[cfg(test)]
mod tests;
mod turns;
mod users;

pub use self::{checkup::SqliteCheckup, machines::MachineWatch};

use std::{
    path::Path,
    sync::{
        self, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use self::{
    append::Heads,
    connect::Database,
    refusal::refused,
    turns::{Turn, Turns},
};
use super::{
    Appended, NewMessage, ProfileFields, Project, ProjectExtent, ProjectFilter, ProjectMember, Role, RoomHead, RoomKey,
    RoomRow, Search, SearchHit, Store, StoreError, StoredMessage, UserProfile, Visibility, search::Backlog,
};
use crate::ids::{ProjectId, RoomId, Seq, UserId};

/// A database file and the connections of this process to it.
pub struct SqliteStore {
    database: Database,
    writer: Mutex<Writer>,
    turns: Turns,
    heads: sync::Mutex<Heads>,
    readers: SqlitePool,
    /// Of the readers, so many may search at the same time.
    searches: Semaphore,
    backlog: Backlog,
    /// The last statement that writes failed for a reason that may pass, or there was none yet.
    fails_to_write: AtomicBool,
}

/// The one connection that writes.
enum Writer {
    Open(SqliteConnection),
    /// Given up after an error that may have left it in an unknown state; the next writer opens a new one.
    Lost,
    Closed,
}

/// The writer, held for one call.
struct WriterGuard<'a> {
    writer: MutexGuard<'a, Writer>,
    _turn: Option<Turn<'a>>,
    fails_to_write: &'a AtomicBool,
}

impl SqliteStore {
    /// Opens the file, which is made with its folder if it is missing, and brings its schema up to date. Safe when
    /// several processes do it at once.
    ///
    /// `busy_timeout` is how long a call waits for another process's write before it is `Unavailable`; `readers` is how
    /// many connections read at once (at least 1). Must be called in a tokio runtime.
    pub async fn open(path: &Path, busy_timeout: Duration, readers: u32) -> Result<Self, StoreError> {
        let database = Database::new(path, busy_timeout);
        let (writer, _) = database.migrated().await?;
        let turns = database.turns()?;
        let searches = Semaphore::new((readers / 2).max(1) as usize);
        let readers = database.readers(readers);
        let store = Self {
            database,
            writer: Mutex::new(Writer::Open(writer)),
            turns,
            heads: sync::Mutex::default(),
            readers,
            searches,
            backlog: Backlog::new(),
            fails_to_write: AtomicBool::new(true), // until it was tried
        };
        store.ping().await.map_err(|error| store.database.named(error))?; // tries to write, too
        store.purge_deleted_rooms().await?;
        Ok(store)
    }

    /// Brings the schema of the file up to date as [`open`](Self::open) does, and closes it again. Answers how many
    /// migrations were applied, 0 when it was up to date.
    pub async fn migrate_only(path: &Path, busy_timeout: Duration) -> Result<usize, StoreError> {
        let (connection, applied) = Database::new(path, busy_timeout).migrated().await?;
        connection.close().await.map_err(|error| refused(&error))?;
        Ok(applied)
    }

    fn heads(&self) -> sync::MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner) // the database checks what they say
    }

    /// The writer, opened anew if the last one was given up, when it is this process's turn.
    async fn writer(&self) -> Result<WriterGuard<'_>, StoreError> {
        let mut writer = self.writer.lock().await;
        match *writer {
            Writer::Open(_) => {}
            Writer::Lost => {
                let connected = self.database.connect().await;
                self.fails_to_write.store(connected.is_err(), Relaxed);
                *writer = Writer::Open(connected?);
            }
            Writer::Closed => return Err(StoreError::Unavailable("it was closed".into())),
        }
        let turn = self.turns.wait().await;
        Ok(WriterGuard { writer, _turn: turn, fails_to_write: &self.fails_to_write })
    }
}

impl WriterGuard<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        match &mut *self.writer {
            Writer::Open(connection) => Ok(connection),
            Writer::Lost | Writer::Closed => Err(StoreError::Unavailable("the connection was lost".into())),
        }
    }

    /// Passes the outcome on. After an error the connection is given up, unless it only had to wait for too long.
    fn settle<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let outcome = outcome.map_err(|error| {
            if !refusal::is_busy(&error) {
                *self.writer = Writer::Lost;
            }
            refused(&error)
        });
        self.fails_to_write.store(matches!(outcome, Err(StoreError::Unavailable(_))), Relaxed);
        outcome
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        let places = self.append_batch(batch).await?;
        self.backlog.add(batch.iter().map(|message| message.room));
        Ok(places)
    }

    async fn head(&self, room: RoomKey) -> Result<Seq, StoreError> {
        self.head_of(room).await
    }

    async fn messages_after(&self, room: RoomKey, after: Seq, limit: u32) -> Result<Vec<StoredMessage>, StoreError> {
        self.read_after(room, after, limit).await
    }

    async fn messages_before(
        &self,
        room: RoomKey,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read_before(room, before, limit).await
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.find_project(id).await
    }

    async fn projects(
        &self,
        filter: &ProjectFilter,
        after: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        self.list_projects(filter, after, limit).await
    }

    async fn create_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError> {
        self.insert_project(project, owner).await
    }

    async fn update_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError> {
        self.change_project(id, name, visibility).await
    }

    async fn delete_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        self.remove_project(id).await
    }

    async fn role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError> {
        self.find_role(project, user).await
    }

    async fn roles(&self, user: &UserId, projects: &[ProjectId]) -> Result<Vec<Option<Role>>, StoreError> {
        self.find_roles(user, projects).await
    }

    async fn members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<ProjectMember>, StoreError> {
        self.list_members(project, after, limit).await
    }

    async fn put_member(&self, project: &ProjectId, user: &UserId, role: Role) -> Result<bool, StoreError> {
        self.upsert_member(project, user, role).await
    }

    async fn remove_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError> {
        self.delete_member(project, user).await
    }

    async fn room(&self, id: &RoomId, reader: Option<&UserId>) -> Result<Option<RoomRow>, StoreError> {
        self.find_room(id, reader).await
    }

    async fn rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        self.list_rooms(project, reader, after, limit).await
    }

    async fn room_heads(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomHead>, StoreError> {
        self.list_heads(project, reader, after, limit).await
    }

    async fn project_extent(&self, project: &ProjectId) -> Result<ProjectExtent, StoreError> {
        self.measure(project).await
    }

    async fn ensure_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        self.find_or_make_room(id).await
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        self.find_user(id).await
    }

    async fn user_of_email(&self, new: &UserProfile) -> Result<UserProfile, StoreError> {
        self.find_or_make_user(new).await
    }

    async fn put_profile(&self, profile: &UserProfile, fields: ProfileFields) -> Result<UserProfile, StoreError> {
        self.upsert_profile(profile, fields).await
    }

    async fn mark_read(&self, marks: &[(RoomKey, UserId, Seq)]) -> Result<(), StoreError> {
        self.move_markers(marks).await
    }

    async fn search(&self, search: &Search) -> Result<Vec<SearchHit>, StoreError> {
        self.find(search).await
    }

    async fn update_search_index(&self) -> Result<(), StoreError> {
        self.backlog.work_off(self).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Reads a page of the file; `SELECT 1` would be answered without it.
        let read = sqlx::query("SELECT project_id FROM projects LIMIT 1");
        read.fetch_optional(&self.readers).await.map_err(|error| refused(&error))?;
        if self.fails_to_write.load(Relaxed) {
            let write = sqlx::query(
                "INSERT INTO write_probe (probe, filler) VALUES (1, randomblob(16384)) \
                 ON CONFLICT (probe) DO UPDATE SET filler = excluded.filler",
            );
            let mut writer = self.writer().await?;
            let written = write.execute(writer.connection()?).await;
            writer.settle(written)?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.readers.close().await;
        // The last connection to the file folds the WAL into it, so the one that may write goes last.
        let writer = std::mem::replace(&mut *self.writer.lock().await, Writer::Closed);
        if let Writer::Open(connection) = writer
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = %refused(&error), "closing the database file");
        }
    }
}
