//! Joining and coming back: who comes is told what it missed, however many come at once.
//!
//! A joiner's past is taken from the replay window. What the window does not hold is read from the store, once for all who
//! wait for it, and fills the window for those who come after. Then the joiner becomes a member with the next presence
//! flush: the members so far are told of it, and it is told who is here at that very moment. So no change is missed and
//! none is told twice, and a crowd that joins at once costs one read, one member list and one diff per tick.

use std::{rc::Rc, sync::Arc};

use actix::prelude::*;

use super::{
    actor::{LocalFanout, LocalSeat, RoomActor, Stage},
    messages::*,
};
use crate::{
    ids::{ConnectionId, Seq},
    protocol::{
        ErrorCode, HISTORY_DEFAULT, MEMBERS_LISTED_MAX, REPLAY_MAX,
        joined::JoinedView,
        outbound::{CursorEntry, EncodedMessage},
    },
    store::StoreError,
};

/// The most bytes of messages in a `joined`: they wait for the joiner all at once.
const JOINED_BYTES_MAX: usize = 512 * 1024;
/// How many messages are read at once, before their size is known and at most.
const PAGE_FIRST: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// A join and the seat that it is for: it is void when the connection has left meanwhile.
pub(super) struct Asking {
    pub(super) join: JoinRoom,
    pub(super) seat: u64,
}

/// Somebody who becomes a member with the next presence flush, or waits until its past is at hand.
pub(super) struct Joiner {
    pub(super) connection: ConnectionId,
    pub(super) seat: u64,
    reference: Option<i64>,
    /// It is told the messages after this `seq`.
    after: Seq,
    /// Whether that is all it missed.
    recovered: bool,
    /// Those among them that the room may not keep.
    older: Option<Rc<[EncodedMessage]>>,
}

/// Who waits for a read of the store. Of each kind of read one is under way at a time; who comes meanwhile waits for the
/// next.
#[derive(Default)]
pub(super) struct Resuming {
    /// Joiners that may know more than this instance has heard.
    fresh: Vec<Asking>,
    reading_fresh: bool,
    /// Joiners whose past is older than the window.
    past: Vec<Joiner>,
    reading_past: bool,
}

impl Handler<JoinRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, join: JoinRoom, ctx: &mut Self::Context) {
        let fanout = self
            .fanouts
            .entry(join.fanout.id)
            .or_insert_with(|| LocalFanout { recipient: join.fanout.recipient.clone(), seats: 0 });
        let known = self.seats.get(&join.connection).map(|seat| seat.number);
        let number = known.unwrap_or_else(|| {
            fanout.seats += 1;
            self.seats_given += 1;
            self.seats_given
        });
        let seat = LocalSeat {
            number,
            fanout: join.fanout.id,
            user: join.user.clone(),
            state: join.state.clone(),
            seated: join.seated.clone(),
        };
        self.seats.insert(join.connection, seat);
        let asking = Asking { join, seat: number };
        match self.stage {
            Stage::Starting => {
                self.waiting_joins.push_back(asking);
                self.start_up(ctx);
            }
            Stage::Live => self.take_in(asking, ctx),
        }
    }
}

impl RoomActor {
    /// A joiner of a live room. Where others may have written what this instance has not heard of (the joiner has seen more,
    /// or the bus is away), what is new is read from the store first.
    pub(super) fn take_in(&mut self, asking: Asking, ctx: &mut Context<Self>) {
        let ahead = asking.join.since.is_some_and(|since| since > self.sequencer.head());
        let cut_off = self.context.bus.is_shared() && !self.bus_is_up();
        if ahead || cut_off {
            self.resuming.fresh.push(asking);
            self.read_fresh(ctx);
        } else {
            self.gather_past(asking, ctx);
        }
    }

