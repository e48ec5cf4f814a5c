//! The search index on PostgreSQL: a `tsvector` for each message, made of the words that the hub took apart, under GIN.

use async_trait::async_trait;
use sqlx::{Row as _, postgres::PgRow};

use super::{PostgresStore, decode, messages::message, pool::Kind, refusal::refused};
use crate::store::{
    RoomKey, StoreError, columns,
    search::{
        BACKLOG_ROOMS, CHUNK_MESSAGES, Chunk, Entry, Index, Search, SearchHit, SearchPlace, Where, scope, scopes,
    },
};

impl PostgresStore {
    pub(super) async fn find(&self, search: &Search) -> Result<Vec<SearchHit>, StoreError> {
        let rooms = search.room.map_or(Where::Project(&search.project), Where::Room);
        self.backlog.catch_up(self, rooms).await?;
        let query = search.query.tsquery(&scope(search));
        let statement = || {
            let find = sqlx::query(
                "SELECT m.seq, m.message_id, m.user_id, m.user_name, m.connection_id, m.body, m.sent_at, \
                 e.entry_id, r.project_id || '/' || r.name \
                 FROM search_entries e JOIN rooms r ON r.room_key = e.room_key \
                 JOIN messages m ON m.room_key = e.room_key AND m.seq = e.seq \
                 WHERE e.words @@ $1::tsquery AND e.entry_id < $2 AND r.project_id = $3 \
                 ORDER BY e.entry_id DESC LIMIT $4",
            );
            // Planned anew each time: how to go about it depends on how often the words occur.
            find.persistent(false)
                .bind(query.as_str())
                .bind(search.before.number())
                .bind(search.project.as_str())
                .bind(i64::from(search.limit))
        };
        self.pool.run(Kind::Read, statement).await?.iter().map(hit).collect()
    }
}

fn hit(row: &PgRow) -> Result<SearchHit, StoreError> {
    Ok(SearchHit {
        message: message(row)?,
        place: SearchPlace::of_number(row.try_get(7).map_err(|error| refused(&error))?),
        room: columns::id(row.try_get(8).map_err(|error| refused(&error))?)?,
    })
}

#[async_trait]
impl Index for PostgresStore {
    async fn behind(&self, rooms: Where<'_>) -> Result<Vec<RoomKey>, StoreError> {
        let (project, room) = match rooms {
            Where::Everywhere => (None, None),
            Where::Project(project) => (Some(project.as_str()), None),
            Where::Room(room) => (None, Some(room.0)),
        };
        let statement = || {
            let find = sqlx::query(
                "SELECT r.room_key FROM rooms r LEFT JOIN search_progress p ON p.room_key = r.room_key \
                 WHERE r.head > coalesce(p.seq, 0) AND ($1 IS NULL OR r.project_id = $1) \
                 AND ($2 IS NULL OR r.room_key = $2) LIMIT $3",
            );
            find.persistent(false).bind(project).bind(room).bind(i64::from(BACKLOG_ROOMS))
        };
        let rows: Vec<(i64,)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        Ok(rows.into_iter().map(|(key,)| RoomKey(key)).collect())
    }

    async fn next_chunk(&self, room: RoomKey) -> Result<Option<Chunk>, StoreError> {
        let statement = || {
            let find = sqlx::query(
                "SELECT r.project_id, coalesce(p.seq, 0) FROM rooms r \
                 LEFT JOIN search_progress p ON p.room_key = r.room_key WHERE r.room_key = $1",
            );
            find.bind(room.0)
        };
        let rows: Vec<(String, i64)> = decode(self.pool.run(Kind::Read, statement).await?)?;
        let Some((project, after)) = rows.into_iter().next() else { return Ok(None) };
        let statement = || {
            let find = sqlx::query(
                "SELECT seq, sent_at, body FROM messages WHERE room_key = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            );
            find.bind(room.0).bind(after).bind(i64::from(CHUNK_MESSAGES))
        };
        let messages = decode(self.pool.run(Kind::Read, statement).await?)?;
        Ok(Some(Chunk { room, project: columns::id(&project)?, after: columns::seq(after)?, messages }))
    }

    async fn put_in(&self, chunk: &Chunk, entries: &[Entry]) -> Result<(), StoreError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let scopes = scopes(chunk);
        let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
        let millis: Vec<i64> = entries.iter().map(|entry| entry.millis).collect();
        let words: Vec<String> = entries.iter().map(|entry| entry.tsvector(&scopes)).collect();
        // Another indexer may take the same number in the same millisecond: then the statement is run again.
        let statement = || {
            let put = sqlx::query(
                "WITH moved AS ( \
                     INSERT INTO search_progress AS p (room_key, seq) SELECT room_key, $3 FROM rooms WHERE room_key = $1 \
                     ON CONFLICT (room_key) DO UPDATE SET seq = excluded.seq WHERE p.seq = $2 RETURNING room_key \
                 ) \
                 INSERT INTO search_entries (entry_id, room_key, seq, words) \
                 SELECT (e.millis << 20) + coalesce(( \
                     SELECT max(entry_id) - (e.millis << 20) + 1 FROM search_entries \
                     WHERE entry_id >= e.millis << 20 AND entry_id < (e.millis + 1) << 20), 0) \
                     + row_number() OVER (PARTITION BY e.millis ORDER BY e.seq) - 1, \
                     moved.room_key, e.seq, e.words::tsvector \
                 FROM moved CROSS JOIN unnest($4::bigint[], $5::bigint[], $6::text[]) AS e (seq, millis, words)",
            );
            put.bind(chunk.room.0)
                .bind(columns::seq_column(chunk.after))
                .bind(last.seq)
                .bind(&seqs)
                .bind(&millis)
                .bind(&words)
        };
        self.pool.run(Kind::Change, statement).await.map(drop)
    }
}
