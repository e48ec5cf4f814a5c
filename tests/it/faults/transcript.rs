//! What a client writes down: everything that it was told and that it said, in order and with the time. The checker
//! judges a run by these alone, and by what the hub's HTTP side says at the end.

use std::{fmt, sync::Arc, time::Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::support::frames::{Change, Message};

/// `project/room`.
pub type Room = Arc<str>;

/// One of the two instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];
}

/// A client's notes.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// The client's number in the fleet.
    pub client: usize,
    pub entries: Vec<Entry>,
}

/// One note.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    pub what: What,
}

/// A member as a view has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub user_id: String,
    pub state: Value,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// `welcome`; the side is not known behind a load balancer.
    Connected { connection: String, user_id: String, side: Option<Side> },
    /// There was no way in.
    ShutOut,
    /// The connection ended, and not by us; 1006 without a close frame.
    Lost { code: u16 },
    /// We ended it; with a code, or without a word.
    HungUp { code: Option<u16> },
    /// Said `join`.
    AskedIn { room: Room, state: Value },
    /// `joined`; `since` is what we had asked for.
    Joined {
        room: Room,
        since: Option<u64>,
        seq: u64,
        recovered: bool,
        messages: Vec<Message>,
        members: Vec<(String, Seen)>,
    },
    /// Said `leave`.
    AskedOut { room: Room },
    /// `left`.
    Left { room: Room },
    /// Said `message`, for the first time or again.
    Sent { room: Room, id: Uuid, body: Value },
    /// `ack`.
    Acked { room: Room, id: Uuid, seq: u64, duplicate: bool },
    /// `message`.
    Told { room: Room, message: Message },
    /// Said `presence`.
    Became { room: Room, state: Value },
    /// `presence`.
    Changed { room: Room, changes: Vec<Change> },
    /// `status`; no reasons: live.
    Status { reasons: Vec<String> },
    /// `drain`.
    Drain { after_ms: u64 },
    /// `error`.
    Refused { code: String, message: String },
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
