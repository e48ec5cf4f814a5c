//! What waits for one socket: whole encoded frames, counted in bytes, outside any mailbox.
//!
//! Filled by the fan-out and the session of the same thread, emptied by the session's tap on the response body. When the
//! peer does not take what is sent, the tap is no longer polled; so the verdict and the kill are made from here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::protocol::{CloseCode, Frame, SharedTail};

/// Bytes waiting beyond which a reader lags: what rooms send is skipped for it. Half of what may wait, where that is less.
const LAG_BYTES: usize = 128 * 1024;

/// Shuts the TCP connection from outside the session. Kept by the connection, shared with the outbox.
#[derive(Clone, Default)]
pub struct SocketHandle {
    shut: Option<Rc<dyn Fn()>>,
}

impl SocketHandle {
    /// A handle that shuts the socket by `shut`; calling it on a socket that is gone must do nothing.
    pub fn new(shut: impl Fn() + 'static) -> Self {
        Self { shut: Some(Rc::new(shut)) }
    }
}

impl std::fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SocketHandle")
    }
}

/// Bytes on their way to a socket.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// It does not end with a whole frame: the next piece does.
    goes_on: bool,
}

/// The frames that wait for one socket, and what is known of its peer.
#[derive(Debug)]
pub struct Outbox {
    queue: RefCell<VecDeque<Piece>>,
    /// What was taken last goes on with the next piece.
    mid_frame: Cell<bool>,
    bytes: Cell<usize>,
    bytes_max: usize,
    lag_bytes: usize,
    /// One of its rooms is about to bring what was skipped: the others wait for their turn.
    promised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Why and since when the connection is being closed.
    verdict: Cell<Option<(CloseCode, Instant)>>,
    /// The session is gone.
    closed: Cell<bool>,
    last_seen: Cell<Instant>,
    last_ping: Cell<Instant>,
    /// Something was taken since the last look; kept without asking for the time, which would cost more than the rest.
    taken: Cell<bool>,
    /// Since when every look found that something waits and nothing was taken.
    stuck_since: Cell<Option<Instant>>,
    socket: SocketHandle,
}

impl Outbox {
    /// An empty outbox that holds at most `bytes_max`.
    pub fn new(bytes_max: usize, socket: SocketHandle) -> Self {
        let now = Instant::now();
        Self {
            queue: RefCell::default(),
            mid_frame: Cell::new(false),
            bytes: Cell::new(0),
            bytes_max,
            lag_bytes: LAG_BYTES.min(bytes_max / 2),
            promised: Cell::new(false),
            waker: RefCell::default(),
            verdict: Cell::new(None),
            closed: Cell::new(false),
            last_seen: Cell::new(now),
            last_ping: Cell::new(now),
            taken: Cell::new(false),
            stuck_since: Cell::new(None),
            socket,
        }
    }

