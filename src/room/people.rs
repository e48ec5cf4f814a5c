//! Joining, leaving, presence state and cursors of a room.
//!
//! A joiner first gets its history together, then becomes a member with the next presence flush: the members so far are
//! told of it, and it is told who is here at that very moment. So no change is missed and none is told twice, and a crowd
//! that joins at once costs one member list and one diff per tick.

use std::{
    cell::OnceCell,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;

use super::{
    actor::{Joiner, LocalFanout, LocalSeat, RoomActor, Stage},
    directory::RoomContext,
    exchange::Event,
    messages::*,
    messages_lane::encode,
    pacer::Pace,
    presence::{Diff, Member},
};
use crate::{
    clock::now_utc,
    ids::{ConnectionId, RoomId, Seq},
    protocol::{
        ErrorCode, HISTORY_DEFAULT, MEMBERS_LISTED_MAX, REPLAY_MAX,
        outbound::{self, CursorEntry, EncodedMessage, JoinEntry, JoinedView, LeaveEntry, LeaveReason, UpdateEntry},
    },
    store::{RoomKey, StoreError},
};

/// What a joiner is to be told of the past.
pub(super) struct History {
    /// The messages after this `seq`.
    pub(super) after: Seq,
    /// Whether that is all it missed.
    pub(super) recovered: bool,
    /// Those among them that the room no longer keeps, from the store.
    pub(super) older: Vec<EncodedMessage>,
}

impl Handler<JoinRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, join: JoinRoom, ctx: &mut Self::Context) {
        let fanout = self
            .fanouts
            .entry(join.fanout.id)
            .or_insert_with(|| LocalFanout { recipient: join.fanout.recipient.clone(), seats: 0 });
        let seat = LocalSeat {
            fanout: join.fanout.id,
            user: join.user.clone(),
            state: join.state.clone(),
            seated: join.seated.clone(),
        };
        if self.seats.insert(join.connection, seat).is_none() {
            fanout.seats += 1;
        }
        match self.stage {
            Stage::Starting => {
                self.waiting_joins.push_back(join);
                self.start_up(ctx);
            }
            Stage::Live => self.take_in(join, ctx),
        }
    }
}

/// The most bytes of messages in a `joined`: they wait for the joiner all at once.
const JOINED_BYTES_MAX: usize = 512 * 1024;
/// How many messages of a joiner's past are read at once.
const HISTORY_PAGE: u32 = 100;

/// What a joiner missed from `after` to `to`; `None` when it is more than a `joined` holds.
async fn read_past(
    context: Arc<RoomContext>,
    key: RoomKey,
    room: RoomId,
    mut after: Seq,
    to: Seq,
) -> Result<Option<Vec<EncodedMessage>>, StoreError> {
    let (mut past, mut bytes) = (Vec::new(), 0);
    while after < to {
        let limit = u32::try_from(to - after).unwrap_or(HISTORY_PAGE).min(HISTORY_PAGE);
        let page = context.store.messages_after(key, after, limit).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        past.extend(page.iter().filter_map(|stored| encode(&room, stored)));
        bytes += page.iter().map(|stored| stored.body.len()).sum::<usize>();
        if bytes > JOINED_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(past))
}

