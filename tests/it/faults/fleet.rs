//! Clients by the dozen: spread over rooms and instances, talking all the time, and what they wrote down in the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    book::{Book, Habits},
    check::Run,
    person::{Doors, Mode, Person, open},
    transcript::{Room, Seen, Side, Transcript},
    world::{World, presence},
};
use crate::support::{eventually, eventually_within, poll::PATIENCE};

/// How many clients there are.
const CLIENTS: usize = 54;
/// The last of them are second tabs of the first.
const SECOND_TABS: usize = 6;
const ROOMS: usize = 24;
const ROOMS_EACH: usize = 4;
/// The mean time between two things that a client does.
const PACE: Duration = Duration::from_millis(250);
/// What somebody waits between two things who does nothing.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
const LISTENERS_A_ROOM: usize = 10;

/// How a fleet is to be.
#[derive(Debug, Clone)]
pub struct Crew {
    /// The project that its rooms are in.
    pub project: String,
    pub habits: Habits,
    pub seed: u64,
    /// How many more there are who only listen, ten to a room of their own.
    pub listeners: usize,
    /// Where all connect; when empty, a third each to A, to B, and to either in turn.
    pub door: Doors,
}

impl Crew {
    pub fn new(habits: Habits) -> Self {
        Self { project: "fault".into(), habits, seed: 7, listeners: 0, door: Vec::new() }
    }
}

/// The clients.
pub struct Fleet {
    books: Vec<Arc<Mutex<Book>>>,
    tasks: Vec<JoinHandle<()>>,
    mode: watch::Sender<Mode>,
    pub rooms: Vec<Room>,
}

impl Fleet {
    /// Lets them in; they talk.
    pub async fn board(world: &World, crew: &Crew) -> Self {
        let named = |kind: &str, n: usize| Room::from(format!("{}/{kind}{n:02}", crew.project));
        let talking: Vec<Room> = (0..ROOMS).map(|n| named("r", n)).collect();
        let listening: Vec<Room> = (0..crew.listeners.div_ceil(LISTENERS_A_ROOM)).map(|n| named("quiet", n)).collect();
        let mode = watch::Sender::new(Mode::Talk);
        let mut fleet = Self { books: Vec::new(), tasks: Vec::new(), mode, rooms: Vec::new() };
        for client in 0..CLIENTS {
            let own = (0..ROOMS_EACH).map(|nth| talking[(client * 7 + nth * 5) % ROOMS].clone());
            let name = format!("person-{:02}", client % (CLIENTS - SECOND_TABS));
            fleet.take_in(world, crew, own.collect(), name, PACE);
        }
        for listener in 0..crew.listeners {
            let own = vec![listening[listener / LISTENERS_A_ROOM].clone()];
            fleet.take_in(world, crew, own, format!("listener-{listener}"), NEVER);
        }
        fleet.rooms.extend(talking.into_iter().chain(listening));
        let talks = |book: &Book| book.acked > 0 || book.seats.len() == 1;
        eventually("everybody is in and talks", async || fleet.all(talks).then_some(())).await;
        fleet.assembled().await;
        fleet
    }

    fn take_in(&mut self, world: &World, crew: &Crew, rooms: Vec<Room>, name: String, pace: Duration) {
        let client = self.books.len();
        let book = Book::new(client, rooms, crew.habits, crew.seed.wrapping_mul(1_000_003) ^ client as u64);
        let book = Arc::new(Mutex::new(book));
        let person = Person {
            name,
            doors: if crew.door.is_empty() { doors(world, client) } else { crew.door.clone() },
            book: Arc::clone(&book),
            mode: self.mode.subscribe(),
            pace,
            heartbeat: world.times.heartbeat,
        };
        self.books.push(book);
        self.tasks.push(tokio::spawn(person.live()));
    }

    /// Waits until so many more messages were acknowledged, to whomever.
    pub async fn talk(&self, more: u64) {
        let until = self.acked() + more;
        eventually(&format!("{more} more messages were acknowledged"), async || (self.acked() >= until).then_some(()))
            .await;
    }

