//! Station 4: instance to instances.
//!
//! A room subscribes to its own channel and hears what the same room on other instances says; what concerns the whole hub
//! (a session revoked, a cached page stale) travels on a channel of its topic. The bus may lose, repeat and reorder; its
//! subscribers are built for that. What the texts mean is their affair (`room::exchange`).

mod inboxes;
mod local;
mod redis;

pub use local::LocalBus;
pub use redis::RedisBus;

use std::{fmt, sync::Arc};

use actix::{Message, Recipient};
use tokio::sync::{mpsc, oneshot};

use crate::ids::RoomId;

/// What a text is about, and so who hears it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A room: the instances that serve it.
    Room(RoomId),
    /// A topic of the whole hub (`access`, `cache`, `projects`): every part of any instance that has subscribed to it.
    Hub(&'static str),
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => write!(f, "room:{room}"),
            Self::Hub(topic) => write!(f, "hub:{topic}"),
        }
    }
}

/// From the bus to a subscriber. Sent without bound: what a room cannot take in time is bounded by what its channel
/// carries, and a room that lags is healed from the store.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum BusDelivery {
    /// An event of any instance, this one included.
    Event(Arc<str>),
    /// The bus is back, or has lost something: compare everything with the others and the store.
    Restored,
}

/// Where the bus delivers to.
#[derive(Debug, Clone)]
pub enum Inbox {
    /// An actor's mailbox.
    Actor(Recipient<BusDelivery>),
    /// A task's queue.
    Task(mpsc::UnboundedSender<BusDelivery>),
}

impl Inbox {
    fn send(&self, delivery: BusDelivery) {
        match self {
            Self::Actor(actor) => actor.do_send(delivery), // one that died takes nothing
            Self::Task(task) => drop(task.send(delivery)),
        }
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Actor(actor) => actor.connected(),
            Self::Task(task) => !task.is_closed(),
        }
    }
}

impl PartialEq for Inbox {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Actor(one), Self::Actor(other)) => one == other,
            (Self::Task(one), Self::Task(other)) => one.same_channel(other),
            _ => false,
        }
    }
}

impl From<Recipient<BusDelivery>> for Inbox {
    fn from(actor: Recipient<BusDelivery>) -> Self {
        Self::Actor(actor)
    }
}

impl From<mpsc::UnboundedSender<BusDelivery>> for Inbox {
    fn from(task: mpsc::UnboundedSender<BusDelivery>) -> Self {
        Self::Task(task)
    }
}

/// Carries texts between the instances. Contract:
///
/// - After `subscribe` the inbox gets every text published to the channel by any instance, its own included, as long
///   as the bus is up; not necessarily all, once, or in order across publishers.
/// - `publish` never blocks. While the bus is down, a room's text is dropped; a hub topic's still reaches the inboxes of
///   this instance.
/// - When texts to a channel may have been lost, its inboxes get [`BusDelivery::Restored`] once the bus is back: on the
///   instance that could not hear, and for a hub topic also on all others when one could not speak.
pub trait Bus: Send + Sync + 'static {
    /// Whether there may be other instances at all.
    fn is_shared(&self) -> bool;

    /// Whether others on a channel can be reached now. Rooms spare the encoding when not.
    fn is_up(&self, channel: &Channel) -> bool;

    /// Starts delivery of a channel.
    fn subscribe(&self, channel: Channel, inbox: Inbox);

    /// Ends delivery to this inbox; a later subscription to the same channel is untouched. An inbox that is closed
    /// need not be taken away.
    fn unsubscribe(&self, channel: Channel, inbox: Inbox);

    /// Sends a text to all who subscribed to the channel. `receivers`, if given, learns how many instances took it, or is
    /// dropped when nobody knows.
    fn publish(&self, channel: Channel, text: String, receivers: Option<oneshot::Sender<u64>>);

    /// Waits until what was published has left, then disconnects.
    fn close(&self) -> futures_util::future::BoxFuture<'static, ()>;
}
