//! The cursor lane: the latest position of each connection, and which of them moved since the last tick.
//!
//! Positions of this instance's connections go to the bus as well; those of others came from there.

use std::collections::HashMap;

use crate::{
    ids::{ConnectionId, RoomId},
    protocol::{
        Frame, Json,
        outbound::{self, CursorEntry},
    },
};

/// A position, or `None` when the cursor was hidden.
pub type Move = (ConnectionId, Option<Json>);

/// The `cursors` frame of these moves.
pub fn frame(room: &RoomId, moves: &[Move]) -> Frame {
    let entries: Vec<_> = moves
        .iter()
        .map(|(connection_id, position)| CursorEntry { connection_id: *connection_id, position: position.as_ref() })
        .collect();
    outbound::cursors(room, &entries)
}

/// Latest wins, per connection.
#[derive(Debug, Default)]
pub struct Cursors {
    shown: HashMap<ConnectionId, Json>,
    /// Who moved since the last tick, and whether here.
    moved: HashMap<ConnectionId, bool>,
}

impl Cursors {
    /// Takes a move of a connection of this instance (`local`) or of another.
    pub fn place(&mut self, connection: ConnectionId, position: Option<Json>, local: bool) {
        match position {
            Some(position) => {
                self.shown.insert(connection, position);
            }
            None if self.shown.remove(&connection).is_none() => return,
            None => {}
        }
        self.moved.insert(connection, local);
    }

    /// The connection left: its `leaves` entry says so, no cursor frame is needed.
    pub fn remove(&mut self, connection: ConnectionId) {
        self.shown.remove(&connection);
        self.moved.remove(&connection);
    }

    /// Whether a tick would send anything.
    pub fn is_quiet(&self) -> bool {
        self.moved.is_empty()
    }

    /// Everything shown, for those who join.
    pub fn shown(&self) -> impl Iterator<Item = (ConnectionId, &Json)> {
        self.shown.iter().map(|(connection, position)| (*connection, position))
    }

    /// What moved since the last call; the flag says whether here.
    pub fn take_moved(&mut self) -> Vec<(Move, bool)> {
        std::mem::take(&mut self.moved)
            .into_iter()
            .map(|(connection, local)| ((connection, self.shown.get(&connection).cloned()), local))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn at(x: u32) -> Option<Json> {
        Some(RawValue::from_string(format!(r#"{{"x":{x}}}"#)).unwrap().into())
    }

    #[test]
    fn the_latest_position_wins_and_leaves_once() {
        let (a, b) = (ConnectionId::random(), ConnectionId::random());
        let mut cursors = Cursors::default();
        cursors.place(a, at(1), true);
        cursors.place(a, at(2), true);
        cursors.place(b, at(9), false);
        let moved: HashMap<_, _> =
            cursors.take_moved().into_iter().map(|((id, position), local)| (id, (position.unwrap(), local))).collect();
        assert_eq!((moved[&a].0.get(), moved[&a].1), (r#"{"x":2}"#, true));
        assert!(!moved[&b].1);
        assert!(cursors.is_quiet() && cursors.take_moved().is_empty());
        assert_eq!(cursors.shown().count(), 2);
    }

    #[test]
    fn hiding_is_told_once_and_a_leave_not_at_all() {
        let a = ConnectionId::random();
        let mut cursors = Cursors::default();
        cursors.place(a, None, true);
        assert!(cursors.is_quiet(), "what was never shown need not be hidden");
        cursors.place(a, at(1), true);
        cursors.take_moved();
        cursors.place(a, None, true);
        assert_eq!(cursors.take_moved().len(), 1);
        cursors.place(a, at(1), true);
        cursors.remove(a);
        assert!(cursors.is_quiet() && cursors.shown().next().is_none());
    }
}
