//! One room's members on one worker thread, and the frames that wait to go to them together.
//!
//! A member whose outbox lags gets nothing more for the time being: the lane remembers where it stands and, while there is
//! such a member, what the others are told. Once it has drained, it is told the sense of what it missed, and the messages
//! one by one, which the room brings; when it has all of them it is a member like the others again.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    Outbox,
    missed::{Missed, Position},
    tally,
};
use crate::{
    count,
    ids::{ConnectionId, Seq},
    protocol::{CloseCode, Frame},
    room::{
        messages::{RoomHome, Told},
        pacer::Pacer,
    },
};

/// The most entries remembered for those who lag, give or take [`FORGET_EVERY`]: about 10 MB. Beyond it those who are
/// furthest behind are closed.
const MISSED_MAX: usize = 20_000;
/// What all know is forgotten when so much was remembered since the last time.
const FORGET_EVERY: usize = 256;

/// A frame on its way to the members.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) frame: Frame,
    pub(super) told: Told,
    pub(super) except: Option<ConnectionId>,
}

/// A member that lags, and what it knows.
#[derive(Debug)]
struct Laggard {
    outbox: Rc<Outbox>,
    /// All up to here, but for messages.
    known: Position,
    /// All messages up to here.
    seq: Seq,
    /// The room was asked for the next ones.
    asked: bool,
}

/// What to do about a member that lagged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing: it is no laggard any more.
    Done,
    /// Look again later.
    Later,
    /// Ask the room for the messages after this one.
    Ask(Seq),
}

/// Members and batch. Invariant: what is in the batch is for all who are members now (but `except`): the fan-out flushes
/// before it enrols or withdraws. Invariant: members in `current` were told all up to `position` and `seq`.
#[derive(Debug)]
pub(super) struct RoomLane {
    pub(super) pacer: Pacer,
    pub(super) home: Arc<RoomHome>,
    current: Vec<(ConnectionId, Rc<Outbox>)>,
    /// Where in `current` each member stands.
    places: HashMap<ConnectionId, usize>,
    laggards: HashMap<ConnectionId, Laggard>,
    /// Who began to lag since the fan-out last asked.
    fell_behind: Vec<ConnectionId>,
    /// Whom the fan-out looks after.
    watched: HashSet<ConnectionId>,
    batch: Vec<Entry>,
    position: Position,
    seq: Seq,
    missed: Missed,
    /// The weight at which what all know is forgotten.
    forget_at: usize,
    /// The last news, from where, up to where: readers that lag together are told the same.
    news: Option<(Position, Position, Bytes)>,
}

impl RoomLane {
    /// A lane without members; `seq` is the room's last message.
    pub(super) fn new(home: Arc<RoomHome>, seq: Seq) -> Self {
        Self {
            pacer: Pacer::default(),
            home,
            current: Vec::new(),
            places: HashMap::new(),
            laggards: HashMap::new(),
            fell_behind: Vec::new(),
            watched: HashSet::new(),
            batch: Vec::new(),
            position: 0,
            seq,
            missed: Missed::default(),
            forget_at: FORGET_EVERY,
            news: None,
        }
    }

    pub(super) fn member_count(&self) -> usize {
        self.current.len() + self.laggards.len()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Rc<Outbox>> {
        let laggards = self.laggards.values().map(|laggard| &laggard.outbox);
        self.current.iter().map(|(_, outbox)| outbox).chain(laggards)
    }

    /// Adds a member that knows all up to now; the batch is flushed.
    pub(super) fn enrol(&mut self, connection: ConnectionId, outbox: Rc<Outbox>) {
        debug_assert!(self.batch.is_empty(), "what was sent before is not for the new member");
        self.remove_laggard(connection);
        match self.places.get(&connection) {
            Some(&place) => self.current[place].1 = outbox,
            None => self.add_current(connection, outbox),
        }
    }

    pub(super) fn withdraw(&mut self, connection: ConnectionId) {
        self.remove_current(connection);
        self.remove_laggard(connection);
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.batch.push(entry);
    }

    /// Hands the batch to every member: as one piece of memory where all get all of it.
    pub(super) fn flush(&mut self) {
        let Some(together) = joined_bytes(&self.batch) else { return };
        let some_excepted = self.batch.iter().any(|entry| entry.except.is_some());
        let (mut place, mut deliveries) = (0, 0);
        while let Some((connection, outbox)) = self.current.get(place) {
            if outbox.lags() {
                let connection = *connection;
                self.fall_behind(connection); // another one takes its place
                continue;
            }
            if some_excepted && self.batch.iter().any(|entry| entry.except == Some(*connection)) {
                for entry in self.batch.iter().filter(|entry| entry.except != Some(*connection)) {
                    outbox.push(entry.frame.bytes());
                    deliveries += 1;
                }
            } else {
                outbox.send(&together);
                deliveries += self.batch.len();
            }
            place += 1;
        }
        tally::delivered(deliveries);
        for entry in self.batch.drain(..) {
            self.position += 1;
            if let Told::Message(seq) = entry.told {
                self.seq = seq;
            }
            if !self.laggards.is_empty() {
                self.missed.note(self.position, &entry.told);
            }
        }
        if self.missed.weight() >= self.forget_at {
            self.forget_what_all_know();
        }
    }

    // --- those who lag ---

    /// Who began to lag since the last call: the fan-out looks after them until it is told [`Look::Done`].
    pub(super) fn take_fallen_behind(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.fell_behind)
    }

