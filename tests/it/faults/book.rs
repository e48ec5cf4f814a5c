//! What a client knows and wants: its seats in rooms, what waits to be sent, and its transcript. It keeps the rules of the
//! browser library (one message of a room on its way at a time; the same id until it is acknowledged; resume from the
//! last message it has), and it does no input or output: frames in, frames out, time as an argument. What it does of its
//! own accord is in `deeds`.

mod deeds;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use serde::Deserialize as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    transcript::{Entry, Room, Seen, Side, Transcript, What},
    view::View,
};
use crate::support::frames::{Change, Joined, Message};

/// How often a client does what, out of a thousand things it does. The rest is messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Changes its state.
    pub updates: u32,
    /// Moves its cursor.
    pub cursors: u32,
    /// Says something ephemeral.
    pub broadcasts: u32,
    /// Leaves a room, to be back a moment later.
    pub leaves: u32,
    /// Drops the connection, as a reload does.
    pub reloads: u32,
    /// Closes the connection for good, and comes again.
    pub goodbyes: u32,
}

impl Habits {
    /// People who stay where they are.
    pub const STEADY: Self = Self { updates: 80, cursors: 40, broadcasts: 20, leaves: 0, reloads: 0, goodbyes: 0 };
    /// People who come and go as well.
    pub const LIVELY: Self = Self { leaves: 20, reloads: 6, goodbyes: 3, ..Self::STEADY };
}

/// What is to be done after something happened.
#[derive(Debug, Default)]
pub struct Todo {
    pub say: Vec<Value>,
    /// Ends the connection, with a close code or without a word.
    pub hang_up: Option<Option<u16>>,
}

/// A place in a room.
#[derive(Debug, Default)]
pub struct Seat {
    /// Left on purpose: back at that time.
    away_until: Option<Instant>,
    leaving: bool,
    pub joined: bool,
    /// A refused join is tried again then.
    join_at: Option<Instant>,
    pub head: Option<u64>,
    pub state: Value,
    pub view: View,
    waiting: VecDeque<Outgoing>,
    not_before: Option<Instant>,
    said: u64,
}

#[derive(Debug)]
struct Outgoing {
    id: Uuid,
    body: Value,
    sent: Option<Instant>,
}

enum Asked {
    Join(Room, Option<u64>),
    Leave,
    Message(Room),
    Presence,
}

/// The connection as it is now.
#[derive(Debug, Clone)]
pub struct Live {
    pub connection: String,
    pub user_id: String,
}

/// A client's book.
pub struct Book {
    pub transcript: Transcript,
    pub seats: BTreeMap<Room, Seat>,
    pub live: Option<Live>,
    /// For how long the hub, on its way down, told us to stay away at most.
    pub drain: Option<Duration>,
    /// How many messages were acknowledged to it.
    pub acked: u64,
    /// The last `status` of this connection gave reasons.
    degraded: bool,
    habits: Habits,
    chance: StdRng,
    asked: HashMap<i64, Asked>,
    next_ref: i64,
}

impl Book {
    pub fn new(client: usize, rooms: impl IntoIterator<Item = Room>, habits: Habits, seed: u64) -> Self {
        let state = json!({"page": 0});
        let seats = rooms.into_iter().map(|room| (room, Seat { state: state.clone(), ..Seat::default() })).collect();
        Self {
            transcript: Transcript { client, entries: Vec::new() },
            seats,
            live: None,
            drain: None,
            acked: 0,
            degraded: false,
            habits,
            chance: StdRng::seed_from_u64(seed),
            asked: HashMap::new(),
            next_ref: 0,
        }
    }

    fn note(&mut self, at: Instant, what: What) {
        self.transcript.entries.push(Entry { at, what });
    }

    // --- the connection ---

    /// `welcome` came: joins all rooms again.
    pub fn connected(&mut self, welcome: &Value, side: Option<Side>, now: Instant) -> Todo {
        let text = |value: &Value| value.as_str().expect("text in the welcome").to_owned();
        let (connection, user_id) = (text(&welcome["connection_id"]), text(&welcome["user"]["user_id"]));
        self.note(now, What::Connected { connection: connection.clone(), user_id: user_id.clone(), side });
        self.live = Some(Live { connection, user_id });
        (self.drain, self.degraded) = (None, false);
        let mut todo = Todo::default();
        let rooms: Vec<Room> = self.seats.keys().cloned().collect();
        for room in rooms {
            if self.seats[&room].away_until.is_none() {
                self.join(&room, now, &mut todo);
            }
        }
        todo
    }

    /// There was no way in.
    pub fn shut_out(&mut self, now: Instant) {
        self.note(now, What::ShutOut);
    }

    /// The connection is over, by whomever.
    pub fn disconnected(&mut self, how: What, now: Instant) {
        self.note(now, how);
        self.live = None;
        self.asked.clear();
        for seat in self.seats.values_mut() {
            seat.joined = false;
            seat.leaving = false;
            seat.join_at = None;
            seat.not_before = None;
            for outgoing in &mut seat.waiting {
                outgoing.sent = None; // nobody knows whether it arrived
            }
        }
    }

