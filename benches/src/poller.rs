//! Epoll, edge-triggered, and the non-blocking sockets that go with it.
//!
//! Edges: a socket is reported once per change, so whoever is told must read until there is no more.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Events that one wait returns at most: few enough that a due message never waits long behind a batch of reads.
pub const EVENTS_PER_WAIT: usize = 256;
const LISTEN_BACKLOG: i32 = 4_096;

/// One epoll instance and the events of its last wait.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// Something happened on a socket.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// As given to [`Poller::add`].
    pub token: usize,
    /// It can be read, or has ended.
    pub readable: bool,
    /// It can be written, or a connect has ended.
    pub writable: bool,
    /// The peer closed or reset: read until the end, even if a read comes short.
    pub ended: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS_PER_WAIT) })
    }

    /// Watches `socket` until it is closed.
    pub fn add(&self, socket: impl AsFd, token: usize) -> io::Result<()> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token as u64), flags)?;
        Ok(())
    }

    /// Waits for at most `timeout` (microseconds count), or for ever, and returns how many events there are.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) => Ok(self.events.len()),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Event `n` of the last wait.
    pub fn ready(&self, n: usize) -> Ready {
        use epoll::EventFlags as Flags;
        let epoll::Event { flags, data } = self.events[n];
        let ended = flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR);
        Ready {
            token: data.u64() as usize,
            readable: ended || flags.contains(Flags::IN),
            writable: ended || flags.contains(Flags::OUT),
            ended,
        }
    }
}

/// Begins to connect to `to`, from `from` if given: a source address has only some 28,000 ports, so 10,000 and more
/// connections to one server come from several addresses.
pub fn connect(to: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
    let socket = stream_socket(to)?;
    if let Some(from) = from {
        net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    match net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connect has succeeded, once the socket is reported writable.
pub fn connected(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(socket)??)
}

/// Listens on `at`; port 0 picks a free one.
pub fn listen(at: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = stream_socket(at)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &at)?;
    net::listen(&socket, LISTEN_BACKLOG)?;
    let bound = net::getsockname(&socket)?.try_into()?;
    Ok((socket, bound))
}

/// The next connection of a listener, `None` when all are taken.
pub fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    match net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(socket) => {
            sockopt::set_tcp_nodelay(&socket, true)?;
            Ok(Some(socket))
        }
        Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}
