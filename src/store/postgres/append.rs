//! The hot path: a batch of messages of any rooms becomes durable, by one statement and one round trip.
//!
//! The statement locks the batch's rooms, in the order of their keys, so that two batches never wait for each other in a
//! circle, and counts on from the `head` that it finds under the lock. Whoever else appends to one of these rooms, from any
//! instance, waits until this one has committed; appends to other rooms go on.
//!
//! Which ids the rooms have already it reads as of its beginning, before it waited for a lock. A message of the same id that
//! came in between then breaks the uniqueness of ids: nothing is written, and the pool runs the statement again, which now
//! finds that message.

use std::collections::HashMap;

use sqlx::Row as _;

use super::{
    PostgresStore,
    pool::{Kind, Statement},
    refusal::refused,
};
use crate::{
    ids::{MessageId, Seq},
    store::{Appended, BATCH_ROWS_MAX, NewMessage, RoomKey, StoreError, columns},
};

/// Answers with one row: the places in the order of the batch, NULL where the room does not exist, and which are old.
pub(super) const APPEND: &str = "\
    WITH batch AS MATERIALIZED ( \
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[]) \
        WITH ORDINALITY AS b (room_key, message_id, user_id, user_name, connection_id, body, sent_at, ord) \
    ), room AS MATERIALIZED ( \
        SELECT room_key, head FROM rooms WHERE room_key = ANY ($8::bigint[]) ORDER BY room_key FOR NO KEY UPDATE \
    ), old AS MATERIALIZED ( \
        SELECT b.ord, m.seq FROM batch b CROSS JOIN LATERAL ( \
            SELECT seq FROM messages WHERE message_id = b.message_id AND room_key = b.room_key LIMIT 1) m \
    ), new AS ( \
        INSERT INTO messages (room_key, seq, message_id, user_id, user_name, connection_id, body, sent_at) \
        SELECT b.room_key, r.head + row_number() OVER (PARTITION BY b.room_key ORDER BY b.ord), \
            b.message_id, b.user_id, b.user_name, b.connection_id, b.body, b.sent_at \
        FROM batch b JOIN room r ON r.room_key = b.room_key WHERE b.ord NOT IN (SELECT ord FROM old) \
        RETURNING room_key, seq, message_id \
    ), moved AS ( \
        UPDATE rooms SET head = last.seq FROM (SELECT room_key, max(seq) AS seq FROM new GROUP BY room_key) last \
        WHERE rooms.room_key = last.room_key \
    ) \
    SELECT array_agg(coalesce(n.seq, o.seq) ORDER BY b.ord), array_agg(n.seq IS NULL ORDER BY b.ord) \
    FROM batch b LEFT JOIN room r ON r.room_key = b.room_key \
    LEFT JOIN new n ON n.room_key = b.room_key AND n.message_id = b.message_id \
    LEFT JOIN old o ON o.ord = b.ord AND r.room_key IS NOT NULL";

/// What makes two messages the same.
type Identity = (RoomKey, MessageId);

fn identity(message: &NewMessage) -> Identity {
    (message.room, message.id)
}

impl PostgresStore {
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
        let columns = Columns::of(&distinct);
        let rows = self.pool.run(Kind::Append, || columns.bound()).await?;
        let row = rows.first().ok_or_else(|| StoreError::Broken("an append without an answer".into()))?;
        let seqs: Vec<Option<i64>> = row.try_get(0).map_err(|error| refused(&error))?;
        let olds: Vec<bool> = row.try_get(1).map_err(|error| refused(&error))?;
        for ((message, seq), duplicate) in distinct.iter().zip(seqs).zip(olds) {
            let seq: Option<Seq> = seq.map(columns::seq).transpose()?;
            places.insert(identity(message), seq.map(|seq| Appended { seq, duplicate }));
        }
        let answer = |message: &NewMessage| {
            let place = places.get_mut(&identity(message))?.as_mut()?;
            let answered = *place;
            place.duplicate = true; // for a repeat further down the batch
            Some(answered)
        };
        Ok(batch.iter().map(answer).collect())
    }
}

/// The batch turned into one array for each column.
struct Columns<'m> {
    room_keys: Vec<i64>,
    ids: Vec<MessageId>,
    user_ids: Vec<&'m str>,
    user_names: Vec<&'m str>,
    connection_ids: Vec<Option<&'m str>>,
    bodies: Vec<&'m str>,
    sent_at: Vec<i64>,
    /// Each room once.
    rooms: Vec<i64>,
}

impl<'m> Columns<'m> {
    fn of(messages: &[&'m NewMessage]) -> Self {
        let mut rooms: Vec<i64> = messages.iter().map(|message| message.room.0).collect();
        rooms.sort_unstable();
        rooms.dedup();
        Self {
            room_keys: messages.iter().map(|message| message.room.0).collect(),
            ids: messages.iter().map(|message| message.id).collect(),
            user_ids: messages.iter().map(|message| message.author.user_id.as_str()).collect(),
            user_names: messages.iter().map(|message| message.author.name.as_str()).collect(),
            connection_ids: messages.iter().map(|message| message.author.connection_id.as_deref()).collect(),
            bodies: messages.iter().map(|message| message.body.as_str()).collect(),
            sent_at: messages.iter().map(|message| message.sent_at.timestamp_millis()).collect(),
            rooms,
        }
    }

    fn bound(&self) -> Statement<'_> {
        sqlx::query(APPEND)
            .bind(&self.room_keys)
            .bind(&self.ids)
            .bind(&self.user_ids)
            .bind(&self.user_names)
            .bind(&self.connection_ids)
            .bind(&self.bodies)
            .bind(&self.sent_at)
            .bind(&self.rooms)
    }
}
