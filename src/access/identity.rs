//! An identity: a person as others see them, and what their token claims. One is kept per connection.

use std::sync::Arc;

use uuid::Uuid;

use super::{IdentifyError, SessionRef, color, sessions::Owner};
use crate::{
    clock::Timestamp,
    ids::{ProjectId, UserId},
    protocol::User,
    store::{Author, Role, UserProfile},
};

/// The longest display name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// User ids of guests start with it, and no token's may: a token cannot be mistaken for a guest, nor a guest for its user.
pub(super) const GUEST_PREFIX: &str = "guest-";

/// The name space of guests' user ids (RFC 9562, 5.5). Invariant: never changes, or all guests become others.
const GUEST_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_9a0e_51c4_4d0f_9a57_3b0c_8a1e_77d2);

/// Who somebody is, and how they showed it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// As others see them.
    pub user: Arc<User>,
    /// How they were identified.
    pub kind: IdentityKind,
    /// Roles that the token claims, at most one per project.
    pub projects: Box<[(ProjectId, Role)]>,
    /// From when on the token does not count any more, or the session unless it is used.
    pub expires_at: Option<Timestamp>,
    /// The cookie session that they were identified by.
    pub session: Option<SessionRef>,
}

/// How somebody was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityKind {
    /// Not at all: may read what everybody may read, over HTTP.
    Anonymous,
    /// By a name that they gave themselves. Proves nothing: their user id stands in every member list.
    Guest,
    /// By a signed token, or by a code sent to their address; or by a session that began so.
    Token,
}

impl Identity {
    /// Nobody in particular.
    pub(super) fn anonymous() -> Self {
        // Not a UUID, so no guest's id.
        Self::without_token("guest-anonymous", "Anonymous", IdentityKind::Anonymous)
    }

    /// Whoever a cookie session is for.
    pub(super) fn of_session(session: SessionRef, owner: Owner, expires_at: Timestamp) -> Self {
        Self {
            user: Arc::new(owner.user),
            kind: if owner.guest { IdentityKind::Guest } else { IdentityKind::Token },
            projects: owner.projects.into(),
            expires_at: Some(expires_at),
            session: Some(session),
        }
    }

    /// A user by the profile that the hub keeps of them.
    pub fn of_profile(profile: &UserProfile) -> Self {
        let user = User {
            user_id: profile.id.clone(),
            name: profile.name.clone(),
            color: profile.color.clone().unwrap_or_else(|| color::of(&profile.id)),
            avatar_url: profile.avatar_url.clone(),
        };
        Self {
            user: Arc::new(user),
            kind: IdentityKind::Token,
            projects: Box::default(),
            expires_at: None,
            session: None,
        }
    }

    /// The role that the token claims in a project.
    pub fn claimed_role(&self, project: &ProjectId) -> Option<Role> {
        self.projects.iter().find(|(named, _)| named == project).map(|(_, role)| *role)
    }

    /// The user id where it was proven, which is what stored roles and profiles are kept under.
    pub fn proven_user(&self) -> Option<&UserId> {
        (self.kind == IdentityKind::Token).then_some(&self.user.user_id)
    }

    /// The writer of what is published over HTTP; `None` for the anonymous.
    pub fn author(&self) -> Option<Author> {
        (self.kind != IdentityKind::Anonymous).then(|| Author {
            user_id: self.user.user_id.clone(),
            name: self.user.name.clone(),
            connection_id: None,
        })
    }

    fn without_token(user_id: &str, name: &str, kind: IdentityKind) -> Self {
        // Cannot fail: `guest-` and a UUID or a word is a user id.
        let user_id: UserId = user_id.parse().unwrap_or_else(|_| unreachable!("a guest's id is a user id"));
        let user = User { color: color::of(&user_id), user_id, name: name.into(), avatar_url: None };
        Self { user: Arc::new(user), kind, projects: Box::default(), expires_at: None, session: None }
    }
}

/// Whether a user id is a guest's.
pub fn is_guest(user: &UserId) -> bool {
    user.as_str().starts_with(GUEST_PREFIX)
}

/// A guest by their name, and by `guest_id` where several share it.
pub(super) fn guest(name: &str, guest_id: Option<&str>) -> Result<Identity, IdentifyError> {
    let name = checked_name(name).ok_or(IdentifyError::Name)?;
    let id = match guest_id {
        Some(given) => given.parse().map_err(|_| IdentifyError::GuestId)?,
        None => Uuid::new_v5(&GUEST_NAMESPACE, name.as_bytes()),
    };
    Ok(Identity::without_token(&format!("{GUEST_PREFIX}{id}"), name, IdentityKind::Guest))
}

/// A name as it is shown, if it is a good one.
pub(super) fn checked_name(name: &str) -> Option<&str> {
    let name = name.trim();
    let bad = name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control);
    (!bad).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_of_one_name_are_one_guest_and_a_guest_id_tells_them_apart() {
        let id = |name: &str, guest_id: Option<&str>| guest(name, guest_id).unwrap().user.user_id.as_str().to_owned();
        assert_eq!(id("Ada", None), id(" Ada ", None));
        assert_ne!(id("Ada", None), id("ada", None));
        let given = "0190A6B2-7c1e-7000-8000-000000000001";
        assert_eq!(id("Ada", Some(given)), format!("guest-{}", given.to_lowercase()));
    }

    #[test]
    fn a_guest_is_named_and_coloured() {
        let ada = guest("Ada", None).unwrap();
        assert_eq!((ada.user.name.as_str(), ada.user.color.len(), ada.kind), ("Ada", 7, IdentityKind::Guest));
        assert!(ada.proven_user().is_none() && ada.author().is_some());
        assert!(Identity::anonymous().author().is_none());
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "  ", "a\u{7}b", "a\nb", &"x".repeat(65)] {
            assert_eq!(guest(bad, None).unwrap_err(), IdentifyError::Name, "{bad:?}");
        }
        assert!(guest(&"ä".repeat(64), None).is_ok());
        assert_eq!(guest("Ada", Some("1")).unwrap_err(), IdentifyError::GuestId);
    }
}
