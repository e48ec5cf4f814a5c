//! `joined`, the largest frame there is, for crowds: what all who join at the same moment are told is encoded once.
//!
//! A joiner's own part is a hundred bytes in front. Members and cursors are the same for all; of the messages each gets the
//! end that it missed, which is a slice of the same bytes. So a thousand people who come back at once cost one encoding
//! and hold one copy.

use bytes::Bytes;
use serde::Serialize;

use super::{
    SharedTail,
    outbound::{CursorEntry, EncodedMessage, MemberEntry},
};
use crate::ids::{RoomId, Seq};

/// What all who join at the same moment share.
pub struct JoinedView {
    /// `"members_total":1,"members":[…],"cursors":[…],"messages":[`.
    view: Bytes,
    /// `{…},{…}]}`.
    messages: Bytes,
    /// Where in `messages` each one starts.
    starts: Vec<usize>,
    /// The room's last message.
    head: Seq,
}

impl JoinedView {
    /// Encodes the members (already cut to the limit), the cursors, and the latest messages, which ascend without holes up
    /// to `head`: nobody gets an older one.
    pub fn new<'m>(
        members_total: usize,
        members: &[MemberEntry<'_>],
        cursors: &[CursorEntry<'_>],
        room: &RoomId,
        head: Seq,
        messages: impl Iterator<Item = &'m EncodedMessage>,
    ) -> Self {
        #[derive(Serialize)]
        struct View<'a> {
            members_total: usize,
            members: &'a [MemberEntry<'a>],
            cursors: &'a [CursorEntry<'a>],
        }
        let view = serde_json::to_vec(&View { members_total, members, cursors }).unwrap_or_default(); // plain structs
        let inner = view.get(1..view.len().saturating_sub(1)).unwrap_or_default();
        let mut entries = Vec::new();
        let mut starts = Vec::new();
        for message in messages {
            if !starts.is_empty() {
                entries.push(b',');
            }
            starts.push(entries.len());
            message.write_entry(room, &mut entries);
        }
        entries.extend_from_slice(b"]}");
        Self { view: [inner, br#","messages":["#].concat().into(), messages: entries.into(), starts, head }
    }

    /// How many of the latest messages are at hand.
    pub fn message_count(&self) -> usize {
        self.starts.len()
    }

    /// `joined` for one joiner, with the latest `count` messages, at most as many as are at hand.
    pub fn joined(&self, reference: Option<i64>, room: &RoomId, recovered: bool, count: usize) -> SharedTail {
        let reference = reference.map(|reference| format!(r#""ref":{reference},"#)).unwrap_or_default();
        let head = self.head;
        let start =
            format!(r#"{{"type":"joined",{reference}"room":"{}","seq":{head},"recovered":{recovered},"#, room.as_str());
        let skipped = self.starts.len().saturating_sub(count);
        let none = self.messages.len() - b"]}".len();
        let from = self.starts.get(skipped).copied().unwrap_or(none);
        SharedTail::text(&start, self.view.clone(), self.messages.slice(from..))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn joined(view: &JoinedView, reference: Option<i64>, recovered: bool, count: usize) -> Value {
        let frame = view.joined(reference, &"p/r".parse().unwrap(), recovered, count);
        let bytes = frame.parts().concat();
        let header = if bytes[1] == 126 { 4 } else { 2 };
        serde_json::from_slice(&bytes[header..]).unwrap()
    }

    #[test]
    fn each_gets_the_end_that_it_missed() {
        let room: RoomId = "p/r".parse().unwrap();
        let message = |seq: Seq| {
            EncodedMessage::from_json(seq, &format!(r#"{{"type":"message","room":"p/r","seq":{seq},"body":"hé"}}"#))
        };
        let messages: Vec<_> = (40..=42).map(message).collect();
        let view = JoinedView::new(7, &[], &[], &room, 42, messages.iter());
        assert_eq!(view.message_count(), 3);
        for (count, seqs) in [(0, 43..43), (1, 42..43), (2, 41..43), (3, 40..43), (9, 40..43)] {
            let expected: Vec<_> = seqs.map(|seq| json!({"seq": seq, "body": "hé"})).collect();
            assert_eq!(
                joined(&view, Some(1), true, count),
                json!({"type": "joined", "ref": 1, "room": "p/r", "seq": 42, "recovered": true, "members_total": 7,
                    "members": [], "cursors": [], "messages": expected})
            );
        }
    }

    #[test]
    fn an_empty_room_has_no_messages() {
        let view = JoinedView::new(0, &[], &[], &"p/r".parse().unwrap(), 0, [].into_iter());
        assert_eq!(
            joined(&view, None, false, 50),
            json!({"type": "joined", "room": "p/r", "seq": 0, "recovered": false, "members_total": 0, "members": [],
                "cursors": [], "messages": []})
        );
    }
}
