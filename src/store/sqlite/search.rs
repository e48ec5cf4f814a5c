//! The search index on SQLite: FTS5 without a copy of the text, fed with the words that the hub took apart.

use async_trait::async_trait;
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, messages::message, refusal::refused};
use crate::{
    clock::{Duration, Instant},
    store::{
        RoomKey, StoreError, columns,
        search::{
            BACKLOG_ROOMS, CHUNK_MESSAGES, Chunk, Entry, Index, Search, SearchHit, SearchPlace, Where, scope, scopes,
        },
    },
};

/// How long one search may occupy a reading connection.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(2);
/// How many steps of SQLite's machine are made between looks at the clock: a millisecond or less.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// How many entries of a deleted room one transaction removes: a few milliseconds under the write lock.
const PURGE_ENTRIES: i64 = 500;

impl SqliteStore {
    pub(super) async fn find(&self, search: &Search) -> Result<Vec<SearchHit>, StoreError> {
        let rooms = search.room.map_or(Where::Project(&search.project), Where::Room);
        self.backlog.catch_up(self, rooms).await?;
        // Searches never take all of the reading connections.
        let _turn = self.searches.acquire().await.map_err(|_| StoreError::Unavailable("it was closed".into()))?;
        let mut reader = self.readers.acquire().await.map_err(|error| refused(&error))?;
        let deadline = Instant::now() + SEARCH_TIME_MAX;
        let mut handle = reader.lock_handle().await.map_err(|error| refused(&error))?;
        handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || Instant::now() < deadline);
        drop(handle);
        let query = sqlx::query(
            "SELECT m.seq, m.message_id, m.user_id, m.user_name, m.connection_id, m.body, m.sent_at, \
             e.entry_id, r.project_id || '/' || r.name \
             FROM search_words w CROSS JOIN search_entries e ON e.entry_id = w.rowid \
             CROSS JOIN rooms r ON r.room_key = e.room_key \
             CROSS JOIN messages m ON m.room_key = e.room_key AND m.seq = e.seq \
             WHERE w.search_words MATCH ? AND w.rowid < ? AND r.project_id = ? ORDER BY w.rowid DESC LIMIT ?",
        );
        let rows = query
            .bind(search.query.fts5(&scope(search)))
            .bind(search.before.number())
            .bind(search.project.as_str())
            .bind(search.limit)
            .fetch_all(&mut *reader)
            .await;
        // Left behind by a search that was given up, the handler stops nobody else: the next search sets its own, and
        // other readers' statements take no such time.
        if let Ok(mut handle) = reader.lock_handle().await {
            handle.remove_progress_handler();
        }
        rows.map_err(|error| refused(&error))?.iter().map(hit).collect()
    }

    /// Removes some of a deleted room's entries. Answers how many.
    pub(super) async fn purge_entries(&self, room: i64) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let purged = purge_entries(writer.connection()?, room).await;
        writer.settle(purged)
    }
}

async fn purge_entries(connection: &mut SqliteConnection, room: i64) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let words = sqlx::query(
        "DELETE FROM search_words WHERE rowid IN ( \
         SELECT entry_id FROM search_entries WHERE room_key = ? ORDER BY seq LIMIT ?)",
    );
    words.bind(room).bind(PURGE_ENTRIES).execute(&mut *transaction).await?;
    let entries = sqlx::query(
        "DELETE FROM search_entries WHERE entry_id IN ( \
         SELECT entry_id FROM search_entries WHERE room_key = ? ORDER BY seq LIMIT ?)",
    );
    let purged = entries.bind(room).bind(PURGE_ENTRIES).execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok(purged)
}

fn hit(row: &SqliteRow) -> Result<SearchHit, StoreError> {
    Ok(SearchHit {
        message: message(row)?,
        place: SearchPlace::of_number(row.try_get(7).map_err(|error| refused(&error))?),
        room: columns::id(row.try_get(8).map_err(|error| refused(&error))?)?,
    })
}

