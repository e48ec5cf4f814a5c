//! How a room starts and how it heals: from the other instances and from the store.
//!
//! Start: subscribe, say hello, wait until the hello comes back (the subscription works) and the others have answered, or
//! a moment at most; read the latest messages; open. Holes in the order are given a moment to be filled by the bus, then
//! are read from the store. When the bus comes back the same hello is said again and the order is compared with the store.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    actor::{RoomActor, Stage},
    exchange::{Event, Holdings},
    hole::OpenHole,
    resume::Asking,
    sequencer::Sequencer,
};
use crate::{
    count,
    ids::{InstanceId, Seq},
    protocol::{ErrorCode, HISTORY_MAX, outbound::EncodedMessage},
    store::StoreError,
};

/// How long a hole may wait for the bus before it is read from the store.
const HOLE_PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait before a failed read is tried again.
const READ_RETRY: Duration = Duration::from_millis(500);
/// The most messages a healing read fetches at once.
const HEAL_BATCH: u32 = 100;
/// What was missed is delivered in steps of so many bytes, one per interval: a burst would make slow consumers of everybody.
const HEAL_STEP_BYTES: usize = 256 * 1024;
const HEAL_STEP_INTERVAL: Duration = Duration::from_millis(10);
/// How long those who join wait for the other instances' answers.
const HELLO_PATIENCE: Duration = Duration::from_millis(300);
/// How much longer for those who are known to have got the hello: an instance under load, in a storm of reconnects say, is
/// slow to answer, and without its answer its people would be seen to come only now.
const ANSWER_PATIENCE: Duration = Duration::from_millis(700);
/// A hello that has not come back is said again: the subscription was not in place yet.
const HELLO_REPEAT: Duration = Duration::from_millis(100);
/// How often one peer is asked for all it has, at most.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// What a healing read was about.
#[derive(Clone, Copy)]
struct Filling {
    /// The last `seq` delivered when it began.
    after: Seq,
    /// The highest `seq` known when it began.
    known: Seq,
    /// There was no more in the store.
    complete: bool,
}

/// Where starting and healing stand.
#[derive(Default)]
pub(super) struct Healing {
    /// A start is under way.
    starting: bool,
    /// A read or its timer is under way, or what was read is being delivered.
    armed: bool,
    /// Bytes of what was read that were delivered since the last pause.
    poured: usize,
    /// Another read was asked for meanwhile.
    again: bool,
    /// Our hello came back: the subscription works.
    heard_myself: bool,
    /// Who has answered the hello.
    answered: HashSet<InstanceId>,
    /// How many instances got the hello, this one included.
    receivers: Option<u64>,
    asked: HashMap<InstanceId, Instant>,
    hole: Option<OpenHole>,
}

