//! What is kept of a session: who it is for, since when, until when.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    access::{Identity, IdentityKind},
    clock::Timestamp,
    ids::ProjectId,
    protocol::User,
    store::Role,
};

/// Under which key of the session's state its owner stands.
const WHO: &str = "who";
/// Keys of the state that say something of the session as it was found, and are not kept.
const REFERENCE: &str = "~session";
const EXPIRES_AT: &str = "~expires";
const EXTENDED: &str = "~extended";
const UNAVAILABLE: &str = "~unavailable";

/// The state of a session as actix-session carries it.
pub(super) type State = HashMap<String, String>;

/// The owner of a session, as they showed themselves when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// As others see them.
    pub user: User,
    /// They gave themselves a name and showed nothing.
    pub guest: bool,
    /// Roles that their token claimed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<(ProjectId, Role)>,
    /// The end of their token, ms since 1970: a session is no way to outlive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at_ms: Option<i64>,
}

/// A session as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) owner: String,
    /// ms since 1970.
    pub(super) expires_at_ms: i64,
    /// Its end was moved by this look.
    pub(super) extended: bool,
}

/// A session as its owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The session.
    pub session: super::SessionRef,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends unless it is used before.
    pub expires_at: Timestamp,
}

/// What a request's cookie led to.
pub enum Presented {
    /// No session, or one that is over.
    Nothing,
    /// A session.
    Session {
        /// Which.
        session: super::SessionRef,
        /// Whose.
        owner: Box<Owner>,
        /// Until when, unless it is used.
        expires_at: Timestamp,
    },
    /// Nobody can say now.
    Unavailable,
}

impl Owner {
    /// Whoever has just shown who they are.
    pub fn of(identity: &Identity) -> Self {
        Self {
            user: (*identity.user).clone(),
            guest: identity.kind == IdentityKind::Guest,
            projects: identity.projects.to_vec(),
            ends_at_ms: identity.expires_at.map(|end| end.timestamp_millis()),
        }
    }
}

/// Puts the owner into a session's state.
///
/// # Errors
/// Those of [`actix_session::Session::insert`].
pub fn enter(session: &actix_session::Session, owner: &Owner) -> Result<(), actix_session::SessionInsertError> {
    session.insert(WHO, owner)
}

/// What the request's session middleware found.
pub fn presented(request: &actix_web::HttpRequest) -> Presented {
    use actix_session::SessionExt as _;
    let session = request.get_session();
    let entries = session.entries();
    if entries.contains_key(UNAVAILABLE) {
        return Presented::Unavailable;
    }
    let read = || {
        Some(Presented::Session {
            session: entries.get(REFERENCE)?.parse().ok()?,
            owner: serde_json::from_str(entries.get(WHO)?).ok()?,
            expires_at: Timestamp::from_timestamp_millis(entries.get(EXPIRES_AT)?.parse().ok()?)?,
        })
    };
    read().unwrap_or(Presented::Nothing)
}

/// The end of the token that a session began with, if one did.
pub fn ends_at(session: &actix_session::Session) -> Option<i64> {
    session.get::<Owner>(WHO).ok().flatten()?.ends_at_ms
}

/// Sends the cookie again if the session's end was moved: it ends with the session.
pub fn follow(session: &actix_session::Session) {
    if session.contains_key(EXTENDED) {
        session.remove(EXTENDED);
    }
}

/// The state for a request.
pub(super) fn state(session: &super::SessionRef, found: &Found) -> State {
    let mut state = State::from([
        (WHO.into(), found.owner.clone()),
        (REFERENCE.into(), session.to_string()),
        (EXPIRES_AT.into(), found.expires_at_ms.to_string()),
    ]);
    if found.extended {
        state.insert(EXTENDED.into(), String::new());
    }
    state
}

/// The state for a request whose session nobody can look up now.
pub(super) fn unavailable() -> State {
    State::from([(UNAVAILABLE.into(), String::new())])
}

/// What of a state is kept: the owner, as text and parsed.
pub(super) fn owner(state: &State) -> Option<(String, Owner)> {
    let text = state.get(WHO)?;
    Some((text.clone(), serde_json::from_str(text).ok()?))
}