#[async_trait]
impl Index for SqliteStore {
    async fn behind(&self, rooms: Where<'_>) -> Result<Vec<RoomKey>, StoreError> {
        macro_rules! select_behind {
            ($which:literal) => {
                concat!(
                    "SELECT r.room_key FROM rooms r LEFT JOIN search_progress p ON p.room_key = r.room_key ",
                    "WHERE coalesce((SELECT max(seq) FROM messages WHERE room_key = r.room_key), 0) ",
                    "> coalesce(p.seq, 0) ",
                    $which,
                    " LIMIT ?"
                )
            };
        }
        let query = match rooms {
            Where::Everywhere => sqlx::query_scalar(select_behind!("")),
            Where::Project(project) => {
                sqlx::query_scalar(select_behind!("AND r.project_id = ?")).bind(project.as_str())
            }
            Where::Room(room) => sqlx::query_scalar(select_behind!("AND r.room_key = ?")).bind(room.0),
        };
        let keys: Vec<i64> =
            query.bind(BACKLOG_ROOMS).fetch_all(&self.readers).await.map_err(|error| refused(&error))?;
        Ok(keys.into_iter().map(RoomKey).collect())
    }

    async fn next_chunk(&self, room: RoomKey) -> Result<Option<Chunk>, StoreError> {
        let query = sqlx::query_as::<_, (String, i64)>(
            "SELECT r.project_id, coalesce(p.seq, 0) FROM rooms r \
             LEFT JOIN search_progress p ON p.room_key = r.room_key WHERE r.room_key = ?",
        );
        let found = query.bind(room.0).fetch_optional(&self.readers).await.map_err(|error| refused(&error))?;
        let Some((project, after)) = found else { return Ok(None) };
        let query = sqlx::query_as(
            "SELECT seq, sent_at, body FROM messages WHERE room_key = ? AND seq > ? ORDER BY seq LIMIT ?",
        );
        let query = query.bind(room.0).bind(after).bind(CHUNK_MESSAGES);
        let messages = query.fetch_all(&self.readers).await.map_err(|error| refused(&error))?;
        Ok(Some(Chunk { room, project: columns::id(&project)?, after: columns::seq(after)?, messages }))
    }

    async fn put_in(&self, chunk: &Chunk, entries: &[Entry]) -> Result<(), StoreError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let scopes = scopes(chunk);
        let rows: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.millis, entry.fts5(&scopes))).collect();
        let rows = serde_json::to_string(&rows).map_err(|_| StoreError::Broken("words cannot be written".into()))?;
        let mut writer = self.writer().await?;
        let put = put_in(writer.connection()?, chunk, last.seq, &rows).await;
        writer.settle(put)
    }
}

async fn put_in(connection: &mut SqliteConnection, chunk: &Chunk, last: i64, rows: &str) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let advance = sqlx::query(
        "INSERT INTO search_progress (room_key, seq) SELECT room_key, ?3 FROM rooms WHERE room_key = ?1 \
         ON CONFLICT (room_key) DO UPDATE SET seq = excluded.seq WHERE search_progress.seq = ?2",
    );
    let advance = advance.bind(chunk.room.0).bind(columns::seq_column(chunk.after)).bind(last);
    if advance.execute(&mut *transaction).await?.rows_affected() == 0 {
        return Ok(()); // another process was faster, or the room is gone
    }
    let entries = sqlx::query(
        "INSERT INTO search_entries (entry_id, room_key, seq) \
         SELECT (millis << 20) + coalesce((SELECT max(entry_id) - (millis << 20) + 1 FROM search_entries \
         WHERE entry_id >= millis << 20 AND entry_id < (millis + 1) << 20), 0) \
         + row_number() OVER (PARTITION BY millis ORDER BY seq) - 1, ?1, seq \
         FROM (SELECT value ->> 0 AS seq, value ->> 1 AS millis FROM json_each(?2))",
    );
    entries.bind(chunk.room.0).bind(rows).execute(&mut *transaction).await?;
    let words = sqlx::query(
        "INSERT INTO search_words (rowid, words) SELECT e.entry_id, row.value ->> 2 FROM json_each(?2) row \
         CROSS JOIN search_entries e ON e.room_key = ?1 AND e.seq = row.value ->> 0",
    );
    words.bind(chunk.room.0).bind(rows).execute(&mut *transaction).await?;
    transaction.commit().await
}
