//! The room actor: wiring between the pure parts and the world.
//!
//! It starts with the first join, hears from the other instances and the store, and stops when nobody has been here for a
//! while. What it decides is decided in [`Sequencer`], [`Presence`] and [`Cursors`]; how it starts and heals is in
//! `recovery`, who joins in `resume`, messages in `messages_lane` and `appends`, presence in `people`, the other instances in `peers`, a
//! project's end in `projects`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    appends::Appends,
    catch_up::CatchUps,
    cursors::Cursors,
    directory::{Presences, RoomContext},
    exchange::{self, Event},
    messages::*,
    pacer::{Pace, Pacer},
    presence::Presence,
    resume::{Asking, Joiner, Resuming},
    sequencer::Sequencer,
};
use crate::{
    bus::{BusDelivery, Channel},
    count,
    ids::{ConnectionId, RoomId, Seq, UserId},
    protocol::{ErrorCode, Frame, Json, User, outbound},
    store::RoomKey,
};

/// Bus events of a room leave together, at most so often: a lone one leaves at once.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);
/// So long after the last message or change of presence the room says where it stands, if it has been quiet since: were
/// that last word lost, the others would not miss it before the next beat.
const LAST_WORD_AFTER: Duration = Duration::from_secs(1);
/// How many members make the cursor and presence ticks one interval longer: a client gets no more than it can draw.
const MEMBERS_PER_TICK: usize = 150;
/// How often moved read markers are written.
pub(super) const READ_MARKS_INTERVAL: Duration = Duration::from_millis(500);
/// A replay window that was not needed for so long keeps only a tail.
const WINDOW_REST_INTERVAL: Duration = Duration::from_secs(60);

/// A connection of this instance that is in the room or joining it.
pub(super) struct LocalSeat {
    /// Tells it from an earlier seat of the same connection.
    pub(super) number: u64,
    pub(super) fanout: FanoutId,
    pub(super) user: Arc<User>,
    /// What it last said of itself, told to others with the next presence flush.
    pub(super) state: Json,
    /// Shared with the session: cleared when the seat is lost against its will.
    pub(super) seated: Arc<AtomicBool>,
}

impl Drop for LocalSeat {
    fn drop(&mut self) {
        self.seated.store(false, Ordering::Release);
    }
}

/// A fan-out with members of this room.
pub(super) struct LocalFanout {
    pub(super) recipient: Recipient<DeliverFrame>,
    pub(super) seats: usize,
}

/// Whether the room knows its order and its people yet.
pub(super) enum Stage {
    /// Asking the other instances and the store; who joins waits.
    Starting,
    /// Open.
    Live,
}

/// One room on this instance.
pub struct RoomActor {
    pub(super) id: RoomId,
    pub(super) key: RoomKey,
    pub(super) slot: RoomSlot,
    pub(super) context: Arc<RoomContext>,
    pub(super) presences: Presences,
    pub(super) stage: Stage,
    /// Joins that came before the room was live.
    pub(super) waiting_joins: VecDeque<Asking>,
    /// Read markers that came before the room was live, and knew how far there is to read.
    pub(super) waiting_marks: Vec<MarkRead>,
    /// Questions that came before the room was live.
    pub(super) waiting_questions: Vec<oneshot::Sender<String>>,

    pub(super) sequencer: Sequencer,
    pub(super) presence: Presence,
    pub(super) cursors: Cursors,

    pub(super) seats: HashMap<ConnectionId, LocalSeat>,
    pub(super) fanouts: HashMap<FanoutId, LocalFanout>,
    pub(super) seats_given: u64,
    pub(super) resuming: Resuming,
    pub(super) catch_ups: CatchUps,
    /// What the fan-outs know of the room; there once the actor has started.
    pub(super) home: Option<Arc<RoomHome>>,
    /// Who becomes a member with the next presence flush.
    pub(super) joiners: Vec<Joiner>,

    pub(super) presence_pacer: Pacer,
    pub(super) cursor_pacer: Pacer,
    pub(super) publish_pacer: Pacer,
    pub(super) to_publish: Vec<Event>,
    /// When something was last said that must not be missed; set while the timer of the last word runs.
    pub(super) last_said: Option<Instant>,
    pub(super) own_prefix: String,
    pub(super) healing: super::recovery::Healing,
    pub(super) read_marks: HashMap<UserId, Seq>,
    pub(super) reads_told: HashMap<UserId, Seq>,
    pub(super) read_marks_armed: bool,
    /// The one timer of the next sweep, and when it fires.
    pub(super) sweep_timer: Option<(Instant, SpawnHandle)>,
    /// Read markers that are being written: the room does not stop before they are, nor while messages are appended.
    pub(super) writes: usize,
    pub(super) appends: Appends,
    pub(super) handover: Option<oneshot::Sender<()>>,
    idle_since: Option<Instant>,
    /// Set when the room ends in good order; else its end is a death that its members are told of.
    retired: bool,
}

