//! Names of things, parsed once at the edge.
//!
//! Everything a client or an operator may type (`p/r`, a user id, a message id) becomes one of these types before it
//! travels further; behind the edge no plain string stands for a room, a user or a message.

use std::{fmt, str::FromStr, sync::Arc};

use rand::Rng as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

/// A client-chosen message id; the same id in the same room is the same message.
pub type MessageId = Uuid;

/// Place of a message in its room: starts at 1, has no holes. 0 stands for "before the first".
pub type Seq = u64;

/// The longest project or room name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest user id, in bytes.
pub const USER_ID_BYTES_MAX: usize = 128;

/// Why a name was refused; the text is fit to be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `project/room`.
    #[error("a room is named `project/room`")]
    RoomShape,
    /// A part of the name breaks `[a-z0-9][a-z0-9_-]{0,63}`.
    #[error("a name is 1 to 64 characters of a-z, 0-9, `_` and `-`, and starts with a letter or a digit")]
    Name,
    /// Empty, too long, or with control characters.
    #[error("a user id is 1 to 128 bytes without control characters")]
    User,
}

fn check_name(name: &str) -> Result<(), IdError> {
    let bytes = name.as_bytes();
    let head = matches!(bytes.first(), Some(b'a'..=b'z' | b'0'..=b'9'));
    let tail = bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if head && tail && bytes.len() <= NAME_BYTES_MAX { Ok(()) } else { Err(IdError::Name) }
}

/// A project: one tenant's document, board, channel group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(Arc<str>);

impl ProjectId {
    /// The name as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectId {
    type Err = IdError;
    fn from_str(name: &str) -> Result<Self, IdError> {
        check_name(name)?;
        Ok(Self(name.into()))
    }
}

/// A room within a project, `project/room`. Equal and hashed as that text, so maps are searched by `&str`.
#[derive(Clone)]
pub struct RoomId {
    full: Arc<str>,
    slash: u8,
}

impl PartialEq for RoomId {
    fn eq(&self, other: &Self) -> bool {
        self.full == other.full
    }
}

impl Eq for RoomId {}

impl std::hash::Hash for RoomId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.full.hash(state);
    }
}

impl std::borrow::Borrow<str> for RoomId {
    fn borrow(&self) -> &str {
        &self.full
    }
}

impl RoomId {
    /// Puts a room together from its parts; the room part is checked here.
    pub fn new(project: &ProjectId, room: &str) -> Result<Self, IdError> {
        check_name(room)?;
        let slash = project.as_str().len() as u8; // at most NAME_BYTES_MAX
        Ok(Self { full: format!("{}/{room}", project.as_str()).into(), slash })
    }

    /// `project/room`.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The project part.
    pub fn project(&self) -> ProjectId {
        ProjectId(self.full[..usize::from(self.slash)].into())
    }

    /// The room part.
    pub fn room(&self) -> &str {
        &self.full[usize::from(self.slash) + 1..]
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl FromStr for RoomId {
    type Err = IdError;
    fn from_str(full: &str) -> Result<Self, IdError> {
        let (project, room) = full.split_once('/').ok_or(IdError::RoomShape)?;
        check_name(project)?;
        check_name(room)?;
        Ok(Self { full: full.into(), slash: project.len() as u8 })
    }
}

/// A person (or service), the same over all tabs and devices.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The id as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = IdError;
    fn from_str(id: &str) -> Result<Self, IdError> {
        if id.is_empty() || id.len() > USER_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(IdError::User);
        }
        Ok(Self(id.into()))
    }
}

/// One WebSocket connection (a tab), unique over all instances: 64 random bits, 16 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// One run of one hub process; a restarted hub is a new instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(u64);

macro_rules! random_hex_id {
    ($name:ident) => {
        impl $name {
            /// A fresh random id.
            pub fn random() -> Self {
                Self(rand::rng().random())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(hex: &str) -> Result<Self, Self::Err> {
                u64::from_str_radix(hex, 16).map(Self)
            }
        }
    };
}
random_hex_id!(ConnectionId);
random_hex_id!(InstanceId);

macro_rules! serde_as_text {
    ($($name:ident: $text:expr;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text: fn(&Self, S) -> Result<S::Ok, S::Error> = $text;
                text(self, serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
serde_as_text! {
    ProjectId: |id, s| s.serialize_str(&id.0);
    RoomId: |id, s| s.serialize_str(&id.full);
    UserId: |id, s| s.serialize_str(&id.0);
    ConnectionId: |id, s| s.collect_str(id);
    InstanceId: |id, s| s.collect_str(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_follow_the_wire_grammar() {
        for good in ["p/r", "0/9", "my-app_1/room-a", &format!("{0}/{0}", "a".repeat(64))] {
            assert_eq!(good.parse::<RoomId>().unwrap().as_str(), good);
        }
        for bad in ["", "p", "p/", "/r", "p/r/s", "P/r", "p/-r", "p/r ", "ä/r", &format!("p/{}", "a".repeat(65))] {
            assert!(bad.parse::<RoomId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_room_knows_its_parts() {
        let room: RoomId = "app/lobby".parse().unwrap();
        assert_eq!((room.project().as_str(), room.room()), ("app", "lobby"));
        assert_eq!(RoomId::new(&room.project(), "lobby").unwrap(), room);
    }

    #[test]
    fn connection_ids_survive_the_wire() {
        let id = ConnectionId::random();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json.len(), 18);
        assert_eq!(serde_json::from_str::<ConnectionId>(&json).unwrap(), id);
    }
}
