//! Frames from a client: one text frame in, one [`Command`] or one [`FrameError`] out.
//!
//! Called by the session for every text frame. Nothing is copied that need not be: strings and JSON parts borrow from the
//! frame, and a client's own JSON (`body`, `state`, `position`, `data`) is checked but never taken apart.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    EVENT_NAME_BYTES_MAX, ErrorCode, HISTORY_DEFAULT, HISTORY_MAX, POSITION_BYTES_MAX, STATE_BYTES_MAX, portable,
};
use crate::ids::{MessageId, Seq};

/// What a client asks for, with the `ref` it wants in the reply.
#[derive(Debug)]
pub struct ClientFrame<'a> {
    /// Echoed in the reply.
    pub reference: Option<i64>,
    /// What is asked for.
    pub command: Command<'a>,
}

/// The frames of the protocol. `room` is the name as the client wrote it: looked up among the joined rooms, parsed on join.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are those of docs/protocol.md")]
pub enum Command<'a> {
    Join {
        room: Cow<'a, str>,
        presence: Option<&'a RawValue>,
        since: Option<Seq>,
        history: u32,
    },
    Leave {
        room: Cow<'a, str>,
    },
    Message {
        room: Cow<'a, str>,
        id: MessageId,
        body: &'a RawValue,
    },
    Presence {
        room: Cow<'a, str>,
        state: &'a RawValue,
    },
    /// `None` hides the cursor.
    Cursor {
        room: Cow<'a, str>,
        position: Option<&'a RawValue>,
    },
    Broadcast {
        room: Cow<'a, str>,
        event: Cow<'a, str>,
        data: Option<&'a RawValue>,
    },
    Read {
        room: Cow<'a, str>,
        seq: Seq,
    },
    Heartbeat,
    Auth {
        token: Cow<'a, str>,
    },
}

/// Why a frame was not understood; becomes an `error` frame.
#[derive(Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The frame's `ref`, where it could be read.
    pub reference: Option<i64>,
    /// `bad_frame`, `unknown_type` or `too_large`.
    pub code: ErrorCode,
    /// Names the field.
    pub message: String,
}

/// Reads one text frame.
pub fn parse(text: &str) -> Result<ClientFrame<'_>, FrameError> {
    let bad = |message: String| FrameError { reference: None, code: ErrorCode::BadFrame, message };
    portable::check(text).map_err(|fault| bad(format!("the frame: {fault}")))?;
    if !text.trim_start().starts_with('{') {
        return Err(bad("a frame is one JSON object".into()));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| bad(format!("not valid JSON: {error}")))?;
    let reference = match fields.reference {
        None => None,
        Some(raw) if raw.get() == "null" => None,
        Some(raw) => {
            Some(serde_json::from_str(raw.get()).map_err(|_| bad("field `ref` must be a 64-bit integer".into()))?)
        }
    };
    match fields.command() {
        Ok(command) => Ok(ClientFrame { reference, command }),
        Err((code, message)) => Err(FrameError { reference, code, message }),
    }
}

/// Every field of every frame, each as its JSON text; which are needed depends on `type`.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "present")]
    kind: Option<&'a RawValue>,
    #[serde(rename = "ref", borrow, default, deserialize_with = "present")]
    reference: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    room: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    presence: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    since: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    history: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    state: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    position: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    event: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    seq: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    token: Option<&'a RawValue>,
}

/// Keeps `null` apart from absence, which `Option` alone does not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

type Refusal = (ErrorCode, String);

impl<'a> Fields<'a> {
    fn command(&self) -> Result<Command<'a>, Refusal> {
        let kind = text("type", self.kind)?;
        let room = || text("room", self.room);
        Ok(match &*kind {
            "heartbeat" => Command::Heartbeat,
            "cursor" => Command::Cursor { room: room()?, position: self.position()? },
            "message" => Command::Message { room: room()?, id: id(self.id)?, body: needed("body", self.body)? },
            "broadcast" => Command::Broadcast { room: room()?, event: self.event()?, data: self.data },
            "presence" => Command::Presence { room: room()?, state: object("state", needed("state", self.state)?)? },
            "read" => Command::Read { room: room()?, seq: whole("seq", needed("seq", self.seq)?)? },
            "join" => Command::Join {
                room: room()?,
                presence: self.presence.filter(not_null).map(|state| object("presence", state)).transpose()?,
                since: self.since.filter(not_null).map(|since| whole("since", since)).transpose()?,
                history: match self.history.filter(not_null) {
                    None => HISTORY_DEFAULT,
                    Some(raw) => u32::try_from(whole("history", raw)?)
                        .ok()
                        .filter(|history| *history <= HISTORY_MAX)
                        .ok_or_else(|| bad(format!("field `history` must be 0 to {HISTORY_MAX}")))?,
                },
            },
            "leave" => Command::Leave { room: room()? },
            "auth" => Command::Auth { token: text("token", self.token)? },
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err((ErrorCode::UnknownType, format!("unknown type `{shown}`")));
            }
        })
    }

    fn position(&self) -> Result<Option<&'a RawValue>, Refusal> {
        let raw = needed("position", self.position)?;
        if raw.get() == "null" { Ok(None) } else { sized("position", raw, POSITION_BYTES_MAX, true).map(Some) }
    }

    fn event(&self) -> Result<Cow<'a, str>, Refusal> {
        let event = text("event", self.event)?;
        if event.is_empty() || event.len() > EVENT_NAME_BYTES_MAX {
            return Err(bad(format!("field `event` must be 1 to {EVENT_NAME_BYTES_MAX} bytes")));
        }
        Ok(event)
    }
}

