//! What readers that lag have missed of a room besides its messages, kept so that each can be told the sense of it.
//!
//! Kept only while somebody lags, and bounded by what changed, not by how often: of each connection when it came and went
//! and its last state, of each cursor and read marker the last. What one reader is told is the difference between what it
//! knew at its own position and now: a person who went and came back, or only changed tabs meanwhile, is no news.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use crate::{
    ids::{ConnectionId, Seq, UserId},
    protocol::{
        Json,
        outbound::{self, LeaveReason},
    },
    room::{
        cursors::{self, Move},
        messages::{RoomHome, Told},
        presence::{Diff, Joined, Left, Member, Updated},
    },
};

/// How many frames a room has sent to its members on this thread.
pub(super) type Position = u64;

/// What was told since the position of the reader that is furthest behind.
#[derive(Debug, Default)]
pub(super) struct Missed {
    connections: HashMap<ConnectionId, Track>,
    users: HashMap<UserId, Flips>,
    cursors: HashMap<ConnectionId, (Position, Option<Json>)>,
    reads: HashMap<UserId, (Position, Seq)>,
    /// Entries of all kinds, to be bounded.
    weight: usize,
}

#[derive(Debug)]
struct Track {
    user_id: UserId,
    flips: Flips,
    /// When its state changed last.
    updated: Position,
    state: Option<Json>,
    /// Known of those that came.
    member: Option<Member>,
    /// Why it went.
    reason: LeaveReason,
}

/// When somebody came (`true`) and went, ascending and in turn.
#[derive(Debug, Default)]
struct Flips(Vec<(Position, bool)>);

impl Flips {
    /// Whether there at `since` and now, if that can be told: `None` when nothing flipped since.
    fn then_and_now(&self, since: Position) -> Option<(bool, bool)> {
        let (_, first) = self.0.get(self.0.partition_point(|(at, _)| *at <= since))?;
        Some((!first, self.0.last()?.1))
    }

    /// Forgets what nobody will ask for; says whether nothing is left.
    fn forget(&mut self, to: Position) -> bool {
        self.0.retain(|(at, _)| *at > to);
        self.0.is_empty()
    }
}

/// What one reader is to be told.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) presence: Diff,
    pub(super) cursors: Vec<Move>,
    pub(super) reads: Vec<(UserId, Seq)>,
}

impl Missed {
    /// How much is kept.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Takes note of what was told at a position.
    pub(super) fn note(&mut self, at: Position, told: &Told) {
        match told {
            Told::Presence(diff) => self.note_presence(at, diff),
            Told::Cursors(moved) => {
                for (connection, position) in moved.iter() {
                    self.weight += usize::from(self.cursors.insert(*connection, (at, position.clone())).is_none());
                }
            }
            Told::Read(user, seq) => {
                self.weight += usize::from(self.reads.insert(user.clone(), (at, *seq)).is_none());
            }
            Told::Message(_) | Told::Broadcast => {}
        }
    }

    fn note_presence(&mut self, at: Position, diff: &Diff) {
        for Joined { connection, member, first, .. } in &diff.joins {
            let track = self.track(*connection, &member.user.user_id);
            if !track.flips.0.is_empty() {
                // It went before: who did not see that must not keep its cursor.
                self.cursors.insert(*connection, (at, None));
                self.weight += 1;
            }
            let track = self.track(*connection, &member.user.user_id);
            track.flips.0.push((at, true));
            (track.state, track.member) = (Some(member.state.clone()), Some(member.clone()));
            self.note_user(at, &member.user.user_id, *first, true);
        }
        for Left { connection, user_id, reason, last, .. } in &diff.leaves {
            let track = self.track(*connection, user_id);
            track.flips.0.push((at, false));
            (track.state, track.member, track.reason) = (None, None, *reason);
            self.cursors.remove(connection); // gone with the connection
            self.note_user(at, user_id, *last, false);
        }
        for Updated { connection, user_id, state, .. } in &diff.updates {
            let track = self.track(*connection, user_id);
            track.updated = at;
            track.state = Some(state.clone());
        }
        self.weight += diff.joins.len() + diff.leaves.len();
    }

