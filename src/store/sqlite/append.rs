//! The hot path: a batch of messages of any rooms becomes durable.
//!
//! A statement that writes takes SQLite's write lock before it reads anything, and waits for it. So the places it counts
//! from are still the last ones when it writes, whoever else appends to the same rooms from another process.
//!
//! The common case is that every message is new, that every room exists and that nobody else wrote into it since.
//! [`EXPECTED`] then writes all of the batch at the places that this process expects, which the database checks; otherwise
//! it writes nothing. No rows come back, for every row costs a change of threads. [`NEW`] sorts the other batches out: it
//! writes what is new and answers where, and [`LOOKUP`] finds what was there before.

use std::{collections::HashMap, sync::LazyLock};

use futures_util::StreamExt as _;
use sqlx::{
    Executor as _, Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{SqliteStore, refusal::is_constraint};
use crate::{
    ids::{MessageId, Seq},
    store::{Appended, BATCH_ROWS_MAX, NewMessage, RoomKey, StoreError, columns},
};

/// Statements exist for these numbers of messages only, so that they all stay prepared. What a batch leaves over is NULL,
/// and no room has a NULL key.
const SIZES: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, BATCH_ROWS_MAX];

type Statements = LazyLock<[String; SIZES.len()]>;
static EXPECTED: Statements = LazyLock::new(|| SIZES.map(expected_sql));
static NEW: Statements = LazyLock::new(|| SIZES.map(new_sql));
static LOOKUP: Statements = LazyLock::new(|| SIZES.map(lookup_sql));

/// Writes the messages at the places that are bound, after the heads that are bound. If a head is another one by now, a
/// room is gone or a message is not new, it breaks a constraint and writes nothing.
fn expected_sql(size: usize) -> String {
    format!(
        "WITH batch (head, seq, room_key, message_id, user_id, user_name, connection_id, body, sent_at) \
         AS (VALUES {rows}) \
         INSERT INTO messages (room_key, seq, message_id, user_id, user_name, connection_id, body, sent_at) \
         SELECT (SELECT r.room_key FROM rooms r WHERE r.room_key = b.room_key), \
         CASE (SELECT max(seq) FROM messages WHERE room_key = b.room_key) WHEN b.head THEN b.seq END, \
         b.message_id, b.user_id, b.user_name, b.connection_id, b.body, b.sent_at \
         FROM batch b WHERE b.room_key IS NOT NULL",
        rows = vec!["(?,?,?,?,?,?,?,?,?)"; size].join(","),
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

/// Where this process expects the next messages of rooms to stand: guesses, which the database checks.
#[derive(Default)]
pub(super) struct Heads(HashMap<RoomKey, Head>);

struct Head {
    /// The last place that this process gave.
    seq: Seq,
    /// Another process has written into the room: for so many batches no guess is made.
    contested: u8,
}

/// Rooms whose heads are remembered: a few megabytes.
const HEADS_MAX: usize = 50_000;
/// A wrong guess costs about as much as a commit without its sync. Where two processes serve the same busy room it would be
/// wrong half of the time.
pub(super) const CONTESTED_BATCHES: u8 = 100;

impl Heads {
    /// Of each message the head of its room before the batch, and its own place; `None` if a room has no good guess.
    pub(super) fn expected(&mut self, messages: &[&NewMessage]) -> Option<Vec<(Seq, Seq)>> {
        let mut last: HashMap<RoomKey, Seq> = HashMap::with_capacity(messages.len());
        let mut expected = Some(Vec::with_capacity(messages.len()));
        for message in messages {
            let head = self.0.get_mut(&message.room)?;
            let first_of_room = !last.contains_key(&message.room);
            let seq = last.entry(message.room).or_insert(head.seq);
            *seq += 1;
            if head.contested > 0 {
                head.contested -= u8::from(first_of_room);
                expected = None;
            }
            if let Some(expected) = &mut expected {
                expected.push((head.seq, *seq));
            }
        }
        expected
    }

    /// Learns from the places that a batch was given.
    pub(super) fn remember(&mut self, places: &[(Identity, Seq)]) {
        if self.0.len() + places.len() > HEADS_MAX {
            self.0.clear(); // they are learned again
        }
        let mut spans: HashMap<RoomKey, (Seq, Seq)> = HashMap::with_capacity(places.len());
        for ((room, _), seq) in places {
            let (first, last) = spans.entry(*room).or_insert((*seq, *seq));
            (*first, *last) = ((*first).min(*seq), (*last).max(*seq));
        }
        for (room, (first, last)) in spans {
            let head = self.0.entry(room).or_insert(Head { seq: first - 1, contested: 0 });
            if first != head.seq + 1 {
                head.contested = CONTESTED_BATCHES;
            }
            head.seq = last;
        }
    }
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
        let expected = self.heads().expected(&distinct);
        let inserted = match expected {
            Some(expected) => {
                let inserted = insert_expected(writer.connection()?, &distinct, &expected).await;
                writer.settle(inserted)?
            }
            None => None,
        };
        let inserted = match inserted {
            Some(inserted) => inserted,
            None => {
                let inserted = insert_new(writer.connection()?, &distinct).await;
                writer.settle(inserted)?
            }
        };
        self.heads().remember(&inserted);
        if inserted.len() < distinct.len() {
            let found = lookup(writer.connection()?, &distinct).await;
            writer.settle(found)?.into_iter().for_each(|(identity, seq)| put(identity, seq, true));
        }
        inserted.into_iter().for_each(|(identity, seq)| put(identity, seq, false));
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

/// Makes all of the messages durable at the places after the heads that are expected, or does nothing and answers `None`.
pub(super) async fn insert_expected(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
    expected: &[(Seq, Seq)],
) -> Result<Option<Vec<(Identity, Seq)>>, sqlx::Error> {
    let mut query = sqlx::query(fitting(&EXPECTED, messages.len()));
    for (message, (head, seq)) in messages.iter().zip(expected) {
        query = query.bind(columns::seq_column(*head)).bind(columns::seq_column(*seq));
        query = bind_message(query, message);
    }
    // The statement ends with its commit. That it has ended comes first, and nothing after it is waited for: each look
    // costs a change of threads.
    let ended = connection.execute_many(query).next().await;
    match ended.unwrap_or(Err(sqlx::Error::WorkerCrashed)) {
        Ok(ended) => {
            debug_assert_eq!(ended.rows_affected(), messages.len() as u64);
            Ok(Some(messages.iter().zip(expected).map(|(message, (_, seq))| (identity(message), *seq)).collect()))
        }
        Err(error) if is_constraint(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes those of the messages durable that are new.
async fn insert_new(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
) -> Result<Vec<(Identity, Seq)>, sqlx::Error> {
    let query = sqlx::query(fitting(&NEW, messages.len()));
    places(messages.iter().fold(query, |query, message| bind_message(query, message)), connection).await
}

async fn lookup(
    connection: &mut SqliteConnection,
    messages: &[&NewMessage],
) -> Result<Vec<(Identity, Seq)>, sqlx::Error> {
    let query = sqlx::query(fitting(&LOOKUP, messages.len()));
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

/// The smallest statement that takes so many messages.
fn fitting(statements: &'static Statements, messages: usize) -> &'static str {
    let at = SIZES.iter().position(|size| *size >= messages).unwrap_or(SIZES.len() - 1);
    &statements[at]
}

/// For a look at how SQLite goes about them.
#[cfg(test)]
pub(super) fn every_statement() -> Vec<String> {
    [&EXPECTED, &NEW, &LOOKUP].into_iter().flat_map(|statements| statements.iter().cloned()).collect()
}
