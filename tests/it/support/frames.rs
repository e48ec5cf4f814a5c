//! The hub's frames as the tests look at them.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    pub user_id: String,
    pub name: String,
    pub color: String,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct From {
    pub user_id: String,
    pub name: String,
    pub connection_id: Option<String>,
}

/// A durable message, from a `message` frame, a `joined` or the history over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    pub seq: u64,
    pub id: String,
    pub from: From,
    pub body: Value,
    pub sent_at: String,
}

/// The answer to a join.
#[derive(Debug, Clone, Deserialize)]
pub struct Joined {
    pub seq: u64,
    pub recovered: bool,
    pub members_total: usize,
    pub members: Vec<Member>,
    pub cursors: Vec<Cursor>,
    pub messages: Vec<Message>,
}

impl Joined {
    pub fn seqs(&self) -> Vec<u64> {
        self.messages.iter().map(|message| message.seq).collect()
    }

    /// The names of the members, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.members.iter().map(|member| member.user.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A user in a room with their tabs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    pub user: User,
    pub connections: Vec<Connection>,
}

/// A tab.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Connection {
    pub connection_id: String,
    pub state: Value,
    pub joined_at: String,
}

/// Where a connection's cursor is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cursor {
    pub connection_id: String,
    pub position: Value,
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ack {
    pub id: String,
    pub seq: u64,
    pub duplicate: bool,
}

/// One entry of a `presence` frame. The hub puts as many into a frame as happened in a tick, so tests look at entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Join { user_id: String, name: String, connection_id: String, state: Value, first: bool },
    Leave { user_id: String, connection_id: String, reason: String, last: bool },
    Update { user_id: String, connection_id: String, state: Value },
}

impl Change {
    /// The entries of a frame, in its order.
    pub fn of_frame(frame: &Value) -> VecDeque<Self> {
        #[derive(Deserialize)]
        struct Frame {
            joins: Vec<Join>,
            leaves: Vec<Leave>,
            updates: Vec<Update>,
        }
        #[derive(Deserialize)]
        struct Join {
            user: User,
            connection_id: String,
            state: Value,
            #[serde(rename = "joined_at")]
            _joined_at: String,
            first: bool,
        }
        #[derive(Deserialize)]
        struct Leave {
            user_id: String,
            connection_id: String,
            reason: String,
            last: bool,
        }
        #[derive(Deserialize)]
        struct Update {
            user_id: String,
            connection_id: String,
            state: Value,
        }
        let Frame { joins, leaves, updates } = Frame::deserialize(frame).expect("a presence frame");
        let joins = joins.into_iter().map(|Join { user, connection_id, state, first, .. }| Self::Join {
            user_id: user.user_id,
            name: user.name,
            connection_id,
            state,
            first,
        });
        let leaves = leaves.into_iter().map(|Leave { user_id, connection_id, reason, last }| Self::Leave {
            user_id,
            connection_id,
            reason,
            last,
        });
        let updates = updates.into_iter().map(|Update { user_id, connection_id, state }| Self::Update {
            user_id,
            connection_id,
            state,
        });
        joins.chain(leaves).chain(updates).collect()
    }

    /// Whose connection it is about.
    pub fn connection_id(&self) -> &str {
        match self {
            Self::Join { connection_id, .. }
            | Self::Leave { connection_id, .. }
            | Self::Update { connection_id, .. } => connection_id,
        }
    }

    /// Whether a person, not only one of their tabs, went.
    pub fn is_last_leave(&self) -> bool {
        matches!(self, Self::Leave { last: true, .. })
    }
}
