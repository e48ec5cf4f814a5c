//! What is read through the cache, and what is written past it: projects, roles, rooms, heads of rooms.
//!
//! Every change of what is cached goes through here. It returns when no instance can answer with what was before.

use std::{collections::HashMap, sync::Arc};

use moka::future::Cache as Map;

use super::{
    Cache, Class, Ids, Loaded, ProfileKey, ProjectKey, ProjectsPageKey, RoleKey, RoomNames, RoomNamesKey, RoomPlaceKey,
    turn::Turns, warm::Recent,
};
use crate::{
    clock::Duration,
    ids::{ProjectId, RoomId, Seq, UserId},
    store::{
        ChangeLog as _, CountedStore, ProfileFields, Project, ProjectExtent, ProjectFilter, Role, RoomHead, RoomKey,
        RoomRow, Store as _, StoreError, UserProfile, Visibility,
    },
};

/// Rooms whose head is asked for at the same time, about.
const HEADS_MAX: u64 = 10_000;
/// A question that nobody asked again for so long is forgotten.
const HEADS_IDLE: Duration = Duration::from_secs(10);

type HeadTurns = Arc<Turns<Result<Seq, StoreError>>>;

/// Reads through the cache and writes to the store. One for the whole hub.
pub struct Catalogue {
    store: Arc<CountedStore>,
    cache: Arc<Cache>,
    heads: Map<RoomKey, HeadTurns>,
    recent: Recent,
}

impl Catalogue {
    /// Over a store and its cache.
    pub fn new(store: Arc<CountedStore>, cache: Arc<Cache>) -> Self {
        let heads = Map::builder().max_capacity(HEADS_MAX).time_to_idle(HEADS_IDLE).build();
        Self { recent: Recent::new(cache.config.warm_projects), store, cache, heads }
    }

    /// For answers that a handler makes and keeps itself.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// How often the database was asked for what a client wants to see.
    pub fn store_reads(&self) -> u64 {
        self.store.reads()
    }

