//! The hot path: a batch of messages of any rooms becomes durable.
//!
//! A statement that writes takes SQLite's write lock before it reads anything, and waits for it. So the places it counts
//! from are still the last ones when it writes, whoever else appends to the same rooms from another process.
//!
//! The common case is that every message is new and every room exists. [`ALL`] writes all of the batch or, when that is
//! not so, nothing, and answers with one row: every row and every statement costs a change of threads. [`NEW`] sorts the
//! other batches out: it writes what is new and answers row by row, and [`LOOKUP`] finds what was there before.

use std::{collections::HashMap, sync::LazyLock};

use sqlx::{
    Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::SqliteStore;
use crate::{
    ids::{MessageId, Seq},
    store::{Appended, BATCH_ROWS_MAX, NewMessage, RoomKey, StoreError},
};

/// Statements exist for these numbers of messages only, so that few are prepared. What a batch leaves over is NULL, and
/// no room has a NULL key.
const SIZES: [usize; 5] = [1, 4, 16, 64, BATCH_ROWS_MAX];

type Statements = LazyLock<[String; SIZES.len()]>;
static ALL: Statements = LazyLock::new(|| SIZES.map(all_sql));
static NEW: Statements = LazyLock::new(|| SIZES.map(new_sql));
static LOOKUP: Statements = LazyLock::new(|| SIZES.map(lookup_sql));

/// What is bound for each message: which one of its room it is in the batch, and its columns.
const BATCH_COLUMNS: usize = 8;

/// Two statements. The first writes if all of the batch is new, so many being counted; the second answers whether it did,
/// and the places in the order of the batch as a JSON array.
fn all_sql(size: usize) -> String {
    format!(
        "WITH batch (nth, room_key, message_id, user_id, user_name, connection_id, body, sent_at) AS (VALUES {rows}) \
         INSERT INTO messages (room_key, seq, message_id, user_id, user_name, connection_id, body, sent_at) \
         SELECT b.room_key, coalesce((SELECT max(seq) FROM messages WHERE room_key = b.room_key), 0) + b.nth, \
         b.message_id, b.user_id, b.user_name, b.connection_id, b.body, b.sent_at \
         FROM batch b WHERE b.room_key IS NOT NULL AND ? = (SELECT count(*) \
         FROM batch b CROSS JOIN rooms r ON r.room_key = b.room_key WHERE NOT EXISTS ( \
         SELECT 1 FROM messages m WHERE m.room_key = b.room_key AND m.message_id = b.message_id)); \
         WITH batch (ord, room_key, message_id) AS (VALUES {identities}) \
         SELECT changes(), json_group_array((SELECT m.seq FROM messages m \
         WHERE m.room_key = b.room_key AND m.message_id = b.message_id) ORDER BY b.ord) FROM batch b",
        rows = vec!["(?,?,?,?,?,?,?,?)"; size].join(","),
        identities = numbered_rows(size, 2),
    )
}

/// Gives the messages whose ids their rooms do not have yet the next places, in their order in the batch.
fn new_sql(size: usize) -> String {
    format!(
        "WITH batch (ord, room_key, message_id, user_id, user_name, connection_id, body, sent_at) AS (VALUES {rows}) \
         INSERT INTO messages (room_key, seq, message_id, user_id, user_name, connection_id, body, sent_at) \
         SELECT b.room_key, coalesce((SELECT max(seq) FROM messages WHERE room_key = b.room_key), 0) \
         + row_number() OVER (PARTITION BY b.room_key ORDER BY b.ord), \
         b.message_id, b.user_id, b.user_name, b.connection_id, b.body, b.sent_at \
         FROM batch b CROSS JOIN rooms r ON r.room_key = b.room_key WHERE NOT EXISTS ( \
         SELECT 1 FROM messages m WHERE m.room_key = b.room_key AND m.message_id = b.message_id) \
         RETURNING room_key, seq, message_id",
        rows = numbered_rows(size, 7),
    )
}

/// Finds the places of the messages that rooms have.
fn lookup_sql(size: usize) -> String {
    format!(
        "WITH batch (ord, room_key, message_id) AS (VALUES {rows}) SELECT b.room_key, m.seq, b.message_id \
         FROM batch b CROSS JOIN rooms r ON r.room_key = b.room_key \
         CROSS JOIN messages m ON m.room_key = b.room_key AND m.message_id = b.message_id",
        rows = numbered_rows(size, 2),
    )
}

/// `(1,?,?),(2,?,?)` for two rows of two columns.
fn numbered_rows(rows: usize, columns: usize) -> String {
    let row = |ord: usize| format!("({ord}{})", ",?".repeat(columns));
    (1..=rows).map(row).collect::<Vec<_>>().join(",")
}

/// What makes two messages the same.
type Identity = (RoomKey, MessageId);

fn identity(message: &NewMessage) -> Identity {
    (message.room, message.id)
}

impl SqliteStore {
    pub(super) async fn append_batch(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        if batch.len() > BATCH_ROWS_MAX {
            return Err(StoreError::Broken(format!("a batch has at most {BATCH_ROWS_MAX} messages")));
        }
        let mut places: HashMap<Identity, Option<Appended>> = HashMap::with_capacity(batch.len());
        let is_first = |message: &&NewMessage| places.insert(identity(message), None).is_none();
        let distinct: Vec<&NewMessage> = batch.iter().filter(is_first).collect();
        if distinct.is_empty() {
            return Ok(Vec::new());
        }
        let mut put = |identity: Identity, seq: Seq, duplicate: bool| {
            places.insert(identity, Some(Appended { seq, duplicate }));
        };

        let mut writer = self.writer().await?;
        let inserted = insert_all(writer.connection()?, &distinct).await;
        if let Some(seqs) = writer.settle(inserted)? {
            let found = distinct.iter().zip(seqs).filter_map(|(message, seq)| Some((identity(message), seq?)));
            found.for_each(|(identity, seq)| put(identity, seq, false));
        } else {
            let inserted = insert_new(writer.connection()?, &distinct).await;
            let inserted = writer.settle(inserted)?;
            if inserted.len() < distinct.len() {
                let found = lookup(writer.connection()?, &distinct).await;
                writer.settle(found)?.into_iter().for_each(|(identity, seq)| put(identity, seq, true));
            }
            inserted.into_iter().for_each(|(identity, seq)| put(identity, seq, false));
        }
        drop(writer);

        let answer = |message: &NewMessage| {
            let place = places.get_mut(&identity(message))?.as_mut()?;
            let answered = *place;
            place.duplicate = true; // for a repeat further down the batch
            Some(answered)
        };
        Ok(batch.iter().map(answer).collect())
    }
}

/// Makes all of the messages durable and answers their places (`None` for one whose room was deleted a moment later), or
/// does nothing and answers `None`.
async fn insert_all(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
) -> Result<Option<Vec<Option<Seq>>>, sqlx::Error> {
    let (sql, size) = fitting(&ALL, messages.len());
    let mut query = sqlx::query(sql);
    let mut nth_of_room: HashMap<RoomKey, i64> = HashMap::with_capacity(messages.len());
    for message in messages {
        let nth = nth_of_room.entry(message.room).or_default();
        *nth += 1;
        query = bind_message(query.bind(*nth), message);
    }
    // What is not bound is NULL, but these stand before others.
    for _ in 0..(size - messages.len()) * BATCH_COLUMNS {
        query = query.bind(None::<i64>);
    }
    query = query.bind(i64::try_from(messages.len()).unwrap_or(i64::MAX));
    for message in messages {
        query = query.bind(message.room.0).bind(message.id);
    }
    let row = query.fetch_one(connection).await?;
    if row.try_get::<i64, _>(0)? == 0 {
        return Ok(None);
    }
    let seqs = serde_json::from_str(row.try_get(1)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(seqs))
}

/// Makes those of the messages durable that are new.
async fn insert_new(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
) -> Result<Vec<(Identity, Seq)>, sqlx::Error> {
    let query = sqlx::query(fitting(&NEW, messages.len()).0);
    places(messages.iter().fold(query, |query, message| bind_message(query, message)), connection).await
}

async fn lookup(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
) -> Result<Vec<(Identity, Seq)>, sqlx::Error> {
    let query = sqlx::query(fitting(&LOOKUP, messages.len()).0);
    let query = messages.iter().fold(query, |query, message| query.bind(message.room.0).bind(message.id));
    places(query, connection).await
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_message<'q>(query: Statement<'q>, message: &'q NewMessage) -> Statement<'q> {
    query
        .bind(message.room.0)
        .bind(message.id)
        .bind(message.author.user_id.as_str())
        .bind(message.author.name.as_str())
        .bind(message.author.connection_id.as_deref())
        .bind(message.body.as_str())
        .bind(message.sent_at.timestamp_millis())
}

/// Rows of room key, seq and message id. They come before the commit and its fsync: only the end of the stream, which
/// `fetch_all` waits for, says that they are durable.
async fn places(query: Statement<'_>, connection: &mut SqliteConnection) -> Result<Vec<(Identity, Seq)>, sqlx::Error> {
    let rows = query.fetch_all(connection).await?;
    let place = |row: &SqliteRow| {
        let seq = row.try_get::<i64, _>(1)?.unsigned_abs(); // the schema has it above 0
        Ok(((RoomKey(row.try_get(0)?), row.try_get(2)?), seq))
    };
    rows.iter().map(place).collect()
}

/// The smallest statement that takes so many messages, and how many it takes.
fn fitting(statements: &'static Statements, messages: usize) -> (&'static str, usize) {
    let at = SIZES.iter().position(|size| *size >= messages).unwrap_or(SIZES.len() - 1);
    (&statements[at], SIZES[at])
}

/// For a look at how SQLite goes about them.
#[cfg(test)]
pub(super) fn every_statement() -> Vec<String> {
    [&ALL, &NEW, &LOOKUP].into_iter().flat_map(|statements| statements.iter().cloned()).collect()
}