    fn fall_behind(&mut self, connection: ConnectionId) {
        if let Some(outbox) = self.remove_current(connection) {
            count!("hubbub_readers_fell_behind_total");
            let laggard = Laggard { outbox, known: self.position, seq: self.seq, asked: false };
            self.laggards.insert(connection, laggard);
            if self.watched.insert(connection) {
                self.fell_behind.push(connection);
            }
        }
    }

    /// Looks whether a laggard has drained; one that missed no message is told the rest at once.
    pub(super) fn look_after(&mut self, connection: ConnectionId) -> Look {
        let Some(laggard) = self.laggards.get_mut(&connection) else {
            self.watched.remove(&connection);
            return Look::Done;
        };
        if laggard.asked || !laggard.outbox.has_drained() {
            return Look::Later;
        }
        if laggard.seq < self.seq {
            laggard.asked = true;
            laggard.outbox.promise(true);
            return Look::Ask(laggard.seq);
        }
        self.tell_news(connection);
        self.settle(connection);
        self.watched.remove(&connection);
        Look::Done
    }

    /// The room brings the messages after `after` up to `to`; the batch is flushed.
    pub(super) fn bring(&mut self, connection: ConnectionId, after: Seq, to: Seq, frames: &Bytes) {
        debug_assert!(self.batch.is_empty(), "what was sent before comes before");
        let laggard = self.laggards.get_mut(&connection).filter(|laggard| laggard.asked && laggard.seq == after);
        let Some(laggard) = laggard else { return }; // it left, or came again meanwhile
        laggard.asked = false;
        laggard.outbox.promise(false);
        laggard.seq = to;
        let outbox = Rc::clone(&laggard.outbox);
        self.tell_news(connection);
        if !frames.is_empty() {
            outbox.push(frames);
        }
        self.settle(connection);
    }

    /// A laggard that has every message is a member like the others again.
    fn settle(&mut self, connection: ConnectionId) {
        let has_all = self.laggards.get(&connection).is_some_and(|laggard| laggard.seq >= self.seq);
        if has_all && let Some(outbox) = self.remove_laggard(connection) {
            self.add_current(connection, outbox);
        }
    }

    /// Tells a laggard the sense of what it missed, but for messages.
    fn tell_news(&mut self, connection: ConnectionId) {
        let Some(laggard) = self.laggards.get_mut(&connection) else { return };
        let (since, now) = (laggard.known, self.position);
        laggard.known = now;
        let news = match &self.news {
            Some((from, to, news)) if (*from, *to) == (since, now) => news.clone(),
            _ => Bytes::from(self.missed.news_since(since).encode(&self.home)),
        };
        if !news.is_empty() {
            laggard.outbox.push(&news);
        }
        self.news = Some((since, now, news));
    }

    /// Keeps what is remembered within its bound.
    fn forget_what_all_know(&mut self) {
        loop {
            let furthest = self.laggards.values().map(|laggard| laggard.known).min().unwrap_or(self.position);
            self.missed.forget(furthest);
            if self.missed.weight() <= MISSED_MAX {
                break;
            }
            let lost = self.laggards.iter().filter(|(_, laggard)| laggard.known == furthest);
            for connection in lost.map(|(connection, _)| *connection).collect::<Vec<_>>() {
                if let Some(outbox) = self.remove_laggard(connection) {
                    outbox.close(CloseCode::SlowConsumer);
                }
            }
        }
        let weight = self.missed.weight();
        self.forget_at = (weight + weight.max(FORGET_EVERY)).min(MISSED_MAX + 1);
    }

    fn remove_laggard(&mut self, connection: ConnectionId) -> Option<Rc<Outbox>> {
        let laggard = self.laggards.remove(&connection)?;
        if laggard.asked {
            laggard.outbox.promise(false);
        }
        if self.laggards.is_empty() {
            (self.missed, self.news, self.forget_at) = (Missed::default(), None, FORGET_EVERY);
            self.laggards = HashMap::new();
        }
        Some(laggard.outbox)
    }

    fn add_current(&mut self, connection: ConnectionId, outbox: Rc<Outbox>) {
        self.places.insert(connection, self.current.len());
        self.current.push((connection, outbox));
    }

    fn remove_current(&mut self, connection: ConnectionId) -> Option<Rc<Outbox>> {
        let place = self.places.remove(&connection)?;
        let (_, outbox) = self.current.swap_remove(place);
        if let Some((moved, _)) = self.current.get(place) {
            self.places.insert(*moved, place);
        }
        Some(outbox)
    }
}

fn joined_bytes(batch: &[Entry]) -> Option<Bytes> {
    match batch {
        [] => None,
        [one] => Some(one.frame.bytes().clone()),
        many => {
            let mut together = BytesMut::with_capacity(many.iter().map(|entry| entry.frame.len()).sum());
            many.iter().for_each(|entry| together.extend_from_slice(entry.frame.bytes()));
            Some(together.freeze())
        }
    }
}

#[cfg(test)]
mod tests;
