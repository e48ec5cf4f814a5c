//! When a connection's right to be here ends: with its token, or with its cookie session unless that is used.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web_actors::ws::WebsocketContext;

use super::actor::Session;
use crate::{
    access::{Identity, SessionRef},
    clock::{Timestamp, now_utc},
    protocol::{CloseCode, outbound},
};

/// A client is told so long before its token or session expires.
const AHEAD: Duration = Duration::from_secs(30);
/// Timers are not set further ahead than this; a token that lives longer is looked at again then.
const TIMER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Near,
    Here,
}

impl Session {
    /// Sets the timers of the end.
    pub(super) fn watch_expiry(&mut self, ctx: &mut WebsocketContext<Self>) {
        if let Some(timer) = self.expiry.take() {
            ctx.cancel_future(timer);
        }
        let Some(expires_at) = self.identity.expires_at else { return };
        let left = (expires_at - now_utc()).to_std().unwrap_or_default();
        self.expiry = Some(if left > AHEAD {
            ctx.run_later((left - AHEAD).min(TIMER_MAX), |session, ctx| session.end_nears(End::Near, ctx))
        } else if left.is_zero() {
            return self.end_nears(End::Here, ctx);
        } else {
            self.send(&outbound::auth_expiring(left.as_millis() as u64));
            ctx.run_later(left, |session, ctx| session.end_nears(End::Here, ctx))
        });
    }

    /// A token ends when it says. A session may have been used since, on any instance: then it goes on.
    fn end_nears(&mut self, end: End, ctx: &mut WebsocketContext<Self>) {
        match (self.identity.session.clone(), end) {
            (Some(session), _) => self.look_up_session(&session, ctx),
            (None, End::Here) => self.outbox.close(CloseCode::Unauthorized),
            (None, End::Near) => self.watch_expiry(ctx),
        }
    }

    /// Asks until when the session lasts now; closes when it is over.
    pub(super) fn look_up_session(&self, session: &SessionRef, ctx: &mut WebsocketContext<Self>) {
        let (sessions, session) = (Arc::clone(&self.context.sessions), session.clone());
        let asked = async move { sessions.end_of(&session).await };
        ctx.spawn(asked.into_actor(self).map(|end, session, ctx| {
            let known = session.identity.expires_at;
            let end = end.map(|end| end.and_then(Timestamp::from_timestamp_millis));
            match end {
                Ok(Some(end)) if end > now_utc() => {
                    if Some(end) != known {
                        let identity = Identity { expires_at: Some(end), ..(*session.identity).clone() };
                        session.identity = Arc::new(identity);
                    }
                    session.watch_expiry(ctx);
                }
                // Without Redis it cannot have been used since.
                Err(_) if known.is_some_and(|known| known > now_utc()) => session.watch_expiry(ctx),
                Ok(_) | Err(_) => session.outbox.close(CloseCode::Unauthorized),
            }
        }));
    }
}
