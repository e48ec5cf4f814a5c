//! Counts what is asked of the database: the figure that caching is judged by.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;

use super::{
    Appended, ChangeLog, ChangeNo, Changes, NewMessage, ProfileFields, Project, ProjectExtent, ProjectFilter,
    ProjectMember, Role, RoomHead, RoomKey, RoomRow, Search, SearchHit, Store, StoreError, StoredMessage, UserProfile,
    Visibility,
};
use crate::{
    clock::Duration,
    ids::{InstanceId, ProjectId, RoomId, Seq, UserId},
};

/// A store whose calls are counted, as `hubbub_store_queries_total` by `call`.
pub struct CountedStore {
    inner: Arc<dyn Store>,
    reads: AtomicU64,
}

impl CountedStore {
    /// Counts the calls of a store from now on.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, reads: AtomicU64::new(0) }
    }

    /// How many calls asked for data that a client wants to see: not the writes, not what the hub asks for itself.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn count(&self, call: &'static str) -> &dyn Store {
        metrics::counter!("hubbub_store_queries_total", "call" => call).increment(1);
        &*self.inner
    }

    fn read(&self, call: &'static str) -> &dyn Store {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.count(call)
    }
}

#[async_trait]
impl ChangeLog for CountedStore {
    async fn changes_after(&self, after: ChangeNo) -> Result<Changes, StoreError> {
        self.count("changes_after").changes_after(after).await
    }

    async fn change_everything(&self) -> Result<(), StoreError> {
        self.count("change_everything").change_everything().await
    }

    async fn enter_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        self.count("enter_readers").enter_readers(instance).await
    }

    async fn leave_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        self.count("leave_readers").leave_readers(instance).await
    }

    async fn end_readers(&self, instances: &[InstanceId], grace: Duration) -> Result<(), StoreError> {
        self.count("end_readers").end_readers(instances, grace).await
    }
}

#[async_trait]
impl Store for CountedStore {
    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        self.count("append").append(batch).await
    }

    fn appends_at_once(&self) -> usize {
        self.inner.appends_at_once()
    }

    async fn head(&self, room: RoomKey) -> Result<Seq, StoreError> {
        self.read("head").head(room).await
    }

    async fn messages_after(&self, room: RoomKey, after: Seq, limit: u32) -> Result<Vec<StoredMessage>, StoreError> {
        self.read("messages_after").messages_after(room, after, limit).await
    }

    async fn messages_before(
        &self,
        room: RoomKey,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read("messages_before").messages_before(room, before, limit).await
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.read("project").project(id).await
    }

    async fn projects(
        &self,
        filter: &ProjectFilter,
        after: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        self.read("projects").projects(filter, after, limit).await
    }

    async fn create_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError> {
        self.count("create_project").create_project(project, owner).await
    }

    async fn update_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError> {
        self.count("update_project").update_project(id, name, visibility).await
    }

    async fn delete_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        self.count("delete_project").delete_project(id).await
    }

    async fn role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError> {
        self.read("role").role(project, user).await
    }

    async fn roles(&self, user: &UserId, projects: &[ProjectId]) -> Result<Vec<Option<Role>>, StoreError> {
        self.read("roles").roles(user, projects).await
    }

    async fn members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<ProjectMember>, StoreError> {
        self.read("members").members(project, after, limit).await
    }

    async fn put_member(&self, project: &ProjectId, user: &UserId, role: Role) -> Result<bool, StoreError> {
        self.count("put_member").put_member(project, user, role).await
    }

    async fn remove_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError> {
        self.count("remove_member").remove_member(project, user).await
    }

    async fn room(&self, id: &RoomId, reader: Option<&UserId>) -> Result<Option<RoomRow>, StoreError> {
        self.read("room").room(id, reader).await
    }

    async fn rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        self.read("rooms").rooms(project, reader, after, limit).await
    }

    async fn room_heads(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomHead>, StoreError> {
        self.read("room_heads").room_heads(project, reader, after, limit).await
    }

    async fn project_extent(&self, project: &ProjectId) -> Result<ProjectExtent, StoreError> {
        self.read("project_extent").project_extent(project).await
    }

    async fn ensure_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        self.count("ensure_room").ensure_room(id).await
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        self.read("user").user(id).await
    }

    async fn user_of_email(&self, new: &UserProfile) -> Result<UserProfile, StoreError> {
        self.count("user_of_email").user_of_email(new).await
    }

    async fn put_profile(&self, profile: &UserProfile, fields: ProfileFields) -> Result<UserProfile, StoreError> {
        self.count("put_profile").put_profile(profile, fields).await
    }

    async fn mark_read(&self, marks: &[(RoomKey, UserId, Seq)]) -> Result<(), StoreError> {
        self.count("mark_read").mark_read(marks).await
    }

    async fn search(&self, search: &Search) -> Result<Vec<SearchHit>, StoreError> {
        self.read("search").search(search).await
    }

    async fn update_search_index(&self) -> Result<(), StoreError> {
        self.count("update_search_index").update_search_index().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
