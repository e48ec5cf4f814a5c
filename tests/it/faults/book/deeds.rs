//! What a client does of its own accord: as chance has it, as its habits are, and when it is time.

use std::time::{Duration, Instant};

use rand::Rng as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Asked, Book, Habits, Outgoing, Todo};
use crate::faults::transcript::{Room, What};

/// An answer that has not come by then is asked for again.
const OVERDUE: Duration = Duration::from_secs(3);
/// What waits in one room while the hub is away, at most: people do not write more.
const WAITING_MAX: usize = 4;
/// The longest pad of a message, in characters.
const PAD_MAX: usize = 200;

impl Book {
    /// Does one thing, as chance has it.
    pub fn act(&mut self, now: Instant) -> Todo {
        let mut todo = Todo::default();
        let rooms: Vec<Room> = self.seats.keys().cloned().collect();
        let room = rooms[self.chance.random_range(0..rooms.len())].clone();
        let Habits { updates, cursors, broadcasts, leaves, reloads, goodbyes } = self.habits;
        let mut left = self.chance.random_range(0..1_000u32);
        // What is rolled does not depend on what the hub does, so that a seed decides it.
        let (number, pad) = (self.chance.random_range(0..1_000u32), self.chance.random_range(0..PAD_MAX));
        let id = uuid::Builder::from_random_bytes(self.chance.random()).into_uuid();
        let mut rolled = |share: u32| {
            let hit = left < share;
            left = left.saturating_sub(share);
            hit
        };
        if rolled(updates) {
            self.become_(&room, json!({"page": number}), now, &mut todo);
        } else if rolled(cursors) {
            self.say_in(&room, json!({"type": "cursor", "room": &*room, "position": {"x": number}}), &mut todo);
        } else if rolled(broadcasts) {
            self.say_in(&room, json!({"type": "broadcast", "room": &*room, "event": "e", "data": number}), &mut todo);
        } else if rolled(leaves) {
            self.leave(&room, now + Duration::from_millis(200 + u64::from(number)), now, &mut todo);
        } else if rolled(reloads) {
            todo.hang_up = self.live.is_some().then_some(None);
        } else if rolled(goodbyes) {
            todo.hang_up = self.live.is_some().then_some(Some(1000));
        } else {
            self.write(&room, id, pad, now, &mut todo);
        }
        todo
    }

    /// How long until the next thing is done.
    pub fn pause(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(self.chance.random_range(0.5..1.5))
    }

    /// A random part of a wait.
    pub fn part_of(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(self.chance.random_range(0.5..1.0))
    }

    /// What time brings: answers that are overdue, refusals to be tried again, rooms to come back to.
    pub fn tick(&mut self, now: Instant) -> Todo {
        let mut todo = Todo::default();
        if self.live.is_none() {
            return todo;
        }
        let rooms: Vec<Room> = self.seats.keys().cloned().collect();
        for room in &rooms {
            let Some(seat) = self.seats.get_mut(room) else { continue };
            for outgoing in &mut seat.waiting {
                if outgoing.sent.is_some_and(|sent| sent + OVERDUE <= now) {
                    outgoing.sent = None;
                }
            }
            let back = seat.away_until.is_some_and(|until| until <= now) && !seat.joined;
            let again = seat.join_at.is_some_and(|at| at <= now);
            if back || again {
                seat.away_until = None;
                seat.join_at = None;
                self.join(room, now, &mut todo);
            }
            self.post_next(room, now, &mut todo);
        }
        todo
    }

    /// Nothing new is begun; who is away comes back at once.
    pub fn come_home(&mut self, now: Instant) {
        for seat in self.seats.values_mut().filter(|seat| seat.away_until.is_some()) {
            seat.away_until = Some(now);
        }
    }

    fn ask(&mut self, mut frame: Value, asked: Asked, todo: &mut Todo) {
        self.next_ref += 1;
        frame["ref"] = self.next_ref.into();
        self.asked.insert(self.next_ref, asked);
        todo.say.push(frame);
    }

    pub(super) fn join(&mut self, room: &Room, now: Instant, todo: &mut Todo) {
        let seat = &self.seats[room];
        let mut frame = json!({"type": "join", "room": &**room, "presence": seat.state});
        let since = seat.head;
        match since {
            Some(head) => frame["since"] = head.into(),
            None => frame["history"] = 50.into(),
        }
        let state = seat.state.clone();
        self.note(now, What::AskedIn { room: room.clone(), state });
        self.ask(frame, Asked::Join(room.clone(), since), todo);
    }

    /// Leaves a room where nothing waits to be sent.
    fn leave(&mut self, room: &Room, back: Instant, now: Instant, todo: &mut Todo) {
        let Some(seat) = self.seats.get_mut(room) else { return };
        if !seat.joined || seat.leaving || !seat.waiting.is_empty() {
            return;
        }
        (seat.leaving, seat.away_until) = (true, Some(back));
        self.note(now, What::AskedOut { room: room.clone() });
        self.ask(json!({"type": "leave", "room": &**room}), Asked::Leave, todo);
    }

    fn become_(&mut self, room: &Room, state: Value, now: Instant, todo: &mut Todo) {
        let Some(seat) = self.seats.get_mut(room).filter(|seat| seat.joined && !seat.leaving) else { return };
        seat.state = state.clone();
        self.note(now, What::Became { room: room.clone(), state: state.clone() });
        self.ask(json!({"type": "presence", "room": &**room, "state": state}), Asked::Presence, todo);
    }

    fn say_in(&self, room: &Room, frame: Value, todo: &mut Todo) {
        if self.seats[room].joined && !self.seats[room].leaving {
            todo.say.push(frame);
        }
    }

    /// Writes a message: it goes now, or when the room is joined and those before it are acknowledged.
    fn write(&mut self, room: &Room, id: Uuid, pad: usize, now: Instant, todo: &mut Todo) {
        let client = self.transcript.client;
        let Some(seat) = self.seats.get_mut(room) else { return };
        if seat.waiting.len() >= WAITING_MAX || seat.away_until.is_some() {
            return;
        }
        seat.said += 1;
        let body = json!({"client": client, "n": seat.said, "pad": "·".repeat(pad)});
        seat.waiting.push_back(Outgoing { id, body, sent: None });
        self.post_next(room, now, todo);
    }

    pub(super) fn post_next(&mut self, room: &Room, now: Instant, todo: &mut Todo) {
        let Some(seat) = self.seats.get_mut(room) else { return };
        if !seat.joined || seat.leaving || seat.not_before.is_some_and(|at| now < at) {
            return;
        }
        let Some(next) = seat.waiting.front_mut().filter(|next| next.sent.is_none()) else { return };
        next.sent = Some(now);
        let (id, body) = (next.id, next.body.clone());
        self.note(now, What::Sent { room: room.clone(), id, body: body.clone() });
        let frame = json!({"type": "message", "room": &**room, "id": id, "body": body});
        self.ask(frame, Asked::Message(room.clone()), todo);
    }
}
