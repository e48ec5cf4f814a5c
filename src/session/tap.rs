//! Outbound tap: the response body of a WebSocket, fed from the [`Outbox`] past the session actor.
//!
//! The body stream of `actix-web-actors` runs the actor; this stream wraps it, so that encoded frames go from the outbox
//! straight to the socket and the actor is only polled for what comes in. It ends the connection once the close frame is
//! out, which drops, and thereby stops, the actor.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::Error;
use bytes::Bytes;
use futures_util::Stream;

use crate::fanout::Outbox;

/// After so many chunks the actor is polled even when more is waiting, so that what comes in is not starved.
const TURNS: u8 = 16;

/// The body of a WebSocket response.
pub(super) struct Tap<S> {
    inner: Pin<Box<S>>,
    outbox: Rc<Outbox>,
    turn: u8,
}

impl<S> Tap<S> {
    /// Puts the outbox's frames in front of `inner`, the actor's own stream.
    pub(super) fn new(inner: S, outbox: Rc<Outbox>) -> Self {
        Self { inner: Box::pin(inner), outbox, turn: 0 }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>>> Stream for Tap<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.outbox.wake(cx.waker());
        this.turn = this.turn.wrapping_add(1);
        if this.turn.is_multiple_of(TURNS)
            && let Poll::Ready(Some(item)) = this.inner.as_mut().poll_next(cx)
        {
            return Poll::Ready(Some(item));
        }
        if let Some(frames) = this.outbox.pop() {
            return Poll::Ready(Some(Ok(frames)));
        }
        if this.outbox.is_finished() {
            return Poll::Ready(None);
        }
        match this.inner.as_mut().poll_next(cx) {
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
