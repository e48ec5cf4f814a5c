//! Projects and their members: who may write before a message gets here.

use sqlx::Connection as _;

use super::{SqliteStore, refusal::refused};
use crate::{
    ids::{ProjectId, UserId},
    store::{Project, ProjectFilter, ProjectMember, Role, StoreError, Visibility, columns},
};

/// A row of `projects` in the order of its columns.
type ProjectColumns = (String, String, String, i64);

/// How many messages of a deleted room one statement removes: a few milliseconds under the write lock.
const PURGE_ROWS: i64 = 1000;

impl SqliteStore {
    pub(super) async fn find_project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        let query = sqlx::query_as::<_, ProjectColumns>(
            "SELECT project_id, name, visibility, created_at FROM projects WHERE project_id = ?",
        );
        let found = query.bind(id.as_str()).fetch_optional(&self.readers).await;
        found.map_err(|error| refused(&error))?.map(project).transpose()
    }

    pub(super) async fn list_projects(
        &self,
        filter: &ProjectFilter,
        after: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        let named: Vec<&str> = filter.named.iter().map(ProjectId::as_str).collect();
        // Each source gives no more than the page can hold, from its own index: the cost does not grow with the projects
        // that the caller may not see.
        let query = sqlx::query_as::<_, ProjectColumns>(
            "SELECT project_id, name, visibility, created_at FROM projects WHERE project_id > ?4 AND project_id IN ( \
             SELECT * FROM (SELECT project_id FROM project_members WHERE user_id = ?1 AND project_id > ?4 \
             ORDER BY project_id LIMIT ?5) \
             UNION SELECT value FROM json_each(?2) \
             UNION SELECT * FROM (SELECT project_id FROM projects WHERE ?3 AND visibility = 'public' \
             AND project_id > ?4 ORDER BY project_id LIMIT ?5)) \
             ORDER BY project_id LIMIT ?5",
        );
        let rows = query
            .bind(filter.member.as_ref().map(UserId::as_str))
            .bind(serde_json::Value::from(named).to_string())
            .bind(filter.public)
            .bind(after.map_or("", ProjectId::as_str))
            .bind(limit)
            .fetch_all(&self.readers)
            .await;
        rows.map_err(|error| refused(&error))?.into_iter().map(project).collect()
    }

    pub(super) async fn insert_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let connection = writer.connection()?;
        let inserted = async {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let insert = sqlx::query(
                "INSERT INTO projects (project_id, name, visibility, created_at) VALUES (?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(project.id.as_str())
            .bind(project.name.as_str())
            .bind(columns::visibility_text(project.visibility))
            .bind(project.created_at.timestamp_millis());
            let made = insert.execute(&mut *transaction).await?.rows_affected() == 1;
            if let Some(owner) = owner.filter(|_| made) {
                let insert = sqlx::query("INSERT INTO project_members (project_id, user_id, role) VALUES (?, ?, ?)")
                    .bind(project.id.as_str())
                    .bind(owner.as_str())
                    .bind(columns::role_text(Role::Owner));
                insert.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(made)
        }
        .await;
        writer.settle(inserted)
    }

    pub(super) async fn change_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError> {
        let query = sqlx::query_as::<_, ProjectColumns>(
            "UPDATE projects SET name = coalesce(?, name), visibility = coalesce(?, visibility) WHERE project_id = ? \
             RETURNING project_id, name, visibility, created_at",
        );
        let query = query.bind(name).bind(visibility.map(columns::visibility_text)).bind(id.as_str());
        let mut writer = self.writer().await?;
        // `fetch_all`, since the row comes before the commit.
        let changed = query.fetch_all(writer.connection()?).await;
        writer.settle(changed)?.into_iter().next().map(project).transpose()
    }

    pub(super) async fn remove_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let delete = sqlx::query("DELETE FROM projects WHERE project_id = ?").bind(id.as_str());
        let deleted = delete.execute(writer.connection()?).await;
        let deleted = writer.settle(deleted)?.rows_affected() == 1;
        drop(writer);
        if deleted && let Err(error) = self.purge_deleted_rooms().await {
            // The project is gone, and so are its rooms; nobody can reach what is left of their messages.
            tracing::warn!(%error, "the messages of a deleted project are removed at the next deletion or start");
        }
        Ok(deleted)
    }

    /// Removes the messages of deleted rooms, this process's or those that another left behind when it crashed. In steps,
    /// between which others write.
    pub(super) async fn purge_deleted_rooms(&self) -> Result<(), StoreError> {
        loop {
            let query = sqlx::query_scalar::<_, i64>("SELECT room_key FROM deleted_rooms LIMIT 1");
            let room = query.fetch_optional(&self.readers).await.map_err(|error| refused(&error))?;
            let Some(room) = room else { return Ok(()) };
            while self.purge_entries(room).await? > 0 {}
            while self.purge_step(room).await? > 0 {}
        }
    }

    /// Removes the first messages of a room, and its mark when there are none. Answers how many.
    async fn purge_step(&self, room: i64) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let delete = sqlx::query(
            "DELETE FROM messages WHERE room_key = ?1 \
             AND seq < ?2 + (SELECT min(seq) FROM messages WHERE room_key = ?1)",
        );
        let deleted = delete.bind(room).bind(PURGE_ROWS).execute(writer.connection()?).await;
        let deleted = writer.settle(deleted)?.rows_affected();
        if deleted == 0 {
            let forget = sqlx::query("DELETE FROM deleted_rooms WHERE room_key = ?").bind(room);
            let forgotten = forget.execute(writer.connection()?).await;
            writer.settle(forgotten)?;
        }
        Ok(deleted)
    }

    pub(super) async fn find_role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError> {
        let query = sqlx::query_scalar("SELECT role FROM project_members WHERE project_id = ? AND user_id = ?");
        let query = query.bind(project.as_str()).bind(user.as_str());
        let found: Option<String> = query.fetch_optional(&self.readers).await.map_err(|error| refused(&error))?;
        found.as_deref().map(columns::role).transpose()
    }

    pub(super) async fn find_roles(
        &self,
        user: &UserId,
        projects: &[ProjectId],
    ) -> Result<Vec<Option<Role>>, StoreError> {
        let names: Vec<&str> = projects.iter().map(ProjectId::as_str).collect();
        let query = sqlx::query_as::<_, (String, String)>(
            "SELECT project_id, role FROM project_members \
             WHERE user_id = ? AND project_id IN (SELECT value FROM json_each(?))",
        );
        let query = query.bind(user.as_str()).bind(serde_json::Value::from(names).to_string());
        let rows = query.fetch_all(&self.readers).await.map_err(|error| refused(&error))?;
        columns::roles_in_order(&rows, projects)
    }

    pub(super) async fn list_members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<ProjectMember>, StoreError> {
        let query = sqlx::query_as::<_, (String, String)>(
            "SELECT user_id, role FROM project_members WHERE project_id = ? AND user_id > ? ORDER BY user_id LIMIT ?",
        );
        let query = query.bind(project.as_str()).bind(after.map_or("", UserId::as_str)).bind(limit);
        let rows = query.fetch_all(&self.readers).await.map_err(|error| refused(&error))?;
        let member = |(user, role): (String, String)| {
            Ok(ProjectMember { user_id: columns::id(&user)?, role: columns::role(&role)? })
        };
        rows.into_iter().map(member).collect()
    }

    pub(super) async fn upsert_member(
        &self,
        project: &ProjectId,
        user: &UserId,
        role: Role,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "INSERT INTO project_members (project_id, user_id, role) \
             SELECT project_id, ?, ? FROM projects WHERE project_id = ? \
             ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role",
        );
        let query = query.bind(user.as_str()).bind(columns::role_text(role)).bind(project.as_str());
        let mut writer = self.writer().await?;
        let put = query.execute(writer.connection()?).await;
        Ok(writer.settle(put)?.rows_affected() == 1)
    }

    pub(super) async fn delete_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM project_members WHERE project_id = ? AND user_id = ?");
        let query = query.bind(project.as_str()).bind(user.as_str());
        let mut writer = self.writer().await?;
        let deleted = query.execute(writer.connection()?).await;
        Ok(writer.settle(deleted)?.rows_affected() == 1)
    }
}

fn project((id, name, visibility, created_at): ProjectColumns) -> Result<Project, StoreError> {
    Ok(Project {
        id: columns::id(&id)?,
        name,
        visibility: columns::visibility(&visibility)?,
        created_at: columns::timestamp(created_at)?,
    })
}
