//! What sessions, HTTP, the bus and timers say to a room, and what a room says to the fan-outs.
//!
//! The room's mailbox capacity bounds nothing (`do_send` ignores it): what a client can put in is bounded by its
//! session's rate lanes, what the bus can put in by what the room's channel carries.

use std::sync::{Arc, atomic::AtomicBool};

use actix::{Message, Recipient};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{cursors::Move, directory::Lease, presence::Diff};
use crate::{
    ids::{ConnectionId, MessageId, RoomId, Seq, UserId},
    protocol::{Frame, Json, SharedTail, User},
    store::{Appended, Author, StoreError},
};

/// One life of one room actor: frames of an earlier life of the same room do not reach the members of a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomSlot(pub u64);

/// One fan-out, that is one worker thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FanoutId(pub usize);

/// Where a room sends the frames of the members that live on one worker thread.
#[derive(Debug, Clone)]
pub struct FanoutAddress {
    /// Which thread.
    pub id: FanoutId,
    /// Its fan-out actor.
    pub recipient: Recipient<DeliverFrame>,
}

/// What a frame says. Readers that lag do not get the frame but, later, the sense of it.
#[derive(Debug, Clone)]
pub enum Told {
    /// The message with this `seq`; later all messages, one by one.
    Message(Seq),
    /// Who came, went and changed; later the net difference.
    Presence(Arc<Diff>),
    /// Cursors that moved; later the last position of each.
    Cursors(Arc<[Move]>),
    /// A read marker; later the last one.
    Read(UserId, Seq),
    /// An ephemeral event; later nothing.
    Broadcast,
}

/// What a fan-out knows of a room with members on its thread.
#[derive(Debug)]
pub struct RoomHome {
    /// Its name.
    pub id: RoomId,
    /// Whom to ask for messages that a reader has missed.
    pub recipient: Recipient<ReadMissed>,
}

/// Fan-out to room: a reader that lags has taken what it had; which messages come next? Answered with
/// [`DeliverFrame::Missed`]. Sent with `do_send`: one at a time per connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReadMissed {
    /// The reader.
    pub connection: ConnectionId,
    /// The last message it got.
    pub after: Seq,
}

/// Room to fan-out. Sent with `do_send`: at most what a room delivers, and the fan-out never waits.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum DeliverFrame {
    /// To every member of the room on this thread, but one.
    ToRoom {
        /// The room.
        slot: RoomSlot,
        /// The encoded frame.
        frame: Frame,
        /// What it says.
        told: Told,
        /// Who does not get it.
        except: Option<ConnectionId>,
    },
    /// To one connection, member or not.
    ToOne {
        /// Whom.
        connection: ConnectionId,
        /// The encoded frame.
        frame: Frame,
    },
    /// From now on a member; frames sent to the room before do not reach it.
    Enrol {
        /// The room.
        slot: RoomSlot,
        /// The new member.
        connection: ConnectionId,
        /// Where to ask.
        home: Arc<RoomHome>,
        /// The last message that it knows with `joined`.
        seq: Seq,
        /// What it gets first.
        joined: SharedTail,
    },
    /// The next messages for a reader that lags. None of them was sent to the room after this.
    Missed {
        /// The room.
        slot: RoomSlot,
        /// The reader.
        connection: ConnectionId,
        /// What it had.
        after: Seq,
        /// What it then has; `after` when nothing could be read.
        to: Seq,
        /// The encoded frames.
        frames: Bytes,
    },
    /// No longer a member; gets what was sent to the room before, unless it lags.
    Withdraw {
        /// The room.
        slot: RoomSlot,
        /// The former member.
        connection: ConnectionId,
    },
    /// The room died, or its project was closed to strangers: its members are closed, to come back and resume.
    RoomLost {
        /// The room.
        slot: RoomSlot,
    },
    /// The project is gone: its members are closed for good.
    RoomForgotten {
        /// The room.
        slot: RoomSlot,
    },
    /// To every connection of this thread.
    ToEveryone {
        /// The encoded frame.
        frame: Frame,
    },
}

/// Session to room: this connection joins. Answered with a `joined` frame, or an `error`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct JoinRoom {
    /// Who joins.
    pub connection: ConnectionId,
    /// Whose connection it is.
    pub user: Arc<User>,
    /// Where its frames go.
    pub fanout: FanoutAddress,
    /// Echoed.
    pub reference: Option<i64>,
    /// Its state.
    pub state: Json,
    /// Resume after this `seq`.
    pub since: Option<Seq>,
    /// How many latest messages, without `since`.
    pub history: u32,
    /// Cleared when the connection loses its place without having asked for it: the room could not open, or died.
    pub seated: Arc<AtomicBool>,
    /// Keeps the room from stopping until it has read this.
    pub lease: Lease,
}

/// Session to room: this connection says `leave`. Answered with a `left` frame.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveRoom {
    /// Who leaves.
    pub connection: ConnectionId,
    /// Echoed.
    pub reference: Option<i64>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// On purpose: leaves at once.
    Closed,
    /// Without goodbye: leaves after the grace.
    Dropped,
    /// Silent for the TTL: leaves at once, `expired`.
    Expired,
}

/// Session to room: the connection ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ConnectionEnded {
    /// Which.
    pub connection: ConnectionId,
    /// How.
    pub ending: Ending,
}

/// Session to room: a durable message. Answered with an `ack` once it is durable, or an `error`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostMessage {
    /// From whom.
    pub connection: ConnectionId,
    /// Echoed.
    pub reference: Option<i64>,
    /// Client-chosen id.
    pub id: MessageId,
    /// JSON text.
    pub body: String,
}

/// HTTP to room: a durable message from a server or script. Replies when it is durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<Appended, StoreError>")]
pub struct PublishMessage {
    /// The writer.
    pub author: Author,
    /// Client-chosen id.
    pub id: MessageId,
    /// JSON text.
    pub body: String,
    /// Keeps the room from stopping until it has read this.
    pub lease: Lease,
}

/// Session to room: the connection's state is now this. No answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetPresence {
    /// Whose.
    pub connection: ConnectionId,
    /// The new state.
    pub state: Json,
}

/// Session to room: the cursor is now here. No answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MoveCursor {
    /// Whose.
    pub connection: ConnectionId,
    /// Where; `None` hides it.
    pub position: Option<Json>,
}

/// Session to room: an ephemeral event to everyone else. No answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct BroadcastEvent {
    /// From whom.
    pub connection: ConnectionId,
    /// Its name.
    pub event: String,
    /// Its data.
    pub data: Option<Json>,
}

/// Session to room: this user has read up to here. No answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MarkRead {
    /// Whose connection says so.
    pub connection: ConnectionId,
    /// Up to where.
    pub seq: Seq,
}

/// HTTP to room: who is here? Answered, once the room has heard from the other instances, with JSON text
/// `{"members_total":n,"members":[…]}`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DescribePresence {
    /// Where the answer goes; dropped when the room cannot start.
    pub reply: oneshot::Sender<String>,
    /// Keeps the room from stopping until it has read this.
    pub lease: Lease,
}

/// Directory to room: the hub stops. The room finishes what it accepted, hands its members over and stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HandOverRoom {
    /// Dropped when it is done.
    pub done: oneshot::Sender<()>,
}

/// Directory to room: not everybody may be in it any more, so all are to come in again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReadmitMembers;

/// Directory to room: its project was deleted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ForgetRoom {
    /// For the log.
    pub room: RoomId,
}
