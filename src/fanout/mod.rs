//! Between rooms and sockets: one fan-out per worker thread.
//!
//! A room sends a frame once to each worker thread that has members; the fan-out puts it into each member's [`Outbox`],
//! at once when the room was quiet, else together with what comes within the next few milliseconds. Members that do not
//! keep up are skipped and later told the sense of what they missed. As it is the one place
//! that is polled whatever a peer does, it also pings the silent, judges the dead and the slow, and sends everybody away
//! when the hub stops.

mod lane;
mod missed;
mod outbox;
pub(crate) mod tally;

pub use outbox::Outbox;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use lane::{Look, RoomLane};

use crate::{
    access::sessions::CloseConnection,
    config::{LimitsConfig, RoomConfig},
    ids::ConnectionId,
    protocol::{CloseCode, Frame, outbound},
    room::{
        messages::{DeliverFrame, FanoutAddress, FanoutId, ReadMissed, RoomSlot},
        pacer::Pace,
    },
};

/// A room's batch interval grows by this for every member it writes to, up to [`BATCH_INTERVAL_MAX`]: a write costs
/// several microseconds, and a batch should not be due again before the last one is out.
const BATCH_INTERVAL_PER_MEMBER: Duration = Duration::from_micros(20);
const BATCH_INTERVAL_MAX: Duration = Duration::from_millis(20);
/// How often is looked whether readers that lag have drained: with a step of 64 KiB a time, 6 MB/s for each.
const LAGGARDS_LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long a connection that was told to go has until its socket is shut from outside.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Sending clients away takes so long for each, within the drain window.
const DRAIN_PER_CONNECTION: Duration = Duration::from_millis(2);

/// All fan-outs of the hub, one per worker thread.
#[derive(Debug, Default)]
pub struct Fanouts {
    addresses: Mutex<Vec<Addr<Fanout>>>,
    connections: AtomicUsize,
}

impl Fanouts {
    /// Sends a frame to every connection.
    pub fn to_everyone(&self, frame: &Frame) {
        for fanout in self.addresses() {
            fanout.do_send(DeliverFrame::ToEveryone { frame: frame.clone() }); // rare: once per change of state
        }
    }

