//! Sessions for actix-session: what its middleware asks of a store, and how its answers leave.

use std::{cell::Cell, sync::Arc};

use actix_session::{
    SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
    storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError},
};
use actix_web::cookie::{SameSite, time};

use super::{
    SessionRef, Sessions,
    record::{self, State},
};
use crate::access::Keys;

/// The cookie's name.
pub const COOKIE: &str = "hubbub-session";

/// The store behind the middleware.
#[derive(Clone)]
pub struct SessionBackend(Arc<Sessions>);

/// What became of what a handler made of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept; the response may have a cookie.
    Kept,
    /// The session ended meanwhile: the response's cookie, if any, is worth nothing and may hide a newer one.
    Gone,
    /// Redis is away: nothing was kept, and the response is not true.
    Unavailable,
}

tokio::task_local! {
    /// The middleware knows errors only as a 500 that leaves its path to the client behind: what its store meets is told here.
    static OUTCOME: Cell<Outcome>;
}

/// Runs what the middleware is wrapped around, and says what became of the session.
pub async fn observed<T>(call: impl Future<Output = T>) -> (T, Outcome) {
    let observed = async { (call.await, OUTCOME.with(Cell::get)) };
    OUTCOME.scope(Cell::new(Outcome::Kept), observed).await
}

fn tell(outcome: Outcome) {
    // Nobody listens where the middleware runs by itself, as in a test.
    OUTCOME.try_with(|told| told.set(outcome)).ok();
}

/// The key of a session that is not kept.
fn no_key() -> SessionKey {
    String::new().try_into().unwrap_or_else(|_| unreachable!("it is not too long"))
}

/// The middleware for one worker: finds the session of a request, and keeps what its handler made of it.
///
/// The cookie is encrypted, `HttpOnly`, `SameSite=Lax`, and lasts as long as the session. `Secure` is added on the way out,
/// where it is known how the client came.
pub fn session_middleware(sessions: &Arc<Sessions>, keys: &Keys) -> SessionMiddleware<SessionBackend> {
    let ttl = time::Duration::try_from(sessions.ttl).unwrap_or(time::Duration::MAX);
    let lifecycle =
        PersistentSession::default().session_ttl(ttl).session_ttl_extension_policy(TtlExtensionPolicy::OnStateChanges);
    SessionMiddleware::builder(SessionBackend(Arc::clone(sessions)), keys.cookies.clone())
        .cookie_name(COOKIE.into())
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_secure(false)
        .session_lifecycle(lifecycle)
        .build()
}

fn reference(key: &SessionKey) -> anyhow::Result<SessionRef> {
    SessionRef::of_cookie(key.as_ref()).ok_or_else(|| anyhow::anyhow!("no session's key"))
}

impl SessionStore for SessionBackend {
    /// Never an error: a request may have more than its cookie to say who sent it.
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let Some(session) = SessionRef::of_cookie(key.as_ref()) else { return Ok(None) };
        Ok(match self.0.look(&session).await {
            Ok(found) => found.map(|found| record::state(&session, &found)),
            Err(_) => Some(record::unavailable()),
        })
    }

    async fn save(&self, state: State, _: &time::Duration) -> Result<SessionKey, SaveError> {
        let owner = record::owner(&state);
        let (text, owner) = owner.ok_or_else(|| SaveError::Serialization(anyhow::anyhow!("a session of nobody")))?;
        let (session, cookie) = SessionRef::new(&owner.user.user_id);
        match self.0.save(&session, owner.ends_at_ms, &text).await {
            Ok(true) => return cookie.try_into().map_err(|error| SaveError::Other(anyhow::Error::new(error))),
            Ok(false) => tell(Outcome::Gone), // the token that it began with has just ended
            Err(_) => tell(Outcome::Unavailable),
        }
        Ok(no_key())
    }

    async fn update(&self, key: SessionKey, state: State, _: &time::Duration) -> Result<SessionKey, UpdateError> {
        let session = reference(&key).map_err(UpdateError::Other)?;
        if let Some((text, _)) = record::owner(&state) {
            match self.0.change(&session, &text).await {
                Ok(true) => {}
                Ok(false) => tell(Outcome::Gone),
                Err(_) => tell(Outcome::Unavailable),
            }
        }
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &time::Duration) -> anyhow::Result<()> {
        Ok(()) // looking a session up has moved its end
    }

    async fn delete(&self, key: &SessionKey) -> anyhow::Result<()> {
        if self.0.revoke(&reference(key)?).await.is_err() {
            tell(Outcome::Unavailable);
        }
        Ok(())
    }
}
