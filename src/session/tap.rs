//! Outbound tap: the response body of a WebSocket, fed from the [`Outbox`] past the session actor.
//!
//! The body stream of `actix-web-actors` runs the actor; this stream wraps it, so that encoded frames go from the outbox
//! straight to the socket. A delivery wakes the connection's task but not the actor, which is polled only when something
//! of its own woke it. The tap ends the connection once the close frame is out, which drops, and thereby stops, the actor.

use std::{
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use actix_web::Error;
use bytes::Bytes;
use futures_util::{Stream, task::AtomicWaker};

use crate::fanout::Outbox;

/// After so many chunks the actor is polled even when more is waiting, so that what comes in is not starved.
const TURNS: u8 = 16;

/// The body of a WebSocket response.
pub(super) struct Tap<S> {
    inner: Pin<Box<S>>,
    outbox: Rc<Outbox>,
    turn: u8,
    actor: Arc<ActorWake>,
    actor_waker: Waker,
}

/// Remembers that it was the actor that was woken, and wakes the connection's task.
struct ActorWake {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for ActorWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<S> Tap<S> {
    /// Puts the outbox's frames in front of `inner`, the actor's own stream.
    pub(super) fn new(inner: S, outbox: Rc<Outbox>) -> Self {
        let actor = Arc::new(ActorWake { woken: AtomicBool::new(true), task: AtomicWaker::new() });
        let actor_waker = Waker::from(Arc::clone(&actor));
        Self { inner: Box::pin(inner), outbox, turn: 0, actor, actor_waker }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Tap<S> {
    /// Runs the actor if something woke it.
    fn run_actor(&mut self) -> Poll<Option<Result<Bytes, Error>>> {
        if !self.actor.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let polled = self.inner.as_mut().poll_next(&mut Context::from_waker(&self.actor_waker));
        if polled.is_ready() {
            self.actor.woken.store(true, Ordering::Release); // there may be more
        }
        polled
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Stream for Tap<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.outbox.wake(cx.waker());
        this.actor.task.register(cx.waker());
        this.turn = this.turn.wrapping_add(1);
        if this.turn.is_multiple_of(TURNS)
            && let Poll::Ready(Some(item)) = this.run_actor()
        {
            return Poll::Ready(Some(item));
        }
        if let Some(frames) = this.outbox.pop() {
            return Poll::Ready(Some(Ok(frames)));
        }
        if this.outbox.is_finished() {
            return Poll::Ready(None);
        }
        match this.run_actor() {
            Poll::Ready(Some(item)) => Poll::Ready(Some(item)),
            // Running the actor may have put something into the outbox; when it stopped, that is the last.
            polled => match this.outbox.pop() {
                Some(frames) => Poll::Ready(Some(Ok(frames))),
                None => polled,
            },
        }
    }
}

impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.outbox.end();
    }
}
