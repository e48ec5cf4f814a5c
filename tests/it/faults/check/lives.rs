//! The truth about who was where: each connection's stays in rooms, by its own transcript.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use serde_json::Value;

use crate::faults::transcript::{Room, Seen, Side, Transcript, What};

/// How a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By `leave`, or a close for good.
    Left,
    /// Without goodbye.
    Dropped,
}

/// A connection's stay in a room.
#[derive(Debug, Clone)]
pub struct Stay {
    pub connection: String,
    pub user_id: String,
    pub side: Option<Side>,
    /// When it was asked for.
    pub from: Instant,
    pub until: Option<(Instant, How)>,
    confirmed: bool,
    state: Value,
}

/// All stays.
#[derive(Debug, Default)]
pub struct Lives {
    by_room: HashMap<Room, Vec<Stay>>,
}

impl Lives {
    pub fn of(transcripts: &[Transcript]) -> Self {
        let mut this = Self::default();
        for transcript in transcripts {
            this.read(transcript);
        }
        this
    }

    fn read(&mut self, transcript: &Transcript) {
        let mut current: Option<(&str, &str, Option<Side>)> = None;
        let mut open: HashMap<&Room, usize> = HashMap::new();
        for entry in &transcript.entries {
            match &entry.what {
                What::Connected { connection, user_id, side } => current = Some((connection, user_id, *side)),
                What::AskedIn { room, state } => {
                    let (Some((connection, user_id, side)), false) = (current, open.contains_key(room)) else {
                        continue;
                    };
                    let stays = self.by_room.entry(room.clone()).or_default();
                    open.insert(room, stays.len());
                    stays.push(Stay {
                        connection: connection.to_owned(),
                        user_id: user_id.to_owned(),
                        side,
                        from: entry.at,
                        until: None,
                        confirmed: false,
                        state: state.clone(),
                    });
                }
                What::Joined { room, .. } => self.change(&open, room, |stay| stay.confirmed = true),
                What::Became { room, state } => self.change(&open, room, |stay| stay.state = state.clone()),
                What::AskedOut { room } => {
                    self.change(&open, room, |stay| stay.until = Some((entry.at, How::Left)));
                    open.remove(room);
                }
                What::Lost { .. } | What::HungUp { .. } => {
                    let goodbye = matches!(entry.what, What::HungUp { code: Some(1000) });
                    let how = if goodbye { How::Left } else { How::Dropped };
                    for (room, _) in open.clone() {
                        self.change(&open, room, |stay| stay.until = Some((entry.at, how)));
                    }
                    open.clear();
                    current = None;
                }
                _ => {}
            }
        }
    }

    fn change(&mut self, open: &HashMap<&Room, usize>, room: &Room, change: impl FnOnce(&mut Stay)) {
        if let (Some(at), Some(stays)) = (open.get(room), self.by_room.get_mut(room)) {
            change(&mut stays[*at]);
        }
    }

    /// The stays of one connection in a room.
    pub fn of_connection<'a>(&'a self, room: &Room, connection: &'a str) -> impl Iterator<Item = &'a Stay> {
        self.in_room(room).filter(move |stay| stay.connection == connection)
    }

    /// The stays of one user in a room.
    pub fn of_user<'a>(&'a self, room: &Room, user_id: &'a str) -> impl Iterator<Item = &'a Stay> {
        self.in_room(room).filter(move |stay| stay.user_id == user_id)
    }

    /// Who is in the room at the end.
    pub fn at_the_end(&self, room: &Room) -> BTreeMap<String, Seen> {
        let here = self.in_room(room).filter(|stay| stay.until.is_none() && stay.confirmed);
        here.map(|stay| (stay.connection.clone(), Seen { user_id: stay.user_id.clone(), state: stay.state.clone() }))
            .collect()
    }

    fn in_room(&self, room: &Room) -> impl Iterator<Item = &Stay> {
        self.by_room.get(room).into_iter().flatten()
    }
}