impl RoomActor {
    /// A joiner of a live room. Where others may have written what this instance has not heard of (the joiner has seen more,
    /// or the bus is away), what is new is read from the store first.
    pub(super) fn take_in(&mut self, join: JoinRoom, ctx: &mut Context<Self>) {
        let ahead = join.since.is_some_and(|since| since > self.sequencer.head());
        let cut_off = self.context.bus.is_shared() && !self.context.bus.is_up();
        if !ahead && !cut_off {
            return self.gather_history(join, ctx);
        }
        let read = self.read_messages(self.sequencer.head(), HISTORY_PAGE);
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| match read {
            Ok(newer) => {
                let more = newer.len() == HISTORY_PAGE as usize;
                newer.into_iter().for_each(|message| room.offer(message, ctx));
                if more {
                    room.read_hole(ctx);
                }
                room.gather_history(join, ctx);
            }
            Err(error) => room.turn_away(join.connection, join.reference, &error),
        }));
    }

    /// Finds out what the joiner is told of the past, from what the room keeps or else from the store.
    fn gather_history(&mut self, join: JoinRoom, ctx: &mut Context<Self>) {
        let head = self.sequencer.head();
        let latest = |count: u32| head.saturating_sub(u64::from(count)).max(self.sequencer.kept_after());
        let (after, recovered) = match join.since {
            Some(since) if since <= head && head - since <= u64::from(REPLAY_MAX) => (since, true),
            Some(_) => (latest(HISTORY_DEFAULT), false),
            None => (latest(join.history), false),
        };
        let JoinRoom { connection, reference, .. } = join;
        if self.sequencer.since(after).is_some() {
            let history = History { after, recovered, older: Vec::new() };
            return self.seat(Joiner { connection, reference, history }, ctx);
        }
        let context = Arc::clone(&self.context);
        let read = read_past(context, self.key, self.id.clone(), after, self.sequencer.kept_after());
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| match read {
            Ok(Some(older)) => {
                let history = History { after, recovered, older };
                room.seat(Joiner { connection, reference, history }, ctx);
            }
            Ok(None) => {
                let head = room.sequencer.head();
                let after = head.saturating_sub(u64::from(HISTORY_DEFAULT)).max(room.sequencer.kept_after());
                let history = History { after, recovered: false, older: Vec::new() };
                room.seat(Joiner { connection, reference, history }, ctx);
            }
            Err(error) => room.turn_away(connection, reference, &error),
        }));
    }

    /// A joiner's past cannot be read. Who was a member before stays one.
    fn turn_away(&mut self, connection: ConnectionId, reference: Option<i64>, error: &StoreError) {
        tracing::warn!(room = %self.id, %error, "a joiner's history could not be read");
        self.refuse(connection, reference, ErrorCode::Unavailable, "the history cannot be read now");
        if !self.presence.contains(connection) {
            self.unseat(connection);
        }
    }

    fn seat(&mut self, joiner: Joiner, ctx: &mut Context<Self>) {
        if self.seats.contains_key(&joiner.connection) {
            self.joiners.push(joiner);
            self.presence_changed(ctx);
        }
    }

    /// Gives up the connection's place; says whether it had one.
    pub(super) fn unseat(&mut self, connection: ConnectionId) -> bool {
        self.joiners.retain(|joiner| joiner.connection != connection);
        self.waiting_joins.retain(|join| join.connection != connection);
        let Some(seat) = self.seats.remove(&connection) else { return false };
        if !self.presence.contains(connection) {
            self.cursors.remove(connection); // no `leaves` entry will
        }
        if let Some(fanout) = self.fanouts.get_mut(&seat.fanout) {
            fanout.recipient.do_send(DeliverFrame::Withdraw { slot: self.slot, connection });
            fanout.seats -= 1;
            if fanout.seats == 0 {
                self.fanouts.remove(&seat.fanout);
            }
        }
        true
    }

    /// Something changed (or may have): flushed at once when the room was quiet, else with the tick.
    pub(super) fn presence_changed(&mut self, ctx: &mut Context<Self>) {
        if !self.presence.has_changes() && self.joiners.is_empty() {
            return;
        }
        match self.presence_pacer.request(Instant::now(), self.tick()) {
            Pace::Now => self.flush_presence(ctx),
            Pace::After(wait) => {
                ctx.run_later(wait, |room, ctx| {
                    room.presence_pacer.fired(Instant::now());
                    room.flush_presence(ctx);
                });
            }
            Pace::Waiting => {}
        }
    }

    pub(super) fn flush_presence(&mut self, ctx: &mut Context<Self>) {
        let joiners = std::mem::take(&mut self.joiners);
        for joiner in &joiners {
            if let Some(seat) = self.seats.get(&joiner.connection) {
                let member = Member { user: seat.user.clone(), state: seat.state.clone(), joined_at: now_utc() };
                self.presence.join_or_update(joiner.connection, member);
            }
        }
        let diff = self.presence.take_diff();
        for left in &diff.leaves {
            self.cursors.remove(left.connection);
            if left.last {
                self.reads_told.remove(&left.user_id);
            }
        }
        if !diff.is_empty() {
            self.tell_members(&diff);
            if let Some(own) = self.presence.own_part(&diff) {
                self.publish(Event::Diff(own), ctx);
            }
        }
        self.admit(joiners);
        self.presences.set_online(self.presence.user_count());
        self.arm_sweep(ctx);
    }

    fn tell_members(&self, diff: &Diff) {
        if self.fanouts.is_empty() {
            return;
        }
        let joins: Vec<_> = diff
            .joins
            .iter()
            .map(|joined| JoinEntry {
                user: &joined.member.user,
                connection_id: joined.connection,
                state: &joined.member.state,
                joined_at: joined.member.joined_at,
                first: joined.first,
            })
            .collect();
        let leaves: Vec<_> = diff
            .leaves
            .iter()
            .map(|left| LeaveEntry {
                user_id: &left.user_id,
                connection_id: left.connection,
                reason: left.reason,
                last: left.last,
            })
            .collect();
        let updates: Vec<_> = diff
            .updates
            .iter()
            .map(|updated| UpdateEntry {
                user_id: &updated.user_id,
                connection_id: updated.connection,
                state: &updated.state,
            })
            .collect();
        self.deliver(&outbound::presence(&self.id, &joins, &leaves, &updates), Lane::Reliable, None);
    }

    /// Makes members of the joiners: each gets `joined` as its first frame of the room.
    fn admit(&mut self, joiners: Vec<Joiner>) {
        let view = OnceCell::new();
        for Joiner { connection, reference, history, .. } in joiners {
            let Some(fanout) = self.seats.get(&connection).and_then(|seat| self.fanouts.get(&seat.fanout)) else {
                continue;
            };
            let view = view.get_or_init(|| self.view());
            let head = self.sequencer.head();
            let newest_read = history.older.last().map_or(history.after, |message| message.seq);
            let missed: Option<Vec<_>> =
                self.sequencer.since(newest_read).map(|kept| history.older.iter().chain(kept).collect());
            let fits = |messages: &Vec<&EncodedMessage>| {
                messages.iter().map(|message| message.frame().len()).sum::<usize>() <= JOINED_BYTES_MAX
            };
            let joined = match missed.filter(fits) {
                Some(messages) => view.joined(reference, &self.id, head, history.recovered, messages.into_iter()),
                // Too much, or more came meanwhile than the room keeps: the latest, and the client pages for the rest.
                None => view.joined(reference, &self.id, head, false, self.latest_that_fit().into_iter()),
            };
            fanout.recipient.do_send(DeliverFrame::Enrol { slot: self.slot, connection, joined });
        }
    }

    /// The latest messages, as many as are told without being asked for and fit.
    fn latest_that_fit(&self) -> Vec<&EncodedMessage> {
        let Some(kept) = self.sequencer.since(self.sequencer.kept_after()) else { return Vec::new() };
        let mut bytes = 0;
        let mut latest: Vec<_> = kept
            .rev()
            .take(HISTORY_DEFAULT as usize)
            .take_while(|message| {
                bytes += message.frame().len();
                bytes <= JOINED_BYTES_MAX
            })
            .collect();
        latest.reverse();
        latest
    }

    fn view(&self) -> JoinedView {
        let cursors: Vec<_> = self
            .cursors
            .shown()
            .map(|(connection_id, position)| CursorEntry { connection_id, position: Some(position) })
            .collect();
        JoinedView::new(self.presence.user_count(), &self.presence.members(MEMBERS_LISTED_MAX), &cursors)
    }

    pub(super) fn presence_json(&self) -> String {
        #[derive(serde::Serialize)]
        struct Who<'a> {
            members_total: usize,
            members: Vec<outbound::MemberEntry<'a>>,
        }
        let who = Who { members_total: self.presence.user_count(), members: self.presence.members(MEMBERS_LISTED_MAX) };
        serde_json::to_string(&who).unwrap_or_default() // plain structs, they serialise
    }

    // --- cursors ---

    /// Sends what moved, at once or with the tick, if there is anybody to see it.
    pub(super) fn cursors_moved(&mut self, ctx: &mut Context<Self>) {
        if self.cursors.is_quiet() {
            return;
        }
        match self.cursor_pacer.request(Instant::now(), self.tick()) {
            Pace::Now => self.flush_cursors(ctx),
            Pace::After(wait) => {
                ctx.run_later(wait, |room, ctx| {
                    room.cursor_pacer.fired(Instant::now());
                    room.flush_cursors(ctx);
                });
            }
            Pace::Waiting => {}
        }
    }

    fn flush_cursors(&mut self, ctx: &mut Context<Self>) {
        let moved = self.cursors.take_moved();
        let alone = match self.seats.len() {
            0 => true,
            1 => moved.iter().all(|((connection, _), _)| self.seats.contains_key(connection)),
            _ => false,
        };
        if !alone {
            let entries: Vec<_> = moved
                .iter()
                .map(|((connection_id, position), _)| CursorEntry {
                    connection_id: *connection_id,
                    position: position.as_ref(),
                })
                .collect();
            self.deliver(&outbound::cursors(&self.id, &entries), Lane::Cursors, None);
        }
        let own: Vec<_> = moved.into_iter().filter(|(_, local)| *local).map(|(moved, _)| moved).collect();
        if !own.is_empty() && self.presence.peer_count() > 0 {
            self.publish(Event::Cursors(own), ctx);
        }
    }

    fn is_member(&self, connection: ConnectionId) -> bool {
        self.seats.contains_key(&connection)
    }
}

