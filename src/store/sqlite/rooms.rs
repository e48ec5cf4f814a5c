//! Rooms and read markers: what a room actor asks for when it starts, and what its readers leave behind.

use sqlx::query::QueryAs;
use sqlx::{Sqlite, sqlite::SqliteArguments};

use super::{SqliteStore, refusal::refused};
use crate::{
    clock::now_utc,
    ids::{ProjectId, RoomId, Seq, UserId},
    store::{ProjectExtent, RoomHead, RoomKey, RoomRow, StoreError, columns},
};

/// Key, name, time of making, head, read marker.
type RoomColumns = (i64, String, i64, i64, i64);

/// A room as the reader `?1` sees it.
macro_rules! select_room {
    ($rest:literal) => {
        concat!(
            "SELECT r.room_key, r.name, r.created_at, ",
            "coalesce((SELECT max(seq) FROM messages WHERE room_key = r.room_key), 0), ",
            "coalesce((SELECT seq FROM read_markers WHERE room_key = r.room_key AND user_id = ?1), 0) ",
            "FROM rooms r WHERE r.project_id = ?2 ",
            $rest
        )
    };
}

impl SqliteStore {
    pub(super) async fn find_room(&self, id: &RoomId, reader: Option<&UserId>) -> Result<Option<RoomRow>, StoreError> {
        let project = id.project();
        let query = seen_by(select_room!("AND r.name = ?3"), &project, reader).bind(id.room());
        let found = query.fetch_optional(&self.readers).await.map_err(|error| refused(&error))?;
        found.map(|columns| room(&project, columns)).transpose()
    }

    pub(super) async fn list_rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let query = seen_by(select_room!("AND r.name > ?3 ORDER BY r.name LIMIT ?4"), project, reader);
        let rows = query.bind(after.unwrap_or_default()).bind(limit).fetch_all(&self.readers).await;
        rows.map_err(|error| refused(&error))?.into_iter().map(|columns| room(project, columns)).collect()
    }

    pub(super) async fn list_heads(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomHead>, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64, i64)>(
            "SELECT r.room_key, coalesce((SELECT max(seq) FROM messages WHERE room_key = r.room_key), 0), \
             coalesce((SELECT seq FROM read_markers WHERE room_key = r.room_key AND user_id = ?1), 0) \
             FROM rooms r WHERE r.project_id = ?2 AND r.name > ?3 ORDER BY r.name LIMIT ?4",
        );
        let query = query.bind(reader.map(UserId::as_str)).bind(project.as_str());
        let rows = query.bind(after.unwrap_or_default()).bind(limit).fetch_all(&self.readers).await;
        let head = |(key, head, read)| {
            Ok(RoomHead { key: RoomKey(key), last_seq: columns::seq(head)?, read_seq: columns::seq(read)? })
        };
        rows.map_err(|error| refused(&error))?.into_iter().map(head).collect()
    }

    pub(super) async fn measure(&self, project: &ProjectId) -> Result<ProjectExtent, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64)>(
            "SELECT count(*), coalesce(sum((SELECT max(seq) FROM messages WHERE room_key = r.room_key)), 0) \
             FROM rooms r WHERE r.project_id = ?",
        );
        let measured = query.bind(project.as_str()).fetch_one(&self.readers).await;
        let (rooms, messages) = measured.map_err(|error| refused(&error))?;
        Ok(ProjectExtent { rooms: columns::seq(rooms)?, messages: columns::seq(messages)? })
    }

    pub(super) async fn find_or_make_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        let find = || {
            let query = sqlx::query_scalar("SELECT room_key FROM rooms WHERE project_id = ? AND name = ?");
            query.bind(id.project().as_str().to_owned()).bind(id.room()).fetch_optional(&self.readers)
        };
        // Nearly always it is there, and finding it needs no write lock.
        if let Some(key) = find().await.map_err(|error| refused(&error))? {
            return Ok(Some(RoomKey(key)));
        }
        let make = sqlx::query(
            "INSERT INTO rooms (project_id, name, created_at) SELECT project_id, ?, ? FROM projects \
             WHERE project_id = ? ON CONFLICT DO NOTHING",
        );
        let make = make.bind(id.room()).bind(now_utc().timestamp_millis()).bind(id.project().as_str().to_owned());
        let mut writer = self.writer().await?;
        let made = make.execute(writer.connection()?).await;
        writer.settle(made)?;
        drop(writer);
        // Ours, or another instance's, or none for want of a project.
        Ok(find().await.map_err(|error| refused(&error))?.map(RoomKey))
    }

    pub(super) async fn move_markers(&self, marks: &[(RoomKey, UserId, Seq)]) -> Result<(), StoreError> {
        if marks.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = marks.iter().map(|(room, user, seq)| (room.0, user, columns::seq_column(*seq))).collect();
        let rows = serde_json::to_string(&rows).map_err(|_| StoreError::Broken("a marker cannot be written".into()))?;
        let query = sqlx::query(
            "INSERT INTO read_markers (room_key, user_id, seq) \
             SELECT r.room_key, mark.value ->> 1, max(mark.value ->> 2) \
             FROM json_each(?) mark CROSS JOIN rooms r ON r.room_key = mark.value ->> 0 GROUP BY 1, 2 \
             ON CONFLICT (room_key, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
        );
        let mut writer = self.writer().await?;
        let moved = query.bind(rows).execute(writer.connection()?).await;
        writer.settle(moved).map(drop)
    }
}

fn seen_by(
    sql: &'static str,
    project: &ProjectId,
    reader: Option<&UserId>,
) -> QueryAs<'static, Sqlite, RoomColumns, SqliteArguments> {
    sqlx::query_as(sql).bind(reader.map(|user| user.as_str().to_owned())).bind(project.as_str().to_owned())
}

fn room(project: &ProjectId, (key, name, created_at, head, read): RoomColumns) -> Result<RoomRow, StoreError> {
    Ok(RoomRow {
        key: RoomKey(key),
        id: columns::id(&format!("{}/{name}", project.as_str()))?,
        last_seq: columns::seq(head)?,
        read_seq: columns::seq(read)?,
        created_at: columns::timestamp(created_at)?,
    })
}