    /// Sends everybody away, spread over at most `window`.
    pub fn drain(&self, window: Duration) {
        for fanout in self.addresses() {
            fanout.do_send(DrainConnections { window }); // once
        }
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    fn addresses(&self) -> Vec<Addr<Fanout>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The fan-out of one worker thread, as the sessions on that thread see it.
#[derive(Clone)]
pub struct LocalFanout {
    /// For the rooms.
    pub address: FanoutAddress,
    /// For those who end a connection from outside.
    pub closer: Recipient<CloseConnection>,
    fanouts: Arc<Fanouts>,
    connections: Connections,
}

type Connections = Rc<RefCell<HashMap<ConnectionId, Rc<Outbox>>>>;

impl LocalFanout {
    /// Starts the fan-out of the current thread.
    pub fn start(fanouts: &Arc<Fanouts>, room: &RoomConfig, limits: &LimitsConfig) -> Self {
        static NEXT_ID: AtomicUsize = AtomicUsize::new(0);
        let connections = Connections::default();
        let fanout = Fanout {
            connections: Rc::clone(&connections),
            lanes: HashMap::new(),
            laggards: VecDeque::new(),
            looking: false,
            room: room.clone(),
            slow_consumer: limits.slow_consumer,
        }
        .start();
        fanouts.addresses.lock().unwrap_or_else(PoisonError::into_inner).push(fanout.clone());
        let id = FanoutId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let address = FanoutAddress { id, recipient: fanout.clone().recipient() };
        Self { address, closer: fanout.recipient(), fanouts: Arc::clone(fanouts), connections }
    }

    /// Counts a connection until it is dropped.
    pub fn count(&self) -> Open {
        self.fanouts.connections.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(&self.fanouts))
    }

    /// A session begins.
    pub fn connect(&self, connection: ConnectionId, outbox: Rc<Outbox>) {
        self.connections.borrow_mut().insert(connection, outbox);
    }

    /// A session ended; its rooms withdraw it from their lanes.
    pub fn disconnect(&self, connection: ConnectionId) {
        self.connections.borrow_mut().remove(&connection);
    }
}

/// An open connection, from its handshake until nothing can get lost on it any more.
#[derive(Debug)]
pub struct Open(Arc<Fanouts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The fan-out actor. Its mailbox has no bound (rooms use `do_send`): each message is handled in microseconds and what
/// waits for sockets waits in bounded outboxes.
#[derive(Debug)]
pub struct Fanout {
    connections: Connections,
    lanes: HashMap<RoomSlot, RoomLane>,
    /// Members that lag, in turn: a connection is brought what it missed of one room after the other.
    laggards: VecDeque<(RoomSlot, ConnectionId)>,
    /// The next look at them is due.
    looking: bool,
    room: RoomConfig,
    slow_consumer: Duration,
}

impl Actor for Fanout {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let every = (self.room.heartbeat_interval / 10).clamp(Duration::from_millis(20), Duration::from_secs(1));
        ctx.run_interval(every, move |fanout, _| fanout.sweep(every));
    }
}

impl Fanout {
    fn send_to_room(&mut self, slot: RoomSlot, entry: lane::Entry, ctx: &mut Context<Self>) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.push(entry);
        let crowd = BATCH_INTERVAL_PER_MEMBER * u32::try_from(lane.member_count()).unwrap_or(u32::MAX);
        let interval = self.room.flush_interval.max(crowd.min(BATCH_INTERVAL_MAX));
        match lane.pacer.request(Instant::now(), interval) {
            Pace::Now => drop(self.flushed(slot, ctx)),
            Pace::After(wait) => {
                ctx.run_later(wait, move |fanout, ctx| {
                    if let Some(lane) = fanout.flushed(slot, ctx) {
                        lane.pacer.fired(Instant::now());
                    }
                });
            }
            Pace::Waiting => {}
        }
    }

    /// The room's lane with nothing waiting in it. Who lags is looked after from now on.
    fn flushed(&mut self, slot: RoomSlot, ctx: &mut Context<Self>) -> Option<&mut RoomLane> {
        let lane = self.lanes.get_mut(&slot)?;
        lane.flush();
        for connection in lane.take_fallen_behind() {
            self.laggards.push_back((slot, connection));
            if !std::mem::replace(&mut self.looking, true) {
                ctx.run_later(LAGGARDS_LOOK_INTERVAL, Self::look_after_laggards);
            }
        }
        Some(lane)
    }

    fn look_after_laggards(&mut self, ctx: &mut Context<Self>) {
        for _ in 0..self.laggards.len() {
            let Some((slot, connection)) = self.laggards.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&slot) else { continue };
            let look = lane.look_after(connection);
            if let Look::Ask(after) = look {
                lane.home.recipient.do_send(ReadMissed { connection, after }); // one at a time per connection
            }
            if look != Look::Done {
                self.laggards.push_back((slot, connection));
            }
        }
        self.looking = !self.laggards.is_empty();
        if self.looking {
            ctx.run_later(LAGGARDS_LOOK_INTERVAL, Self::look_after_laggards);
        } else {
            self.laggards = VecDeque::new();
        }
    }

    /// Closes all members of a room.
    fn close_room(&mut self, slot: RoomSlot, code: CloseCode) {
        if let Some(mut lane) = self.lanes.remove(&slot) {
            lane.flush();
            lane.members().for_each(|outbox| outbox.close(code));
        }
    }

    /// Pings the silent; closes the dead, the slow, and what did not go when told.
    fn sweep(&mut self, every: Duration) {
        let now = Instant::now();
        // One sweep early, so that who is told to go at one is gone with the next, within the TTL.
        let silence_max = self.room.presence_ttl.saturating_sub(every);
        let ping = Frame::ping();
        let mut waiting = tally::Waiting::default();
        for outbox in self.connections.borrow().values() {
            waiting.bytes += outbox.waiting_bytes();
            waiting.lagging += usize::from(outbox.lags());
            if let Some((code, since)) = outbox.verdict() {
                let patience = if code == CloseCode::HeartbeatTimeout { every / 2 } else { CLOSE_PATIENCE };
                if now.saturating_duration_since(since) >= patience {
                    outbox.shut_socket();
                }
            } else if outbox.silence(now) >= silence_max {
                outbox.close(CloseCode::HeartbeatTimeout);
            } else if outbox.look_if_stuck(now) >= self.slow_consumer {
                outbox.close(CloseCode::SlowConsumer);
            } else if outbox.ping_due(now, self.room.heartbeat_interval) {
                outbox.push(ping.bytes());
            }
        }
        tally::tell(waiting);
    }
}

