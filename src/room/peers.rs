//! What the other instances say, and what it does to this one's view of the room.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use actix::prelude::*;

use super::{
    actor::RoomActor,
    exchange::{self, Event, Holdings},
    messages::Told,
    presence::Sync,
};
use crate::{
    ids::{ConnectionId, InstanceId},
    protocol::{
        Frame,
        outbound::{self, EncodedMessage},
    },
};

impl RoomActor {
    /// Takes a text from the room's channel.
    pub(super) fn hear(&mut self, text: &str, ctx: &mut Context<Self>) {
        if let Some(rest) = text.strip_prefix(self.own_prefix.as_str()) {
            if rest.starts_with(r#""events":[{"hello""#) {
                self.heard_own_hello(ctx);
            }
            return;
        }
        let Some(envelope) = exchange::decode(text) else {
            tracing::debug!(room = %self.id, "a text on the room's channel is not ours");
            return;
        };
        for event in envelope.events {
            self.take(envelope.from, event, ctx);
        }
        self.presence_changed(ctx);
        self.cursors_moved(ctx);
        self.arm_sweep(ctx);
    }

    fn take(&mut self, peer: InstanceId, event: Event, ctx: &mut Context<Self>) {
        let now = Instant::now();
        match event {
            Event::Hello(holdings) => {
                self.take_holdings(peer, holdings, now, ctx);
                // What is not flushed yet is not in the revision.
                if self.presence.has_changes() {
                    self.flush_presence(ctx);
                }
                let mine = self.holdings();
                self.publish(Event::Full(mine), ctx);
            }
            Event::Full(holdings) => {
                self.take_holdings(peer, holdings, now, ctx);
                self.heard_answer(peer, ctx);
            }
            Event::Ask { of } if of == self.context.instance => {
                if self.presence.has_changes() {
                    self.flush_presence(ctx);
                }
                let mine = self.holdings();
                self.publish(Event::Full(mine), ctx);
            }
            Event::Ask { .. } => {}
            Event::Diff(diff) => {
                let gone: Vec<ConnectionId> = diff.gone.iter().map(|(connection, _)| *connection).collect();
                if self.presence.peer_changed(peer, diff, now) == Sync::Behind {
                    self.ask(peer, ctx);
                } else {
                    gone.into_iter().for_each(|connection| self.cursors.remove(connection));
                }
            }
            Event::Message { seq, frame } => self.offer(EncodedMessage::from_json(seq, frame.get()), ctx),
            Event::Cursors(moved) => {
                for (connection, position) in moved {
                    self.cursors.place(connection, position, false);
                }
            }
            Event::Broadcast { frame } => self.deliver(&Frame::text(frame.get()), &Told::Broadcast, None),
            Event::Read { user_id, seq } => {
                if self.reads_told.get(&user_id).is_none_or(|told| *told < seq) {
                    let told = Told::Read(user_id.clone(), seq);
                    self.deliver(&outbound::read(&self.id, &user_id, seq), &told, None);
                    self.reads_told.insert(user_id, seq);
                }
            }
            Event::Beat { revision, connections, head } => {
                if self.presence.peer_beat(peer, revision, connections, now) == Sync::Behind {
                    self.ask(peer, ctx);
                }
                self.heard_of(head, ctx);
            }
            Event::HandOver { grace_ms } => {
                self.presence.peer_leaves(peer, now + Duration::from_millis(grace_ms));
                self.read_hole(ctx); // it will not beat any more: this is the last chance to learn of what was lost
            }
        }
    }

    fn take_holdings(&mut self, peer: InstanceId, holdings: Holdings, now: Instant, ctx: &mut Context<Self>) {
        self.presence.peer_told_all(peer, holdings.revision, holdings.members, now);
        let shown: HashSet<ConnectionId> = holdings.cursors.iter().map(|(connection, _)| *connection).collect();
        for connection in self.presence.of_peer(peer) {
            if !shown.contains(&connection) {
                self.cursors.place(connection, None, false); // hidden while it was not heard
            }
        }
        for (connection, position) in holdings.cursors {
            self.cursors.place(connection, Some(position), false);
        }
        self.heard_of(holdings.head, ctx);
    }

    /// The order reaches to `head`, as somebody says: what is missing here is healed.
    pub(super) fn heard_of(&mut self, head: crate::ids::Seq, ctx: &mut Context<Self>) {
        self.sequencer.heard_of(head);
        self.follow_hole();
        if self.sequencer.has_hole() {
            self.heal_soon(ctx);
        }
    }
}
