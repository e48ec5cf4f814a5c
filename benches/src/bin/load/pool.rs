//! All connections: opened with a bounded number of handshakes under way, joined, read, written, and mourned.
//!
//! Answers pings; hands frames of joined connections to the scenario, and counts those that it does not want.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hubbub_bench::link::Link;
use hubbub_bench::poller::{self, Poller, Ready};
use hubbub_bench::{frame, upgrade};

use crate::Common;
use crate::dialect::{Dialect, Kind};
use crate::tally::Tally;

/// Connections per source address: well below the ephemeral ports of one.
const CONNECTIONS_PER_SOURCE: usize = 5_000;
/// The server must take at least one connection within this time.
const STALLED: Duration = Duration::from_secs(20);
/// A room counts as settled once it was quiet for this long …
const QUIET: Duration = Duration::from_millis(400);
/// … or at the latest after this.
const SETTLE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Joining,
    Joined,
}

struct Slot {
    link: Option<Link>,
    state: State,
}

/// The connections of a run.
pub struct Pool<'a> {
    common: &'a Common,
    rooms: usize,
    poller: Poller,
    slots: Vec<Slot>,
    joined: usize,
    clock: Instant,
    scratch: Vec<u8>,
    payload: Vec<u8>,
    wire: Vec<u8>,
    pub tally: Tally,
}

impl<'a> Pool<'a> {
    /// Opens and joins `conns` connections in `rooms` rooms and waits until they have settled.
    pub fn open(common: &'a Common, conns: usize, rooms: usize) -> io::Result<Self> {
        let mut pool = Self::new(common, conns, rooms)?;
        pool.reopen()?;
        Ok(pool)
    }

