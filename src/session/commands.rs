//! What a client asks for, carried to the room it concerns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_web_actors::ws::WebsocketContext;
use serde_json::value::RawValue;

use super::{actor::Session, counting, lanes::Lane};
use crate::{
    access::{AccessError, Grant, Need},
    count,
    ids::{RoomId, Seq},
    protocol::{
        CloseCode, ErrorCode, Json, User, empty_object,
        inbound::{ClientFrame, Command},
        outbound,
    },
    room::{
        RETRY_AFTER_MS, RoomActor,
        messages::{BroadcastEvent, JoinRoom, LeaveRoom, MarkRead, MoveCursor, PostMessage, SetPresence},
    },
    store::Role,
};

/// A room that this connection is in.
pub(super) struct JoinedRoom {
    pub(super) address: Addr<RoomActor>,
    pub(super) role: Role,
    /// Cleared by the room when the place is lost.
    seated: Arc<AtomicBool>,
}

impl Session {
    pub(super) fn carry_out(&mut self, frame: ClientFrame<'_>, ctx: &mut WebsocketContext<Self>) {
        let (reference, connection) = (frame.reference, self.connection);
        counting::received(&frame.command);
        if let Some(lane) = lane_of(&frame.command)
            && let Err(wait) = self.lanes.pass(lane)
        {
            return self.over_rate(reference, lane, wait);
        }
        // Everything sent to a room below is bounded by the lanes above.
        match frame.command {
            Command::Heartbeat => self.send(&outbound::heartbeat()),
            Command::Cursor { room, position } => {
                if let Some(room) = self.joined(reference, &room) {
                    room.address.do_send(MoveCursor { connection, position: position.map(json) });
                }
            }
            Command::Message { room, id, body } => {
                if let Some(room) = self.writable(reference, &room) {
                    room.address.do_send(PostMessage { connection, reference, id, body: body.get().to_owned() });
                }
            }
            Command::Broadcast { room, event, data } => {
                if let Some(room) = self.writable(reference, &room) {
                    let (event, data) = (event.into_owned(), data.map(json));
                    room.address.do_send(BroadcastEvent { connection, event, data });
                }
            }
            Command::Presence { room, state } => {
                if let Some(room) = self.joined(reference, &room) {
                    room.address.do_send(SetPresence { connection, state: json(state) });
                }
            }
            Command::Read { room, seq } => {
                if let Some(room) = self.joined(reference, &room) {
                    room.address.do_send(MarkRead { connection, seq });
                }
            }
            Command::Leave { room } => {
                if let Some(room) = self.joined(reference, &room) {
                    room.address.do_send(LeaveRoom { connection, reference });
                }
                self.rooms.remove(&*room);
            }
            Command::Join { room, presence, since, history } => match room.parse::<RoomId>() {
                Ok(room) => self.join(Join { reference, room, state: presence.map(json), since, history }, ctx),
                Err(fault) => self.bad_frame(reference, ErrorCode::BadFrame, &format!("field `room`: {fault}")),
            },
            Command::Auth { token } => self.renew(reference, &token, ctx),
        }
    }

    fn join(&mut self, join: Join, ctx: &mut WebsocketContext<Self>) {
        let most = self.context.config.limits.rooms_per_connection_max;
        self.rooms.retain(|_, room| room.seated.load(Ordering::Acquire));
        if self.rooms.len() >= most && !self.rooms.contains_key(&join.room) {
            let message = format!("a connection may be in {most} rooms at the same time");
            return self.refuse(join.reference, ErrorCode::Forbidden, &message);
        }
        let (context, identity, room) = (Arc::clone(&self.context), Arc::clone(&self.identity), join.room.clone());
        let asked = async move {
            let grant = context.access.authorize(&identity, &room, Need::Join).await?;
            Ok((grant, context.access.by_profile(&identity).await?))
        };
        ctx.wait(asked.into_actor(self).map(move |granted, session, _| {
            counting::joined(&granted);
            match granted {
                Ok((grant, user)) => session.enter(join, &grant, user),
                Err(refused) => session.deny(join.reference, &refused),
            }
        }));
    }

