//! The words in which presence is told: to clients what changed since the last flush, to peers what this instance owns.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Timestamp, wire_time},
    ids::{ConnectionId, RoomId, UserId},
    protocol::{
        Frame, Json, User,
        outbound::{self, JoinEntry, LeaveEntry, LeaveReason, UpdateEntry},
    },
};

/// A connection in the room, as others see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: Arc<User>,
    /// The connection's own state.
    pub state: Json,
    /// Since when.
    #[serde(with = "wire_time")]
    pub joined_at: Timestamp,
}

/// What changed since the last flush.
#[derive(Debug, Default)]
pub struct Diff {
    /// Who came.
    pub joins: Vec<Joined>,
    /// Who went.
    pub leaves: Vec<Left>,
    /// Whose state is another.
    pub updates: Vec<Updated>,
    /// This instance's revision after its own changes, if it had any: what the bus is told.
    pub revision: Option<u64>,
}

impl Diff {
    /// Nothing to tell anybody.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty() && self.updates.is_empty()
    }

    /// The `presence` frame.
    pub fn frame(&self, room: &RoomId) -> Frame {
        let joins: Vec<_> = self
            .joins
            .iter()
            .map(|joined| JoinEntry {
                user: &joined.member.user,
                connection_id: joined.connection,
                state: &joined.member.state,
                joined_at: joined.member.joined_at,
                first: joined.first,
            })
            .collect();
        let leaves: Vec<_> = self
            .leaves
            .iter()
            .map(|left| LeaveEntry {
                user_id: &left.user_id,
                connection_id: left.connection,
                reason: left.reason,
                last: left.last,
            })
            .collect();
        let updates: Vec<_> = self
            .updates
            .iter()
            .map(|updated| UpdateEntry {
                user_id: &updated.user_id,
                connection_id: updated.connection,
                state: &updated.state,
            })
            .collect();
        outbound::presence(room, &joins, &leaves, &updates)
    }
}

/// A connection that came.
#[derive(Debug)]
pub struct Joined {
    /// Which.
    pub connection: ConnectionId,
    /// Who and how.
    pub member: Member,
    /// The user was not here before.
    pub first: bool,
    /// It is this instance's.
    pub local: bool,
}

/// A connection that went.
#[derive(Debug)]
pub struct Left {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub user_id: UserId,
    /// Why.
    pub reason: LeaveReason,
    /// The user is no longer here.
    pub last: bool,
    /// It was this instance's.
    pub local: bool,
}

/// A connection whose state is another.
#[derive(Debug)]
pub struct Updated {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub user_id: UserId,
    /// The new state.
    pub state: Json,
    /// It is this instance's.
    pub local: bool,
}

/// What an instance tells the others: all it owns, or what changed from one revision to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerDiff {
    /// The revision after it; the one before is `revision - 1`.
    pub revision: u64,
    /// Came, or has another state.
    pub set: Vec<(ConnectionId, Member)>,
    /// Went, and why.
    pub gone: Vec<(ConnectionId, LeaveReason)>,
}

/// Whether a peer's view is up to date after what it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// It is.
    Current,
    /// Something was missed: ask the peer for all it has.
    Behind,
}