    /// `conns` connections in `rooms` rooms, none of them open yet.
    pub fn new(common: &'a Common, conns: usize, rooms: usize) -> io::Result<Self> {
        Ok(Self {
            common,
            rooms: rooms.max(1),
            poller: Poller::new()?,
            slots: (0..conns).map(|_| Slot { link: None, state: State::Connecting }).collect(),
            joined: 0,
            clock: Instant::now(),
            scratch: Vec::new(),
            payload: Vec::new(),
            wire: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Opens what is not open (at first everything), and waits until it has settled.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.fill(f64::INFINITY, &mut |_, _, _| false)?;
        self.settle()
    }

    /// Opens what is not open, at so many per second, or with no more under way than the handshakes allowed; `sink` gets what comes meanwhile, `joined` frames included.
    pub fn fill(&mut self, per_second: f64, sink: &mut impl FnMut(usize, &[u8], u64) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        let handshakes = if per_second.is_finite() { usize::MAX } else { self.common.handshakes };
        let (mut next, mut joined, mut progress) = (0, self.joined, Instant::now());
        while self.joined < self.slots.len() {
            let mut under_way = self.slots[..next].iter().filter(|slot| slot.state != State::Joined).count();
            let may_be_open = (begun.elapsed().as_secs_f64() * per_second).max(1.0) as usize;
            while under_way < handshakes && next < self.slots.len().min(may_be_open) {
                if self.slots[next].link.is_none() {
                    self.connect(next)?;
                    under_way += 1;
                }
                next += 1;
            }
            let closed = self.tally.closed;
            let pause = if next < self.slots.len() && per_second.is_finite() { 2 } else { 100 };
            self.pump(Duration::from_millis(pause), sink)?;
            if self.tally.closed > closed {
                next = 0;
            }
            if self.joined > joined {
                (joined, progress) = (self.joined, Instant::now());
            } else if progress.elapsed() > STALLED {
                let text = format!("only {joined} of {} connections joined", self.slots.len());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
        Ok(())
    }

    /// Reads until next to nothing comes any more.
    pub fn settle(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE_MAX {
            let (before, window) = (self.tally.frames, Instant::now());
            while window.elapsed() < QUIET {
                self.pump(QUIET / 10, &mut |_, _, _| false)?;
            }
            if self.tally.frames - before <= self.slots.len() as u64 / 50 {
                break;
            }
        }
        Ok(())
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Connections that are joined now.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// Number of rooms.
    pub fn rooms(&self) -> usize {
        self.rooms
    }

    /// The room of connection `index`.
    pub fn room(&self, index: usize) -> usize {
        index % self.rooms
    }

    /// How many connections belong to `room`.
    pub fn members(&self, room: usize) -> u64 {
        (self.slots.len() / self.rooms + usize::from(room < self.slots.len() % self.rooms)) as u64
    }

    /// Microseconds on the generator's clock.
    pub fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    /// Sends what `write` appends, as one text frame on connection `index`; says whether that is still open.
    pub fn send(&mut self, index: usize, write: impl FnOnce(Dialect, &mut Vec<u8>)) -> bool {
        let slot = &mut self.slots[index];
        let (Some(link), State::Joined) = (slot.link.as_mut(), slot.state) else {
            return false;
        };
        self.payload.clear();
        self.wire.clear();
        write(self.common.target, &mut self.payload);
        frame::write_client(&mut self.wire, frame::TEXT, &self.payload);
        let sent = link.send(&self.wire);
        if let Err(error) = sent {
            self.close(index, &error);
            return false;
        }
        true
    }

    /// Waits for at most `timeout` and handles what arrived. `sink(connection, payload, now_us)` gets the text frames
    /// of joined connections and says whether it took them.
    ///
    /// When something arrives it naps a moment before it looks, as a network card gathers packets before it
    /// interrupts: otherwise the generator is woken for every single delivery, and half of what both sides spend is
    /// that wake-up. The nap is part of the latency measured.
    pub fn pump(&mut self, timeout: Duration, sink: &mut impl FnMut(usize, &[u8], u64) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        let events = self.poller.wait(Some(timeout))?;
        if (1..poller::EVENTS_PER_WAIT).contains(&events) {
            let left = timeout.saturating_sub(begun.elapsed());
            nap(left.min(Duration::from_micros(self.common.nap_us)));
        }
        self.handle_events(events, sink)?;
        if events > 0 {
            let more = self.poller.wait(Some(Duration::ZERO))?;
            self.handle_events(more, sink)?;
        }
        Ok(())
    }

    fn handle_events(&mut self, events: usize, sink: &mut impl FnMut(usize, &[u8], u64) -> bool) -> io::Result<()> {
        for n in 0..events {
            let ready = self.poller.ready(n);
            let before = self.slots[ready.token].state;
            let Err(error) = self.handle(ready, sink) else {
                continue;
            };
            if before != State::Joined {
                return Err(error);
            }
            self.close(ready.token, &error);
        }
        Ok(())
    }

    fn connect(&mut self, index: usize) -> io::Result<()> {
        let host = (2 + index / CONNECTIONS_PER_SOURCE) as u8;
        let to = self.common.second_addr.filter(|_| index % 2 == 1).unwrap_or(self.common.addr);
        let from = (to.ip().is_loopback() && to.is_ipv4()).then(|| Ipv4Addr::new(127, 0, 0, host));
        let socket = poller::connect(to, from)?;
        self.poller.add(&socket, index)?;
        self.slots[index] = Slot { link: Some(Link::new(socket)), state: State::Connecting };
        Ok(())
    }

    fn handle(&mut self, ready: Ready, sink: &mut impl FnMut(usize, &[u8], u64) -> bool) -> io::Result<()> {
        let index = ready.token;
        let room = self.room(index);
        let slot = &mut self.slots[index];
        let Some(link) = slot.link.as_mut() else {
            return Ok(());
        };
        if ready.writable {
            if slot.state == State::Connecting {
                poller::connected(&*link)?;
                slot.state = State::Upgrading;
                let path = self.common.target.path(index, room);
                let host = self.common.addr.to_string();
                link.send(upgrade::request(&path, &host).as_bytes())?;
            }
            link.flush()?;
        }
        if !ready.readable {
            return Ok(());
        }
        let now_us = self.clock.elapsed().as_micros() as u64;
        let dialect = self.common.target;
        let (state, tally, joined) = (&mut slot.state, &mut self.tally, &mut self.joined);
        let wire = &mut self.wire;
        wire.clear();
        let received = link.receive(&mut self.scratch, ready.ended, |bytes| {
            let mut used = 0;
            if *state == State::Upgrading {
                let Some(head_bytes) = upgrade::read_response(bytes)? else {
                    return Ok(0);
                };
                used = head_bytes;
                *state = State::Joining;
                match dialect.join(room) {
                    Some(join) => frame::write_client(wire, frame::TEXT, join.as_bytes()),
                    None => {
                        *state = State::Joined;
                        *joined += 1;
                    }
                }
            }
            let frames = frame::each(&mut bytes[used..], |opcode, payload| {
                match (opcode, *state) {
                    (frame::PING, _) => {
                        tally.pings += 1;
                        frame::write_client(wire, frame::PONG, payload);
                    }
                    (frame::CLOSE, _) => return Err(said(&close_text(payload))),
                    (frame::PONG, _) => {}
                    (_, State::Joined) => {
                        tally.frames += 1;
                        tally.bytes += payload.len() as u64;
                        if !sink(index, payload, now_us) {
                            tally.count(dialect.kind(payload), payload);
                        }
                    }
                    _ => match dialect.kind(payload) {
                        Kind::Joined => {
                            *state = State::Joined;
                            *joined += 1;
                            sink(index, payload, now_us);
                        }
                        Kind::Error => return Err(said(&String::from_utf8_lossy(payload))),
                        _ => {}
                    },
                }
                Ok(())
            })?;
            Ok(used + frames)
        });
        if !wire.is_empty() {
            link.send(wire)?;
        }
        self.tally.reads += received?;
        Ok(())
    }

    fn close(&mut self, index: usize, error: &io::Error) {
        let slot = &mut self.slots[index];
        slot.link = None;
        slot.state = State::Connecting;
        self.joined -= 1;
        self.tally.closed += 1;
        self.tally.first_error.get_or_insert_with(|| error.to_string());
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else runs on the generator's only thread")]
fn nap(time: Duration) {
    std::thread::sleep(time);
}

fn said(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, format!("the server said: {text}"))
}

fn close_text(payload: &[u8]) -> String {
    match payload {
        &[high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            format!("close {code} {}", String::from_utf8_lossy(reason))
        }
        _ => "close".into(),
    }
}
