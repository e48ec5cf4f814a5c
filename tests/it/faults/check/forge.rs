//! Forged runs: what clients of a faultless hub would write down, to be spoilt one thing at a time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use uuid::Uuid;

use super::{Account, Rules, Run};
use crate::{
    faults::{
        transcript::{Entry, Room, Seen, Side, Transcript, What},
        view::View,
    },
    support::frames::{Change, From, Message},
};

/// Times of the forged hub.
pub(super) const RULES: Rules = Rules {
    ttl: Duration::from_secs(2),
    grace: Duration::from_secs(1),
    tail: Duration::from_secs(2),
    hole: Some(Duration::from_secs(1)),
    notice: Duration::from_secs(2),
    notice_database: Duration::from_secs(2),
};

/// A hub without fault, of as many clients as are needed, each on the side of its number's parity.
pub(super) struct Forge {
    begin: Instant,
    now: Duration,
    transcripts: Vec<Transcript>,
    connections: BTreeMap<usize, String>,
    histories: BTreeMap<Room, Vec<Message>>,
    members: BTreeMap<Room, View>,
    connected: usize,
    said: u64,
}

impl Forge {
    pub(super) fn new(clients: usize) -> Self {
        let transcripts = (0..clients).map(|client| Transcript { client, entries: Vec::new() }).collect();
        Self {
            begin: Instant::now(),
            now: Duration::ZERO,
            transcripts,
            connections: BTreeMap::new(),
            histories: BTreeMap::new(),
            members: BTreeMap::new(),
            connected: 0,
            said: 0,
        }
    }

    /// Three clients in a room with a few messages: something to spoil.
    pub(super) fn small() -> Self {
        let mut forge = Self::new(3);
        for client in 0..3 {
            forge.connect(client);
            forge.join(client, "p/r");
        }
        for n in 0..6 {
            forge.send(n % 3, "p/r");
        }
        forge
    }

    /// Time passes; a little does with everything that happens.
    pub(super) fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    pub(super) fn at(&self) -> Instant {
        self.begin + self.now
    }

    pub(super) fn note(&mut self, client: usize, what: What) {
        self.now += Duration::from_millis(5);
        let at = self.at();
        self.transcripts[client].entries.push(Entry { at, what });
    }

    pub(super) fn connection(&self, client: usize) -> &str {
        &self.connections[&client]
    }

    pub(super) fn connect(&mut self, client: usize) {
        self.connected += 1;
        let connection = format!("c{}", self.connected);
        self.connections.insert(client, connection.clone());
        let side = Some(Side::BOTH[client % 2]);
        self.note(client, What::Connected { connection, user_id: user(client), side });
    }

    pub(super) fn join(&mut self, client: usize, room: &str) {
        let room = Room::from(room);
        let state = json!({"page": 0});
        self.note(client, What::AskedIn { room: room.clone(), state: state.clone() });
        let joins = Change::Join {
            user_id: user(client),
            name: user(client),
            connection_id: self.connection(client).to_owned(),
            state,
            first: !self.has(&room, client),
        };
        self.tell(&room, client, &joins);
        let history = self.histories.entry(room.clone()).or_default().clone();
        let since = self.head(client, &room);
        let messages =
            history.iter().filter(|message| since.is_none_or(|since| message.seq > since)).cloned().collect();
        let members = self.members[&room].0.clone().into_iter().collect();
        let seq = history.len() as u64;
        self.note(client, What::Joined { room, since, seq, recovered: since.is_some(), messages, members });
    }

    pub(super) fn leave(&mut self, client: usize, room: &str) {
        let room = Room::from(room);
        self.note(client, What::AskedOut { room: room.clone() });
        self.note(client, What::Left { room: room.clone() });
        self.goes(client, &room, "left");
    }

    /// The connection ends, unseen by the others yet.
    pub(super) fn drop_off(&mut self, client: usize) {
        self.note(client, What::Lost { code: 1006 });
    }

    /// The others are told that a client's connection is gone.
    pub(super) fn goes(&mut self, client: usize, room: &str, reason: &str) {
        let connection_id = self.connection(client).to_owned();
        self.goes_as(client, &connection_id, room, reason);
    }

    pub(super) fn goes_as(&mut self, client: usize, connection_id: &str, room: &str, reason: &str) {
        let room = Room::from(room);
        let mut rest = self.members[&room].clone();
        rest.0.remove(connection_id);
        let last = !rest.0.values().any(|seen| seen.user_id == user(client));
        let (user_id, connection_id) = (user(client), connection_id.to_owned());
        self.tell(&room, client, &Change::Leave { user_id, connection_id, reason: reason.into(), last });
    }

    pub(super) fn send(&mut self, client: usize, room: &str) -> u64 {
        let room = Room::from(room);
        self.said += 1;
        let (id, body) = (Uuid::from_u128(self.said.into()), json!({"client": client, "n": self.said}));
        self.note(client, What::Sent { room: room.clone(), id, body: body.clone() });
        let history = self.histories.entry(room.clone()).or_default();
        let seq = history.len() as u64 + 1;
        let from = From { user_id: user(client), name: user(client), connection_id: None };
        let message = Message { seq, id: id.to_string(), from, body, sent_at: "now".into() };
        history.push(message.clone());
        for other in self.in_room(&room) {
            self.note(other, What::Told { room: room.clone(), message: message.clone() });
        }
        self.note(client, What::Acked { room, id, seq, duplicate: false });
        seq
    }

    pub(super) fn run(self) -> Run {
        let presences = self.members.iter().map(|(room, view)| (room.clone(), view.0.clone())).collect();
        let account = Account { histories: self.histories, presences };
        let accounts = Side::BOTH.into_iter().map(|side| (side, account.clone())).collect();
        Run { rules: RULES, transcripts: self.transcripts, accounts, troubles: Vec::new() }
    }

    fn tell(&mut self, room: &Room, about: usize, change: &Change) {
        for other in self.in_room(room).into_iter().filter(|other| *other != about) {
            self.note(other, What::Changed { room: room.clone(), changes: vec![change.clone()] });
        }
        let fault = self.members.entry(room.clone()).or_default().apply(change);
        assert_eq!(fault, None, "{change:?}");
    }

    fn has(&self, room: &Room, client: usize) -> bool {
        self.members.get(room).is_some_and(|view| view.0.values().any(|seen| seen.user_id == user(client)))
    }

    /// Who is joined, by their own notes.
    fn in_room(&self, room: &Room) -> Vec<usize> {
        let is_in = |transcript: &&Transcript| {
            let relevant = transcript.entries.iter().rev().find_map(|entry| match &entry.what {
                What::Joined { room: of, .. } if of == room => Some(true),
                What::Left { room: of } if of == room => Some(false),
                What::Lost { .. } | What::HungUp { .. } => Some(false),
                _ => None,
            });
            relevant == Some(true)
        };
        self.transcripts.iter().filter(is_in).map(|transcript| transcript.client).collect()
    }

    fn head(&self, client: usize, room: &Room) -> Option<u64> {
        self.transcripts[client].entries.iter().rev().find_map(|entry| match &entry.what {
            What::Joined { room: of, seq, .. } if of == room => Some(*seq),
            What::Told { room: of, message } if of == room => Some(message.seq),
            _ => None,
        })
    }
}

pub(super) fn user(client: usize) -> String {
    format!("u{client}")
}

/// A member for forged views.
pub(super) fn somebody() -> Seen {
    Seen { user_id: "u9".into(), state: json!({}) }
}
