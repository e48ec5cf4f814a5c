//! `/api/users/{user}`: profiles, seen by everybody who may connect and changed by their owners.

use actix_session::SessionExt as _;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Answer, HttpState, Problem, json_body::JsonBody, parameters::UserPath};
use crate::{
    access::{
        Identity, ProfileChange, ProfileFault,
        sessions::{self, Owner},
    },
    protocol::User,
    store::UserProfile,
};

#[derive(Serialize)]
struct Profile<'a> {
    #[serde(flatten)]
    user: &'a User,
    /// For its owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

fn shown(profile: &UserProfile, own: bool) -> HttpResponse {
    let identity = Identity::of_profile(profile);
    let email = profile.email.as_deref().filter(|_| own);
    HttpResponse::Ok().json(Profile { user: &identity.user, email })
}

/// `GET /api/users/{user}`
pub(super) async fn show(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<UserPath>) -> Answer {
    let (who, id) = (state.reader(&request)?, path.id()?);
    let profile = state.access.profile(&who, &id).await?;
    let profile = profile.ok_or_else(|| Problem::not_found("nothing is known of this user"))?;
    Ok(shown(&profile, who.proven_user() == Some(&id)))
}

#[derive(Deserialize)]
struct Change {
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    color: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    avatar_url: Option<Option<String>>,
}

/// `null` is a value; what is not there at all is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PATCH /api/users/{user}` with any of `{"name","color","avatar_url"}`: one's own. Others see it from the next join on.
pub(super) async fn change(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<UserPath>,
    body: JsonBody,
) -> Answer {
    let (who, id) = (state.person(&request)?, path.id()?);
    if who.proven_user() != Some(&id) {
        return Err(Problem::forbidden("a profile is changed by its owner, who has proven who they are"));
    }
    let Change { name, color, avatar_url } = body.parse()?;
    let profile = state.access.change_profile(&who, ProfileChange { name, color, avatar_url }).await??;
    if who.session.is_some() {
        let user = (*Identity::of_profile(&profile).user).clone();
        let owner = Owner { user, ..Owner::of(&Identity { expires_at: None, ..who }) };
        let owner = Owner { ends_at_ms: sessions::ends_at(&request.get_session()), ..owner };
        sessions::enter(&request.get_session(), &owner).map_err(|_| Problem::internal())?;
    }
    Ok(shown(&profile, true))
}

impl From<ProfileFault> for Problem {
    fn from(fault: ProfileFault) -> Self {
        match fault {
            ProfileFault::Name => Self::bad_parameter("name", "1 to 64 characters without control characters"),
            ProfileFault::Color => {
                Self::bad_parameter("color", "must be #rgb or #rrggbb, or null for one of the hub's")
            }
            ProfileFault::AvatarUrl => {
                Self::bad_parameter("avatar_url", "must be an http(s) address of at most 1024 bytes, or null")
            }
        }
    }
}
