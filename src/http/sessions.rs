//! `/api/sessions`: logging in, who am I, where else am I, logging out.
//!
//! A login gives the browser a session of its own with a new id, whatever session it had before, which ends. So an id
//! that somebody planted in a browser is worth nothing after a login.

use actix_session::{Session, SessionExt as _};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Answer, HttpState, Problem,
    json_body::JsonBody,
    paging::Page,
    parameters::{SessionPath, UserPath},
    rate,
};
use crate::{
    access::{
        IdentifyError, Identity, Unavailable,
        limits::Class,
        secrets::Purpose,
        sessions::{self, Owner, UserTag},
    },
    clock::{Timestamp, now_utc, wire_time},
    ids::UserId,
    mail::checked_address,
    protocol::User,
    redis::Fault,
    store::UserProfile,
};

/// How somebody logs in: one of the three.
#[derive(Deserialize)]
struct Login<'a> {
    name: Option<String>,
    guest_id: Option<String>,
    #[serde(borrow)]
    token: Option<std::borrow::Cow<'a, str>>,
    email: Option<String>,
    code: Option<String>,
    /// Whoever is logged in already stays it.
    #[serde(default)]
    keep: bool,
}

#[derive(Serialize)]
struct Me<'a> {
    user: &'a User,
    /// `guest`, or `user` who proved who they are.
    kind: &'static str,
    #[serde(with = "wire_time")]
    expires_at: Timestamp,
}

impl<'a> Me<'a> {
    fn new(owner: &'a Owner, expires_at: Timestamp) -> Self {
        Self { user: &owner.user, kind: if owner.guest { "guest" } else { "user" }, expires_at }
    }
}

/// `POST /api/sessions` with `{"name"[,"guest_id"]}`, `{"token"}` or `{"email","code"}`: 201 and a cookie. 200 and the session
/// that there is, when it is the same guest's, or with `"keep":true` whosever it is.
pub(super) async fn log_in(state: web::Data<HttpState>, request: HttpRequest, body: JsonBody) -> Answer {
    // A page elsewhere must not log its visitors in as somebody else.
    if !state.access.cookies_count(&request) {
        return Err(crate::access::OriginError.into());
    }
    let login: Login<'_> = body.parse()?;
    if let Some(who) = state.access.by_session(&request)?.filter(|who| login.keep || is_same_guest(who, &login)) {
        let expires_at = who.expires_at.unwrap_or_else(now_utc);
        return Ok(HttpResponse::Ok().json(Me::new(&Owner::of(&who), expires_at)));
    }
    let identity = match login {
        Login { token: Some(token), name: None, email: None, code: None, .. } => {
            state.access.verify_token(&token).map_err(IdentifyError::from)?
        }
        Login { email: Some(email), code: Some(code), name: None, token: None, .. } => {
            by_code(&state, &request, &email, &code).await?
        }
        Login { name: Some(name), guest_id, token: None, email: None, code: None, .. } => {
            // A guest without an id is somebody new: the session is what makes them the same person tomorrow.
            let guest_id = guest_id.unwrap_or_else(|| Uuid::new_v4().to_string());
            state.access.guest(&name, Some(&guest_id))?
        }
        _ => {
            return Err(Problem::bad_request(
                "log in with `name` as a guest, with `token`, or with `email` and `code`; with one of them",
            ));
        }
    };
    let owner = Owner::of(&identity);
    let session = request.get_session();
    begin(&session, &owner)?;
    let until = now_utc() + state.config.sessions.ttl;
    let expires_at = identity.expires_at.map_or(until, |end| end.min(until));
    tracing::debug!(guest = owner.guest, "a session began");
    Ok(HttpResponse::Created().json(Me::new(&owner, expires_at)))
}

/// Whether somebody logs in as the guest that they are: several tabs of a browser do, and none of them is to lose its session.
fn is_same_guest(who: &Identity, login: &Login<'_>) -> bool {
    let (Some(name), None, None) = (&login.name, &login.token, &login.email) else { return false };
    let id = login.guest_id.as_ref().map(|id| format!("guest-{}", id.to_lowercase()));
    who.proven_user().is_none() && who.user.name == name.trim() && id.as_deref() == Some(who.user.user_id.as_str())
}

/// A session of a new id; kept, and its cookie sent, when the handler is done.
fn begin(session: &Session, owner: &Owner) -> Result<(), Problem> {
    session.clear();
    sessions::enter(session, owner).map_err(|_| Problem::internal())?;
    session.renew();
    Ok(())
}