impl RoomActor {
    /// Says hello and opens the room once the others have answered. Called again it goes on where a failed start stopped.
    pub(super) fn start_up(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.healing.starting, true) || matches!(self.stage, Stage::Live) {
            return;
        }
        if !self.bus_is_up() {
            return self.open(ctx);
        }
        self.say_hello(ctx);
        ctx.run_later(HELLO_PATIENCE, |room, ctx| {
            if room.healing.heard_myself && room.misses_answers() {
                ctx.run_later(ANSWER_PATIENCE, |room, ctx| room.open(ctx));
            } else {
                room.open(ctx);
            }
        });
    }

    /// Whether more instances got the hello than have answered.
    fn misses_answers(&self) -> bool {
        let expected = self.healing.receivers.map_or(0, |receivers| receivers.saturating_sub(1));
        (self.healing.answered.len() as u64) < expected
    }

    fn say_hello(&mut self, ctx: &mut Context<Self>) {
        let (receivers, counted) = oneshot::channel();
        self.flush_published(None); // a hello travels first in its envelope: that is how it is known when it comes back
        self.to_publish.push(Event::Hello(self.holdings()));
        self.flush_published(Some(receivers));
        ctx.spawn(counted.into_actor(self).map(|counted, room, ctx| {
            if let Ok(receivers) = counted {
                room.healing.receivers = Some(receivers);
                room.open_when_answered(ctx);
            }
        }));
        ctx.run_later(HELLO_REPEAT, |room, ctx| {
            if !room.healing.heard_myself && room.bus_is_up() {
                room.say_hello(ctx);
            }
        });
    }

    /// Our own hello came back.
    pub(super) fn heard_own_hello(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.healing.heard_myself, true) && matches!(self.stage, Stage::Live) {
            self.read_hole(ctx); // messages may have passed before the subscription was in place
        }
        self.open_when_answered(ctx);
    }

    /// Another instance answered our hello.
    pub(super) fn heard_answer(&mut self, peer: InstanceId, ctx: &mut Context<Self>) {
        self.healing.answered.insert(peer);
        self.open_when_answered(ctx);
    }

    fn open_when_answered(&mut self, ctx: &mut Context<Self>) {
        if self.healing.heard_myself && self.healing.receivers.is_some() && !self.misses_answers() {
            self.open(ctx);
        }
    }

    /// Reads the latest messages and opens the room for those who wait.
    fn open(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.stage, Stage::Live) || std::mem::replace(&mut self.healing.armed, true) {
            return;
        }
        let read = self.context.messages_before(self.key, self.id.clone(), None, HISTORY_MAX);
        ctx.spawn(read.into_actor(self).map(|read, room, ctx| {
            room.healing.armed = false;
            match read {
                Ok(mut latest) => {
                    latest.reverse();
                    room.open_after(latest, ctx);
                }
                Err(error) => room.fail_to_open(&error, ctx),
            }
        }));
    }

    fn open_after(&mut self, latest: Vec<EncodedMessage>, ctx: &mut Context<Self>) {
        // What came by the bus or was appended here meanwhile is held in the old sequencer: those before the head are in
        // what was read, those after it are offered again by the store when the hole shows.
        let mut sequencer = Sequencer::starting_with(latest, Arc::clone(&self.context.replay));
        sequencer.heard_of(self.sequencer.known());
        self.sequencer = sequencer;
        self.stage = Stage::Live;
        for asking in std::mem::take(&mut self.waiting_joins) {
            self.take_in(asking, ctx);
        }
        for mark in std::mem::take(&mut self.waiting_marks) {
            ctx.notify(mark);
        }
        for question in std::mem::take(&mut self.waiting_questions) {
            drop(question.send(self.presence_json()));
        }
        self.follow_hole();
        if self.sequencer.has_hole() {
            self.heal_soon(ctx);
        }
        self.presence_changed(ctx);
    }

    fn fail_to_open(&mut self, error: &StoreError, _ctx: &mut Context<Self>) {
        tracing::warn!(room = %self.id, %error, "the room cannot open");
        self.healing.starting = false; // the next join tries again
        self.waiting_questions.clear();
        self.waiting_marks.clear();
        for Asking { join, seat } in std::mem::take(&mut self.waiting_joins) {
            if self.has_seat(join.connection, seat) {
                self.refuse(join.connection, join.reference, ErrorCode::Unavailable, "the room cannot be opened now");
                self.unseat(join.connection);
            }
        }
    }

    /// Lets the figures know whether something is missing.
    pub(super) fn follow_hole(&mut self) {
        OpenHole::follow(&mut self.healing.hole, self.sequencer.has_hole());
    }

    /// The bus is back: tells the others what is here, asks what they have, and compares the order with the store.
    pub(super) fn compare_notes(&mut self, ctx: &mut Context<Self>) {
        count!("hubbub_compare_notes_total");
        self.healing.heard_myself = false;
        if self.presence.has_changes() {
            self.flush_presence(ctx);
        }
        self.say_hello(ctx);
        self.read_hole(ctx);
    }

    /// All this instance owns of the room.
    pub(super) fn holdings(&self) -> Holdings {
        let members = self.presence.own();
        let cursors = self
            .cursors
            .shown()
            .filter(|(connection, _)| self.seats.contains_key(connection))
            .map(|(connection, position)| (connection, position.clone()))
            .collect();
        Holdings { revision: self.presence.revision(), members, cursors, head: self.sequencer.head() }
    }

    /// Asks a peer for all it has, not too often.
    pub(super) fn ask(&mut self, peer: InstanceId, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.healing.asked.retain(|_, at| now < *at + ASK_INTERVAL);
        // Only a question that is asked counts: one that is held back must not hold back the next.
        if let Entry::Vacant(entry) = self.healing.asked.entry(peer) {
            entry.insert(now);
            self.publish(Event::Ask { of: peer }, ctx);
        }
    }

    /// There is a hole: gives the bus a moment, then reads it from the store.
    pub(super) fn heal_soon(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.stage, Stage::Starting) || std::mem::replace(&mut self.healing.armed, true) {
            return;
        }
        ctx.run_later(HOLE_PATIENCE, |room, ctx| {
            room.healing.armed = false;
            if room.sequencer.has_hole() || room.healing.again {
                room.read_hole(ctx);
            }
        });
    }

    /// Reads what follows the head from the store, until there is no more.
    pub(super) fn read_hole(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.stage, Stage::Starting) {
            return; // it reads when it opens
        }
        if std::mem::replace(&mut self.healing.armed, true) {
            self.healing.again = true; // what is read now may be older than what was heard of
            return;
        }
        count!("hubbub_hole_reads_total");
        self.healing.again = false;
        let (after, known) = (self.sequencer.head(), self.sequencer.known());
        let read = self.context.messages_after(self.key, self.id.clone(), after, HEAL_BATCH);
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| {
            room.healing.armed = false;
            match read {
                Ok(messages) => {
                    let complete = messages.len() < HEAL_BATCH as usize;
                    room.fill_hole(messages.into(), Filling { after, known, complete }, ctx);
                }
                Err(error) => {
                    tracing::warn!(room = %room.id, %error, "missing messages could not be read, trying again");
                    room.healing.armed = true;
                    ctx.run_later(READ_RETRY, |room, ctx| {
                        room.healing.armed = false;
                        room.read_hole(ctx);
                    });
                }
            }
        }));
    }

    /// Delivers what was read, a step at a time, then goes on healing.
    fn fill_hole(&mut self, mut messages: VecDeque<EncodedMessage>, filling: Filling, ctx: &mut Context<Self>) {
        self.healing.armed = true; // what is offered meanwhile shows the same hole, and must not make the next read wait
        while let Some(message) = messages.pop_front() {
            self.healing.poured += message.frame().len();
            self.offer(message, ctx);
            if self.healing.poured >= HEAL_STEP_BYTES {
                self.healing.poured = 0;
                ctx.run_later(HEAL_STEP_INTERVAL, move |room, ctx| room.fill_hole(messages, filling, ctx));
                return;
            }
        }
        self.healing.armed = false;
        let came_on = self.sequencer.head() > filling.after;
        if self.healing.again || (came_on && !filling.complete) {
            return self.read_hole(ctx);
        }
        self.healing.poured = 0;
        if filling.complete && self.sequencer.has_hole() && self.sequencer.known() == filling.known {
            self.sequencer.settle(); // the store has no more
        }
        self.follow_hole();
        if self.sequencer.has_hole() {
            self.heal_soon(ctx);
        }
    }
}