    #[cfg(test)]
    pub(super) fn detached(bytes_max: usize) -> Self {
        Self::new(bytes_max, SocketHandle::default())
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

    /// Puts one frame into the queue that consists of several parts.
    pub fn push_parts(&self, frame: &SharedTail) {
        if self.takes_more() {
            let [start, middle, end] = frame.parts();
            self.enqueue(start.clone(), true);
            self.enqueue(middle.clone(), true);
            self.enqueue(end.clone(), false);
        }
    }

    fn takes_more(&self) -> bool {
        if self.closed.get() || self.verdict.get().is_some() {
            return false;
        }
        let full = self.bytes.get() > self.bytes_max;
        if full {
            self.close(CloseCode::SlowConsumer);
        }
        !full
    }

    /// Ends the connection: what waits is dropped where the peer is at fault for it, then a close frame follows.
    pub fn close(&self, code: CloseCode) {
        if self.closed.get() || self.verdict.get().is_some() {
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
        self.bytes.set(rest.iter().map(|piece| piece.bytes.len()).sum());
        *queue = rest; // frees the memory, not only the frames
    }

    fn enqueue(&self, bytes: Bytes, goes_on: bool) {
        self.bytes.set(self.bytes.get() + bytes.len());
        self.queue.borrow_mut().push_back(Piece { bytes, goes_on });
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    // --- emptied, by the tap ---

    /// The next frames for the socket.
    pub fn pop(&self) -> Option<Bytes> {
        let mut queue = self.queue.borrow_mut();
        let Piece { bytes, goes_on } = queue.pop_front()?;
        self.mid_frame.set(goes_on);
        if queue.is_empty() && queue.capacity() > 4 {
            *queue = VecDeque::new(); // a burst's allocation is not kept by an idle connection
        }
        self.bytes.set(self.bytes.get() - bytes.len());
        self.taken.set(true);
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

    /// The session is gone: nothing is taken in any more.
    pub fn end(&self) {
        self.closed.set(true);
        *self.queue.borrow_mut() = VecDeque::new();
        self.bytes.set(0);
        self.waker.borrow_mut().take();
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

    /// Shuts the socket whatever the session does: the connection then ends by itself.
    pub fn shut_socket(&self) {
        if let Some(shut) = &self.socket.shut {
            shut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_bound_the_memory_is_freed_and_the_verdict_is_slow_consumer() {
        let outbox = Outbox::detached(1000);
        outbox.push(&Bytes::from_static(&[0; 1000]));
        outbox.push(&Bytes::from_static(&[0; 5000]));
        assert!(outbox.verdict().is_none(), "a large piece alone is no sign of slowness");
        outbox.push(&Bytes::from_static(&[0; 1]));
        assert_eq!(outbox.verdict().unwrap().0, CloseCode::SlowConsumer);
        assert_eq!(outbox.pop().unwrap(), *Frame::close(CloseCode::SlowConsumer).bytes());
        assert!(outbox.pop().is_none() && outbox.is_finished());
        outbox.push(&Bytes::from_static(b"late"));
        assert!(outbox.pop().is_none(), "nothing follows a close frame");
    }

    #[test]
    fn a_frame_in_parts_that_was_begun_is_ended_before_the_close_frame() {
        let split = || SharedTail::text("{", Bytes::from_static(b"1234567890"), Bytes::from_static(b"}"));
        for taken in 0..=3 {
            let outbox = Outbox::detached(1000);
            outbox.push_parts(&split());
            outbox.push_parts(&split());
            let begun: Vec<u8> = (0..taken).filter_map(|_| outbox.pop()).flatten().collect();
            outbox.close(CloseCode::SlowConsumer);
            let rest: Vec<u8> = std::iter::from_fn(|| outbox.pop()).flatten().collect();
            let whole = if taken == 0 { Vec::new() } else { split().parts().concat() };
            assert_eq!(
                [begun, rest].concat(),
                [whole, Frame::close(CloseCode::SlowConsumer).bytes().to_vec()].concat()
            );
            assert_eq!(outbox.bytes.get(), 0);
        }
    }

    #[test]
    fn an_orderly_close_lets_what_waits_go_first() {
        let outbox = Outbox::detached(1000);
        outbox.push(&Bytes::from_static(b"ack"));
        outbox.close(CloseCode::Restart);
        outbox.close(CloseCode::SlowConsumer);
        assert_eq!(outbox.verdict().unwrap().0, CloseCode::Restart, "the first verdict stands");
        assert_eq!(outbox.pop().unwrap(), "ack");
        assert!(!outbox.is_finished());
        outbox.pop();
        assert!(outbox.is_finished());
    }

    #[test]
    fn the_silent_are_pinged_once_per_interval_and_the_stuck_are_seen() {
        let outbox = Outbox::detached(1000);
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!outbox.ping_due(now, 10 * second));
        assert!(outbox.ping_due(now + 11 * second, 10 * second));
        assert!(!outbox.ping_due(now + 12 * second, 10 * second));
        assert!(outbox.silence(now + 11 * second) > 10 * second);
        assert_eq!(outbox.look_if_stuck(now), Duration::ZERO);
        outbox.push(&Bytes::from_static(b"x"));
        outbox.push(&Bytes::from_static(b"y"));
        assert_eq!(outbox.look_if_stuck(now), Duration::ZERO);
        assert_eq!(outbox.look_if_stuck(now + 11 * second), 11 * second);
        outbox.pop();
        assert_eq!(outbox.look_if_stuck(now + 12 * second), Duration::ZERO, "a slow reader is not a stuck one");
    }
}