    pub fn acked(&self) -> u64 {
        self.books.iter().map(|book| open(book).acked).sum()
    }

    /// Waits until everybody is connected and in all their rooms.
    pub async fn assembled(&self) {
        let assembled =
            |book: &Book| book.live.is_some() && book.seats.values().all(|seat| seat.joined || seat.is_away());
        eventually("everybody is connected", async || self.all(assembled).then_some(())).await;
    }

    /// Lets everybody finish what they began, and waits until all agree or a time is over.
    pub async fn settle(&self, world: &World, limit: Duration) {
        self.mode.send_replace(Mode::Quiet);
        let https = Side::BOTH.map(|side| world.hubs[side as usize].http());
        let settled = eventually_or(limit, async || {
            if !self.all(Book::is_settled) || !self.heads_agree() || !self.views_agree() {
                return false;
            }
            for http in &https {
                for room in &self.rooms {
                    if presence(http, room).await != self.truth(room) {
                        return false;
                    }
                }
            }
            true
        });
        if !settled.await {
            eprintln!("not everybody agrees in time; the judge will say on what");
        }
    }

    /// Everything that is left of the run; the clients stay.
    pub async fn leavings(&self, world: &World) -> Run {
        let accounts = world.accounts(&self.rooms).await;
        let transcripts = self.transcripts();
        Run { rules: world.rules(), transcripts, accounts, troubles: world.troubles.clone() }
    }

    pub fn transcripts(&self) -> Vec<Transcript> {
        self.books.iter().map(|book| open(book).transcript.clone()).collect()
    }

    /// Lets them go.
    pub async fn disband(self) {
        self.mode.send_replace(Mode::End);
        for task in self.tasks {
            eventually_within(PATIENCE, "a client ended", async || task.is_finished().then_some(())).await;
        }
    }

    fn all(&self, is: impl Fn(&Book) -> bool) -> bool {
        self.books.iter().all(|book| is(&open(book)))
    }

    /// Whether all members of each room have seen as much of it.
    fn heads_agree(&self) -> bool {
        let mut heads: BTreeMap<Room, u64> = BTreeMap::new();
        self.books.iter().all(|book| {
            open(book).seats.iter().all(|(room, seat)| {
                let head = seat.head.unwrap_or(0);
                *heads.entry(room.clone()).or_insert(head) == head
            })
        })
    }

    fn views_agree(&self) -> bool {
        let truths: BTreeMap<&Room, _> = self.rooms.iter().map(|room| (room, self.truth(room))).collect();
        self.all(|book| book.seats.iter().all(|(room, seat)| truths.get(room) == Some(&seat.view.0)))
    }

    /// Who is in a room, by the clients' own word.
    fn truth(&self, room: &Room) -> BTreeMap<String, Seen> {
        let of_book = |book: &Arc<Mutex<Book>>| {
            let book = open(book);
            let (live, seat) = (book.live.clone()?, book.seats.get(room).filter(|seat| seat.joined)?);
            Some((live.connection, Seen { user_id: live.user_id, state: seat.state.clone() }))
        };
        self.books.iter().filter_map(of_book).collect()
    }
}

/// A third of the clients each use A, B, and either in turn.
fn doors(world: &World, client: usize) -> Doors {
    let door = |side: Side| (Some(side), world.doors[side as usize].address());
    match client % 3 {
        0 => vec![door(Side::A)],
        1 => vec![door(Side::B)],
        _ if client.is_multiple_of(2) => vec![door(Side::A), door(Side::B)],
        _ => vec![door(Side::B), door(Side::A)],
    }
}

/// Waits until a condition holds; says whether it did in time.
async fn eventually_or(limit: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let waiting = eventually_within(limit * 2, "all agree", async || condition().await.then_some(()));
    tokio::time::timeout(limit, waiting).await.is_ok()
}
