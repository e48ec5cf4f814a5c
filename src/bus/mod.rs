//! Station 4: instance to instances.
//!
//! A room subscribes to its own channel and hears what the same room on other instances says. The bus may lose, repeat and
//! reorder; rooms are built for that. What the texts mean is the room's affair (`room::exchange`).

mod local;
mod redis;

pub use local::LocalBus;
pub use redis::RedisBus;

use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use crate::ids::RoomId;

/// From the bus to a room. Sent with `do_send`: what a room cannot take in time is bounded by what its channel carries,
/// and a room that lags is healed from the store.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum BusDelivery {
    /// An event of any instance, this one included.
    Event(Arc<str>),
    /// The bus is back, or has lost something: compare everything with the others and the store.
    Restored,
}

/// Carries texts between the instances that serve a room. Contract:
///
/// - After `subscribe` the inbox gets every text published to the room's channel by any instance, its own included, as long
///   as the bus is up; not necessarily all, once, or in order across publishers.
/// - `publish` never blocks. While the bus is down the text is dropped.
/// - When texts may have been lost without `publish` saying so, every inbox gets [`BusDelivery::Restored`].
pub trait Bus: Send + Sync + 'static {
    /// Whether there may be other instances at all.
    fn is_shared(&self) -> bool;

    /// Whether other instances can be reached now. Rooms spare the encoding when not.
    fn is_up(&self) -> bool;

    /// Starts delivery of a room's channel.
    fn subscribe(&self, room: &RoomId, inbox: Recipient<BusDelivery>);

    /// Ends delivery to this inbox; a later subscription of the same room is untouched.
    fn unsubscribe(&self, room: &RoomId, inbox: &Recipient<BusDelivery>);

    /// Sends a text to all instances that serve the room. `receivers`, if given, learns how many took it, or is dropped
    /// when nobody knows.
    fn publish(&self, room: &RoomId, text: String, receivers: Option<oneshot::Sender<u64>>);

    /// Waits until what was published has left, then disconnects.
    fn close(&self) -> futures_util::future::BoxFuture<'static, ()>;
}
