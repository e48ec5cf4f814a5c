//! Durable messages, broadcasts and read markers of a room.
//!
//! A message is appended by the store, acknowledged, then offered to the sequencer like every message of any instance;
//! what the sequencer lets through goes to the members and, if it is this instance's, to the bus.

use std::sync::Arc;

use actix::prelude::*;
use serde_json::value::RawValue;

use super::{
    actor::{READ_MARKS_INTERVAL, RoomActor, Stage, refusal},
    appends::Append,
    exchange::Event,
    messages::*,
};
use crate::{
    clock::{Instant, now_utc},
    count,
    ids::{MessageId, RoomId, Seq},
    observe,
    protocol::{
        ErrorCode,
        outbound::{self, EncodedMessage, MessageFields},
    },
    store::{Appended, Author, NewMessage, StoreError, StoredMessage},
};

/// Encodes a message as it stands in the store.
pub(super) fn encode(room: &RoomId, stored: &StoredMessage) -> Option<EncodedMessage> {
    let body = serde_json::from_str::<&RawValue>(&stored.body).ok()?;
    let from = outbound::From {
        user_id: stored.author.user_id.clone(),
        name: stored.author.name.clone(),
        connection_id: stored.author.connection_id.clone(),
    };
    let fields = MessageFields { seq: stored.seq, id: stored.id, from: &from, body, sent_at: stored.sent_at };
    Some(EncodedMessage::new(room, &fields))
}

impl RoomActor {
    /// Makes a message durable and delivers it; `answer` gets the outcome before the delivery.
    fn append(
        &mut self,
        author: Author,
        id: MessageId,
        body: String,
        ctx: &mut Context<Self>,
        answer: impl FnOnce(&Self, Result<Appended, StoreError>) + 'static,
    ) {
        let message = NewMessage { room: self.key, id, author, body, sent_at: now_utc() };
        let appending = self.context.group_commit.append(message.clone());
        count!("hubbub_messages_accepted_total");
        self.await_append(appending, Append { message, begun: Instant::now(), answer: Box::new(answer) }, ctx);
    }

    /// The store has answered.
    pub(super) fn appended(&mut self, append: Append, outcome: Result<Appended, StoreError>, ctx: &mut Context<Self>) {
        let Append { message, begun, answer } = append;
        #[cfg(feature = "sabotage")]
        let outcome = crate::sabotage::acknowledged(outcome, self.sequencer.known());
        count_outcome(&outcome, begun);
        answer(self, outcome.clone());
        match outcome {
            Ok(Appended { seq, duplicate: true }) => self.heard_of(seq, ctx), // its delivery may be lost with its answer
            Ok(Appended { seq, duplicate: false }) => self.deliver_own(message, seq, ctx),
            Err(error) => {
                tracing::warn!(room = %self.id, %error, "a message was not stored");
                if matches!(error, StoreError::NoRoom) {
                    self.forget(ctx); // its project was deleted while this instance was cut off
                }
            }
        }
        self.finish_handover(ctx);
    }

    /// To the members here and to the other instances.
    fn deliver_own(&mut self, message: NewMessage, seq: Seq, ctx: &mut Context<Self>) {
        let NewMessage { id, author, body, sent_at, .. } = message;
        let Some(message) = encode(&self.id, &StoredMessage { seq, id, author, body, sent_at }) else { return };
        if self.bus_is_up()
            && let Some(event) = Event::message(&message)
        {
            self.publish(event, ctx);
        }
        self.offer(message, ctx);
    }

    /// Takes a durable message of any instance and delivers what is now in order.
    pub(super) fn offer(&mut self, message: EncodedMessage, ctx: &mut Context<Self>) {
        let mut deliver = Vec::new();
        self.sequencer.offer(message, &mut deliver);
        for message in deliver {
            self.deliver(message.frame(), &Told::Message(message.seq), None);
        }
        self.follow_hole();
        if self.sequencer.has_hole() {
            self.heal_soon(ctx);
        }
    }

    pub(super) fn write_read_marks(&mut self, ctx: &mut Context<Self>) {
        let marks: Vec<_> = self.read_marks.drain().map(|(user, seq)| (self.key, user, seq)).collect();
        if marks.is_empty() {
            return;
        }
        self.writes += 1;
        let store = Arc::clone(&self.context.store);
        let written = async move { (store.mark_read(&marks).await, marks) };
        ctx.spawn(written.into_actor(self).map(|(written, marks), room, ctx| {
            room.writes -= 1;
            if let Err(error) = written {
                tracing::warn!(room = %room.id, %error, "read markers were not stored");
                if room.handover.is_none() {
                    for (_, user, seq) in marks {
                        room.read_marks.entry(user).or_insert(seq); // a later one stands
                    }
                    room.write_read_marks_soon(ctx);
                }
            }
            room.finish_handover(ctx);
        }));
    }