    /// Everything that was written is acknowledged, every room is joined, and nothing is said to be wrong.
    pub fn is_settled(&self) -> bool {
        self.live.is_some()
            && !self.degraded
            && self.seats.values().all(|seat| seat.joined && !seat.leaving && seat.waiting.is_empty())
    }

    // --- what comes ---

    /// A frame of the hub.
    pub fn heard(&mut self, frame: &Value, now: Instant) -> Todo {
        let mut todo = Todo::default();
        let room = || Room::from(frame["room"].as_str().unwrap_or_default());
        match frame["type"].as_str().unwrap_or_default() {
            "message" => self.told(&room(), frame, now, &mut todo),
            "ack" => self.acked(room(), frame, now, &mut todo),
            "joined" => self.joined(&room(), frame, now, &mut todo),
            "presence" => {
                let (room, changes) = (room(), Change::of_frame(frame));
                if let Some(seat) = self.seats.get_mut(&room) {
                    for change in &changes {
                        let _ = seat.view.apply(change); // what is wrong with it is for the judge
                    }
                }
                self.note(now, What::Changed { room, changes: changes.into() });
            }
            "left" => {
                let room = room();
                self.asked.remove(&frame["ref"].as_i64().unwrap_or_default());
                if let Some(seat) = self.seats.get_mut(&room) {
                    (seat.joined, seat.leaving) = (false, false);
                }
                self.note(now, What::Left { room });
            }
            "status" => {
                let reasons = Vec::<String>::deserialize(&frame["reasons"]).unwrap_or_default();
                self.degraded = !reasons.is_empty();
                self.note(now, What::Status { reasons });
            }
            "drain" => {
                let after_ms = frame["reconnect_after_ms"].as_u64().unwrap_or_default();
                self.drain = Some(Duration::from_millis(after_ms));
                self.note(now, What::Drain { after_ms });
            }
            "error" => self.refused(frame, now),
            _ => {}
        }
        todo
    }

    fn told(&mut self, room: &Room, frame: &Value, now: Instant, todo: &mut Todo) {
        let message = Message::deserialize(frame).expect("a message");
        if let Some(seat) = self.seats.get_mut(room) {
            seat.head = seat.head.max(Some(message.seq));
            seat.settle(&message.id);
        }
        self.note(now, What::Told { room: room.clone(), message });
        self.post_next(room, now, todo);
    }

    fn acked(&mut self, room: Room, frame: &Value, now: Instant, todo: &mut Todo) {
        self.asked.remove(&frame["ref"].as_i64().unwrap_or_default());
        let id = frame["id"].as_str().unwrap_or_default();
        if let Some(seat) = self.seats.get_mut(&room) {
            seat.settle(id);
        }
        self.acked += 1;
        let id = id.parse().unwrap_or_default();
        let (seq, duplicate) = (frame["seq"].as_u64().unwrap_or_default(), frame["duplicate"] == true);
        self.note(now, What::Acked { room: room.clone(), id, seq, duplicate });
        self.post_next(&room, now, todo);
    }

    fn joined(&mut self, room: &Room, frame: &Value, now: Instant, todo: &mut Todo) {
        let asked = self.asked.remove(&frame["ref"].as_i64().unwrap_or_default());
        let since = if let Some(Asked::Join(_, since)) = asked { since } else { None };
        let Joined { seq, recovered, members, messages, .. } = Joined::deserialize(frame).expect("a joined frame");
        let members: Vec<(String, Seen)> = members
            .into_iter()
            .flat_map(|member| {
                let user_id = member.user.user_id;
                member.connections.into_iter().map(move |connection| {
                    (connection.connection_id, Seen { user_id: user_id.clone(), state: connection.state })
                })
            })
            .collect();
        if let Some(seat) = self.seats.get_mut(room) {
            seat.joined = true;
            seat.head = Some(seq);
            seat.view = View::of(members.iter().cloned());
            messages.iter().for_each(|message| seat.settle(&message.id));
        }
        self.note(now, What::Joined { room: room.clone(), since, seq, recovered, messages, members });
        self.post_next(room, now, todo);
    }

    fn refused(&mut self, frame: &Value, now: Instant) {
        let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
        self.note(now, What::Refused { code: text("code"), message: text("message") });
        let again = now + Duration::from_millis(frame["retry_after_ms"].as_u64().unwrap_or(500));
        match self.asked.remove(&frame["ref"].as_i64().unwrap_or_default()) {
            Some(Asked::Join(room, _)) => {
                if let Some(seat) = self.seats.get_mut(&room) {
                    seat.join_at = Some(again);
                }
            }
            Some(Asked::Message(room)) => {
                if let Some(seat) = self.seats.get_mut(&room) {
                    seat.not_before = Some(again);
                    seat.waiting.iter_mut().for_each(|outgoing| outgoing.sent = None);
                }
            }
            Some(Asked::Leave | Asked::Presence) | None => {}
        }
    }
}

impl Seat {
    /// Left on purpose, or about to.
    pub fn is_away(&self) -> bool {
        self.away_until.is_some()
    }

    /// The message is durable: by its `ack`, or because it came.
    fn settle(&mut self, id: &str) {
        if self.waiting.front().is_some_and(|next| id.parse() == Ok(next.id)) {
            self.waiting.pop_front();
        }
    }
}
