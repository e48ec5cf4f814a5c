//! What is kept of a person besides their messages.

use crate::ids::UserId;

/// A user's profile.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserProfile {
    /// Who.
    pub id: UserId,
    /// Shown to others.
    pub name: String,
    /// `#rrggbb`; `None` for the one that follows from the id.
    pub color: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// The address they log in by, lower case. Shown to nobody else.
    pub email: Option<String>,
}

/// Which fields of a stored profile a change writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProfileFields {
    /// The name.
    pub name: bool,
    /// The colour.
    pub color: bool,
    /// The picture.
    pub avatar_url: bool,
}
