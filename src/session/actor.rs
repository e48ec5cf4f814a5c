//! The session actor: what comes in on one socket, and how the connection ends.
//!
//! It reads frames, keeps the limits of its connection, and passes commands on to rooms (`commands`). It never blocks and
//! never waits for a room; while it asks whether a join is allowed, its own later frames wait, so they keep their order.
//! Mailbox: news of its user's roles, a message per change.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use actix::prelude::*;
use actix_http::ws::{CloseCode as WsCloseCode, Item, Message, ProtocolError};
use actix_web_actors::ws::WebsocketContext;
use bytes::BytesMut;

use super::{
    SessionContext,
    commands::JoinedRoom,
    counting,
    counts::Counted,
    guard::{Inbound, State},
    lanes::Lanes,
};
use crate::{
    access::{Identity, sessions::Registered},
    count,
    fanout::{LocalFanout, Outbox},
    ids::{ConnectionId, RoomId},
    protocol::{CloseCode, ErrorCode, Frame, inbound, outbound},
    room::messages::{ConnectionEnded, Ending},
};

/// The close code of a client that is about to reconnect; pages cannot send 1001 themselves.
const RECONNECTING: u16 = 4000;

/// One WebSocket connection.
pub struct Session {
    pub(super) connection: ConnectionId,
    pub(super) identity: Arc<Identity>,
    pub(super) context: Arc<SessionContext>,
    pub(super) fanout: LocalFanout,
    pub(super) outbox: Rc<Outbox>,
    pub(super) rooms: HashMap<RoomId, JoinedRoom>,
    pub(super) lanes: Lanes,
    inbound: Rc<Inbound>,
    fragments: Option<BytesMut>,
    pub(super) expiry: Option<SpawnHandle>,
    /// By which news of its session and roles find it.
    pub(super) registered: Option<Registered>,
    ending: Ending,
    _counted: Counted,
}

impl Session {
    pub(super) fn new(
        connection: ConnectionId,
        identity: Identity,
        context: Arc<SessionContext>,
        fanout: LocalFanout,
        outbox: Rc<Outbox>,
        inbound: Rc<Inbound>,
        counted: Counted,
    ) -> Self {
        Self {
            connection,
            identity: Arc::new(identity),
            lanes: Lanes::new(&context.config.limits.rates),
            context,
            fanout,
            outbox,
            rooms: HashMap::new(),
            inbound,
            fragments: None,
            expiry: None,
            registered: None,
            ending: Ending::Dropped,
            _counted: counted,
        }
    }

    pub(super) fn send(&self, frame: &Frame) {
        self.outbox.push(frame.bytes());
    }

    pub(super) fn refuse(&self, reference: Option<i64>, code: ErrorCode, message: &str) {
        counting::refused(code);
        self.send(&outbound::error(reference, code, message, None));
    }

    fn text(&mut self, text: &str, ctx: &mut WebsocketContext<Self>) {
        match inbound::parse(text) {
            Ok(frame) => self.carry_out(frame, ctx),
            Err(error) => self.bad_frame(error.reference, error.code, &error.message),
        }
    }

    /// A frame that was not understood: an error, and the end when there are too many.
    pub(super) fn bad_frame(&self, reference: Option<i64>, code: ErrorCode, message: &str) {
        self.refuse(reference, code, message);
        if self.lanes.too_many_bad_frames() {
            self.outbox.close(CloseCode::BadFrames);
        }
    }

    /// Puts a fragmented message together; the guard has bounded its size.
    fn fragment(&mut self, item: Item, ctx: &mut WebsocketContext<Self>) {
        match item {
            Item::FirstText(first) if self.fragments.is_none() => self.fragments = Some(first.as_ref().into()),
            Item::FirstBinary(_) => self.outbox.close(CloseCode::InvalidData),
            Item::Continue(more) if let Some(fragments) = &mut self.fragments => fragments.extend_from_slice(&more),
            Item::Last(last) if let Some(mut fragments) = self.fragments.take() => {
                fragments.extend_from_slice(&last);
                match std::str::from_utf8(&fragments) {
                    Ok(text) => self.text(text, ctx),
                    Err(_) => self.outbox.close(CloseCode::InvalidData),
                }
            }
            _ => self.outbox.close(CloseCode::ProtocolError),
        }
    }
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.fanout.connect(self.connection, Rc::clone(&self.outbox));
        count!("hubbub_connections_opened_total");
        let (room, limits) = (&self.context.config.room, &self.context.config.limits);
        let (heartbeat, ttl) = (room.heartbeat_interval.as_millis() as u64, room.presence_ttl.as_millis() as u64);
        self.send(&outbound::welcome(self.connection, &self.identity.user, heartbeat, ttl, limits.frame_bytes_max));
        let reasons = self.context.health.links().degraded_reasons();
        if !reasons.is_empty() {
            self.send(&outbound::status(&reasons));
        }
        self.register(ctx);
        self.watch_expiry(ctx);
        // Who was let in before the hub began to stop, and is here only now, was not among those it sends away.
        if self.context.health.is_draining() {
            self.outbox.close(CloseCode::Restart);
        }
    }

    /// Runs also while a panic unwinds: it must not panic itself.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.fanout.disconnect(self.connection);
        let verdict = self.outbox.verdict().map(|(code, _)| code);
        counting::closed(verdict);
        let ending = match verdict {
            Some(CloseCode::HeartbeatTimeout) => Ending::Expired,
            Some(CloseCode::Normal) | None => self.ending,
            // They come back and resume.
            Some(CloseCode::Restart | CloseCode::SlowConsumer) => Ending::Dropped,
            Some(_) => Ending::Closed,
        };
        for room in self.rooms.values() {
            room.address.do_send(ConnectionEnded { connection: self.connection, ending }); // once per room
        }
        tracing::debug!(connection = %self.connection, ?ending, ?verdict, "a session ended");
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Session {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        self.inbound.handled();
        self.outbox.seen();
        if self.outbox.verdict().is_some() {
            if message.is_err() {
                ctx.stop(); // the faulty bytes stay in the decoder: going on would spin
            }
            return;
        }
        match message {
            Ok(Message::Text(text)) => self.text(&text, ctx),
            Ok(Message::Ping(payload)) => self.send(&Frame::pong(&payload)),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Continuation(item)) => self.fragment(item, ctx),
            Ok(Message::Binary(_)) => {
                self.bad_frame(None, ErrorCode::BadFrame, "frames are JSON text; binary frames are not used");
            }
            Ok(Message::Close(reason)) => {
                // A page that is reloaded says 1001, a client that comes back at once 4000: their places are kept.
                let back_soon = reason
                    .is_some_and(|reason| matches!(reason.code, WsCloseCode::Away | WsCloseCode::Other(RECONNECTING)));
                self.ending = if back_soon { Ending::Dropped } else { Ending::Closed };
                self.outbox.close(CloseCode::Normal);
            }
            Err(error) => {
                match (self.inbound.state(), error) {
                    (State::Ended, _) => {} // nobody is there to be told; the ending stays `Dropped`
                    (State::OverLimit, _) | (_, ProtocolError::Overflow) => self.outbox.close(CloseCode::TooBig),
                    // What the decoder says of text that is not UTF-8.
                    (_, ProtocolError::Io(error)) if error.kind() == std::io::ErrorKind::Other => {
                        self.outbox.close(CloseCode::InvalidData);
                    }
                    _ => self.outbox.close(CloseCode::ProtocolError),
                }
                ctx.stop(); // the faulty bytes stay in the decoder: going on would spin
            }
        }
    }
}