    fn write_read_marks_soon(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.read_marks_armed, true) {
            ctx.run_later(READ_MARKS_INTERVAL, |room, ctx| {
                room.read_marks_armed = false;
                room.write_read_marks(ctx);
            });
        }
    }
}

fn count_outcome(appended: &Result<Appended, StoreError>, begun: Instant) {
    match appended {
        Ok(Appended { duplicate: true, .. }) => count!("hubbub_messages_duplicate_total"),
        Ok(_) => {
            count!("hubbub_messages_acked_total");
            observe!("hubbub_message_ack_seconds", begun.elapsed().as_secs_f64());
        }
        Err(StoreError::Unavailable(_)) => count!("hubbub_messages_refused_total", "reason" => "unavailable"),
        Err(StoreError::NoRoom) => count!("hubbub_messages_refused_total", "reason" => "no_room"),
        Err(StoreError::Broken(_)) => count!("hubbub_messages_refused_total", "reason" => "broken"),
    }
}

impl Handler<PostMessage> for RoomActor {
    type Result = ();

    fn handle(&mut self, post: PostMessage, ctx: &mut Self::Context) {
        let PostMessage { connection, reference, id, body } = post;
        let (Some(seat), Some(route)) = (self.seats.get(&connection), self.route_to(connection)) else { return };
        let author = Author {
            user_id: seat.user.user_id.clone(),
            name: seat.user.name.clone(),
            connection_id: Some(connection.to_string()),
        };
        self.append(author, id, body, ctx, move |room, appended| {
            let refuse = |code, message| refusal(reference, code, message);
            let frame = match appended {
                Ok(Appended { seq, duplicate }) => outbound::ack_message(reference, &room.id, id, seq, duplicate),
                Err(StoreError::Unavailable(_)) => refuse(ErrorCode::Unavailable, "the message cannot be stored now"),
                Err(StoreError::NoRoom) => refuse(ErrorCode::NotFound, "the room no longer exists"),
                Err(StoreError::Broken(_)) => refuse(ErrorCode::Internal, "the message could not be stored"),
            };
            // The route is the one the message came by: its writer may have left meanwhile and still gets its answer.
            route.do_send(DeliverFrame::ToOne { connection, frame });
        });
    }
}

impl Handler<PublishMessage> for RoomActor {
    type Result = ResponseFuture<Result<Appended, StoreError>>;

    fn handle(&mut self, publish: PublishMessage, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.append(publish.author, publish.id, publish.body, ctx, move |_, appended| drop(answer.send(appended)));
        Box::pin(
            async move { answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the room ended".into()))) },
        )
    }
}

impl Handler<BroadcastEvent> for RoomActor {
    type Result = ();

    fn handle(&mut self, broadcast: BroadcastEvent, ctx: &mut Self::Context) {
        let Some(seat) = self.seats.get(&broadcast.connection) else { return };
        let from = outbound::From {
            user_id: seat.user.user_id.clone(),
            name: seat.user.name.clone(),
            connection_id: Some(broadcast.connection.to_string()),
        };
        let frame = outbound::broadcast(&self.id, &broadcast.event, broadcast.data.as_deref(), &from);
        self.deliver(&frame, &Told::Broadcast, Some(broadcast.connection));
        if self.presence.peer_count() > 0
            && let Ok(frame) = serde_json::from_slice(frame.payload())
        {
            self.publish(Event::Broadcast { frame }, ctx);
        }
    }
}

impl Handler<MarkRead> for RoomActor {
    type Result = ();

    fn handle(&mut self, mark: MarkRead, ctx: &mut Self::Context) {
        if matches!(self.stage, Stage::Starting) {
            return self.waiting_marks.push(mark); // bounded by the lanes of those who wait
        }
        let Some(seat) = self.seats.get(&mark.connection) else { return };
        let user_id = seat.user.user_id.clone();
        let seq = mark.seq.min(self.sequencer.head());
        if self.reads_told.get(&user_id).is_some_and(|told| *told >= seq) || seq == 0 {
            return;
        }
        self.reads_told.insert(user_id.clone(), seq);
        self.read_marks.insert(user_id.clone(), seq);
        self.deliver(&outbound::read(&self.id, &user_id, seq), &Told::Read(user_id.clone(), seq), None);
        self.publish(Event::Read { user_id, seq }, ctx);
        self.write_read_marks_soon(ctx);
    }
}
