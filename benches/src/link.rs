//! One non-blocking socket with what is half received and half sent.
//!
//! Invariant: a send costs exactly one system call while the peer keeps up; only what the kernel would not take is
//! kept, and goes out when the socket is writable again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};

/// One read takes at most this much, bytes; the buffer is shared by all links.
const READ_BYTES: usize = 256 << 10;
/// A link keeps no more idle buffer than this, bytes: thousands of links share the cache.
const KEEP_BYTES: usize = 4 << 10;

/// A connected socket.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    partial: Vec<u8>,
    backlog: Vec<u8>,
    backlog_sent: usize,
}

impl Link {
    /// Takes over a non-blocking socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, partial: Vec::new(), backlog: Vec::new(), backlog_sent: 0 }
    }

    /// Sends `bytes`, or what the kernel takes of it now and the rest later.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.backlog.is_empty() {
            sent = self.write(bytes)?;
        }
        self.backlog.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends what waits; to be called when the socket is writable.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        self.backlog_sent += self.write(&self.backlog[self.backlog_sent..])?;
        if self.backlog_sent == self.backlog.len() {
            self.backlog_sent = 0;
            self.backlog.clear();
            self.backlog.shrink_to(KEEP_BYTES);
        }
        Ok(())
    }

    /// Reads what is there and hands it to `take`, which returns how many bytes it used up; the rest is offered again
    /// with the next bytes. Stops after a short read, unless `to_the_end`. Returns the number of reads that brought
    /// something; the end of the stream is an error.
    pub fn receive(
        &mut self,
        scratch: &mut Vec<u8>,
        to_the_end: bool,
        mut take: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        let mut reads = 0;
        loop {
            let kept = self.partial.len();
            if scratch.len() < kept + READ_BYTES {
                scratch.resize(kept + READ_BYTES, 0);
            }
            scratch[..kept].copy_from_slice(&self.partial);
            let got = match net::recv(&self.socket, &mut scratch[kept..kept + READ_BYTES], RecvFlags::empty()) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((got, _)) => got,
                Err(Errno::AGAIN) => return Ok(reads),
                Err(error) => return Err(error.into()),
            };
            reads += 1;
            let received = &mut scratch[..kept + got];
            let used = take(received)?;
            self.partial.clear();
            self.partial.extend_from_slice(&received[used..]);
            if self.partial.is_empty() {
                self.partial.shrink_to(KEEP_BYTES);
            }
            if got < READ_BYTES && !to_the_end {
                return Ok(reads);
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Link, Link) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("a socket pair");
        (Link::new(a), Link::new(b))
    }

    #[test]
    fn what_the_kernel_does_not_take_follows_in_order() {
        let (mut a, mut b) = pair();
        let mut expected = Vec::new();
        for n in 0..200_u32 {
            let chunk = n.to_be_bytes().repeat(4_000);
            a.send(&chunk).expect("open");
            expected.extend_from_slice(&chunk);
        }
        assert!(!a.backlog.is_empty(), "the socket buffer took 3 MB at once");
        let (mut scratch, mut got) = (Vec::new(), Vec::new());
        while got.len() < expected.len() {
            a.flush().expect("open");
            b.receive(&mut scratch, false, |bytes| {
                got.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .expect("open");
        }
        assert!(got == expected);
        assert!(a.backlog.is_empty());
    }

    #[test]
    fn unused_bytes_are_offered_again_and_the_end_is_an_error() {
        let (mut a, mut b) = pair();
        let mut scratch = Vec::new();
        a.send(b"hel").expect("open");
        b.receive(&mut scratch, false, |_| Ok(0)).expect("open");
        a.send(b"lo").expect("open");
        let mut whole = Vec::new();
        b.receive(&mut scratch, false, |bytes| {
            whole = bytes.to_vec();
            Ok(bytes.len())
        })
        .expect("open");
        assert_eq!(whole, b"hello");
        drop(a);
        assert!(b.receive(&mut scratch, false, |_| Ok(0)).is_err());
    }
}
