//! `/api/projects/{project}/members`: stored roles, shown to members and changed by owners.
//!
//! Stored roles belong to user ids that a token proves; guests have none.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{
    Answer, HttpState, Problem,
    json_body::JsonBody,
    paging::{self, Page},
    parameters::{MemberPath, ProjectPath, Query},
};
use crate::{
    access::{AccessError, Identity, Need, ProjectGrant, is_guest},
    ids::{ProjectId, UserId},
    store::{ProjectMember, Role},
};

/// Members looked through at a time for another owner.
const OWNER_SEARCH_ROWS: u32 = 200;

#[derive(Serialize)]
struct MemberItem {
    user_id: UserId,
    role: Role,
}

impl From<ProjectMember> for MemberItem {
    fn from(ProjectMember { user_id, role }: ProjectMember) -> Self {
        Self { user_id, role }
    }
}

/// `GET /api/projects/{project}/members?limit=&cursor=`
pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<ProjectPath>) -> Answer {
    let who = state.reader(&request)?;
    let query = Query::of(&request);
    let limit = paging::limit(&query)?;
    let after: Option<UserId> = paging::after_key(&query, |key| key.parse().ok())?;
    let project = as_member(&state, &who, &path.id()?).await?.project;
    let mut members = state.store.members(&project.id, after.as_ref(), limit + 1).await?;
    let next = paging::cut(&mut members, limit, |last| last.user_id.as_str().into());
    let items: Vec<_> = members.into_iter().map(MemberItem::from).collect();
    Ok(HttpResponse::Ok().json(Page::new(items, next)))
}

/// `GET /api/projects/{project}/members/{user}`
pub(super) async fn show(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<MemberPath>) -> Answer {
    let who = state.reader(&request)?;
    let (project, user_id) = path.ids()?;
    as_member(&state, &who, &project).await?;
    let role = state.store.role(&project, &user_id).await?.ok_or_else(no_member)?;
    Ok(HttpResponse::Ok().json(MemberItem { user_id, role }))
}

#[derive(Deserialize)]
struct MemberChange {
    role: Role,
}

/// `PUT /api/projects/{project}/members/{user}`
pub(super) async fn put(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<MemberPath>,
    body: JsonBody,
) -> Answer {
    let who = state.person(&request)?;
    let (project, user_id) = path.ids()?;
    state.access.project(&who, &project, Need::Manage).await?;
    let MemberChange { role } = body.parse()?;
    if is_guest(&user_id) {
        return Err(Problem::bad_parameter("user", "a guest cannot be a member: nothing proves who they are"));
    }
    if role != Role::Owner {
        keep_an_owner(&state, &who, &project, &user_id).await?;
    }
    if !state.catalogue.put_member(&project, &user_id, role).await? {
        return Err(AccessError::NotFound.into());
    }
    state.sessions.tell_role_changed(&user_id, &project);
    Ok(HttpResponse::Ok().json(MemberItem { user_id, role }))
}

/// `DELETE /api/projects/{project}/members/{user}`: by an owner, or by the member themselves.
pub(super) async fn remove(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<MemberPath>) -> Answer {
    let who = state.person(&request)?;
    let (project, user_id) = path.ids()?;
    let need = if who.proven_user() == Some(&user_id) { Need::Read } else { Need::Manage };
    state.access.project(&who, &project, need).await?;
    keep_an_owner(&state, &who, &project, &user_id).await?;
    if !state.catalogue.remove_member(&project, &user_id).await? {
        return Err(no_member());
    }
    state.sessions.tell_role_changed(&user_id, &project);
    Ok(HttpResponse::NoContent().finish())
}

/// Members see each other; that a project is public does not make its members so.
async fn as_member(state: &HttpState, who: &Identity, project: &ProjectId) -> Result<ProjectGrant, Problem> {
    let grant = state.access.project(who, project, Need::Read).await?;
    if grant.named { Ok(grant) } else { Err(Problem::forbidden("only members may see who is a member")) }
}

/// Refuses to take the role from the last owner, after which nobody could manage the project; whose own token makes them
/// an owner may.
async fn keep_an_owner(
    state: &HttpState,
    who: &Identity,
    project: &ProjectId,
    leaving: &UserId,
) -> Result<(), Problem> {
    if who.claimed_role(project) == Some(Role::Owner) || state.store.role(project, leaving).await? != Some(Role::Owner)
    {
        return Ok(());
    }
    let mut after: Option<UserId> = None;
    loop {
        let members = state.store.members(project, after.as_ref(), OWNER_SEARCH_ROWS).await?;
        if members.iter().any(|member| member.role == Role::Owner && member.user_id != *leaving) {
            return Ok(());
        }
        match members.into_iter().next_back() {
            Some(last) => after = Some(last.user_id),
            None => return Err(Problem::conflict("they are the last owner; name another one first")),
        }
    }
}

fn no_member() -> Problem {
    Problem::not_found("they are no member of this project")
}
