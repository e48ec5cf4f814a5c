//! Reading messages back: history, resuming clients, and holes that a lost bus event left.

use sqlx::{Row as _, sqlite::SqliteRow};

use super::{SqliteStore, refusal::refused};
use crate::{
    ids::Seq,
    store::{Author, RoomKey, StoreError, StoredMessage, columns},
};

impl SqliteStore {
    pub(super) async fn head_of(&self, room: RoomKey) -> Result<Seq, StoreError> {
        let query = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM messages WHERE room_key = ?").bind(room.0);
        columns::seq(query.fetch_one(&self.readers).await.map_err(|error| refused(&error))?)
    }

    pub(super) async fn read_after(
        &self,
        room: RoomKey,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(
            "SELECT seq, message_id, user_id, user_name, connection_id, body, sent_at FROM messages \
             WHERE room_key = ? AND seq > ? ORDER BY seq LIMIT ?",
            (room, columns::seq_column(after), limit),
        )
        .await
    }

    pub(super) async fn read_before(
        &self,
        room: RoomKey,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(
            "SELECT seq, message_id, user_id, user_name, connection_id, body, sent_at FROM messages \
             WHERE room_key = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            (room, before.map_or(i64::MAX, columns::seq_column), limit),
        )
        .await
    }

    async fn read(
        &self,
        sql: &'static str,
        (room, bound, limit): (RoomKey, i64, u32),
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let query = sqlx::query(sql).bind(room.0).bind(bound).bind(limit);
        let rows = query.fetch_all(&self.readers).await.map_err(|error| refused(&error))?;
        rows.iter().map(message).collect()
    }
}

/// A message from the first columns of a row.
pub(super) fn message(row: &SqliteRow) -> Result<StoredMessage, StoreError> {
    let refused = |error| refused(&error);
    Ok(StoredMessage {
        seq: columns::seq(row.try_get(0).map_err(refused)?)?,
        id: row.try_get(1).map_err(refused)?,
        author: Author {
            user_id: columns::id(row.try_get(2).map_err(refused)?)?,
            name: row.try_get(3).map_err(refused)?,
            connection_id: row.try_get(4).map_err(refused)?,
        },
        body: row.try_get(5).map_err(refused)?,
        sent_at: columns::timestamp(row.try_get(6).map_err(refused)?)?,
    })
}
