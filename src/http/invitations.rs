//! Invitations: an owner makes a token that makes one person a member, once, within a day.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{Answer, HttpState, Problem, json_body::JsonBody, login_codes::mailer, parameters::ProjectPath};
use crate::{
    access::{AccessError, Need, secrets::Purpose},
    clock::{Timestamp, now_utc, wire_time},
    ids::{ProjectId, UserId},
    mail::checked_address,
    store::{Project, Role, StoreError},
};

#[derive(Deserialize)]
struct NewInvitation {
    role: Role,
    email: Option<String>,
}

#[derive(Serialize)]
struct Invited<'a> {
    token: &'a str,
    project: &'a ProjectId,
    role: Role,
    #[serde(with = "wire_time")]
    expires_at: Timestamp,
}

/// What an invitation remembers.
#[derive(Serialize, Deserialize)]
struct Memo {
    project: ProjectId,
    role: Role,
    /// Another project of the same name is another one.
    made_ms: i64,
    /// Whose word it is, where that comes from a stored role: it counts as long as they have it.
    by: Option<UserId>,
    until_ms: i64,
}

/// `POST /api/projects/{project}/invitations` with `{"role"[,"email"]}`: 201 and the token, which is mailed, too, where an
/// address is given.
pub(super) async fn create(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<ProjectPath>,
    body: JsonBody,
) -> Answer {
    let who = state.person(&request)?;
    let project = state.access.project(&who, &path.id()?, Need::Manage).await?.project;
    let NewInvitation { role, email } = body.parse()?;
    let to = email.map(|email| {
        let to = checked_address(&email).ok_or_else(|| Problem::bad_parameter("email", "is no e-mail address"))?;
        Ok::<_, Problem>((mailer(&state)?, to))
    });
    let to = to.transpose()?;
    let by = who.proven_user().filter(|_| who.claimed_role(&project.id) != Some(Role::Owner)).cloned();
    let expires_at = now_utc() + Purpose::Invitation.lifetime();
    let memo = Memo {
        project: project.id.clone(),
        role,
        made_ms: project.created_at.timestamp_millis(),
        by,
        until_ms: expires_at.timestamp_millis(),
    };
    let memo = serde_json::to_string(&memo).map_err(|_| Problem::internal())?;
    let token = state.secrets.issue_token(Purpose::Invitation, &memo).await?;
    if let Some((mailer, to)) = to {
        let text = format!(
            "You are invited to {} as {}.\r\n\r\nYour token is\r\n\r\n{token}\r\n\r\nIt is good for 24 hours, once.\r\n",
            project.name,
            role_word(role)
        );
        mailer.send(to, "You are invited", text)?;
    }
    Ok(HttpResponse::Created().json(Invited { token: &token, project: &project.id, role, expires_at }))
}

#[derive(Deserialize)]
struct Acceptance {
    token: String,
}

#[derive(Serialize)]
struct Accepted<'a> {
    project: &'a ProjectId,
    role: Role,
}

/// `POST /api/invitations/accept` with `{"token"}`: the asker is a member from now on. Nobody's role gets less by it.
pub(super) async fn accept(state: web::Data<HttpState>, request: HttpRequest, body: JsonBody) -> Answer {
    let who = state.person(&request)?;
    let Some(user) = who.proven_user() else {
        return Err(Problem::forbidden("a guest cannot be a member: log in with a code or a token first"));
    };
    let Acceptance { token } = body.parse()?;
    let memo = state.secrets.redeem_token(Purpose::Invitation, &token).await?;
    let memo = memo.ok_or_else(|| Problem::not_found("the invitation is wrong, used, or older than a day"))?;
    let invitation: Memo = serde_json::from_str(&memo).map_err(|_| Problem::internal())?;
    match admit(&state, user, &invitation).await {
        Ok(Some(role)) => {
            state.sessions.tell_role_changed(user, &invitation.project);
            Ok(HttpResponse::Ok().json(Accepted { project: &invitation.project, role }))
        }
        Ok(None) => Err(AccessError::NotFound.into()),
        Err(error) => {
            // Not used up by a database that is away.
            let left = u64::try_from(invitation.until_ms - now_utc().timestamp_millis()).unwrap_or(0);
            let left = std::time::Duration::from_millis(left);
            state.secrets.put_back_token(Purpose::Invitation, &token, &memo, left).await?;
            Err(error.into())
        }
    }
}

/// The role that the invited has then; `None` when the invitation means nothing any more.
async fn admit(state: &HttpState, user: &UserId, invitation: &Memo) -> Result<Option<Role>, StoreError> {
    let is_the_one = |project: &Project| project.created_at.timestamp_millis() == invitation.made_ms;
    if !state.store.project(&invitation.project).await?.as_ref().is_some_and(is_the_one) {
        return Ok(None);
    }
    if let Some(by) = &invitation.by
        && state.store.role(&invitation.project, by).await? != Some(Role::Owner)
    {
        return Ok(None);
    }
    if let Some(role) = state.store.role(&invitation.project, user).await?.filter(|role| *role >= invitation.role) {
        return Ok(Some(role));
    }
    let put = state.catalogue.put_member(&invitation.project, user, invitation.role).await?;
    Ok(put.then_some(invitation.role))
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Owner => "an owner",
        Role::Editor => "an editor",
        Role::Viewer => "a viewer",
    }
}
