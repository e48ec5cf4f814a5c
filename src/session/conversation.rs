//! A WebSocket after its handshake: what comes in on the socket goes to the session actor, what waits in the outbox goes out.
//!
//! Most frames never wait: whoever has one for this connection writes it to the socket at once (see [`Outbox`]). The
//! conversation is woken for the rest: when the kernel takes more again, and when the session itself has said something.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{Error, error::PayloadError};
use bytes::Bytes;
use futures_util::Stream;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};

use super::guard::Inbound;
use crate::fanout::Outbox;

/// How long a closed connection may linger for the peer's own close. Browsers report a close only at the end of the
/// connection, so a longer one would hold up every reconnect.
const LINGER: Duration = Duration::from_millis(600);
/// How long a peer may take to read what was said before the end; as long as one that the hub sends away has.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
/// What is read at once, at most.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// All connections of a thread read into the same memory, so that an idle one holds none.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Carries a conversation on until the session, the hub or the peer ends it. `actor` runs the session.
pub(super) async fn converse<S>(actor: S, outbox: &Rc<Outbox>, inbound: &Inbound)
where
    S: Stream<Item = Result<Bytes, Error>>,
{
    let _end = EndOnDrop(Rc::clone(outbox));
    let mut actor = Box::pin(actor);
    let ended = poll_fn(|cx| poll_end(actor.as_mut(), outbox, cx)).await;
    drop(actor); // the session: it leaves its rooms now, whatever the peer still does
    if ended.is_ok() && matches!(timeout(FLUSH_PATIENCE, poll_fn(|cx| outbox.poll_flush(cx))).await, Ok(Ok(()))) {
        drop(timeout(LINGER, part(outbox, inbound)).await); // nobody is left to be told how it went
    }
}

/// Runs the actor and writes what waits; ready when either has come to its end.
fn poll_end<S>(mut actor: Pin<&mut S>, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>>
where
    S: Stream<Item = Result<Bytes, Error>>,
{
    outbox.wake(cx.waker());
    let has_stopped = loop {
        match actor.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(frame))) => outbox.push(&frame),
            Poll::Ready(Some(Err(_)) | None) => break true,
            Poll::Pending => break false,
        }
    };
    match outbox.poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        _ if has_stopped || outbox.is_finished() => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

/// Says goodbye as RFC 6455 has it: the peer answers the close frame with its own, then the server closes.
async fn part(outbox: &Outbox, inbound: &Inbound) -> io::Result<()> {
    let Some(socket) = outbox.end() else { return Ok(()) };
    let socket = socket.as_ref();
    while !inbound.peer_has_closed() {
        if read(socket, |bytes| inbound.overhear(bytes)).await? == 0 {
            return Ok(());
        }
    }
    half_close(socket).await
}

/// Closes a connection so that what was said last arrives.
pub async fn linger(socket: &TcpStream) {
    drop(timeout(LINGER, half_close(socket)).await);
}

/// A socket that is closed with something unread in it is reset, and what was on its way to the peer is lost. So only our
/// half is closed, and the other is read to its end.
async fn half_close(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).shutdown(Shutdown::Write)?;
    while read(socket, |_| ()).await? > 0 {}
    Ok(())
}

/// Reads something: how much, 0 at the end of it all.
async fn read(socket: &TcpStream, mut look: impl FnMut(&[u8])) -> io::Result<usize> {
    loop {
        poll_fn(|cx| socket.poll_read_ready(cx)).await?; // gives way to others, and to the time limit, however much comes
        let read: io::Result<usize> = READ_BUFFER.with_borrow_mut(|buffer| {
            let bytes = socket.try_read(buffer)?;
            look(&buffer[..bytes]);
            Ok(bytes)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Whatever becomes of a conversation, nothing is put into its outbox after it.
struct EndOnDrop(Rc<Outbox>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the peer sends, as it comes.
pub(super) struct Incoming {
    /// What came together with the handshake.
    early: Bytes,
    socket: OwnedReadHalf,
}

impl Incoming {
    pub(super) fn new(early: Bytes, socket: OwnedReadHalf) -> Self {
        Self { early, socket }
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.early.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.early))));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => None,
                Ok(()) => Some(Ok(Bytes::copy_from_slice(buffer.filled()))),
                Err(error) => Some(Err(PayloadError::Io(error))),
            })
        })
    }
}
