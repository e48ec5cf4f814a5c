//! What waits for one socket: whole encoded frames, counted in bytes, outside any mailbox.
//!
//! Filled by the fan-out and the session of the same thread, emptied by the conversation (`session`), which is woken for
//! it. What the fan-out sends goes straight to the socket as long as nothing waits. The verdict on a peer that does not
//! take what is sent, and the kill, are made from here: the fan-out runs whatever a peer does.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
    net::Shutdown,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;

use super::tally;
use crate::protocol::{CloseCode, Frame, SharedTail};

/// Bytes waiting beyond which a reader lags: what rooms send is skipped for it. Half of what may wait, where that is less.
const LAG_BYTES: usize = 128 * 1024;
/// So many pieces that wait are written at once.
const PIECES_PER_WRITE: usize = 16;

/// Bytes on their way to a socket.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// It does not end with a whole frame: the next piece does.
    goes_on: bool,
}

/// The frames that wait for one socket, and what is known of its peer. What a delivery looks at comes first, in one line of
/// the processor's cache: a message goes to many connections, and each is cold.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Outbox {
    bytes: Cell<usize>,
    bytes_max: usize,
    lag_bytes: usize,
    /// Until the session is gone.
    socket: RefCell<Option<OwnedWriteHalf>>,
    /// The connection is being closed, or the session is gone: nothing is taken in any more.
    closed: Cell<bool>,
    /// What was taken last goes on with the next piece.
    mid_frame: Cell<bool>,
    /// One of its rooms is about to bring what was skipped: the others wait for their turn.
    promised: Cell<bool>,
    /// Something was taken since the last look; kept without asking for the time, which would cost more than the rest.
    taken: Cell<bool>,
    /// None of them is empty.
    queue: RefCell<VecDeque<Piece>>,
    waker: RefCell<Option<Waker>>,
    /// Why and since when the connection is being closed.
    verdict: Cell<Option<(CloseCode, Instant)>>,
    last_seen: Cell<Instant>,
    last_ping: Cell<Instant>,
    /// Since when every look found that something waits and nothing was taken.
    stuck_since: Cell<Option<Instant>>,
}

impl Outbox {
    /// An empty outbox that holds at most `bytes_max`; without a socket it only holds.
    pub fn new(bytes_max: usize, socket: Option<OwnedWriteHalf>) -> Self {
        let now = Instant::now();
        Self {
            bytes: Cell::new(0),
            bytes_max,
            lag_bytes: LAG_BYTES.min(bytes_max / 2),
            socket: RefCell::new(socket),
            closed: Cell::new(false),
            mid_frame: Cell::new(false),
            promised: Cell::new(false),
            taken: Cell::new(false),
            queue: RefCell::default(),
            waker: RefCell::default(),
            verdict: Cell::new(None),
            last_seen: Cell::new(now),
            last_ping: Cell::new(now),
            stuck_since: Cell::new(None),
        }
    }

    #[cfg(test)]
    pub(super) fn detached(bytes_max: usize) -> Self {
        Self::new(bytes_max, None)
    }

    /// One without a bound whose reader lags beyond so many bytes.
    #[cfg(test)]
    pub(super) fn lagging_beyond(lag_bytes: usize) -> Self {
        Self { lag_bytes, ..Self::detached(usize::MAX) }
    }

    // --- filled ---

    /// Puts whole frames into the queue; a queue over its bound means a slow consumer, whose memory is freed at once. The
    /// bound is on what waits already: who waits for nothing may get a piece of any size.
    pub fn push(&self, frames: &Bytes) {
        if self.takes_more() {
            self.enqueue(frames.clone(), false);
        }
    }

    /// As [`push`](Self::push), but past the queue, as far as the kernel takes it at once and nothing is before it.
    pub fn send(&self, frames: &Bytes) {
        if self.takes_more() {
            let written = self.write_past(&[frames]);
            if written < frames.len() {
                self.enqueue(frames.slice(written..), false);
            }
        }
    }

