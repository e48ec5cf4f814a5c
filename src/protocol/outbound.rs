//! Frames from the hub, each encoded once into a [`Frame`] however many connections get it.
//!
//! The structs mirror `docs/protocol.md` field by field; rooms and sessions fill them, nobody takes them apart again.

use serde::{Deserialize, Serialize};

use super::{ErrorCode, Frame, Json, User, VERSION};
use crate::{
    clock::{Timestamp, now_utc, rfc3339, wire_time},
    ids::{ConnectionId, MessageId, RoomId, Seq, UserId},
};

/// `welcome`, the first frame of a connection.
pub fn welcome(connection: ConnectionId, user: &User, heartbeat_ms: u64, ttl_ms: u64, max_frame_bytes: usize) -> Frame {
    #[derive(Serialize)]
    struct Welcome<'a> {
        r#type: &'static str,
        protocol: u32,
        connection_id: ConnectionId,
        user: &'a User,
        heartbeat_interval_ms: u64,
        presence_ttl_ms: u64,
        max_frame_bytes: usize,
        server_time: String,
    }
    Frame::json(&Welcome {
        r#type: "welcome",
        protocol: VERSION,
        connection_id: connection,
        user,
        heartbeat_interval_ms: heartbeat_ms,
        presence_ttl_ms: ttl_ms,
        max_frame_bytes,
        server_time: rfc3339(now_utc()),
    })
}

