//! Path and query parameters, each refused by its name when it breaks its rule.

use std::str::FromStr;

use actix_web::HttpRequest;
use serde::Deserialize;

use super::Problem;
use crate::ids::{IdError, ProjectId, RoomId, UserId};

/// `/api/projects/{project}…`
#[derive(Deserialize)]
pub(super) struct ProjectPath {
    project: String,
}

/// `/api/projects/{project}/members/{user}`
#[derive(Deserialize)]
pub(super) struct MemberPath {
    project: String,
    user: String,
}

/// `/api/users/{user}`, `/api/admin/users/{user}…`
#[derive(Deserialize)]
pub(super) struct UserPath {
    user: String,
}

/// `/api/sessions/{session}`
#[derive(Deserialize)]
pub(super) struct SessionPath {
    pub(super) session: String,
}

/// `/api/projects/{project}/rooms/{room}…`
#[derive(Deserialize)]
pub(super) struct RoomPath {
    project: String,
    room: String,
}

impl ProjectPath {
    pub(super) fn id(&self) -> Result<ProjectId, Problem> {
        named("project", &self.project)
    }
}

impl MemberPath {
    pub(super) fn ids(&self) -> Result<(ProjectId, UserId), Problem> {
        Ok((named("project", &self.project)?, named("user", &self.user)?))
    }
}

impl UserPath {
    pub(super) fn id(&self) -> Result<UserId, Problem> {
        named("user", &self.user)
    }
}

impl RoomPath {
    pub(super) fn id(&self) -> Result<RoomId, Problem> {
        let project = named("project", &self.project)?;
        RoomId::new(&project, &self.room).map_err(|error| Problem::bad_parameter("room", error))
    }
}

/// An id that stands in the path or body under `name`.
pub(super) fn named<T: FromStr<Err = IdError>>(name: &'static str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::bad_parameter(name, error))
}

/// The query string, decoded. Parameters that a route does not know are ignored.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self(url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number from `min` to `max`.
    pub(super) fn whole(&self, name: &'static str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::bad_parameter(name, format_args!("must be a whole number from {min} to {max}"))),
        }
    }
}
