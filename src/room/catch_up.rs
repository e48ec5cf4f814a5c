//! Messages for readers that lag, a bounded step at a time.
//!
//! A fan-out skips what a reader that lags cannot take, and asks for it when the reader has drained. The next messages come
//! from the replay window or else from the store. A step is put together once for all who stand at the same message, and
//! a read is made once for them: when everybody lags, the steps grow and their number does not.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use actix::prelude::*;
use bytes::{Bytes, BytesMut};

use super::{actor::RoomActor, messages::*};
use crate::{
    ids::{ConnectionId, Seq},
    protocol::outbound::EncodedMessage,
};

/// A step is full at so many bytes; it holds one message at least.
const STEP_BYTES: usize = 64 * 1024;
/// The most messages that are read for a step.
const STEP_MESSAGES_MAX: u64 = 256;
/// How many steps are remembered: readers that lag together ask within a moment.
const STEPS_KEPT: usize = 4;
/// How long after a failed read the readers are let to ask again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// The messages after `after` up to `to`, as frames.
#[derive(Debug, Clone)]
struct Step {
    after: Seq,
    to: Seq,
    frames: Bytes,
}

impl Step {
    /// As many of these messages, which follow `after`, as a step holds.
    fn of<'m>(after: Seq, messages: impl Iterator<Item = &'m EncodedMessage>) -> Self {
        let (mut to, mut frames) = (after, BytesMut::new());
        for message in messages {
            if !frames.is_empty() && frames.len() + message.frame().len() > STEP_BYTES {
                break;
            }
            frames.extend_from_slice(message.frame().bytes());
            to = message.seq;
        }
        Self { after, to, frames: frames.freeze() }
    }
}

/// The latest steps, and who waits for a read.
#[derive(Default)]
pub(super) struct CatchUps {
    steps: VecDeque<Step>,
    /// By the message that they have.
    waiting: HashMap<Seq, Vec<ConnectionId>>,
    needed: bool,
}

impl CatchUps {
    /// To be called now and then: forgets the steps when none was needed since the last call.
    pub(super) fn rest(&mut self) {
        if !std::mem::replace(&mut self.needed, false) {
            self.steps = VecDeque::new();
        }
    }

    fn keep(&mut self, step: Step) {
        self.steps.retain(|known| known.after != step.after);
        self.steps.truncate(STEPS_KEPT - 1);
        self.steps.push_front(step);
    }

    /// A step that is as large as it can be while the order ends at `head`.
    fn known(&self, after: Seq, head: Seq) -> Option<&Step> {
        let whole = |step: &Step| step.to == head || step.frames.len() >= STEP_BYTES / 2;
        self.steps.iter().find(|step| step.after == after && whole(step))
    }
}

impl RoomActor {
    /// The next step from what is kept.
    fn kept_step(&mut self, after: Seq) -> Option<Step> {
        let head = self.sequencer.head();
        if let Some(step) = self.catch_ups.known(after, head) {
            return Some(step.clone());
        }
        let step = Step::of(after, self.sequencer.since(after)?);
        self.catch_ups.keep(step.clone());
        Some(step)
    }

    /// Reads the next step, once for all who wait for it.
    fn read_step(&mut self, connection: ConnectionId, after: Seq, ctx: &mut Context<Self>) {
        let waiting = self.catch_ups.waiting.entry(after).or_default();
        waiting.push(connection);
        if waiting.len() > 1 {
            return; // the read is under way
        }
        let read = self.context.messages_after(self.key, self.id.clone(), after, self.step_limit(after));
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| {
            let waiting = room.catch_ups.waiting.remove(&after).unwrap_or_default();
            // What is not delivered here yet comes by itself.
            let head = room.sequencer.head();
            let step = match read {
                Ok(messages) => Step::of(after, messages.iter().filter(|message| message.seq <= head)),
                Err(error) => {
                    tracing::warn!(room = %room.id, %error, "what slow readers missed could not be read, trying again");
                    Step { after, to: after, frames: Bytes::new() }
                }
            };
            if step.to == after {
                ctx.run_later(READ_RETRY, move |room, _| room.send_steps(&waiting, &step));
            } else {
                room.send_steps(&waiting, &step);
                room.catch_ups.keep(step);
            }
        }));
    }

    /// How many messages to read for a step: about as many as fit, and up to a place where other readers' steps end, too,
    /// so that readers from different places soon ask for the same.
    fn step_limit(&self, after: Seq) -> u32 {
        let kept = (self.sequencer.head() - self.sequencer.kept_after()).max(1);
        let fit = (STEP_BYTES as u64 * kept / (self.sequencer.kept_bytes() as u64).max(1)).clamp(1, STEP_MESSAGES_MAX);
        let stride: u64 = 1 << fit.ilog2();
        (stride - after % stride) as u32
    }

    fn send_steps(&self, waiting: &[ConnectionId], step: &Step) {
        waiting.iter().for_each(|connection| self.send_step(*connection, step.clone()));
    }

    fn send_step(&self, connection: ConnectionId, Step { after, to, frames }: Step) {
        let seat = self.seats.get(&connection);
        if let Some(fanout) = seat.and_then(|seat| self.fanouts.get(&seat.fanout)) {
            // Once per question.
            fanout.recipient.do_send(DeliverFrame::Missed { slot: self.slot, connection, after, to, frames });
        }
    }
}

impl Handler<ReadMissed> for RoomActor {
    type Result = ();

    fn handle(&mut self, ReadMissed { connection, after }: ReadMissed, ctx: &mut Self::Context) {
        if !self.seats.contains_key(&connection) {
            return; // it is withdrawn already
        }
        self.catch_ups.needed = true;
        self.sequencer.window().touch();
        match self.kept_step(after) {
            Some(step) => self.send_step(connection, step),
            None => self.read_step(connection, after, ctx),
        }
    }
}
