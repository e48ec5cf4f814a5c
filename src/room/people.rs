//! Leaving, presence state and cursors of a room.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;

use super::{
    actor::{RoomActor, Stage},
    cursors::{self, Move},
    exchange::Event,
    messages::*,
    pacer::Pace,
    presence::Member,
};
use crate::{
    clock::now_utc,
    count,
    ids::ConnectionId,
    protocol::{
        MEMBERS_LISTED_MAX,
        outbound::{self, LeaveReason},
    },
};

impl RoomActor {
    /// Gives up the connection's place; says whether it had one.
    pub(super) fn unseat(&mut self, connection: ConnectionId) -> bool {
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
            let seat = self.seats.get(&joiner.connection).filter(|seat| seat.number == joiner.seat);
            if let Some(seat) = seat {
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
            let diff = Arc::new(diff);
            if !self.fanouts.is_empty() {
                self.deliver(&diff.frame(&self.id), &Told::Presence(Arc::clone(&diff)), None);
            }
            if let Some(own) = self.presence.own_part(&diff) {
                self.publish(Event::Diff(own), ctx);
            }
        }
        self.admit(&joiners);
        self.presences.set(self.presence.user_count(), self.presence.own_count());
        self.arm_sweep(ctx);
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
            count!("hubbub_cursor_frames_total");
            let moves: Arc<[Move]> = moved.iter().map(|(moved, _)| moved.clone()).collect();
            self.deliver(&cursors::frame(&self.id, &moves), &Told::Cursors(moves), None);
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