/// `left`, the reply to `leave`.
pub fn left(reference: Option<i64>, room: &RoomId) -> Frame {
    #[derive(Serialize)]
    struct Left<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<i64>,
        room: &'a RoomId,
    }
    Frame::json(&Left { r#type: "left", r#ref: reference, room })
}

/// `ack` of a durable message.
pub fn ack_message(reference: Option<i64>, room: &RoomId, id: MessageId, seq: Seq, duplicate: bool) -> Frame {
    #[derive(Serialize)]
    struct Ack<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<i64>,
        room: &'a RoomId,
        id: MessageId,
        seq: Seq,
        duplicate: bool,
    }
    Frame::json(&Ack { r#type: "ack", r#ref: reference, room, id, seq, duplicate })
}

/// `ack` of an `auth` frame.
pub fn ack_auth(reference: Option<i64>) -> Frame {
    #[derive(Serialize)]
    struct Ack {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<i64>,
    }
    Frame::json(&Ack { r#type: "ack", r#ref: reference })
}

/// `heartbeat`, the reply to one.
pub fn heartbeat() -> Frame {
    Frame::text(&format!(r#"{{"type":"heartbeat","server_time":"{}"}}"#, rfc3339(now_utc())))
}

/// `auth_expiring`: time to send a new token.
pub fn auth_expiring(expires_in_ms: u64) -> Frame {
    Frame::text(&format!(r#"{{"type":"auth_expiring","expires_in_ms":{expires_in_ms}}}"#))
}

/// `drain`: the hub goes away, come back after so many milliseconds.
pub fn drain(reconnect_after_ms: u64) -> Frame {
    Frame::text(&format!(r#"{{"type":"drain","reconnect_after_ms":{reconnect_after_ms}}}"#))
}

/// `status`: `degraded` with its reasons, or `live` when there are none.
pub fn status(reasons: &[&str]) -> Frame {
    #[derive(Serialize)]
    struct Status<'a> {
        r#type: &'static str,
        state: &'static str,
        reasons: &'a [&'a str],
    }
    let state = if reasons.is_empty() { "live" } else { "degraded" };
    Frame::json(&Status { r#type: "status", state, reasons })
}

/// `error`, the reply to a frame that could not be carried out.
pub fn error(reference: Option<i64>, code: ErrorCode, message: &str, retry_after_ms: Option<u64>) -> Frame {
    #[derive(Serialize)]
    struct Error<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<i64>,
        code: ErrorCode,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    }
    Frame::json(&Error { r#type: "error", r#ref: reference, code, message, retry_after_ms })
}

/// Who wrote a message or sent a broadcast.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct From {
    /// The person.
    pub user_id: UserId,
    /// The name at that time.
    pub name: String,
    /// The connection; absent for what was published over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
}

/// The fields of a durable message, in `message` frames, in `joined.messages` and in HTTP history.
#[derive(Serialize)]
pub struct MessageFields<'a> {
    /// Its place in the room.
    pub seq: Seq,
    /// Client-chosen id.
    pub id: MessageId,
    /// The writer.
    pub from: &'a From,
    /// The client's JSON.
    pub body: &'a serde_json::value::RawValue,
    /// When the hub accepted it.
    #[serde(with = "wire_time")]
    pub sent_at: Timestamp,
}

/// A durable message, encoded once: the live frame, the entry of a `joined`, and the text that travels on the bus are
/// all parts of the same bytes.
#[derive(Debug, Clone)]
pub struct EncodedMessage {
    /// Its place in the room.
    pub seq: Seq,
    frame: Frame,
}

impl EncodedMessage {
    /// Encodes a message of `room`.
    pub fn new(room: &RoomId, fields: &MessageFields<'_>) -> Self {
        let frame = Frame::build(|out| {
            out.extend_from_slice(Self::prefix(room).as_bytes());
            let start = out.len();
            if serde_json::to_writer(&mut *out, fields).is_err() {
                debug_assert!(false, "message fields failed to serialise");
            }
            if out.len() > start {
                out.remove(start); // the brace that the prefix has already
            }
        });
        Self { seq: fields.seq, frame }
    }

    /// Takes a `message` frame's JSON as another instance encoded it.
    pub fn from_json(seq: Seq, json: &str) -> Self {
        Self { seq, frame: Frame::text(json) }
    }

    /// The `message` frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The `message` frame's JSON text, for the bus.
    pub fn json(&self) -> &str {
        std::str::from_utf8(self.frame.payload()).unwrap_or_default() // JSON text of our own making
    }

    /// Appends the message as an entry of `joined.messages`: without `type` and `room`.
    pub(super) fn write_entry(&self, room: &RoomId, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(&self.frame.payload()[Self::prefix(room).len()..]);
    }

    fn prefix(room: &RoomId) -> String {
        format!(r#"{{"type":"message","room":"{}","#, room.as_str())
    }
}

/// Why a connection is no longer in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaveReason {
    /// It said `leave`.
    Left,
    /// It closed, or dropped and did not come back within the grace.
    Closed,
    /// It, or its instance, was silent for the TTL.
    Expired,
}

/// An entry of `presence.joins`.
#[derive(Debug, Serialize)]
pub struct JoinEntry<'a> {
    /// Who.
    pub user: &'a User,
    /// Which connection.
    pub connection_id: ConnectionId,
    /// The connection's state.
    pub state: &'a Json,
    /// Since when.
    #[serde(with = "wire_time")]
    pub joined_at: Timestamp,
    /// The user's first connection in the room.
    pub first: bool,
}

/// An entry of `presence.leaves`.
#[derive(Debug, Serialize)]
pub struct LeaveEntry<'a> {
    /// Who.
    pub user_id: &'a UserId,
    /// Which connection.
    pub connection_id: ConnectionId,
    /// Why.
    pub reason: LeaveReason,
    /// The user's last connection in the room.
    pub last: bool,
}

/// An entry of `presence.updates`.
#[derive(Debug, Serialize)]
pub struct UpdateEntry<'a> {
    /// Who.
    pub user_id: &'a UserId,
    /// Which connection.
    pub connection_id: ConnectionId,
    /// The new state.
    pub state: &'a Json,
}

/// `presence`: what changed since the last one.
pub fn presence(
    room: &RoomId,
    joins: &[JoinEntry<'_>],
    leaves: &[LeaveEntry<'_>],
    updates: &[UpdateEntry<'_>],
) -> Frame {
    #[derive(Serialize)]
    struct Presence<'a> {
        r#type: &'static str,
        room: &'a RoomId,
        joins: &'a [JoinEntry<'a>],
        leaves: &'a [LeaveEntry<'a>],
        updates: &'a [UpdateEntry<'a>],
    }
    Frame::json(&Presence { r#type: "presence", room, joins, leaves, updates })
}

/// An entry of a member list: a user with their connections.
#[derive(Debug, Serialize)]
pub struct MemberEntry<'a> {
    /// Who.
    pub user: &'a User,
    /// Their tabs.
    pub connections: Vec<ConnectionEntry<'a>>,
}

/// A connection of a member.
#[derive(Debug, Serialize)]
pub struct ConnectionEntry<'a> {
    /// Which connection.
    pub connection_id: ConnectionId,
    /// Its state.
    pub state: &'a Json,
    /// Since when.
    #[serde(with = "wire_time")]
    pub joined_at: Timestamp,
}

/// Where a connection's cursor is; `None` when it was hidden.
#[derive(Debug, Serialize)]
pub struct CursorEntry<'a> {
    /// Whose.
    pub connection_id: ConnectionId,
    /// The client's JSON, or null.
    pub position: Option<&'a Json>,
}

/// `cursors`: the latest position of each cursor that moved.
pub fn cursors(room: &RoomId, entries: &[CursorEntry<'_>]) -> Frame {
    #[derive(Serialize)]
    struct Cursors<'a> {
        r#type: &'static str,
        room: &'a RoomId,
        cursors: &'a [CursorEntry<'a>],
    }
    Frame::json(&Cursors { r#type: "cursors", room, cursors: entries })
}

/// `broadcast`: an ephemeral event.
pub fn broadcast(room: &RoomId, event: &str, data: Option<&serde_json::value::RawValue>, from: &From) -> Frame {
    #[derive(Serialize)]
    struct Broadcast<'a> {
        r#type: &'static str,
        room: &'a RoomId,
        event: &'a str,
        data: Option<&'a serde_json::value::RawValue>,
        from: &'a From,
    }
    Frame::json(&Broadcast { r#type: "broadcast", room, event, data, from })
}

/// `read`: a user's read marker moved.
pub fn read(room: &RoomId, user_id: &UserId, seq: Seq) -> Frame {
    #[derive(Serialize)]
    struct Read<'a> {
        r#type: &'static str,
        room: &'a RoomId,
        user_id: &'a UserId,
        seq: Seq,
    }
    Frame::json(&Read { r#type: "read", room, user_id, seq })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    fn value(frame: &Frame) -> Value {
        serde_json::from_slice(frame.payload()).unwrap()
    }

    fn message(room: &RoomId, seq: Seq) -> EncodedMessage {
        let from = From { user_id: "u1".parse().unwrap(), name: "A\"da".into(), connection_id: Some("c1".into()) };
        let body = RawValue::from_string(r#"{"text":"hé"}"#.into()).unwrap();
        let sent_at = "2026-01-01T00:00:00.120Z".parse().unwrap();
        EncodedMessage::new(room, &MessageFields { seq, id: MessageId::nil(), from: &from, body: &body, sent_at })
    }

    #[test]
    fn a_message_frame_has_all_fields() {
        let room: RoomId = "p/r".parse().unwrap();
        let encoded = message(&room, 42);
        let live = value(encoded.frame());
        let mut expected = json!({"seq": 42, "id": MessageId::nil(), "body": {"text": "hé"},
            "from": {"user_id": "u1", "name": "A\"da", "connection_id": "c1"}, "sent_at": "2026-01-01T00:00:00.120Z"});
        expected["type"] = "message".into();
        expected["room"] = "p/r".into();
        assert_eq!(live, expected);
    }

    #[test]
    fn presence_leaves_no_field_out() {
        let room: RoomId = "p/r".parse().unwrap();
        let frame = presence(&room, &[], &[], &[]);
        assert_eq!(value(&frame), json!({"type": "presence", "room": "p/r", "joins": [], "leaves": [], "updates": []}));
    }

    #[test]
    fn error_and_status_have_the_shapes_of_the_protocol() {
        assert_eq!(
            value(&error(Some(3), ErrorCode::RateLimited, "slow down", Some(800))),
            json!({"type": "error", "ref": 3, "code": "rate_limited", "message": "slow down", "retry_after_ms": 800})
        );
        assert_eq!(value(&status(&["redis"])), json!({"type": "status", "state": "degraded", "reasons": ["redis"]}));
        assert_eq!(value(&status(&[])), json!({"type": "status", "state": "live", "reasons": []}));
    }
}
