//! The durable order on PostgreSQL: one server, any number of hub processes anywhere.
//!
//! Each call is one statement that commits by itself, so that nothing is held on the server while the hub thinks, and a hub
//! that dies leaves nothing behind. A call is bounded in time, whatever the server does.

mod append;
mod changes;
mod checkup;
mod connect;
mod messages;
mod migrate;
mod pool;
mod projects;
mod refusal;
mod rooms;
mod search;
#[cfg(test)]
mod tests;
mod users;

pub use checkup::{PostgresCheckup, PostgresFacts};

use async_trait::async_trait;
use sqlx::{Connection as _, FromRow, postgres::PgRow};

use self::{
    connect::Server,
    pool::{Kind, Pool},
    refusal::refused,
};
use super::{
    Appended, NewMessage, ProfileFields, Project, ProjectExtent, ProjectFilter, ProjectMember, Role, RoomHead, RoomKey,
    RoomRow, Search, SearchHit, Store, StoreError, StoredMessage, UserProfile, Visibility, search::Backlog,
};
use crate::{
    config::{DatabaseConfig, PostgresAddress},
    ids::{ProjectId, RoomId, Seq, UserId},
};

/// A database on a server and the connections of this process to it.
pub struct PostgresStore {
    pool: Pool,
    backlog: Backlog,
}

impl PostgresStore {
    /// Connects, and brings the schema up to date. Safe when several processes do it at once.
    ///
    /// Of `config` the parts for PostgreSQL are used: a call has `statement_timeout` to its end, or is `Unavailable`.
    ///
    /// # Errors
    /// Within `connect_timeout` when the server cannot be used, with its name and the reason.
    pub async fn open(address: &PostgresAddress, config: &DatabaseConfig) -> Result<Self, StoreError> {
        let server = Server::new(address, config.statement_timeout)?;
        let mut connection = server.connect_first(config.connect_timeout).await?;
        let prepared = async {
            connect::check(&mut connection).await?;
            migrate::migrate(&mut connection).await
        };
        prepared.await.map_err(|error| server.named(error))?;
        let pool = Pool::new(server, config.pool_size, config.connect_timeout, config.statement_timeout);
        pool.put(connection);
        let store = Self { pool, backlog: Backlog::new() };
        store.ping().await.map_err(|error| store.pool.named(error))?; // tries to write, too
        store.purge_deleted_rooms().await?;
        Ok(store)
    }

    /// Brings the schema up to date as [`open`](Self::open) does, and disconnects. Answers how many migrations were
    /// applied, 0 when it was up to date.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate_only(address: &PostgresAddress, config: &DatabaseConfig) -> Result<usize, StoreError> {
        let server = Server::new(address, config.statement_timeout)?;
        let mut connection = server.connect_first(config.connect_timeout).await?;
        connect::check(&mut connection).await.map_err(|error| server.named(error))?;
        let applied = migrate::migrate(&mut connection).await.map_err(|error| server.named(error))?;
        connection.close().await.map_err(|error| refused(&error))?;
        Ok(applied)
    }
}

/// The rows as tuples of their columns.
fn decode<T: for<'r> FromRow<'r, PgRow>>(rows: Vec<PgRow>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| T::from_row(row).map_err(|error| refused(&error))).collect()
}

#[async_trait]
impl Store for PostgresStore {
    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        let places = self.append_batch(batch).await?;
        self.backlog.add(batch.iter().map(|message| message.room));
        Ok(places)
    }

    fn appends_at_once(&self) -> usize {
        self.pool.appends_at_once()
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
        // Reads a table: the hub is of no use on a server that answers and has none.
        let read = || sqlx::query("SELECT project_id FROM projects LIMIT 1");
        self.pool.run(Kind::Read, read).await?;
        if self.pool.fails_to_write() {
            let write = || {
                sqlx::query(
                    "INSERT INTO write_probe (probe, filler) VALUES (1, repeat(md5(random()::text), 512)) \
                     ON CONFLICT (probe) DO UPDATE SET filler = excluded.filler",
                )
            };
            self.pool.run(Kind::Change, write).await?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