    fn enter(&mut self, join: Join, grant: &Grant, user: Arc<User>) {
        let (address, lease) = self.context.rooms.open(&join.room, grant.room);
        let seated = Arc::new(AtomicBool::new(true));
        address.do_send(JoinRoom {
            connection: self.connection,
            user,
            fanout: self.fanout.address.clone(),
            reference: join.reference,
            state: join.state.unwrap_or_else(empty_object),
            since: join.since,
            history: join.history,
            seated: Arc::clone(&seated),
            lease,
        });
        self.rooms.insert(join.room, JoinedRoom { address, role: grant.role, seated });
    }

    fn deny(&self, reference: Option<i64>, refused: &AccessError) {
        let code = match refused {
            AccessError::Forbidden => ErrorCode::Forbidden,
            AccessError::NotFound => ErrorCode::NotFound,
            // What the database said is for the log.
            AccessError::Unavailable(error) => {
                tracing::warn!(%error, "a join could not be looked up");
                let message = "the room cannot be looked up now";
                counting::refused(ErrorCode::Unavailable);
                return self.send(&outbound::error(reference, ErrorCode::Unavailable, message, Some(RETRY_AFTER_MS)));
            }
        };
        self.refuse(reference, code, &refused.to_string());
    }

    /// A new token for the same user takes the place of the old one.
    fn renew(&mut self, reference: Option<i64>, token: &str, ctx: &mut WebsocketContext<Self>) {
        match self.context.access.verify_token(token) {
            Ok(identity) if identity.user.user_id == self.identity.user.user_id => {
                self.identity = Arc::new(identity);
                self.watch_expiry(ctx);
                self.send(&outbound::ack_auth(reference));
                self.ask_for_roles_again(None, ctx);
            }
            Ok(_) => self.refuse(reference, ErrorCode::Forbidden, "the token is another user's"),
            Err(fault) => self.refuse(reference, ErrorCode::Forbidden, &fault.to_string()),
        }
    }

    /// The room, if this connection is in it; else says so.
    fn joined(&self, reference: Option<i64>, room: &str) -> Option<&JoinedRoom> {
        let joined = self.rooms.get(room).filter(|joined| joined.seated.load(Ordering::Acquire));
        if joined.is_none() {
            let shown: String = room.chars().take(130).collect();
            self.refuse(reference, ErrorCode::NotJoined, &format!("`{shown}` was not joined on this connection"));
        }
        joined
    }

    /// The room, if this connection may write there; else says why not.
    fn writable(&self, reference: Option<i64>, room: &str) -> Option<&JoinedRoom> {
        let joined = self.joined(reference, room)?;
        if joined.role < Role::Editor {
            self.refuse(reference, ErrorCode::Forbidden, "a viewer does not write here");
            return None;
        }
        Some(joined)
    }

    fn over_rate(&self, reference: Option<i64>, lane: Lane, wait: Duration) {
        let message = match lane {
            Lane::Joins => "too many joins and leaves",
            Lane::Messages => "too many messages",
            Lane::Cursors => "too many cursor moves",
            Lane::Presence => "too many state changes",
            Lane::Broadcasts => "too many broadcasts",
        };
        counting::refused(ErrorCode::RateLimited);
        count!("hubbub_rate_limited_total", "at" => "socket");
        if lane == Lane::Messages {
            count!("hubbub_messages_refused_total", "reason" => "rate_limited");
        }
        let retry_after_ms = wait.as_millis() as u64 + 1;
        self.send(&outbound::error(reference, ErrorCode::RateLimited, message, Some(retry_after_ms)));
        if self.lanes.is_flooding() {
            self.outbox.close(CloseCode::Flooding);
        }
    }
}

/// A join on its way.
struct Join {
    reference: Option<i64>,
    room: RoomId,
    state: Option<Json>,
    since: Option<Seq>,
    history: u32,
}

fn lane_of(command: &Command<'_>) -> Option<Lane> {
    Some(match command {
        Command::Join { .. } | Command::Leave { .. } | Command::Auth { .. } => Lane::Joins,
        Command::Message { .. } => Lane::Messages,
        Command::Cursor { .. } => Lane::Cursors,
        Command::Presence { .. } => Lane::Presence,
        Command::Broadcast { .. } | Command::Read { .. } | Command::Heartbeat => Lane::Broadcasts,
    })
}

/// Keeps a part of a frame.
fn json(raw: &RawValue) -> Json {
    Arc::from(raw.to_owned())
}