    /// The projects that were used last are kept in mind, and brought back at the next start.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// A user's profile, if one is kept.
    ///
    /// # Errors
    /// The store's.
    pub async fn user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        let load = async { self.store.user(id).await.map(Loaded::Keep) };
        Ok((*self.cache.get_or_load(&ProfileKey(id.clone()), load).await?).clone())
    }

    /// The project, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.recent.used(id);
        let load = async { self.store.project(id).await.map(Loaded::Keep) };
        Ok((*self.cache.get_or_load(&ProjectKey(id.clone()), load).await?).clone())
    }

    /// As [`crate::store::Store::projects`].
    ///
    /// # Errors
    /// The store's.
    pub async fn projects(
        &self,
        filter: &ProjectFilter,
        after: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        let mark = self.cache.mark();
        if !mark.is_fresh() {
            return self.cache.bypass(Class::Projects, self.store.projects(filter, after, limit)).await;
        }
        let page = ProjectsPageKey { filter: filter.clone(), after: after.cloned(), limit };
        let load = async {
            let projects = self.store.projects(filter, after, limit).await?;
            let ids = Ids(projects.iter().map(|project| project.id.clone()).collect());
            let keys: Vec<_> = ids.0.iter().cloned().map(ProjectKey).collect();
            let values = projects.into_iter().map(|project| Arc::new(Some(project)));
            self.cache.put_many(mark, keys.iter().zip(values)).await;
            Ok(Loaded::Keep(ids))
        };
        let ids = self.cache.get_or_load(&page, load).await?;
        let keys: Vec<_> = ids.0.iter().cloned().map(ProjectKey).collect();
        // One that is gone since the page was kept is left out.
        let projects = self.load_projects(&keys).await?;
        Ok(projects.into_iter().filter_map(|project| (*project).clone()).collect())
    }

    pub(super) async fn load_projects(&self, keys: &[ProjectKey]) -> Result<Vec<Arc<Option<Project>>>, StoreError> {
        let load = async |missing: &[ProjectKey]| {
            let named: Vec<_> = missing.iter().map(|ProjectKey(id)| id.clone()).collect();
            let limit = u32::try_from(named.len()).unwrap_or(u32::MAX);
            let filter = ProjectFilter { member: None, named, public: false };
            let found = self.store.projects(&filter, None, limit).await?;
            let mut found: HashMap<_, _> = found.into_iter().map(|project| (project.id.clone(), project)).collect();
            Ok(missing.iter().map(|ProjectKey(id)| found.remove(id)).collect())
        };
        self.cache.get_many(keys, load).await
    }

    /// The stored role of a user.
    ///
    /// # Errors
    /// The store's.
    pub async fn role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError> {
        let load = async { self.store.role(project, user).await.map(Loaded::Keep) };
        Ok(*self.cache.get_or_load(&RoleKey(project.clone(), user.clone()), load).await?)
    }

    /// The stored roles of a user in projects, in their order.
    ///
    /// # Errors
    /// The store's.
    pub async fn roles<'p>(
        &self,
        projects: impl Iterator<Item = &'p ProjectId>,
        user: &UserId,
    ) -> Result<Vec<Option<Role>>, StoreError> {
        let keys: Vec<_> = projects.map(|project| RoleKey(project.clone(), user.clone())).collect();
        let load = async |missing: &[RoleKey]| {
            let projects: Vec<_> = missing.iter().map(|RoleKey(project, _)| project.clone()).collect();
            self.store.roles(user, &projects).await
        };
        let roles = self.cache.get_many(&keys, load).await?;
        Ok(roles.into_iter().map(|role| *role).collect())
    }

    /// The database's number of a room, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        let load = async { Ok(Loaded::Keep(self.store.room(id, None).await?.map(|row| row.key))) };
        Ok(*self.cache.get_or_load(&RoomPlaceKey(id.clone()), load).await?)
    }

    /// As [`crate::store::Store::ensure_room`].
    ///
    /// # Errors
    /// The store's.
    pub async fn ensure_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        let load = async { self.store.ensure_room(id).await.map(Loaded::Keep) };
        match *self.cache.get_or_load(&RoomPlaceKey(id.clone()), load).await? {
            // Perhaps the load was another's, who only looked for it.
            None => self.store.ensure_room(id).await,
            key => Ok(key),
        }
    }

    /// As [`crate::store::Store::rooms`]: which rooms there are, their heads and markers are read; the rest is kept.
    ///
    /// # Errors
    /// The store's.
    pub async fn rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        if !self.cache.is_fresh() {
            return self.cache.bypass(Class::Rooms, self.store.rooms(project, reader, after, limit)).await;
        }
        let heads = self.cache.timed(self.store.room_heads(project, reader, after, limit)).await?;
        let key = RoomNamesKey { project: project.clone(), rooms: heads.iter().map(|head| head.key).collect() };
        let load = async {
            let rows = self.store.rooms(project, None, after, limit).await?;
            let names: Option<Vec<_>> = key
                .rooms
                .iter()
                .map(|key| rows.iter().find(|row| row.key == *key))
                .map(|row| row.map(|row| (row.id.room().to_owned(), row.created_at)))
                .collect();
            // A room that was made in between may have pushed one off the page.
            Ok(names.map_or_else(|| Loaded::Pass(RoomNames(Vec::new())), |names| Loaded::Keep(RoomNames(names))))
        };
        let names = self.cache.get_or_load(&key, load).await?;
        if names.0.len() != heads.len() {
            return self.store.rooms(project, reader, after, limit).await;
        }
        heads.iter().zip(&names.0).map(|(head, (name, created_at))| row(project, head, name, *created_at)).collect()
    }

    /// The `seq` of a room's latest message, read after the call. However many ask at once, one question is under way.
    ///
    /// # Errors
    /// The store's.
    pub async fn head(&self, room: RoomKey) -> Result<Seq, StoreError> {
        let turns = self.heads.get_with(room, async { HeadTurns::default() }).await;
        self.cache.timed(turns.next(async || self.store.head(room).await)).await
    }

    /// How many messages there are in a project, or in a room of it; read after the call.
    ///
    /// # Errors
    /// The store's.
    pub async fn extent(&self, project: &ProjectId, room: Option<RoomKey>) -> Result<ProjectExtent, StoreError> {
        match room {
            Some(room) => Ok(ProjectExtent { rooms: 1, messages: self.head(room).await? }),
            None => self.cache.timed(self.store.project_extent(project)).await,
        }
    }

    // --- changes ---

    /// As [`crate::store::Store::create_project`].
    ///
    /// # Errors
    /// The store's.
    pub async fn create_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError> {
        let made = self.store.create_project(project, owner).await?;
        self.settled(made).await
    }

    /// As [`crate::store::Store::update_project`].
    ///
    /// # Errors
    /// The store's.
    pub async fn update_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError> {
        let changed = self.store.update_project(id, name, visibility).await?;
        self.cache.settle().await;
        Ok(changed)
    }

    /// As [`crate::store::Store::delete_project`]: everything below it is stale.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        let deleted = self.store.delete_project(id).await?;
        if deleted {
            self.cache.forget_project(id);
        }
        self.settled(deleted).await
    }

    /// As [`crate::store::Store::put_member`].
    ///
    /// # Errors
    /// The store's.
    pub async fn put_member(&self, project: &ProjectId, user: &UserId, role: Role) -> Result<bool, StoreError> {
        let put = self.store.put_member(project, user, role).await?;
        self.settled(put).await
    }

    /// As [`crate::store::Store::remove_member`].
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError> {
        let removed = self.store.remove_member(project, user).await?;
        self.settled(removed).await
    }

    /// As [`crate::store::Store::put_profile`].
    ///
    /// # Errors
    /// The store's.
    pub async fn put_profile(&self, profile: &UserProfile, fields: ProfileFields) -> Result<UserProfile, StoreError> {
        let put = self.store.put_profile(profile, fields).await?;
        self.cache.settle().await;
        Ok(put)
    }

    /// As [`crate::store::Store::user_of_email`].
    ///
    /// # Errors
    /// The store's.
    pub async fn user_of_email(&self, new: &UserProfile) -> Result<UserProfile, StoreError> {
        let user = self.store.user_of_email(new).await?;
        if user.id == new.id {
            self.cache.settle().await; // it was made
        }
        Ok(user)
    }

    /// Empties the cache of every instance, and Redis as far as it can be reached; says how many keys were there.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> Result<u64, StoreError> {
        self.store.change_everything().await?;
        self.cache.settle().await;
        let cleared = self.cache.clear().await;
        Ok(cleared.inspect_err(|fault| tracing::warn!(%fault, "Redis could not be emptied")).unwrap_or_default())
    }

    /// Whoever is told that nothing was there to change must not find it in a cache either.
    async fn settled(&self, changed: bool) -> Result<bool, StoreError> {
        self.cache.settle().await;
        Ok(changed)
    }
}

fn row(
    project: &ProjectId,
    head: &RoomHead,
    name: &str,
    created_at: crate::clock::Timestamp,
) -> Result<RoomRow, StoreError> {
    let id = RoomId::new(project, name).map_err(|_| StoreError::Broken("a kept room name cannot be read".into()))?;
    let RoomHead { key, last_seq, read_seq } = *head;
    Ok(RoomRow { key, id, last_seq, read_seq, created_at })
}