impl Handler<DeliverFrame> for Fanout {
    type Result = ();

    fn handle(&mut self, deliver: DeliverFrame, ctx: &mut Self::Context) {
        match deliver {
            DeliverFrame::ToRoom { slot, frame, told, except } => {
                self.send_to_room(slot, lane::Entry { frame, told, except }, ctx);
            }
            DeliverFrame::ToOne { connection, frame } => {
                if let Some(outbox) = self.connections.borrow().get(&connection) {
                    outbox.push(frame.bytes());
                }
            }
            DeliverFrame::Enrol { slot, connection, home, seq, joined } => {
                let Some(outbox) = self.connections.borrow().get(&connection).cloned() else { return };
                self.lanes.entry(slot).or_insert_with(|| RoomLane::new(home, seq));
                // What was sent before is not for the new member.
                if let Some(lane) = self.flushed(slot, ctx) {
                    outbox.send_parts(&joined);
                    lane.enrol(connection, outbox);
                }
            }
            DeliverFrame::Missed { slot, connection, after, to, frames } => {
                if let Some(lane) = self.flushed(slot, ctx) {
                    lane.bring(connection, after, to, &frames);
                }
            }
            DeliverFrame::Withdraw { slot, connection } => {
                if let Some(lane) = self.flushed(slot, ctx) {
                    lane.withdraw(connection);
                    if lane.member_count() == 0 {
                        self.lanes.remove(&slot);
                    }
                }
            }
            DeliverFrame::RoomLost { slot } => self.close_room(slot, CloseCode::Restart),
            DeliverFrame::RoomForgotten { slot } => self.close_room(slot, CloseCode::Forbidden),
            DeliverFrame::ToEveryone { frame } => {
                self.connections.borrow().values().for_each(|outbox| outbox.send(frame.bytes()));
            }
        }
    }
}

impl Handler<CloseConnection> for Fanout {
    type Result = ();

    fn handle(&mut self, close: CloseConnection, _: &mut Self::Context) {
        if let Some(outbox) = self.connections.borrow().get(&close.connection) {
            outbox.close(close.code);
        }
    }
}

/// App to fan-out: the hub stops; send everybody away in waves within the window.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainConnections {
    /// How long the last one may stay.
    pub window: Duration,
}

impl Handler<DrainConnections> for Fanout {
    type Result = ();

    fn handle(&mut self, drain: DrainConnections, ctx: &mut Self::Context) {
        let outboxes: Vec<_> = self.connections.borrow().values().cloned().collect();
        let count = u32::try_from(outboxes.len()).unwrap_or(u32::MAX);
        let spread = drain.window.min(DRAIN_PER_CONNECTION.saturating_mul(count));
        for (place, outbox) in (1u32..).zip(outboxes) {
            let wait = spread * place / count.max(1);
            outbox.push(outbound::drain(wait.as_millis() as u64).bytes());
            ctx.run_later(wait, move |_, _| outbox.close(CloseCode::Restart));
        }
    }
}
