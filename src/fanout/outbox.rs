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

use crate::protocol::{CloseCode, Frame};

/// Bytes waiting beyond which a reader lags and cursors are skipped for it.
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

/// The frames that wait for one socket, and what is known of its peer.
#[derive(Debug)]
pub struct Outbox {
    queue: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    bytes_max: usize,
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
            bytes: Cell::new(0),
            bytes_max,
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

    // --- filled ---

    /// Puts whole frames into the queue; a queue over its bound means a slow consumer, whose memory is freed at once. The
    /// bound is on what waits already: who waits for nothing may get a piece of any size.
    pub fn push(&self, frames: &Bytes) {
        if self.closed.get() || self.verdict.get().is_some() {
            return;
        }
        if self.bytes.get() > self.bytes_max {
            return self.close(CloseCode::SlowConsumer);
        }
        self.enqueue(frames.clone());
    }

    /// Ends the connection: what waits is dropped where the peer is at fault for it, then a close frame follows.
    pub fn close(&self, code: CloseCode) {
        if self.closed.get() || self.verdict.get().is_some() {
            return;
        }
        if matches!(code, CloseCode::SlowConsumer | CloseCode::HeartbeatTimeout) {
            *self.queue.borrow_mut() = VecDeque::new(); // frees the memory, not only the frames
            self.bytes.set(0);
        }
        self.verdict.set(Some((code, Instant::now())));
        self.enqueue(Frame::close(code).bytes().clone());
    }

    fn enqueue(&self, frames: Bytes) {
        let mut queue = self.queue.borrow_mut();
        self.bytes.set(self.bytes.get() + frames.len());
        queue.push_back(frames);
        drop(queue);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    // --- emptied, by the tap ---

    /// The next frames for the socket.
    pub fn pop(&self) -> Option<Bytes> {
        let mut queue = self.queue.borrow_mut();
        let frames = queue.pop_front()?;
        if queue.is_empty() && queue.capacity() > 4 {
            *queue = VecDeque::new(); // a burst's allocation is not kept by an idle connection
        }
        self.bytes.set(self.bytes.get() - frames.len());
        self.taken.set(true);
        Some(frames)
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

    /// Whether so much waits that frames which age are skipped.
    pub fn lags(&self) -> bool {
        self.bytes.get() > LAG_BYTES
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