fn bad(message: String) -> Refusal {
    (ErrorCode::BadFrame, message)
}

fn not_null(raw: &&RawValue) -> bool {
    raw.get() != "null"
}

fn needed<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<&'a RawValue, Refusal> {
    raw.ok_or_else(|| bad(format!("field `{field}` is missing")))
}

fn text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Refusal> {
    let raw = needed(field, raw)?.get();
    let quoted = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str::<String>(raw)
            .map(Cow::Owned)
            .map_err(|_| bad(format!("field `{field}` is not a valid string"))),
        None => Err(bad(format!("field `{field}` must be a string"))),
    }
}

fn id(raw: Option<&RawValue>) -> Result<MessageId, Refusal> {
    text("id", raw)?.parse().map_err(|_| bad("field `id` must be a UUID".into()))
}

fn whole(field: &str, raw: &RawValue) -> Result<u64, Refusal> {
    // The database counts in signed 64 bits.
    serde_json::from_str::<u64>(raw.get())
        .ok()
        .filter(|number| *number <= i64::MAX as u64)
        .ok_or_else(|| bad(format!("field `{field}` must be a whole number, 0 or more")))
}

fn object<'a>(field: &str, raw: &'a RawValue) -> Result<&'a RawValue, Refusal> {
    sized(field, raw, STATE_BYTES_MAX, true)
}

fn sized<'a>(field: &str, raw: &'a RawValue, bytes_max: usize, object: bool) -> Result<&'a RawValue, Refusal> {
    if object && !raw.get().starts_with('{') {
        return Err(bad(format!("field `{field}` must be an object")));
    }
    if raw.get().len() > bytes_max {
        return Err((ErrorCode::TooLarge, format!("field `{field}` is over {bytes_max} bytes")));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> FrameError {
        parse(text).expect_err("was understood")
    }

    #[test]
    fn every_frame_of_the_protocol_is_understood() {
        let uuid = "0190a6b2-7c1e-7000-8000-000000000001";
        for text in [
            r#"{"type":"join","ref":1,"room":"p/r","presence":{"a":1},"since":41,"history":50}"#,
            r#"{"type":"join","room":"p/r"}"#,
            r#"{"type":"join","room":"p/r","presence":null,"since":null,"history":null}"#,
            r#"{"type":"leave","ref":2,"room":"p/r"}"#,
            &format!(r#"{{"type":"message","ref":3,"room":"p/r","id":"{uuid}","body":null}}"#),
            r#"{"type":"presence","ref":4,"room":"p/r","state":{}}"#,
            r#"{"type":"cursor","room":"p/r","position":{"x":1}}"#,
            r#"{"type":"cursor","room":"p/r","position":null}"#,
            r#"{"type":"broadcast","room":"p/r","event":"typing","data":{}}"#,
            r#"{"type":"broadcast","room":"p/r","event":"typing"}"#,
            r#"{"type":"read","room":"p/r","seq":42}"#,
            r#" {"type":"heartbeat","unknown":[1,{"a":2}]}"#,
            r#"{"type":"auth","ref":5,"token":"x"}"#,
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text).err());
        }
    }

    #[test]
    fn a_fault_names_its_field_and_keeps_the_ref() {
        for (text, word) in [
            (r#"{"ref":7,"room":"p/r"}"#, "`type`"),
            (r#"{"type":"join","ref":7}"#, "`room`"),
            (r#"{"type":"join","ref":7,"room":5}"#, "`room`"),
            (r#"{"type":"join","ref":7,"room":"p/r","since":-1}"#, "`since`"),
            (r#"{"type":"join","ref":7,"room":"p/r","history":201}"#, "`history`"),
            (r#"{"type":"message","ref":7,"room":"p/r","id":"x","body":1}"#, "`id`"),
            (r#"{"type":"message","ref":7,"room":"p/r","id":"0190a6b2-7c1e-7000-8000-000000000001"}"#, "`body`"),
            (r#"{"type":"presence","ref":7,"room":"p/r","state":[]}"#, "`state`"),
            (r#"{"type":"cursor","ref":7,"room":"p/r"}"#, "`position`"),
            (r#"{"type":"read","ref":7,"room":"p/r","seq":1.5}"#, "`seq`"),
        ] {
            let fault = refusal(text);
            assert_eq!((fault.code, fault.reference), (ErrorCode::BadFrame, Some(7)), "{text}");
            assert!(fault.message.contains(word), "{text}: {}", fault.message);
        }
    }

    #[test]
    fn what_is_no_object_or_too_deep_or_too_large_is_refused() {
        for text in ["", "[]", "null", "1", "{", r#"{"type":"heartbeat"} x"#, "\u{feff}{}"] {
            assert_eq!(refusal(text).code, ErrorCode::BadFrame, "{text:?}");
        }
        let deep = format!(r#"{{"type":"heartbeat","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(refusal(&deep).message.contains("nested"));
        let wide = format!(r#"{{"type":"cursor","room":"p/r","position":{{"x":"{}"}}}}"#, "y".repeat(2_000));
        assert_eq!(refusal(&wide).code, ErrorCode::TooLarge);
        assert_eq!(refusal(r#"{"type":"dance"}"#).code, ErrorCode::UnknownType);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_odd_object_makes_it_panic(kind in "[a-z\\\\\"]{0,9}", room in ".{0,9}", n in any::<i128>()) {
            let text = format!(r#"{{"type":"{kind}","room":"{room}","seq":{n},"ref":{n}}}"#);
            let _ = parse(&text);
        }
    }
}
