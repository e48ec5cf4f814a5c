//! A client's TCP connection, shared by those who write to it: the HTTP server, which owns the conversation, and the
//! connection's outbox, which writes past it.
//!
//! The server copies what it is given into a buffer and writes that when the connection's task has its turn: woken, found
//! and polled through all its layers, for each delivery. A frame that can leave at once need not take that way. It may only
//! do so while the server owes the socket nothing, or it would come before, or in the middle of, what was said earlier.
//! The server always offers the whole of its buffer, so what it owes can be told here: nothing, once an offer was taken
//! in full and it was given nothing since.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The kernel gives up on a peer that acknowledges nothing for so long: the net under our own heartbeat.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel may hold for a peer that does not read; left to itself it grows to megabytes per connection.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// A connection that was accepted. Clones are the same connection, which is closed with the last of them.
#[derive(Debug, Clone)]
pub struct ClientSocket(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: RefCell<TcpStream>,
    /// The server may hold bytes that it has not written yet.
    owed: Cell<bool>,
}

impl ClientSocket {
    /// Takes over a connection and sets its options.
    pub fn new(stream: TcpStream) -> Self {
        let socket = SockRef::from(&stream);
        // None of them is needed for correctness, so a kernel that refuses one is no reason to refuse the client.
        drop(socket.set_tcp_nodelay(true));
        drop(socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
        drop(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
        Self(Rc::new(Shared { stream: RefCell::new(stream), owed: Cell::new(true) }))
    }

    /// The server is given something to write.
    pub fn owe(&self) {
        self.0.owed.set(true);
    }

    /// Writes past the server one part, or three at once, as much as the kernel takes: how many bytes. None while the server
    /// owes something. None, too, when the connection is broken: the server finds out by itself.
    pub(super) fn write_past(&self, parts: &[&[u8]]) -> usize {
        if self.0.owed.get() {
            return 0;
        }
        let stream = self.0.stream.borrow();
        let written = match parts {
            [bytes] => stream.try_write(bytes),
            [a, b, c] => stream.try_write_vectored(&[IoSlice::new(a), IoSlice::new(b), IoSlice::new(c)]),
            _ => Ok(0),
        };
        written.unwrap_or(0)
    }

    /// Ends the connection whatever the server does: both find it broken.
    pub(super) fn shut(&self) {
        let stream = self.0.stream.borrow();
        drop(SockRef::from(&*stream).shutdown(Shutdown::Both)); // fails only when the peer was faster
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, buf);
        self.0.owed.set(!matches!(polled, Poll::Ready(Ok(written)) if written == buf.len()));
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.owe();
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr};

    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;
    use crate::fanout::Outbox;

    /// The HTTP server's part: what it was given and has not written.
    struct Server {
        socket: ClientSocket,
        buffer: Vec<u8>,
    }

    impl Server {
        /// Takes from the outbox what it has, but in small pieces, and not more than so many of them.
        fn take(&mut self, outbox: &Outbox, pieces: usize) {
            for piece in (0..pieces).map_while(|_| outbox.pop(1_000)) {
                outbox.owe();
                self.buffer.extend_from_slice(&piece);
            }
        }

        /// Offers the whole buffer, as long as the kernel takes something.
        fn write(&mut self, cx: &mut Context<'_>) {
            while !self.buffer.is_empty()
                && let Poll::Ready(Ok(written)) = Pin::new(&mut self.socket).poll_write(cx, &self.buffer)
            {
                self.buffer.drain(..written);
            }
        }
    }

    /// What may happen on a connection, in any order.
    #[derive(Debug, Clone)]
    enum Event {
        Push(usize),
        Send(usize),
        Take(usize),
        Write,
        Read(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => (1..3_000usize).prop_map(Event::Push),
            6 => (1..60_000usize).prop_map(Event::Send),
            3 => (1..40usize).prop_map(Event::Take),
            3 => Just(Event::Write),
            2 => (1..200_000usize).prop_map(Event::Read),
        ]
    }

    /// Frames of any size, each a row of its own numbers: a byte out of place is seen.
    fn frame(number: usize, bytes: usize) -> Bytes {
        (0..bytes).map(|at| (number * 31 + at / 7) as u8).collect()
    }

    async fn pair() -> (ClientSocket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let socket = ClientSocket::new(stream);
        // Small enough to be full now and then.
        SockRef::from(&*socket.0.stream.borrow()).set_send_buffer_size(20_000).unwrap();
        (socket, peer)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whoever writes, and however much the kernel takes at a time: the peer gets every byte once and in order.
        #[test]
        fn what_is_sent_past_the_server_is_never_out_of_place(events in prop::collection::vec(event(), 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (socket, mut peer) = pair().await;
                let outbox = Outbox::new(usize::MAX, Some(socket.clone()));
                let mut server = Server { socket, buffer: b"head".to_vec() };
                let (mut said, mut heard) = (b"head".to_vec(), Vec::new());
                for (number, event) in events.into_iter().enumerate() {
                    match event {
                        Event::Push(bytes) | Event::Send(bytes) => {
                            let frame = frame(number, bytes);
                            said.extend_from_slice(&frame);
                            if matches!(event, Event::Push(_)) { outbox.push(&frame) } else { outbox.send(&frame) }
                        }
                        Event::Take(pieces) => server.take(&outbox, pieces),
                        Event::Write => poll_fn(|cx| { server.write(cx); Poll::Ready(()) }).await,
                        Event::Read(bytes) => {
                            let mut buffer = vec![0; bytes];
                            let read = peer.try_read(&mut buffer).unwrap_or(0);
                            heard.extend_from_slice(&buffer[..read]);
                        }
                    }
                    tokio::task::yield_now().await;
                }
                while heard.len() < said.len() {
                    let mut buffer = vec![0; 200_000];
                    let mut read = ReadBuf::new(&mut buffer);
                    let more = poll_fn(|cx| {
                        server.take(&outbox, usize::MAX);
                        server.write(cx); // woken by either end, it looks at both
                        Pin::new(&mut peer).poll_read(cx, &mut read)
                    });
                    more.await.unwrap();
                    heard.extend_from_slice(read.filled());
                }
                prop_assert!(heard == said, "first wrong at {:?}", heard.iter().zip(&said).position(|(a, b)| a != b));
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn nothing_goes_past_while_the_server_owes_something() {
        let (mut socket, mut peer) = pair().await;
        assert_eq!(socket.write_past(&[b"early"]), 0, "the head of the answer is not out");
        poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, b"head")).await.unwrap();
        assert_eq!(socket.write_past(&[b" and", b" ", b"body"]), 9);
        socket.owe();
        assert_eq!(socket.write_past(&[b"more"]), 0);
        let mut got = [0; 13];
        peer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"head and body");
    }
}
