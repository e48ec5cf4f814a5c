//! A room's messages on their way into the durable order: answered in the order in which they were accepted.
//!
//! The store gives places in that order, so the room learns of its own messages without holes, however many wait. One
//! future waits for the first of them, not one for each.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use actix::prelude::*;

use super::actor::RoomActor;
use crate::{
    clock::Instant,
    store::{Appended, Appending, NewMessage, StoreError},
};

/// Who waits for the outcome: called before the message is delivered.
type Answer = Box<dyn FnOnce(&RoomActor, Result<Appended, StoreError>)>;

/// A message that was given to the store.
pub(super) struct Append {
    pub(super) message: NewMessage,
    pub(super) begun: Instant,
    pub(super) answer: Answer,
}

/// Those without an outcome.
#[derive(Default)]
pub(super) struct Appends {
    under_way: VecDeque<(Appending, Append)>,
    /// Their future runs.
    awaited: bool,
}

impl RoomActor {
    /// Waits for the outcome, which may be there already.
    pub(super) fn await_append(&mut self, appending: Appending, append: Append, ctx: &mut Context<Self>) {
        if let Some(error) = appending.refused() {
            return self.appended(append, Err(error.clone()), ctx); // it has no place in the order
        }
        self.appends.under_way.push_back((appending, append));
        if !std::mem::replace(&mut self.appends.awaited, true) {
            ctx.spawn(Outcomes);
        }
    }

    /// Whether messages have no outcome yet.
    pub(super) fn is_appending(&self) -> bool {
        !self.appends.under_way.is_empty()
    }
}

/// Ends when no message is left without an outcome.
struct Outcomes;

impl ActorFuture<RoomActor> for Outcomes {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        room: &mut RoomActor,
        ctx: &mut Context<RoomActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while let Some((appending, _)) = room.appends.under_way.front_mut() {
            let outcome = ready!(Pin::new(appending).poll(task));
            if let Some((_, append)) = room.appends.under_way.pop_front() {
                room.appended(append, outcome, ctx);
            }
        }
        room.appends = Appends::default(); // a burst's memory is not kept
        Poll::Ready(())
    }
}