impl Handler<LeaveRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, leave: LeaveRoom, ctx: &mut Self::Context) {
        if let Some(route) = self.route_to(leave.connection) {
            self.unseat(leave.connection);
            // After it is withdrawn, so that nothing of the room follows.
            let frame = outbound::left(leave.reference, &self.id);
            route.do_send(DeliverFrame::ToOne { connection: leave.connection, frame });
            self.presence.leave(leave.connection, LeaveReason::Left);
            self.presence_changed(ctx);
        }
    }
}

impl Handler<ConnectionEnded> for RoomActor {
    type Result = ();

    fn handle(&mut self, ended: ConnectionEnded, ctx: &mut Self::Context) {
        if !self.unseat(ended.connection) {
            return;
        }
        let grace = self.context.config.presence_grace;
        match ended.ending {
            Ending::Dropped if grace > Duration::ZERO => {
                self.presence.drop_until(ended.connection, Instant::now() + grace);
                self.arm_sweep(ctx);
            }
            Ending::Dropped | Ending::Closed => self.presence.leave(ended.connection, LeaveReason::Closed),
            Ending::Expired => self.presence.leave(ended.connection, LeaveReason::Expired),
        }
        self.presence_changed(ctx);
    }
}

impl Handler<SetPresence> for RoomActor {
    type Result = ();

    fn handle(&mut self, set: SetPresence, ctx: &mut Self::Context) {
        let Some(seat) = self.seats.get_mut(&set.connection) else { return };
        seat.state = set.state.clone(); // who is still joining joins with it
        self.presence.update(set.connection, set.state);
        self.presence_changed(ctx);
    }
}

impl Handler<MoveCursor> for RoomActor {
    type Result = ();

    fn handle(&mut self, moved: MoveCursor, ctx: &mut Self::Context) {
        if self.is_member(moved.connection) {
            self.cursors.place(moved.connection, moved.position, true);
            self.cursors_moved(ctx);
        }
    }
}

impl Handler<DescribePresence> for RoomActor {
    type Result = ();

    fn handle(&mut self, question: DescribePresence, ctx: &mut Self::Context) {
        match self.stage {
            Stage::Live => drop(question.reply.send(self.presence_json())),
            Stage::Starting => {
                self.waiting_questions.push(question.reply);
                self.start_up(ctx);
            }
        }
    }
}
