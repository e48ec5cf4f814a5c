//! Projects and their members: who may write before a message gets here.

use super::{PostgresStore, decode, pool::Kind};
use crate::{
    ids::{ProjectId, UserId},
    store::{Project, ProjectFilter, ProjectMember, Role, StoreError, Visibility, columns},
};

/// A row of `projects` in the order of its columns.
type ProjectColumns = (String, String, String, i64);

/// How many messages of a deleted room one statement removes.
const PURGE_ROWS: i64 = 5000;

impl PostgresStore {
    pub(super) async fn find_project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        let statement = || {
            sqlx::query("SELECT project_id, name, visibility, created_at FROM projects WHERE project_id = $1")
                .bind(id.as_str())
        };
        decode(self.pool.run(Kind::Read, statement).await?)?.into_iter().next().map(project).transpose()
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
        let statement = || {
            sqlx::query(
                "SELECT project_id, name, visibility, created_at FROM projects WHERE project_id > $4 \
                 AND project_id IN ( \
                 (SELECT project_id FROM project_members WHERE user_id = $1 AND project_id > $4 \
                 ORDER BY project_id LIMIT $5) \
                 UNION SELECT name COLLATE \"C\" FROM unnest($2::text[]) AS named (name) \
                 UNION (SELECT project_id FROM projects WHERE $3 AND visibility = 'public' AND project_id > $4 \
                 ORDER BY project_id LIMIT $5)) \
                 ORDER BY project_id LIMIT $5",
            )
            .bind(filter.member.as_ref().map(UserId::as_str))
            .bind(&named)
            .bind(filter.public)
            .bind(after.map_or("", ProjectId::as_str))
            .bind(i64::from(limit))
        };
        decode(self.pool.run(Kind::Read, statement).await?)?.into_iter().map(project).collect()
    }

    pub(super) async fn insert_project(&self, project: &Project, owner: Option<&UserId>) -> Result<bool, StoreError> {
        let statement = || {
            sqlx::query(
                "WITH made AS (INSERT INTO projects (project_id, name, visibility, created_at) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING project_id), \
                 owned AS (INSERT INTO project_members (project_id, user_id, role) \
                 SELECT project_id, $5, $6 FROM made WHERE $5 IS NOT NULL) \
                 SELECT project_id FROM made",
            )
            .bind(project.id.as_str())
            .bind(project.name.as_str())
            .bind(columns::visibility_text(project.visibility))
            .bind(project.created_at.timestamp_millis())
            .bind(owner.map(UserId::as_str))
            .bind(columns::role_text(Role::Owner))
        };
        Ok(!self.pool.run(Kind::Change, statement).await?.is_empty())
    }

    pub(super) async fn change_project(
        &self,
        id: &ProjectId,
        name: Option<&str>,
        visibility: Option<Visibility>,
    ) -> Result<Option<Project>, StoreError> {
        let statement = || {
            sqlx::query(
                "UPDATE projects SET name = coalesce($2, name), visibility = coalesce($3, visibility) \
                 WHERE project_id = $1 RETURNING project_id, name, visibility, created_at",
            )
            .bind(id.as_str())
            .bind(name)
            .bind(visibility.map(columns::visibility_text))
        };
        decode(self.pool.run(Kind::Change, statement).await?)?.into_iter().next().map(project).transpose()
    }

    pub(super) async fn remove_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        // Appends hold several rooms at a time, locked in the order of their keys; what goes with the project would be
        // locked in any order. So all are locked first, in that order, behind the project, which keeps new ones away.
        let statement = || {
            sqlx::query(
                "WITH project AS MATERIALIZED (SELECT project_id FROM projects WHERE project_id = $1 FOR UPDATE), \
                 locked AS MATERIALIZED (SELECT room_key FROM rooms WHERE project_id IN (SELECT project_id FROM project) \
                 ORDER BY room_key FOR UPDATE) \
                 DELETE FROM projects WHERE project_id = $1 AND (SELECT count(*) FROM locked) >= 0 RETURNING project_id",
            )
            .bind(id.as_str())
        };
        let deleted = !self.pool.run(Kind::Change, statement).await?.is_empty();
        if deleted && let Err(error) = self.purge_deleted_rooms().await {
            // The project is gone, and so are its rooms; nobody can reach what is left of their messages.
            tracing::warn!(%error, "the messages of a deleted project are removed at the next deletion or start");
        }
        Ok(deleted)
    }

    /// Removes the messages of deleted rooms, this process's or those that another left behind when it crashed. In steps,
    /// each of which is short enough for a statement.
    pub(super) async fn purge_deleted_rooms(&self) -> Result<(), StoreError> {
        loop {
            let first = || sqlx::query("SELECT room_key FROM deleted_rooms ORDER BY room_key LIMIT 1");
            let rooms: Vec<(i64,)> = decode(self.pool.run(Kind::Read, first).await?)?;
            let Some((room,)) = rooms.first() else { return Ok(()) };
            while self.purge_step(*room).await? > 0 {}
        }
    }

    /// Removes the first messages of a room, and its mark when there are none. Answers how many.
    async fn purge_step(&self, room: i64) -> Result<i64, StoreError> {
        let step = || {
            sqlx::query(
                "WITH first AS (SELECT min(seq) AS seq FROM messages WHERE room_key = $1), \
                 forgotten AS (DELETE FROM search_entries WHERE room_key = $1 AND seq < $2 + (SELECT seq FROM first)), \
                 purged AS (DELETE FROM messages WHERE room_key = $1 AND seq < $2 + (SELECT seq FROM first) RETURNING 1) \
                 SELECT count(*) FROM purged",
            )
            .bind(room)
            .bind(PURGE_ROWS)
        };
        let counts: Vec<(i64,)> = decode(self.pool.run(Kind::Change, step).await?)?;
        let purged = counts.first().map_or(0, |(count,)| *count);
        if purged == 0 {
            let forget = || sqlx::query("DELETE FROM deleted_rooms WHERE room_key = $1").bind(room);
            self.pool.run(Kind::Change, forget).await?;
        }
        Ok(purged)
    }

    pub(super) async fn find_role(&self, project: &ProjectId, user: &UserId) -> Result<Option<Role>, StoreError> {
        let statement = || {
            let find = sqlx::query("SELECT role FROM project_members WHERE project_id = $1 AND user_id = $2");
            find.bind(project.as_str()).bind(user.as_str())
        };
        let rows: Vec<(String,)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        rows.first().map(|(role,)| columns::role(role)).transpose()
    }

    pub(super) async fn find_roles(
        &self,
        user: &UserId,
        projects: &[ProjectId],
    ) -> Result<Vec<Option<Role>>, StoreError> {
        let names: Vec<&str> = projects.iter().map(ProjectId::as_str).collect();
        let statement = || {
            let find = "SELECT project_id, role FROM project_members WHERE user_id = $1 AND project_id = ANY ($2)";
            sqlx::query(find).bind(user.as_str()).bind(&names)
        };
        let rows: Vec<(String, String)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        columns::roles_in_order(&rows, projects)
    }

    pub(super) async fn list_members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<ProjectMember>, StoreError> {
        let statement = || {
            sqlx::query(
                "SELECT user_id, role FROM project_members WHERE project_id = $1 AND user_id > $2 \
                 ORDER BY user_id LIMIT $3",
            )
            .bind(project.as_str())
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::from(limit))
        };
        let rows: Vec<(String, String)> = decode(self.pool.run(Kind::Read, statement).await?)?;
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
        let statement = || {
            sqlx::query(
                "INSERT INTO project_members (project_id, user_id, role) \
                 SELECT project_id, $2, $3 FROM projects WHERE project_id = $1 \
                 ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role RETURNING project_id",
            )
            .bind(project.as_str())
            .bind(user.as_str())
            .bind(columns::role_text(role))
        };
        Ok(!self.pool.run(Kind::Change, statement).await?.is_empty())
    }

    pub(super) async fn delete_member(&self, project: &ProjectId, user: &UserId) -> Result<bool, StoreError> {
        let statement = || {
            sqlx::query("DELETE FROM project_members WHERE project_id = $1 AND user_id = $2 RETURNING project_id")
                .bind(project.as_str())
                .bind(user.as_str())
        };
        Ok(!self.pool.run(Kind::Change, statement).await?.is_empty())
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
