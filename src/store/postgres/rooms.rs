//! Rooms and read markers: what a room actor asks for when it starts, and what its readers leave behind.

use super::{
    PostgresStore, decode,
    pool::{Kind, Statement},
};
use crate::{
    clock::now_utc,
    ids::{ProjectId, RoomId, Seq, UserId},
    store::{ProjectExtent, RoomHead, RoomKey, RoomRow, StoreError, columns},
};

/// Key, name, time of making, head, read marker.
type RoomColumns = (i64, String, i64, i64, i64);

/// A room as the reader `$1` sees it.
macro_rules! select_room {
    ($rest:literal) => {
        concat!(
            "SELECT r.room_key, r.name, r.created_at, r.head, ",
            "coalesce((SELECT seq FROM read_markers WHERE room_key = r.room_key AND user_id = $1), 0) ",
            "FROM rooms r WHERE r.project_id = $2 ",
            $rest
        )
    };
}

impl PostgresStore {
    pub(super) async fn find_room(&self, id: &RoomId, reader: Option<&UserId>) -> Result<Option<RoomRow>, StoreError> {
        let project = id.project();
        let statement = || seen_by(select_room!("AND r.name = $3"), &project, reader).bind(id.room());
        let rows = decode(self.pool.run(Kind::Read, statement).await?)?;
        rows.into_iter().next().map(|columns| room(&project, columns)).transpose()
    }

    pub(super) async fn list_rooms(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let statement = || {
            seen_by(select_room!("AND r.name > $3 ORDER BY r.name LIMIT $4"), project, reader)
                .bind(after.unwrap_or_default())
                .bind(i64::from(limit))
        };
        let rows = decode(self.pool.run(Kind::Read, statement).await?)?;
        rows.into_iter().map(|columns| room(project, columns)).collect()
    }

    pub(super) async fn list_heads(
        &self,
        project: &ProjectId,
        reader: Option<&UserId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RoomHead>, StoreError> {
        let statement = || {
            sqlx::query(
                "SELECT r.room_key, r.head, \
                 coalesce((SELECT seq FROM read_markers WHERE room_key = r.room_key AND user_id = $1), 0) \
                 FROM rooms r WHERE r.project_id = $2 AND r.name > $3 ORDER BY r.name LIMIT $4",
            )
            .bind(reader.map(UserId::as_str))
            .bind(project.as_str())
            .bind(after.unwrap_or_default())
            .bind(i64::from(limit))
        };
        let rows: Vec<(i64, i64, i64)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        let head = |(key, head, read)| {
            Ok(RoomHead { key: RoomKey(key), last_seq: columns::seq(head)?, read_seq: columns::seq(read)? })
        };
        rows.into_iter().map(head).collect()
    }

    pub(super) async fn measure(&self, project: &ProjectId) -> Result<ProjectExtent, StoreError> {
        let statement = || {
            let sum = "SELECT count(*), coalesce(sum(head), 0)::bigint FROM rooms WHERE project_id = $1";
            sqlx::query(sum).bind(project.as_str())
        };
        let rows: Vec<(i64, i64)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        let (rooms, messages) = rows.first().copied().unwrap_or_default();
        Ok(ProjectExtent { rooms: columns::seq(rooms)?, messages: columns::seq(messages)? })
    }

    pub(super) async fn find_or_make_room(&self, id: &RoomId) -> Result<Option<RoomKey>, StoreError> {
        let project = id.project();
        // Nearly always it is there.
        if let Some(key) = self.room_key(&project, id.room()).await? {
            return Ok(Some(key));
        }
        let now = now_utc().timestamp_millis();
        let make = || {
            sqlx::query(
                "INSERT INTO rooms (project_id, name, created_at) SELECT project_id, $2, $3 FROM projects \
                 WHERE project_id = $1 ON CONFLICT DO NOTHING",
            )
            .bind(project.as_str())
            .bind(id.room())
            .bind(now)
        };
        self.pool.run(Kind::Change, make).await?;
        // Ours, or another instance's, or none for want of a project.
        self.room_key(&project, id.room()).await
    }

    async fn room_key(&self, project: &ProjectId, name: &str) -> Result<Option<RoomKey>, StoreError> {
        let statement = || {
            let find = sqlx::query("SELECT room_key FROM rooms WHERE project_id = $1 AND name = $2");
            find.bind(project.as_str()).bind(name)
        };
        let rows: Vec<(i64,)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        Ok(rows.first().map(|(key,)| RoomKey(*key)))
    }

    pub(super) async fn move_markers(&self, marks: &[(RoomKey, UserId, Seq)]) -> Result<(), StoreError> {
        if marks.is_empty() {
            return Ok(());
        }
        let rooms: Vec<i64> = marks.iter().map(|(room, ..)| room.0).collect();
        let users: Vec<&str> = marks.iter().map(|(_, user, _)| user.as_str()).collect();
        let seqs: Vec<i64> = marks.iter().map(|(.., seq)| columns::seq_column(*seq)).collect();
        // In one order everywhere, so that two instances never wait for each other in a circle.
        let statement = || {
            sqlx::query(
                "INSERT INTO read_markers (room_key, user_id, seq) SELECT mark.room_key, mark.user_id, max(mark.seq) \
                 FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS mark (room_key, user_id, seq) \
                 WHERE EXISTS (SELECT 1 FROM rooms WHERE rooms.room_key = mark.room_key) \
                 GROUP BY mark.room_key, mark.user_id ORDER BY mark.room_key, mark.user_id COLLATE \"C\" \
                 ON CONFLICT (room_key, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > read_markers.seq",
            )
            .bind(&rooms)
            .bind(&users)
            .bind(&seqs)
        };
        self.pool.run(Kind::Change, statement).await.map(drop)
    }
}

fn seen_by<'q>(sql: &'static str, project: &'q ProjectId, reader: Option<&'q UserId>) -> Statement<'q> {
    sqlx::query(sql).bind(reader.map(UserId::as_str)).bind(project.as_str())
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
