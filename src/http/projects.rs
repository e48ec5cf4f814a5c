//! `/api/projects`: what the asker may see, making, changing, deleting.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Serialize};

use super::{
    Answer, HttpState, Problem,
    json_body::JsonBody,
    paging::{self, Page},
    parameters::{ProjectPath, Query, named},
};
use crate::{
    access::{AccessError, Identity, IdentityKind, Need, ProjectGrant},
    clock::{Timestamp, now_utc, wire_time},
    ids::ProjectId,
    store::{Project, ProjectFilter, Role, Visibility},
};

/// The longest name of a project for people, in characters.
const NAME_CHARS_MAX: usize = 100;

#[derive(Serialize)]
struct ProjectItem {
    id: ProjectId,
    name: String,
    visibility: Visibility,
    role: Role,
    #[serde(with = "wire_time")]
    created_at: Timestamp,
}

impl From<ProjectGrant> for ProjectItem {
    fn from(ProjectGrant { project, role, .. }: ProjectGrant) -> Self {
        let Project { id, name, visibility, created_at } = project;
        Self { id, name, visibility, role, created_at }
    }
}

/// `GET /api/projects?limit=&cursor=`
pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    let who = state.reader(&request)?;
    let query = Query::of(&request);
    let limit = paging::limit(&query)?;
    let after: Option<ProjectId> = paging::after_key(&query, |key| key.parse().ok())?;
    let filter = ProjectFilter {
        member: who.proven_user().cloned(),
        named: who.projects.iter().map(|(project, _)| project.clone()).collect(),
        public: true,
    };
    let mut projects = state.catalogue.projects(&filter, after.as_ref(), limit + 1).await?;
    let next = paging::cut(&mut projects, limit, |last| last.id.as_str().into());
    // One whose membership ended meanwhile is left out.
    let grants = state.access.standings(&who, projects).await?;
    let items = grants.into_iter().map(ProjectItem::from).collect();
    Ok(HttpResponse::Ok().json(Page::new(items, next)))
}

#[derive(Deserialize)]
struct NewProject {
    id: String,
    name: Option<String>,
    visibility: Option<Visibility>,
}

/// `POST /api/projects`: whoever shows a token becomes its owner and makes it private unless they say otherwise; a guest
/// makes a public one that nobody owns.
pub(super) async fn create(state: web::Data<HttpState>, request: HttpRequest, body: JsonBody) -> Answer {
    let who = state.person(&request)?;
    let wanted: NewProject = body.parse()?;
    let id: ProjectId = named("id", &wanted.id)?;
    let name = shown_name(wanted.name.as_deref().unwrap_or(id.as_str()))?;
    let by_default = if who.kind == IdentityKind::Token { Visibility::Private } else { Visibility::Public };
    let visibility = wanted.visibility.unwrap_or(by_default);
    let role = creators_role(&who, &id, visibility)?;

    let project = Project { id, name, visibility, created_at: now_utc() };
    // A claim below owner is the app's word: making the project must not raise it.
    let owner = who.proven_user().filter(|_| role == Role::Owner);
    if !state.catalogue.create_project(&project, owner).await? {
        return Err(Problem::conflict("a project of this id exists already"));
    }
    let location = format!("/api/projects/{}", project.id.as_str());
    let item = ProjectItem::from(ProjectGrant { project, role, named: owner.is_some() });
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(item))
}

fn creators_role(who: &Identity, id: &ProjectId, visibility: Visibility) -> Result<Role, Problem> {
    match (who.kind, who.claimed_role(id)) {
        (IdentityKind::Token, None) => Ok(Role::Owner),
        (IdentityKind::Token, Some(claimed)) if Need::Send.allowed_to(claimed) => Ok(claimed),
        (IdentityKind::Guest, _) if visibility == Visibility::Public => Ok(Role::Editor),
        (IdentityKind::Guest, _) => Err(Problem::forbidden("a guest makes public projects only")),
        _ => Err(AccessError::Forbidden.into()),
    }
}

/// `GET /api/projects/{project}`
pub(super) async fn show(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<ProjectPath>) -> Answer {
    let who = state.reader(&request)?;
    let grant = state.access.project(&who, &path.id()?, Need::Read).await?;
    Ok(HttpResponse::Ok().json(ProjectItem::from(grant)))
}

#[derive(Deserialize)]
struct ProjectChange {
    name: Option<String>,
    visibility: Option<Visibility>,
}

/// `PATCH /api/projects/{project}`
pub(super) async fn change(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<ProjectPath>,
    body: JsonBody,
) -> Answer {
    let who = state.person(&request)?;
    let grant = state.access.project(&who, &path.id()?, Need::Manage).await?;
    let change: ProjectChange = body.parse()?;
    let name = change.name.as_deref().map(shown_name).transpose()?;
    let changed = state.catalogue.update_project(&grant.project.id, name.as_deref(), change.visibility).await?;
    let project = changed.ok_or(AccessError::NotFound)?;
    if grant.project.visibility == Visibility::Public && project.visibility == Visibility::Private {
        state.rooms.readmit(&project.id);
    }
    Ok(HttpResponse::Ok().json(ProjectItem::from(ProjectGrant { project, ..grant })))
}

/// `DELETE /api/projects/{project}`: with its rooms and messages; who is in them is sent away.
pub(super) async fn remove(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<ProjectPath>) -> Answer {
    let who = state.person(&request)?;
    let project = state.access.project(&who, &path.id()?, Need::Manage).await?.project;
    if !state.catalogue.delete_project(&project.id).await? {
        return Err(AccessError::NotFound.into());
    }
    state.rooms.forget(&project.id);
    Ok(HttpResponse::NoContent().finish())
}

fn shown_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let rule = format_args!("must be 1 to {NAME_CHARS_MAX} characters without control characters");
        return Err(Problem::bad_parameter("name", rule));
    }
    Ok(name.into())
}
