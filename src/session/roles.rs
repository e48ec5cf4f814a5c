//! What this connection's user may, asked again when a token, a role or a session changes.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web_actors::ws::WebsocketContext;
use rand::Rng as _;

use super::actor::Session;
use crate::{
    access::{
        AccessError, Need,
        sessions::{RolesChanged, Socket},
    },
    ids::{ProjectId, RoomId},
    protocol::CloseCode,
};

/// When all connections have to ask at once (the bus was away), each does within this time.
const SPREAD_MS: u64 = 2_000;

impl Session {
    /// Lets news of the session and of roles find this connection.
    pub(super) fn register(&mut self, ctx: &mut WebsocketContext<Self>) {
        let (session, user) = (self.identity.session.clone(), self.identity.proven_user().cloned());
        if session.is_none() && user.is_none() {
            return;
        }
        let socket = Socket {
            connection: self.connection,
            fanout: self.fanout.closer.clone(),
            session: ctx.address().recipient(),
        };
        let sessions = &self.context.sessions;
        self.registered = Some(sessions.sockets().register(&socket, session.as_ref(), user.as_ref()));
        // It may have ended on the way here, when nobody could tell this connection.
        if let Some(session) = session.filter(|session| !sessions.is_known(session)) {
            self.look_up_session(&session, ctx);
        }
    }

    /// What counts now for the joined rooms, of one project or all, counts from the next frame on; who may no longer be in
    /// one of them is closed.
    pub(super) fn ask_for_roles_again(&self, project: Option<&ProjectId>, ctx: &mut WebsocketContext<Self>) {
        let rooms = self.rooms.keys().filter(|room| project.is_none_or(|project| room.project() == *project));
        let rooms: Vec<RoomId> = rooms.cloned().collect();
        if rooms.is_empty() {
            return;
        }
        let (context, identity) = (Arc::clone(&self.context), Arc::clone(&self.identity));
        let asked = async move {
            let mut roles = Vec::new();
            for room in rooms {
                let granted = context.access.authorize(&identity, &room, Need::Read).await;
                roles.push((room, granted));
            }
            roles
        };
        ctx.wait(asked.into_actor(self).map(|roles, session, _| {
            for (room, granted) in roles {
                match (granted, session.rooms.get_mut(&room)) {
                    (Ok(grant), Some(joined)) => joined.role = grant.role,
                    (Err(AccessError::Forbidden | AccessError::NotFound), Some(_)) => {
                        session.outbox.close(CloseCode::Forbidden);
                    }
                    _ => {} // the database is away: the old role stands until it is asked again
                }
            }
        }));
    }
}

impl Handler<RolesChanged> for Session {
    type Result = ();

    fn handle(&mut self, changed: RolesChanged, ctx: &mut Self::Context) {
        match changed.project {
            Some(project) => self.ask_for_roles_again(Some(&project), ctx),
            None => {
                let wait = Duration::from_millis(rand::rng().random_range(0..SPREAD_MS));
                ctx.run_later(wait, |session, ctx| session.ask_for_roles_again(None, ctx));
            }
        }
    }
}