    /// As [`send`](Self::send), one frame that consists of several parts.
    pub fn send_parts(&self, frame: &SharedTail) {
        if self.takes_more() {
            let parts @ [start, middle, end] = frame.parts();
            let mut written = self.write_past(&[start, middle, end]);
            for (part, goes_on) in parts.iter().zip([true, true, false]) {
                let taken = written.min(part.len());
                written -= taken;
                if taken < part.len() {
                    self.enqueue(part.slice(taken..), goes_on);
                }
            }
        }
    }

    /// How much of something was written past the queue. A broken connection takes nothing: the conversation finds out.
    fn write_past(&self, parts: &[&[u8]]) -> usize {
        if self.bytes.get() > 0 {
            return 0;
        }
        let socket = self.socket.borrow();
        let written = match (&*socket, parts) {
            (Some(socket), [bytes]) => socket.try_write(bytes),
            (Some(socket), [a, b, c]) => {
                socket.try_write_vectored(&[IoSlice::new(a), IoSlice::new(b), IoSlice::new(c)])
            }
            _ => Ok(0),
        };
        let written = written.unwrap_or(0);
        if written > 0 {
            tally::sent(written);
            self.taken.set(true);
            self.mid_frame.set(written < parts.iter().map(|part| part.len()).sum::<usize>());
        }
        written
    }

    fn takes_more(&self) -> bool {
        if self.closed.get() {
            return false;
        }
        let full = self.bytes.get() > self.bytes_max && self.bytes.get() - self.begun_bytes() > self.bytes_max;
        if full {
            self.close(CloseCode::SlowConsumer);
        }
        !full
    }

    /// What is left of the piece that is being written.
    fn begun_bytes(&self) -> usize {
        let queue = self.queue.borrow();
        queue.front().filter(|_| self.mid_frame.get()).map_or(0, |piece| piece.bytes.len())
    }

    /// Ends the connection: what waits is dropped where the peer is at fault for it, then a close frame follows.
    pub fn close(&self, code: CloseCode) {
        if self.closed.replace(true) {
            return;
        }
        if matches!(code, CloseCode::SlowConsumer | CloseCode::HeartbeatTimeout) {
            self.drop_waiting();
        }
        self.verdict.set(Some((code, Instant::now())));
        self.enqueue(Frame::close(code).bytes().clone(), false);
    }

    /// Drops what waits, but for the rest of a frame that was begun: what follows must be a frame again.
    fn drop_waiting(&self) {
        let mut queue = self.queue.borrow_mut();
        let begun = if self.mid_frame.get() { 1 + queue.iter().take_while(|piece| piece.goes_on).count() } else { 0 };
        let rest: VecDeque<_> = queue.drain(..begun).collect();
        self.bytes.set(rest.iter().map(|piece| piece.bytes.len()).sum::<usize>());
        *queue = rest; // frees the memory, not only the frames
    }

