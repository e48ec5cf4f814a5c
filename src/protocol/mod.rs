//! The wire, version 1: frames in, frames out, codes.
//!
//! [`inbound`] turns a text frame into a [`inbound::Command`] or an error that names the field; [`outbound`] encodes each
//! answer once, WebSocket header included, into a [`frame::Frame`] that all receivers share. Nothing here knows of actors,
//! sockets or storage; `docs/protocol.md` is the prose of it.

pub mod codes;
pub mod frame;
pub mod inbound;
pub mod joined;
pub mod outbound;
pub mod portable;

pub use codes::{CloseCode, ErrorCode};
pub use frame::{Frame, SharedTail};

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::UserId;

/// The subprotocol a client may offer.
pub const SUBPROTOCOL: &str = "hubbub.v1";
/// The protocol's version as `welcome` says it.
pub const VERSION: u32 = 1;
/// The most messages a join with `since` replays; beyond it the client pages over HTTP.
pub const REPLAY_MAX: u32 = 1_000;
/// The most messages a join may ask for with `history`.
pub const HISTORY_MAX: u32 = 200;
/// The messages a join gets without `history`, or when too much was missed.
pub const HISTORY_DEFAULT: u32 = 50;
/// The most users a member list names; `members_total` says how many there are.
pub const MEMBERS_LISTED_MAX: usize = 200;
/// The largest presence state, in bytes of JSON: it is repeated to every joiner.
pub const STATE_BYTES_MAX: usize = 4 * 1024;
/// The largest cursor position, in bytes of JSON: it is repeated thirty times a second.
pub const POSITION_BYTES_MAX: usize = 1024;
/// The longest broadcast event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// The deepest nesting of a frame: what common JSON parsers take.
pub const NESTING_MAX: usize = 64;

/// A piece of a client's JSON, kept and passed on as its text.
pub type Json = Arc<RawValue>;

/// The state of a connection that said none: `{}`.
pub fn empty_object() -> Json {
    RawValue::from_string("{}".into()).expect("valid JSON").into()
}

/// A person as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The same over all tabs and devices.
    pub user_id: UserId,
    /// For people to read.
    pub name: String,
    /// `#rrggbb`, for the cursor and the avatar.
    pub color: String,
    /// A picture, if the token named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}