impl RoomActor {
    pub(super) fn new(
        id: RoomId,
        key: RoomKey,
        slot: RoomSlot,
        context: Arc<RoomContext>,
        presences: Presences,
    ) -> Self {
        Self {
            own_prefix: exchange::own_prefix(context.instance),
            presence: Presence::new(context.instance, slot.0),
            id,
            key,
            slot,
            presences,
            stage: Stage::Starting,
            waiting_joins: VecDeque::new(),
            waiting_marks: Vec::new(),
            waiting_questions: Vec::new(),
            sequencer: Sequencer::new(Arc::clone(&context.replay)),
            cursors: Cursors::default(),
            seats: HashMap::new(),
            fanouts: HashMap::new(),
            seats_given: 0,
            resuming: Resuming::default(),
            catch_ups: CatchUps::default(),
            home: None,
            joiners: Vec::new(),
            presence_pacer: Pacer::default(),
            cursor_pacer: Pacer::default(),
            publish_pacer: Pacer::default(),
            to_publish: Vec::new(),
            last_said: None,
            healing: super::recovery::Healing::default(),
            read_marks: HashMap::new(),
            reads_told: HashMap::new(),
            read_marks_armed: false,
            sweep_timer: None,
            writes: 0,
            appends: Appends::default(),
            handover: None,
            idle_since: None,
            retired: false,
            context,
        }
    }

    // --- to the members ---

    /// To every member on this instance, but one.
    pub(super) fn deliver(&self, frame: &Frame, told: &Told, except: Option<ConnectionId>) {
        for fanout in self.fanouts.values() {
            // Safe without back-pressure: the fan-out bounds what waits for each connection.
            let (frame, told) = (frame.clone(), told.clone());
            fanout.recipient.do_send(DeliverFrame::ToRoom { slot: self.slot, frame, told, except });
        }
    }

    /// To one connection with a seat here.
    pub(super) fn reply(&self, connection: ConnectionId, frame: Frame) {
        if let Some(fanout) = self.seats.get(&connection).and_then(|seat| self.fanouts.get(&seat.fanout)) {
            fanout.recipient.do_send(DeliverFrame::ToOne { connection, frame });
        }
    }

    /// Where the frames of a connection with a seat here go; good for an answer that comes after it left.
    pub(super) fn route_to(&self, connection: ConnectionId) -> Option<Recipient<DeliverFrame>> {
        let seat = self.seats.get(&connection)?;
        Some(self.fanouts.get(&seat.fanout)?.recipient.clone())
    }

    pub(super) fn refuse(&self, connection: ConnectionId, reference: Option<i64>, code: ErrorCode, message: &str) {
        self.reply(connection, refusal(reference, code, message));
    }

    // --- to the other instances ---

    /// Whether the other instances hear what is said.
    pub(super) fn bus_is_up(&self) -> bool {
        self.context.bus.is_up(&self.channel())
    }

    fn channel(&self) -> Channel {
        Channel::Room(self.id.clone())
    }

    /// Says something on the room's channel, together with what else is said within the interval.
    pub(super) fn publish(&mut self, event: Event, ctx: &mut Context<Self>) {
        if !self.bus_is_up() {
            return;
        }
        if matches!(event, Event::Message { .. } | Event::Diff(_)) && self.presence.peer_count() > 0 {
            self.say_last_word_later(ctx);
        }
        self.to_publish.push(event);
        match self.publish_pacer.request(Instant::now(), PUBLISH_INTERVAL) {
            Pace::Now => self.flush_published(None),
            Pace::After(wait) => {
                ctx.run_later(wait, |room, _| {
                    room.publish_pacer.fired(Instant::now());
                    room.flush_published(None);
                });
            }
            Pace::Waiting => {}
        }
    }

    fn say_last_word_later(&mut self, ctx: &mut Context<Self>) {
        if self.last_said.replace(Instant::now()).is_none() {
            ctx.run_later(LAST_WORD_AFTER, Self::say_last_word);
        }
    }

    fn say_last_word(&mut self, ctx: &mut Context<Self>) {
        let Some(said) = self.last_said else { return };
        let quiet = said.elapsed();
        if quiet < LAST_WORD_AFTER {
            ctx.run_later(LAST_WORD_AFTER - quiet, Self::say_last_word);
        } else {
            self.last_said = None;
            self.beat(ctx);
        }
    }

    pub(super) fn flush_published(&mut self, receivers: Option<oneshot::Sender<u64>>) {
        if !self.to_publish.is_empty() {
            let text = exchange::encode(self.context.instance, std::mem::take(&mut self.to_publish));
            self.context.bus.publish(self.channel(), text, receivers);
        }
    }

    // --- ticks ---

