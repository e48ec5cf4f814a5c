//! What the same room on different instances say to each other, as JSON on the room's channel.
//!
//! An [`Envelope`] names the instance and carries events in order. A room that starts, or whose bus came back, says
//! [`Event::Hello`] with all it owns and where its order ends; everybody answers with [`Event::Full`]. After that only
//! changes travel, and a beat that tells a receiver whether it missed one.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::{Member, PeerDiff};
use crate::{
    ids::{ConnectionId, InstanceId, Seq, UserId},
    protocol::{Json, outbound::EncodedMessage},
};

/// One publication.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Who says it. First field, so that a room knows its own words without parsing them.
    pub from: InstanceId,
    /// What, in order.
    pub events: Vec<Event>,
}

/// All a room owns on one instance.
#[derive(Debug, Serialize, Deserialize)]
pub struct Holdings {
    /// Its presence revision.
    pub revision: u64,
    /// Its own connections.
    pub members: Vec<(ConnectionId, Member)>,
    /// Where their cursors are.
    pub cursors: Vec<(ConnectionId, Json)>,
    /// The `seq` its order reaches.
    pub head: Seq,
}

/// One thing said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// I am new here or was away; this is what I have. Answer with what you have.
    Hello(Holdings),
    /// This is what I have.
    Full(Holdings),
    /// I missed something of `of`: say all you have.
    Ask {
        /// Who is asked.
        of: InstanceId,
    },
    /// What changed among my connections.
    Diff(PeerDiff),
    /// A message became durable here: its frame's JSON.
    Message {
        /// Its place.
        seq: Seq,
        /// The `message` frame.
        frame: Box<RawValue>,
    },
    /// Cursors that moved here; `null` hides.
    Cursors(Vec<(ConnectionId, Option<Json>)>),
    /// An ephemeral event from here: its frame's JSON.
    Broadcast {
        /// The `broadcast` frame.
        frame: Box<RawValue>,
    },
    /// A read marker moved here.
    Read {
        /// Whose.
        user_id: UserId,
        /// To where.
        seq: Seq,
    },
    /// I am there.
    Beat {
        /// My presence revision.
        revision: u64,
        /// How many connections I own.
        connections: usize,
        /// The `seq` my order reaches.
        head: Seq,
    },
    /// I go away in good order; my people have this long to come back elsewhere.
    HandOver {
        /// Milliseconds.
        grace_ms: u64,
    },
}

impl Event {
    /// A durable message for the bus. Its own encoding is valid JSON; were it not, the message would be healed from the
    /// store, so `None` loses nothing.
    pub fn message(message: &EncodedMessage) -> Option<Self> {
        RawValue::from_string(message.json().to_owned()).ok().map(|frame| Self::Message { seq: message.seq, frame })
    }
}

/// How every text of an instance begins.
pub fn own_prefix(instance: InstanceId) -> String {
    format!(r#"{{"from":"{instance}","#)
}

/// Encodes what an instance says.
pub fn encode(from: InstanceId, events: Vec<Event>) -> String {
    serde_json::to_string(&Envelope { from, events }).unwrap_or_default() // our own types, map keys are none
}

/// Reads what an instance said; `None` for what is not ours to understand (another version, a foreign publisher).
pub fn decode(text: &str) -> Option<Envelope> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::User;

    #[test]
    fn events_survive_the_bus() {
        let here = InstanceId::random();
        let json = |text: &str| -> Json { RawValue::from_string(text.into()).unwrap().into() };
        let user =
            User { user_id: "u".parse().unwrap(), name: "Ü \"q\"".into(), color: "#fff".into(), avatar_url: None };
        let member = Member { user: user.into(), state: json(r#"{"a":[1]}"#), joined_at: crate::clock::now_utc() };
        let id = ConnectionId::random();
        let holdings = || Holdings {
            revision: 3,
            members: vec![(id, member.clone())],
            cursors: vec![(id, json(r#"{"x":1}"#))],
            head: 9,
        };
        let events = vec![
            Event::Hello(holdings()),
            Event::Full(holdings()),
            Event::Ask { of: here },
            Event::Diff(PeerDiff { revision: 4, set: vec![(id, member.clone())], gone: vec![] }),
            Event::message(&EncodedMessage::from_json(7, r#"{"type":"message","seq":7}"#)).unwrap(),
            Event::Cursors(vec![(id, None), (id, Some(json("{}")))]),
            Event::Read { user_id: "u".parse().unwrap(), seq: 5 },
            Event::Beat { revision: 4, connections: 1, head: 9 },
            Event::HandOver { grace_ms: 5_000 },
        ];
        let text = encode(here, events);
        assert!(text.starts_with(&own_prefix(here)));
        let back = decode(&text).unwrap();
        assert_eq!(encode(back.from, back.events), text);
    }

    #[test]
    fn foreign_texts_are_no_event() {
        for text in ["", "{}", "null", r#"{"from":"x","events":[]}"#, r#"{"from":"00","events":[{"dance":1}]}"#] {
            assert!(decode(text).is_none(), "{text}");
        }
    }
}
