//! The TCP socket under a connection: options set when it is accepted, and a handle that shuts it from outside.
//!
//! A session whose peer does not read is not polled, and neither closing nor stopping it frees the connection; shutting the
//! socket does. The handle keeps the socket's number, not a duplicate, which would double the descriptors of the hub.

use std::{
    any::Any,
    cell::Cell,
    net::Shutdown,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
    rc::Rc,
    time::Duration,
};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use socket2::SockRef;

use crate::fanout::SocketHandle;

/// The kernel gives up on a peer that acknowledges nothing for so long: the net under our own heartbeat.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel may hold for a peer that does not read; left to itself it grows to megabytes per connection.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The socket's number for as long as the connection lives.
struct OpenSocket(Rc<Cell<Option<RawFd>>>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Called by the server for every accepted connection.
pub fn keep_socket(io: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    // None of them is needed for correctness, so a kernel that refuses one is no reason to refuse the client.
    drop(socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
    drop(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
    extensions.insert(OpenSocket(Rc::new(Cell::new(Some(stream.as_raw_fd())))));
}

/// A handle that shuts the request's connection, and does nothing once that is gone.
pub(super) fn handle_of(request: &HttpRequest) -> SocketHandle {
    let Some(OpenSocket(number)) = request.conn_data::<OpenSocket>() else { return SocketHandle::default() };
    let number = Rc::clone(number);
    SocketHandle::new(move || {
        if let Some(number) = number.get() {
            shut(number);
        }
    })
}

#[expect(unsafe_code, reason = "the number is valid: see the invariant")]
fn shut(number: RawFd) {
    // SAFETY: Invariant: `OpenSocket` lives in the connection's extensions, which actix-http drops before the stream it
    // owns, on this same thread; so as long as the cell holds the number, the descriptor is open and this connection's.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    drop(SockRef::from(&socket).shutdown(Shutdown::Both)); // fails only when the peer was faster
}