    /// Reads what is new for those who wait for it.
    fn read_fresh(&mut self, ctx: &mut Context<Self>) {
        if self.resuming.reading_fresh || self.resuming.fresh.is_empty() {
            return;
        }
        self.resuming.reading_fresh = true;
        let waiting = std::mem::take(&mut self.resuming.fresh);
        let read = self.context.messages_after(self.key, self.id.clone(), self.sequencer.head(), PAGE_FIRST);
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| {
            room.resuming.reading_fresh = false;
            match read {
                Ok(newer) => {
                    let more = newer.len() == PAGE_FIRST as usize;
                    newer.into_iter().for_each(|message| room.offer(message, ctx));
                    if more {
                        room.read_hole(ctx);
                    }
                    waiting.into_iter().for_each(|asking| room.gather_past(asking, ctx));
                }
                Err(error) => {
                    for Asking { join, seat } in waiting {
                        room.turn_away(join.connection, seat, join.reference, &error);
                    }
                }
            }
            room.read_fresh(ctx);
        }));
    }

    /// Finds out what the joiner is told of the past, and waits for it if the room does not keep it.
    fn gather_past(&mut self, Asking { join, seat }: Asking, ctx: &mut Context<Self>) {
        let head = self.sequencer.head();
        let latest = |count: u32| head.saturating_sub(u64::from(count));
        let (after, recovered) = match join.since {
            Some(since) if since <= head && head - since <= u64::from(REPLAY_MAX) => (since, true),
            Some(_) => (latest(HISTORY_DEFAULT), false),
            None => (latest(join.history), false),
        };
        let JoinRoom { connection, reference, .. } = join;
        let joiner = Joiner { connection, seat, reference, after, recovered, older: None };
        if self.keeps_enough_for(after) {
            self.seat(joiner, ctx);
        } else {
            self.resuming.past.push(joiner);
            self.read_past(ctx);
        }
    }

    /// Whether no read would bring a joiner more: all it asks for is kept, or already more than a `joined` holds.
    fn keeps_enough_for(&self, after: Seq) -> bool {
        after >= self.sequencer.kept_after() || self.sequencer.kept_bytes() > JOINED_BYTES_MAX
    }

    /// Reads what is older than the window for those who wait for it, and keeps it for those who come after them.
    fn read_past(&mut self, ctx: &mut Context<Self>) {
        if self.resuming.reading_past {
            return;
        }
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.resuming.past).into_iter().partition(|joiner| self.keeps_enough_for(joiner.after));
        ready.into_iter().for_each(|joiner| self.seat(joiner, ctx));
        let Some(after) = waiting.iter().map(|joiner| joiner.after).min() else { return };
        self.resuming.reading_past = true;
        let read = self.past(after);
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| {
            room.resuming.reading_past = false;
            match read {
                Ok(older) => {
                    room.sequencer.fill_back(&older);
                    let older: Rc<[EncodedMessage]> = older.into();
                    for joiner in waiting {
                        room.seat(Joiner { older: Some(Rc::clone(&older)), ..joiner }, ctx);
                    }
                }
                Err(error) => {
                    for Joiner { connection, seat, reference, .. } in waiting {
                        room.turn_away(connection, seat, reference, &error);
                    }
                }
            }
            room.read_past(ctx);
        }));
    }

    /// The messages after `after` up to the oldest kept one, or the newest of them if all are more than a `joined` holds.
    fn past(&self, after: Seq) -> impl Future<Output = Result<Vec<EncodedMessage>, StoreError>> + use<> {
        let (context, key, room) = (Arc::clone(&self.context), self.key, self.id.clone());
        let (mut before, kept) = (self.sequencer.kept_after() + 1, self.sequencer.kept_bytes());
        async move {
            let (mut past, mut bytes, mut page_size) = (Vec::new(), 0, PAGE_FIRST);
            while after + 1 < before && kept + bytes <= JOINED_BYTES_MAX {
                let limit = u32::try_from(before - after - 1).unwrap_or(page_size).min(page_size);
                let page = context.messages_before(key, room.clone(), Some(before), limit).await?;
                let Some(oldest) = page.last() else { break };
                before = oldest.seq;
                bytes += page.iter().map(|message| message.frame().len()).sum::<usize>();
                past.extend(page);
                let fit = JOINED_BYTES_MAX / (bytes / past.len()).max(1);
                page_size = u32::try_from(fit).unwrap_or(PAGE_MAX).clamp(PAGE_FIRST, PAGE_MAX);
            }
            past.reverse();
            Ok(past)
        }
    }

    /// A joiner's past cannot be read. Who was a member before stays one.
    fn turn_away(&mut self, connection: ConnectionId, seat: u64, reference: Option<i64>, error: &StoreError) {
        tracing::warn!(room = %self.id, %error, "a joiner's history could not be read");
        if self.has_seat(connection, seat) {
            self.refuse(connection, reference, ErrorCode::Unavailable, "the history cannot be read now");
            if !self.presence.contains(connection) {
                self.unseat(connection);
            }
        }
    }

    fn seat(&mut self, joiner: Joiner, ctx: &mut Context<Self>) {
        if self.has_seat(joiner.connection, joiner.seat) {
            self.joiners.push(joiner);
            self.presence_changed(ctx);
        }
    }

    /// Whether the connection still has this seat: it may have left, and even have come again.
    pub(super) fn has_seat(&self, connection: ConnectionId, seat: u64) -> bool {
        self.seats.get(&connection).is_some_and(|known| known.number == seat)
    }

    /// Makes members of the joiners: each gets `joined` as its first frame of the room.
    pub(super) fn admit(&mut self, joiners: &[Joiner]) {
        if joiners.is_empty() {
            return;
        }
        let Some(home) = &self.home else { return };
        self.sequencer.window().touch();
        let (view, head) = (self.view_for(joiners), self.sequencer.head());
        for joiner in joiners.iter().filter(|joiner| self.has_seat(joiner.connection, joiner.seat)) {
            let seat = self.seats.get(&joiner.connection);
            let Some(fanout) = seat.and_then(|seat| self.fanouts.get(&seat.fanout)) else { continue };
            let missed = usize::try_from(head - joiner.after).unwrap_or(usize::MAX);
            let joined = if missed <= view.message_count() {
                view.joined(joiner.reference, &self.id, joiner.recovered, missed)
            } else {
                // Too much, or more came meanwhile than the room keeps: the latest, and the client pages for the rest.
                view.joined(joiner.reference, &self.id, false, HISTORY_DEFAULT as usize)
            };
            let (slot, connection, home) = (self.slot, joiner.connection, Arc::clone(home));
            let enrol = DeliverFrame::Enrol { slot, connection, home, seq: head, joined };
            fanout.recipient.do_send(enrol); // once per join
        }
    }

    /// What these joiners share: who is here, and as many of the latest messages as one of them wants and as fit.
    fn view_for(&self, joiners: &[Joiner]) -> JoinedView {
        let head = self.sequencer.head();
        let oldest = joiners.iter().map(|joiner| joiner.after).min().unwrap_or(head);
        let kept_after = self.sequencer.kept_after();
        // What was read ends where the window begins, or did when it was read.
        let furthest = joiners.iter().filter_map(|joiner| joiner.older.as_deref()).min_by_key(|older| first_seq(older));
        let older = furthest.unwrap_or_default();
        let older = &older[..older.partition_point(|message| message.seq <= kept_after)];
        let older = if older.last().is_some_and(|last| last.seq == kept_after) { older } else { &[] };
        let mut bytes = 0;
        let kept = self.sequencer.since(kept_after).into_iter().flatten();
        let mut latest: Vec<_> = kept
            .rev()
            .chain(older.iter().rev())
            .take_while(|message| {
                bytes += message.frame().len();
                message.seq > oldest && bytes <= JOINED_BYTES_MAX
            })
            .collect();
        latest.reverse();
        let cursors: Vec<_> = self
            .cursors
            .shown()
            .map(|(connection_id, position)| CursorEntry { connection_id, position: Some(position) })
            .collect();
        let members = self.presence.members(MEMBERS_LISTED_MAX);
        JoinedView::new(self.presence.user_count(), &members, &cursors, &self.id, head, latest.into_iter())
    }
}

fn first_seq(messages: &[EncodedMessage]) -> Seq {
    messages.first().map_or(Seq::MAX, |message| message.seq)
}
