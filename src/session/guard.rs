//! Inbound guard: judges a frame by its header, before its payload is buffered.
//!
//! The WebSocket codec behind it checks a size only once it holds the whole frame, so a header that announces a terabyte
//! would be believed. This stream looks at every header as the bytes pass, refuses frames over the limit and messages
//! whose fragments add up to more, and then ends. The codec also takes whatever it can get, so it gets nothing more while
//! the session has whole frames to handle: a peer that sends faster waits in the kernel, not in our memory.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

/// Longest client header: 2 bytes, 8 of length, 4 of mask (RFC 6455, 5.2).
const HEADER_BYTES_MAX: usize = 14;
const CLOSE: u8 = 0x8;

/// Passes a client's bytes on until a frame or message is announced that is over the limit.
pub(super) struct FrameGuard<S> {
    inner: S,
    inbound: Rc<Inbound>,
}

/// How what a client sends stands. Shared with the session, to which the codec's errors look all the same, and with the
/// conversation, which goes on for a moment after the session.
#[derive(Debug)]
pub(super) struct Inbound {
    scanner: RefCell<Scanner>,
    state: Cell<State>,
    /// Whole frames that were passed on and not handled yet.
    unhandled: Cell<usize>,
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// More may come.
    #[default]
    Open,
    /// A frame over the limit was announced: refused.
    OverLimit,
    /// The connection ended or broke.
    Ended,
}

impl Inbound {
    /// Nothing has come; a message (a frame, or all its fragments) may have `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        let scanner = RefCell::new(Scanner::new(bytes_max as u64));
        Self { scanner, state: Cell::default(), unhandled: Cell::default() }
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// The session has handled a frame.
    pub(super) fn handled(&self) {
        self.unhandled.set(self.unhandled.get().saturating_sub(1));
    }

    /// Looks at what nobody is left to read.
    pub(super) fn overhear(&self, bytes: &[u8]) {
        self.scanner.borrow_mut().accepts(bytes);
    }

    /// A close frame has come.
    pub(super) fn peer_has_closed(&self) -> bool {
        self.scanner.borrow().closed
    }
}

impl<S> FrameGuard<S> {
    /// Guards `inner` and keeps `inbound` true.
    pub(super) fn new(inner: S, inbound: Rc<Inbound>) -> Self {
        Self { inner, inbound }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameGuard<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.inbound.state() == State::OverLimit {
            return Poll::Ready(None);
        }
        if self.inbound.unhandled.get() > 0 {
            return Poll::Pending; // the codec has a frame to give: it is polled again without being woken
        }
        let polled = Pin::new(&mut self.inner).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                let mut scanner = self.inbound.scanner.borrow_mut();
                if !scanner.accepts(bytes) {
                    self.inbound.state.set(State::OverLimit);
                    return Poll::Ready(Some(Err(PayloadError::Overflow)));
                }
                self.inbound.unhandled.set(scanner.take_complete());
            }
            Poll::Ready(None | Some(Err(_))) => self.inbound.state.set(State::Ended),
            Poll::Pending => {}
        }
        polled
    }
}

/// Follows frame boundaries through a byte stream.
#[derive(Debug)]
struct Scanner {
    bytes_max: u64,
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Payload bytes of the current frame still to pass.
    left: u64,
    /// Payload bytes of the current message so far.
    message: u64,
    /// Frames that have passed as a whole.
    complete: usize,
    /// A close frame has begun to pass.
    closed: bool,
}

impl Scanner {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            left: 0,
            message: 0,
            complete: 0,
            closed: false,
        }
    }

    fn accepts(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= passed as u64;
                self.complete += usize::from(self.left == 0);
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.header_len] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if let Some(length) = self.complete_header() {
                let first = self.header[0];
                self.header_len = 0;
                self.closed |= first & 0x0F == CLOSE;
                let control = first & 0x08 != 0;
                if control {
                    // At most 125 by the RFC; the codec refuses more, but only once it has it.
                    if length > 125 {
                        return false;
                    }
                } else {
                    let continuation = first & 0x0F == 0;
                    self.message = if continuation { self.message.saturating_add(length) } else { length };
                    if self.message > self.bytes_max {
                        return false;
                    }
                }
                self.left = length;
                self.complete += usize::from(length == 0);
            }
        }
        true
    }

    /// How many frames have passed as a whole since the last time.
    fn take_complete(&mut self) -> usize {
        std::mem::take(&mut self.complete)
    }

    /// The payload length, once the header is whole.
    fn complete_header(&self) -> Option<u64> {
        if self.header_len < 2 {
            return None;
        }
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        let (length_bytes, short) = match self.header[1] & 0x7F {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, u64::from(short)),
        };
        if self.header_len < 2 + length_bytes + mask {
            return None;
        }
        let long = self.header[2..2 + length_bytes].iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        Some(short + long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(0x80 | payload as u8),
            126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend((payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend([7; 4]);
        bytes.extend(vec![0xFF; payload]);
        bytes
    }

    proptest! {
        /// However the bytes are cut into chunks, a stream passes exactly if each message is within the limit.
        #[test]
        fn the_verdict_does_not_depend_on_the_cuts(
            sizes in proptest::collection::vec(0usize..3_000, 1..8),
            cut in 1usize..700,
        ) {
            let limit = 2_000;
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| frame(0x81, *size)).collect();
            let mut scanner = Scanner::new(limit as u64);
            let accepted = bytes.chunks(cut).all(|chunk| scanner.accepts(chunk));
            prop_assert_eq!(accepted, sizes.iter().all(|size| *size <= limit));
            prop_assert!(!accepted || scanner.take_complete() == sizes.len());
        }
    }

    #[test]
    fn a_terabyte_is_refused_at_its_header() {
        let mut header = vec![0x81, 0x80 | 127];
        header.extend((1u64 << 40).to_be_bytes());
        header.extend([0; 4]);
        assert!(!Scanner::new(65_536).accepts(&header));
    }

    #[test]
    fn fragments_add_up_and_control_frames_between_them_do_not() {
        let mut scanner = Scanner::new(1_000);
        assert!(scanner.accepts(&frame(0x01, 600)));
        assert!(scanner.accepts(&frame(0x89, 100)));
        assert!(!scanner.accepts(&frame(0x80, 600)));
        let mut scanner = Scanner::new(1_000);
        assert!(scanner.accepts(&frame(0x81, 1_000)) && scanner.accepts(&frame(0x81, 1_000)));
        assert!(!scanner.accepts(&frame(0x89, 126)));
    }

    #[test]
    fn a_close_frame_is_seen() {
        let mut scanner = Scanner::new(1_000);
        assert!(scanner.accepts(&[frame(0x81, 0x88), frame(0x89, 8)].concat()) && !scanner.closed);
        assert!(scanner.accepts(&frame(0x88, 2)) && scanner.closed);
    }
}
