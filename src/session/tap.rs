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

/// actix-http keeps whatever a connection's write buffer has grown to. So a connection's first large writes (a `joined`
/// with its members and history) are made in pieces that fit the buffer's first page; a connection that goes on getting
/// large ones is busy, and may have the memory.
const PIECE_BYTES: usize = 1024;
const LARGE_WRITES_IN_PIECES: u8 = 64;
/// Never more at once: a room of thousands would otherwise leave a hundred KiB in the write buffer of each of them.
const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// After so many chunks the actor is polled even when more is waiting, so that what comes in is not starved.
const TURNS: u8 = 16;

/// The body of a WebSocket response.
pub(super) struct Tap<S> {
    inner: Pin<Box<S>>,
    outbox: Rc<Outbox>,
    turn: u8,
    /// Bytes given out since the socket was last written to.
    given: usize,
    large_writes: u8,
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
        Self { inner: Box::pin(inner), outbox, turn: 0, given: 0, large_writes: 0, actor, actor_waker }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Tap<S> {
    /// Runs the actor if something woke it.
    fn run_actor(&mut self, task: &Waker) -> Poll<Option<Result<Bytes, Error>>> {
        // Between runs the task registered by the last one stands, so this is all a delivery costs.
        if !self.actor.woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.actor.task.register(task);
        self.actor.woken.store(false, Ordering::Release); // whatever woke it before this is seen by the poll after it
        let polled = self.inner.as_mut().poll_next(&mut Context::from_waker(&self.actor_waker));
        if polled.is_ready() {
            self.actor.woken.store(true, Ordering::Release); // there may be more
        }
        polled
    }
}

impl<S> Tap<S> {
    /// The next bytes for the socket.
    fn next_piece(&mut self) -> Option<Bytes> {
        let in_pieces = self.large_writes < LARGE_WRITES_IN_PIECES;
        let bytes_max = if in_pieces { PIECE_BYTES.saturating_sub(self.given) } else { CHUNK_BYTES_MAX };
        let piece = self.outbox.pop(bytes_max.max(1))?;
        self.given += piece.len();
        Some(piece)
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Stream for Tap<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_any(cx);
        match &polled {
            Poll::Pending => self.given = 0, // the dispatcher now writes
            Poll::Ready(_) => self.outbox.owe(),
        }
        polled
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Tap<S> {
    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = self;
        this.outbox.wake(cx.waker());
        this.turn = this.turn.wrapping_add(1);
        if this.turn.is_multiple_of(TURNS)
            && let Poll::Ready(Some(item)) = this.run_actor(cx.waker())
        {
            return Poll::Ready(Some(item));
        }
        if this.given >= PIECE_BYTES && this.large_writes < LARGE_WRITES_IN_PIECES {
            this.large_writes += 1;
            cx.waker().wake_by_ref(); // write this, then go on
            return Poll::Pending;
        }
        if let Some(piece) = this.next_piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if this.outbox.is_finished() {
            return Poll::Ready(None);
        }
        match this.run_actor(cx.waker()) {
            Poll::Ready(Some(item)) => Poll::Ready(Some(item)),
            // Running the actor may have put something into the outbox; when it stopped, that is the last.
            polled => match this.next_piece() {
                Some(piece) => Poll::Ready(Some(Ok(piece))),
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