    /// The interval of cursor and presence ticks: longer in a crowded room.
    pub(super) fn tick(&self) -> Duration {
        let crowd = 1 + self.presence.connection_count() / MEMBERS_PER_TICK;
        self.context.config.cursor_tick * u32::try_from(crowd.min(30)).unwrap_or(30)
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.stage, Stage::Live) && self.bus_is_up() {
            let connections = self.presence.own_count();
            let revision = self.presence.revision();
            // A change not yet flushed is not in the revision: flush first, so that the beat fits what was told.
            if self.presence.has_changes() {
                self.flush_presence(ctx);
                return self.beat_now(ctx);
            }
            self.publish(Event::Beat { revision, connections, head: self.sequencer.head() }, ctx);
        }
    }

    fn beat_now(&mut self, ctx: &mut Context<Self>) {
        let (revision, connections) = (self.presence.revision(), self.presence.own_count());
        self.publish(Event::Beat { revision, connections, head: self.sequencer.head() }, ctx);
    }

    /// Ends what is over by time and sets the timer for what is next.
    pub(super) fn sweep(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if self.presence.sweep(now, self.context.config.presence_ttl) {
            self.read_hole(ctx); // its last words may have been lost with it
        }
        self.presence_changed(ctx);
        self.arm_sweep(ctx);
    }

    pub(super) fn arm_sweep(&mut self, ctx: &mut Context<Self>) {
        let Some(at) = self.presence.next_deadline(self.context.config.presence_ttl) else { return };
        match self.sweep_timer {
            Some((armed, _)) if armed <= at => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        // A millisecond more: timers are that coarse, and a sweep just before the deadline would find nothing.
        let wait = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timer = ctx.run_later(wait, |room, ctx| {
            room.sweep_timer = None;
            room.sweep(ctx);
        });
        self.sweep_timer = Some((at, timer));
    }

    // --- end ---

    fn is_writing(&self) -> bool {
        self.writes > 0 || self.is_appending()
    }

    fn is_idle(&self) -> bool {
        self.seats.is_empty()
            && !self.is_writing()
            && self.waiting_joins.is_empty()
            && self.waiting_questions.is_empty()
            && self.read_marks.is_empty()
            && !self.presence.has_own()
            && !self.presence.has_changes()
    }

    /// Stops after nobody has been here for the idle time, unless the directory has just given the room out again.
    fn stop_when_idle(&mut self, ctx: &mut Context<Self>) {
        if !self.is_idle() {
            self.idle_since = None;
            return;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.context.config.idle && self.context.retire(&self.id, self.slot) {
            tracing::debug!(room = %self.id, "nobody is here, the room stops");
            self.stop(ctx);
        }
    }

    /// The members are handed over or gone; says what is left to say and ends.
    pub(super) fn stop(&mut self, ctx: &mut Context<Self>) {
        self.retired = true;
        self.flush_published(None);
        self.context.bus.unsubscribe(self.channel(), ctx.address().recipient().into());
        ctx.stop();
    }

    /// Ends the hand-over once nothing accepted is unanswered.
    pub(super) fn finish_handover(&mut self, ctx: &mut Context<Self>) {
        if self.handover.is_none() {
            return;
        }
        self.write_read_marks(ctx);
        if self.is_writing() {
            return; // each write comes back here when it is done
        }
        let grace = self.context.config.presence_grace;
        self.publish(Event::HandOver { grace_ms: grace.as_millis() as u64 }, ctx);
        self.flush_published(None);
        self.context.retire_anyway(&self.id, self.slot);
        self.handover = None; // dropping it answers
        self.stop(ctx);
    }
}

/// An `error` frame; what may be tried again says when.
pub(super) fn refusal(reference: Option<i64>, code: ErrorCode, message: &str) -> Frame {
    let retry_after_ms = (code == ErrorCode::Unavailable).then_some(super::RETRY_AFTER_MS);
    outbound::error(reference, code, message, retry_after_ms)
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.context.config.heartbeat_interval, |room, ctx| room.beat(ctx));
        let check = (self.context.config.idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(10));
        ctx.run_interval(check, |room, ctx| room.stop_when_idle(ctx));
        ctx.run_interval(WINDOW_REST_INTERVAL, |room, _| {
            room.sequencer.window().rest();
            room.catch_ups.rest();
        });
        self.home = Some(Arc::new(RoomHome { id: self.id.clone(), recipient: ctx.address().recipient() }));
        self.context.bus.subscribe(self.channel(), ctx.address().recipient().into());
        self.start_up(ctx);
    }
}

/// A room that ends without having retired has died of a panic: its members are closed, come back and resume in a new one.
impl Drop for RoomActor {
    fn drop(&mut self) {
        self.presences.set(0, 0);
        if !self.retired {
            count!("hubbub_rooms_died_total");
            tracing::error!(room = %self.id, "the room died; its members are sent to resume");
            self.context.retire_anyway(&self.id, self.slot);
            for fanout in self.fanouts.values() {
                fanout.recipient.do_send(DeliverFrame::RoomLost { slot: self.slot });
            }
        }
    }
}

impl Handler<BusDelivery> for RoomActor {
    type Result = ();

    fn handle(&mut self, delivery: BusDelivery, ctx: &mut Self::Context) {
        match delivery {
            BusDelivery::Event(text) => self.hear(&text, ctx),
            BusDelivery::Restored => self.compare_notes(ctx),
        }
    }
}

impl Handler<HandOverRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, order: HandOverRoom, ctx: &mut Self::Context) {
        self.handover = Some(order.done);
        self.finish_handover(ctx);
    }
}
