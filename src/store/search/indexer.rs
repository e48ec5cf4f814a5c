//! Keeps the index up to date: in the background, and before a search where it looks.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::entry::Entry;
use crate::{
    clock::{Duration, Instant},
    ids::{ProjectId, Seq},
    store::{RoomKey, Store, StoreError},
};

/// How often what was appended is brought into the index. A search does not wait for it; but each room costs a transaction,
/// in which a second's messages cost hardly less than five seconds' do.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a search may bring in what is missing before it gives up. What was brought in stays.
const SEARCH_PATIENCE: Duration = Duration::from_secs(2);
/// Messages that are brought in at once: a few milliseconds of the database's time.
pub(in crate::store) const CHUNK_MESSAGES: u32 = 200;
/// How many rooms are asked for at once.
pub(in crate::store) const BACKLOG_ROOMS: u32 = 500;

/// The task that keeps a store's index up to date. It ends when this is dropped.
#[derive(Debug)]
pub struct SearchIndexer(JoinHandle<()>);

impl SearchIndexer {
    /// Starts on the current tokio runtime.
    pub fn start(store: Arc<dyn Store>) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failing = false;
            loop {
                ticks.tick().await;
                match store.update_search_index().await {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        tracing::warn!(%error, "the search index does not follow; searches bring in what they need");
                    }
                    Err(_) => {}
                }
            }
        }))
    }
}

impl Drop for SearchIndexer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Messages of a room that follow its watermark.
pub(in crate::store) struct Chunk {
    pub(in crate::store) room: RoomKey,
    pub(in crate::store) project: ProjectId,
    /// The watermark.
    pub(in crate::store) after: Seq,
    /// Place, time in milliseconds, body.
    pub(in crate::store) messages: Vec<(i64, i64, String)>,
}

/// Rooms among which those are looked for whose index is behind.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Where<'a> {
    Everywhere,
    Project(&'a ProjectId),
    Room(RoomKey),
}

/// What an index must be able to do.
#[async_trait]
pub(in crate::store) trait Index: Sync {
    /// At most [`BACKLOG_ROOMS`] rooms whose watermark is behind their head.
    async fn behind(&self, rooms: Where<'_>) -> Result<Vec<RoomKey>, StoreError>;

    /// What follows the watermark of a room, at most [`CHUNK_MESSAGES`] messages; `None` when the room does not exist.
    async fn next_chunk(&self, room: RoomKey) -> Result<Option<Chunk>, StoreError>;

    /// Puts the messages of a chunk in and moves the watermark to the last of them, unless somebody else moved it.
    async fn put_in(&self, chunk: &Chunk, entries: &[Entry]) -> Result<(), StoreError>;
}

/// What this process knows to be missing in the index.
#[derive(Debug)]
pub(in crate::store) struct Backlog {
    missing: Mutex<Missing>,
    /// Held by who fills the index: several at once would do the same work.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Missing {
    /// Nothing is known yet.
    unknown: bool,
    rooms: HashSet<RoomKey>,
}

impl Backlog {
    pub(in crate::store) fn new() -> Self {
        let missing = Missing { unknown: true, rooms: HashSet::new() };
        Self { missing: Mutex::new(missing), turn: tokio::sync::Mutex::new(()) }
    }

    /// Messages were appended to these rooms.
    pub(in crate::store) fn add(&self, rooms: impl Iterator<Item = RoomKey>) {
        self.missing().rooms.extend(rooms);
    }

    /// Brings in what this process appended, the first time what anybody did.
    pub(in crate::store) async fn work_off(&self, index: &dyn Index) -> Result<(), StoreError> {
        if self.missing().unknown {
            loop {
                let rooms = index.behind(Where::Everywhere).await?;
                for room in &rooms {
                    self.fill(index, *room, None).await?;
                }
                if rooms.is_empty() {
                    break;
                }
            }
            self.missing().unknown = false;
        }
        let rooms = std::mem::take(&mut self.missing().rooms);
        let mut left = rooms.iter();
        while let Some(room) = left.next() {
            if let Err(error) = self.fill(index, *room, None).await {
                self.add(left.chain([room]).copied());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Brings in all that is missing in these rooms, or fails after a while.
    pub(in crate::store) async fn catch_up(&self, index: &dyn Index, rooms: Where<'_>) -> Result<(), StoreError> {
        let deadline = Instant::now() + SEARCH_PATIENCE;
        loop {
            let behind = index.behind(rooms).await?;
            if behind.is_empty() {
                return Ok(());
            }
            for room in behind {
                self.fill(index, room, Some(deadline)).await?;
            }
        }
    }

    /// Brings a room up to date.
    async fn fill(&self, index: &dyn Index, room: RoomKey, deadline: Option<Instant>) -> Result<(), StoreError> {
        loop {
            if deadline.is_some_and(|deadline| deadline < Instant::now()) {
                return Err(StoreError::Unavailable("the search index is still being made".into()));
            }
            let _turn = self.turn.lock().await;
            let Some(mut chunk) = index.next_chunk(room).await? else { return Ok(()) };
            let room_is_done = chunk.messages.len() < CHUNK_MESSAGES as usize;
            if chunk.messages.is_empty() {
                return Ok(());
            }
            // Up to some 10 MB of text: not on a thread that serves sockets.
            let messages = std::mem::take(&mut chunk.messages);
            let entries = move || messages.into_iter().map(Entry::of).collect::<Vec<_>>();
            let entries = tokio::task::spawn_blocking(entries).await;
            let entries = entries.map_err(|_| StoreError::Broken("a message could not be taken apart".into()))?;
            match index.put_in(&chunk, &entries).await {
                // One that the database will not have must not keep all that follow from being found.
                Err(StoreError::Broken(text)) => {
                    tracing::error!(text, "messages that cannot be put into the search index are left out");
                    index.put_in(&chunk, &entries.iter().map(Entry::silent).collect::<Vec<_>>()).await?;
                }
                outcome => outcome?,
            }
            if room_is_done {
                return Ok(());
            }
        }
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner) // whole at any time
    }
}