    fn enqueue(&self, bytes: Bytes, goes_on: bool) {
        debug_assert!(!bytes.is_empty(), "whether something waits is told by its bytes");
        self.bytes.set(self.bytes.get() + bytes.len());
        self.queue.borrow_mut().push_back(Piece { bytes, goes_on });
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    // --- emptied, by the conversation ---

    /// Writes what waits; ready when nothing is left.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.borrow();
        let Some(socket) = &*socket else { return Poll::Ready(Ok(())) };
        while self.bytes.get() > 0 {
            match self.write_waiting(socket) {
                Ok(written) => self.took(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.as_ref().poll_write_ready(cx))?
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write_waiting(&self, socket: &OwnedWriteHalf) -> io::Result<usize> {
        let queue = self.queue.borrow();
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        for (slice, piece) in slices.iter_mut().zip(&*queue) {
            *slice = IoSlice::new(&piece.bytes);
        }
        match &slices[..queue.len().min(PIECES_PER_WRITE)] {
            [one] => socket.try_write(one),
            several => socket.try_write_vectored(several),
        }
    }

    /// The peer's kernel or ours has so much of what waited.
    fn took(&self, bytes: usize) {
        let mut queue = self.queue.borrow_mut();
        let mut left = bytes;
        while left > 0
            && let Some(first) = queue.front_mut()
        {
            let whole = first.bytes.len() <= left;
            self.mid_frame.set(!whole || first.goes_on);
            if whole {
                left -= first.bytes.len();
                queue.pop_front();
            } else {
                drop(first.bytes.split_to(left));
                left = 0;
            }
        }
        if queue.is_empty() && queue.capacity() > 4 {
            *queue = VecDeque::new(); // a burst's allocation is not kept by an idle connection
        }
        self.bytes.set(self.bytes.get() - bytes);
        self.taken.set(true);
        tally::sent(bytes);
    }

    /// What a peer takes who takes at most so much.
    #[cfg(test)]
    pub(super) fn pop(&self, bytes_max: usize) -> Option<Bytes> {
        let first = self.queue.borrow().front()?.bytes.clone();
        let bytes = first.slice(..first.len().min(bytes_max));
        self.took(bytes.len());
        Some(bytes)
    }

    /// Who is woken when something is put in.
    pub fn wake(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// The close frame is out: the connection may end.
    pub fn is_finished(&self) -> bool {
        self.verdict.get().is_some() && self.queue.borrow().is_empty()
    }

    /// The session is gone: nothing is taken in any more. Gives the socket back.
    pub fn end(&self) -> Option<OwnedWriteHalf> {
        self.closed.set(true);
        *self.queue.borrow_mut() = VecDeque::new();
        self.bytes.set(0);
        self.waker.borrow_mut().take();
        self.socket.borrow_mut().take()
    }

    // --- judged ---

    /// Something came from the peer.
    pub fn seen(&self) {
        self.last_seen.set(Instant::now());
    }

    /// How long nothing has come from the peer.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_seen.get())
    }

    /// Whether a silent peer is to be pinged now; remembers that it was.
    pub fn ping_due(&self, now: Instant, interval: Duration) -> bool {
        let quiet_since = self.last_seen.get().max(self.last_ping.get());
        let due = now.saturating_duration_since(quiet_since) >= interval;
        if due {
            self.last_ping.set(now);
        }
        due
    }

    /// How long the peer has taken nothing of what waits, as far as regular looks can tell.
    pub fn look_if_stuck(&self, now: Instant) -> Duration {
        if self.taken.replace(false) || self.queue.borrow().is_empty() {
            self.stuck_since.set(None);
            return Duration::ZERO;
        }
        let since = self.stuck_since.get().unwrap_or(now);
        self.stuck_since.set(Some(since));
        now.saturating_duration_since(since)
    }

    /// Bytes that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether so much waits that what rooms send is skipped.
    pub fn lags(&self) -> bool {
        self.bytes.get() > self.lag_bytes
    }

    /// Whether a reader that lagged has taken enough to be given what was skipped.
    pub fn has_drained(&self) -> bool {
        self.bytes.get() <= self.lag_bytes / 2 && !self.promised.get() && self.verdict.get().is_none()
    }

    /// Whether a room is about to bring what was skipped.
    pub fn promise(&self, promised: bool) {
        self.promised.set(promised);
    }

    /// Why and since when the hub closes the connection, if it does.
    pub fn verdict(&self) -> Option<(CloseCode, Instant)> {
        self.verdict.get()
    }

    /// Shuts the socket whatever the session does: the conversation finds it broken and ends.
    pub fn shut_socket(&self) {
        if let Some(socket) = &*self.socket.borrow() {
            drop(SockRef::from(socket.as_ref()).shutdown(Shutdown::Both)); // fails only when the peer was faster
        }
    }
}

#[cfg(test)]
mod tests;