async fn by_code(state: &HttpState, request: &HttpRequest, email: &str, code: &str) -> Result<Identity, Problem> {
    rate::count(state, Class::Login, rate::address(state, request)).await?;
    let address = checked_address(email).ok_or_else(|| Problem::bad_parameter("email", "is no e-mail address"))?;
    let address = address.to_string();
    if state.secrets.redeem_code(Purpose::LoginCode, &address, code).await?.is_none() {
        return Err(Problem::unauthorized(
            r#"Bearer realm="hubbub""#,
            "the code is wrong, used, replaced by a newer one or older than five minutes: ask for another",
        ));
    }
    let id: UserId = format!("u-{}", Uuid::new_v4().simple()).parse().map_err(|_| Problem::internal())?;
    let name: String = address.split('@').next().unwrap_or_default().chars().take(64).collect();
    let new = UserProfile { id, name, color: None, avatar_url: None, email: Some(address) };
    Ok(Identity::of_profile(&state.catalogue.user_of_email(&new).await?))
}

/// `GET /api/sessions/current`: who am I. A use of the session, which makes it last longer.
pub(super) async fn current(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    let (who, _) = own(&state, &request)?;
    let expires_at = who.expires_at.unwrap_or_else(now_utc);
    Ok(HttpResponse::Ok().json(Me::new(&Owner::of(&who), expires_at)))
}

/// `DELETE /api/sessions/current`: log out here.
pub(super) async fn log_out(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    own(&state, &request)?;
    request.get_session().purge();
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize)]
struct SessionItem {
    id: String,
    current: bool,
    #[serde(with = "wire_time")]
    created_at: Timestamp,
    #[serde(with = "wire_time")]
    expires_at: Timestamp,
}

/// `GET /api/sessions`: where am I logged in.
pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    let (_, current) = own(&state, &request)?;
    let items: Vec<_> = listed(&state, &request, &current)
        .await?
        .into_iter()
        .map(|listed| SessionItem {
            id: listed.session.public_id().to_owned(),
            current: listed.session == current,
            created_at: listed.created_at,
            expires_at: listed.expires_at,
        })
        .collect();
    Ok(HttpResponse::Ok().json(Page::new(items, None)))
}

/// `DELETE /api/sessions`: log out everywhere.
pub(super) async fn log_out_everywhere(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    let (who, current) = own(&state, &request)?;
    if who.proven_user().is_some() {
        state.sessions.revoke_all(&current.user).await?;
    }
    request.get_session().purge();
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/sessions/{id}`: log out there.
pub(super) async fn log_out_there(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<SessionPath>,
) -> Answer {
    let (_, current) = own(&state, &request)?;
    let listed = listed(&state, &request, &current).await?;
    let there = listed.into_iter().find(|listed| listed.session.public_id() == path.session);
    let there = there.ok_or_else(|| Problem::not_found("you have no such session"))?;
    if there.session == current {
        request.get_session().purge();
    } else {
        state.sessions.revoke(&there.session).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/admin/users/{user}/sessions`: the operator logs somebody out everywhere.
pub(super) async fn end_all_of(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<UserPath>) -> Answer {
    state.operator.check(&request)?;
    let ended = state.sessions.revoke_all(&UserTag::of(&path.id()?)).await?;
    tracing::info!(ended, "the operator ended all sessions of a user");
    Ok(HttpResponse::NoContent().finish())
}

/// The sessions that somebody may see and end. A guest proves nothing but their own session: others may use their name.
async fn listed(
    state: &HttpState,
    request: &HttpRequest,
    current: &crate::access::SessionRef,
) -> Result<Vec<sessions::Listed>, Problem> {
    let proven = state.access.by_session(request)?.is_some_and(|who| who.proven_user().is_some());
    let mut listed = state.sessions.list(&current.user).await?;
    listed.retain(|listed| proven || listed.session == *current);
    Ok(listed)
}

/// The session of the request.
fn own(state: &HttpState, request: &HttpRequest) -> Result<(Identity, crate::access::SessionRef), Problem> {
    let who = state.access.by_session(request)?;
    let who = who.ok_or(IdentifyError::Missing("you have no session, log in first"))?;
    let session = who.session.clone().ok_or(Unavailable::from(Fault::Disconnected))?;
    Ok((who, session))
}
