//! The words for what went wrong: `error` codes for a frame, close codes for a connection.

use serde::Serialize;

/// The `code` of an `error` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, not an object, a field missing or of the wrong type.
    BadFrame,
    /// A `type` this version does not know.
    UnknownType,
    /// The room was not joined on this connection.
    NotJoined,
    /// No such project or room.
    NotFound,
    /// The role does not allow it, or a limit of the connection is reached.
    Forbidden,
    /// Too fast; `retry_after_ms` says when to go on.
    RateLimited,
    /// A part of the frame is over its limit.
    TooLarge,
    /// The database is away; `retry_after_ms` says when to try again. A message may have been stored all the same: sent again
    /// under its id it is still one message.
    Unavailable,
    /// The hub's own fault.
    Internal,
}

/// Why the hub closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The answer to the client's own close.
    Normal = 1000,
    /// A frame that breaks RFC 6455.
    ProtocolError = 1002,
    /// A text frame that is not UTF-8.
    InvalidData = 1007,
    /// A frame over `max_frame_bytes`.
    TooBig = 1009,
    /// The hub restarts: come back and resume.
    Restart = 1012,
    /// Repeated bad frames.
    BadFrames = 4400,
    /// The token expired or the session was revoked.
    Unauthorized = 4401,
    /// Removed from the project.
    Forbidden = 4403,
    /// Nothing heard within the TTL.
    HeartbeatTimeout = 4408,
    /// Sustained traffic over the limits.
    Flooding = 4429,
    /// The client does not read what it gets: come back and resume.
    SlowConsumer = 4508,
}

impl CloseCode {
    /// A few words for the close frame, at most 123 bytes.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::ProtocolError => "not a valid WebSocket frame",
            Self::InvalidData => "text frames are UTF-8",
            Self::TooBig => "frame over max_frame_bytes",
            Self::Restart => "restarting, reconnect and resume",
            Self::BadFrames => "repeated bad frames",
            Self::Unauthorized => "token expired or session revoked",
            Self::Forbidden => "removed from the project",
            Self::HeartbeatTimeout => "no heartbeat within the TTL",
            Self::Flooding => "flooding",
            Self::SlowConsumer => "slow consumer, reconnect and resume",
        }
    }
}
