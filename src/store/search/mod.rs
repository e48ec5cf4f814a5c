//! Finding messages by their words.
//!
//! The index is not written by `append`: that would take several times as long. It follows: [`SearchIndexer`] brings in
//! what was appended about once a second, and a search first brings in what is missing where it looks. So a message that
//! was acknowledged is found by every search that begins afterwards, on every instance.
//!
//! Each room has a watermark, the last `seq` that is in the index. It moves in the same transaction that puts the messages
//! in, and only from where the indexer found it: two that do it at once do it once.

mod entry;
mod indexer;
mod query;
mod words;

pub(super) use self::{
    entry::Entry,
    indexer::{BACKLOG_ROOMS, Backlog, CHUNK_MESSAGES, Chunk, Index, Where},
    query::Scope,
};
pub use self::{
    indexer::SearchIndexer,
    query::{QUERY_BYTES_MAX, QUERY_WORDS_MAX, QueryError, SearchQuery},
};

use super::{ProjectId, RoomId, RoomKey, StoredMessage};

/// Where a search looks.
pub(super) fn scope(search: &Search) -> Scope {
    search.room.map_or_else(|| Scope::project(&search.project), Scope::room)
}

/// Where the messages of a chunk are found.
pub(super) fn scopes(chunk: &Chunk) -> [Scope; 2] {
    [Scope::project(&chunk.project), Scope::room(chunk.room)]
}

/// A place in the order of all messages by time: its milliseconds, and a number among those of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchPlace(i64);

/// So many bits of a place tell messages of the same millisecond apart.
const PLACE_BITS: u32 = 20;

impl SearchPlace {
    /// Before all messages that were accepted at this time or later, in milliseconds since 1970.
    pub fn before_time(millis: i64) -> Self {
        Self(millis.clamp(0, i64::MAX >> PLACE_BITS) << PLACE_BITS)
    }

    /// After all messages.
    pub const END: Self = Self(i64::MAX);

    /// The number of it, for a cursor.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The place of a number.
    pub fn of_number(number: i64) -> Self {
        Self(number)
    }
}

/// What to look for, and where.
#[derive(Debug, Clone)]
pub struct Search {
    /// The project whose rooms are searched.
    pub project: ProjectId,
    /// Only this room of it.
    pub room: Option<RoomKey>,
    /// The words.
    pub query: SearchQuery,
    /// Only messages before this place.
    pub before: SearchPlace,
    /// At most so many.
    pub limit: u32,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// Where it stands among all.
    pub place: SearchPlace,
    /// Its room.
    pub room: RoomId,
    /// The message.
    pub message: StoredMessage,
}