    fn track(&mut self, connection: ConnectionId, user_id: &UserId) -> &mut Track {
        self.connections.entry(connection).or_insert_with(|| {
            self.weight += 1;
            let (flips, reason) = (Flips::default(), LeaveReason::Closed);
            Track { user_id: user_id.clone(), flips, updated: 0, state: None, member: None, reason }
        })
    }

    fn note_user(&mut self, at: Position, user_id: &UserId, flipped: bool, came: bool) {
        if flipped {
            self.users.entry(user_id.clone()).or_default().0.push((at, came));
        }
    }

    /// What is news to a reader that knows all up to a position.
    pub(super) fn news_since(&self, since: Position) -> News {
        let cursors = self.cursors.iter().filter(|(_, (at, _))| *at > since);
        let reads = self.reads.iter().filter(|(_, (at, _))| *at > since);
        News {
            presence: self.presence_since(since),
            cursors: cursors.map(|(connection, (_, position))| (*connection, position.clone())).collect(),
            reads: reads.map(|(user, (_, seq))| (user.clone(), *seq)).collect(),
        }
    }

    fn presence_since(&self, since: Position) -> Diff {
        let mut diff = Diff::default();
        for (connection, track) in &self.connections {
            let (connection, user_id) = (*connection, track.user_id.clone());
            match (track.flips.then_and_now(since), &track.member, &track.state) {
                (Some((false, true)), Some(member), Some(state)) => {
                    let member = Member { state: state.clone(), ..member.clone() };
                    diff.joins.push(Joined { connection, member, first: false, local: false });
                }
                (Some((true, false)), ..) => {
                    diff.leaves.push(Left { connection, user_id, reason: track.reason, last: false, local: false });
                }
                (Some((true, true)), _, Some(state)) => {
                    diff.updates.push(Updated { connection, user_id, state: state.clone(), local: false });
                }
                (None, _, Some(state)) if track.updated > since => {
                    diff.updates.push(Updated { connection, user_id, state: state.clone(), local: false });
                }
                _ => {}
            }
        }
        diff.joins.sort_by_key(|joined| (joined.member.joined_at, joined.connection));
        let user = |user_id: &UserId| self.users.get(user_id).and_then(|flips| flips.then_and_now(since));
        let mut said = HashSet::new();
        for joined in &mut diff.joins {
            let user_id = &joined.member.user.user_id;
            joined.first = user(user_id).is_some_and(|(then, _)| !then) && said.insert(user_id.clone());
        }
        said.clear();
        for left in diff.leaves.iter_mut().rev() {
            left.last = user(&left.user_id).is_some_and(|(_, now)| !now) && said.insert(left.user_id.clone());
        }
        diff
    }

    /// Forgets what every reader knows.
    pub(super) fn forget(&mut self, to: Position) {
        self.connections.retain(|_, track| !track.flips.forget(to) || track.updated > to);
        self.users.retain(|_, flips| !flips.forget(to));
        self.cursors.retain(|_, (at, _)| *at > to);
        self.reads.retain(|_, (at, _)| *at > to);
        shrink(&mut self.connections);
        shrink(&mut self.cursors);
        let flips: usize = self.connections.values().map(|track| 1 + track.flips.0.len()).sum();
        self.weight = flips + self.cursors.len() + self.reads.len();
    }
}

fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    map.shrink_to(2 * map.len());
}

impl News {
    /// Encoded as whole frames, presence first; empty when there are none.
    pub(super) fn encode(&self, home: &RoomHome) -> Vec<u8> {
        let mut frames = Vec::new();
        if !self.presence.is_empty() {
            frames.extend_from_slice(self.presence.frame(&home.id).bytes());
        }
        if !self.cursors.is_empty() {
            frames.extend_from_slice(cursors::frame(&home.id, &self.cursors).bytes());
        }
        for (user, seq) in &self.reads {
            frames.extend_from_slice(outbound::read(&home.id, user, *seq).bytes());
        }
        frames
    }
}
