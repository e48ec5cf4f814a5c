//! Readers of any speed, under any order of events, end up with what is true.

use std::collections::{BTreeMap, VecDeque};

use actix::{Actor, AsyncContext as _, Context, Handler};
use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::*;
use crate::{
    clock::now_utc,
    ids::{InstanceId, UserId},
    protocol::{
        Json, User,
        outbound::{self, EncodedMessage, LeaveReason},
    },
    room::{
        cursors::{self, Cursors, Move},
        messages::ReadMissed,
        presence::{Member, Presence},
    },
};

struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<ReadMissed> for Nobody {
    type Result = ();

    fn handle(&mut self, _: ReadMissed, _: &mut Self::Context) {}
}

/// Questions are answered by the tests.
fn home() -> Arc<RoomHome> {
    let recipient = Context::<Nobody>::new().address().recipient();
    Arc::new(RoomHome { id: "p/r".parse().unwrap(), recipient })
}

fn json(text: &str) -> Json {
    RawValue::from_string(text.into()).unwrap().into()
}

fn message(seq: Seq) -> EncodedMessage {
    EncodedMessage::from_json(
        seq,
        &format!(r#"{{"type":"message","seq":{seq},"body":"some words to fill the outbox"}}"#),
    )
}

fn entry(text: &str, told: Told, except: Option<ConnectionId>) -> Entry {
    Entry { frame: Frame::text(text), told, except }
}

/// The frames in these bytes, which are whole.
fn frames(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (u16::from_be_bytes(*rest.first_chunk().unwrap()).into(), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        frames.push(serde_json::from_slice(&rest[..length]).unwrap());
        bytes = &rest[length..];
    }
    frames
}

/// What somebody sees of a room.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sight {
    seq: Seq,
    people: BTreeMap<String, (String, String)>,
    cursors: BTreeMap<String, String>,
    reads: BTreeMap<String, Seq>,
}

/// A client that believes what it is told, and complains about what does not fit.
#[derive(Default)]
struct Client {
    sight: Sight,
    broadcasts: usize,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Client {
    fn take(&mut self, frame: &Value, snapshots: &[Sight]) {
        match frame["type"].as_str().unwrap() {
            "joined" => self.sight = snapshots[frame["snapshot"].as_u64().unwrap() as usize].clone(),
            "message" => {
                let seq = frame["seq"].as_u64().unwrap();
                assert_eq!(seq, self.sight.seq + 1, "messages without a hole and once each");
                self.sight.seq = seq;
            }
            "presence" => self.take_presence(frame),
            "cursors" => {
                for cursor in frame["cursors"].as_array().unwrap() {
                    let connection = text(&cursor["connection_id"]);
                    match &cursor["position"] {
                        Value::Null => self.sight.cursors.remove(&connection),
                        position => self.sight.cursors.insert(connection, position.to_string()),
                    };
                }
            }
            "read" => {
                self.sight.reads.insert(text(&frame["user_id"]), frame["seq"].as_u64().unwrap());
            }
            "broadcast" => self.broadcasts += 1,
            other => panic!("a {other} frame"),
        }
    }

    fn take_presence(&mut self, frame: &Value) {
        let before = self.sight.people.clone();
        let people = &mut self.sight.people;
        let (joins, leaves) = (frame["joins"].as_array().unwrap(), frame["leaves"].as_array().unwrap());
        for join in joins {
            let person = (text(&join["user"]["user_id"]), join["state"].to_string());
            assert!(people.insert(text(&join["connection_id"]), person).is_none(), "joined twice: {frame}");
        }
        for leave in leaves {
            let connection = text(&leave["connection_id"]);
            let (user, _) = people.remove(&connection).expect("left without having joined");
            assert_eq!(user, text(&leave["user_id"]));
            self.sight.cursors.remove(&connection);
        }
        for update in frame["updates"].as_array().unwrap() {
            let person = people.get_mut(&text(&update["connection_id"])).expect("updated without having joined");
            person.1 = update["state"].to_string();
        }
        let is_in = |people: &BTreeMap<String, (String, String)>, user: &str| people.values().any(|(u, _)| u == user);
        for user in joins.iter().map(|join| text(&join["user"]["user_id"])) {
            let firsts =
                joins.iter().filter(|join| join["first"] == true && join["user"]["user_id"] == user.as_str()).count();
            assert_eq!(firsts, usize::from(!is_in(&before, &user)), "`first` of {user}: {frame}");
        }
        for user in leaves.iter().map(|leave| text(&leave["user_id"])) {
            let lasts =
                leaves.iter().filter(|leave| leave["last"] == true && leave["user_id"] == user.as_str()).count();
            assert_eq!(lasts, usize::from(!is_in(people, &user)), "`last` of {user}: {frame}");
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Say,
    Join(usize),
    Update(usize, u8),
    Leave(usize),
    FlushPresence,
    Move(usize, Option<u8>),
    Read(usize, Seq),
    Broadcast,
    FlushLane,
    Take(usize, usize),
    Look,
    Answer,
    ComeAgain(usize),
    /// What all know is forgotten, which the lane does by itself only when much is remembered.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Say),
        3 => (0usize..6).prop_map(Event::Join),
        3 => (0usize..6, 0u8..3).prop_map(|(who, state)| Event::Update(who, state)),
        3 => (0usize..6).prop_map(Event::Leave),
        4 => Just(Event::FlushPresence),
        4 => (0usize..6, prop::option::of(0u8..9)).prop_map(|(who, position)| Event::Move(who, position)),
        1 => (0usize..6, 1u64..9).prop_map(|(who, seq)| Event::Read(who, seq)),
        1 => Just(Event::Broadcast),
        8 => Just(Event::FlushLane),
        5 => (0usize..3, 1usize..8).prop_map(|(reader, pieces)| Event::Take(reader, pieces)),
        3 => Just(Event::Look),
        3 => Just(Event::Answer),
        1 => (0usize..3).prop_map(Event::ComeAgain),
        2 => Just(Event::Forget),
    ]
}

/// A room, its lane, and readers on it.
struct World {
    lane: RoomLane,
    presence: Presence,
    cursors: Cursors,
    reads: BTreeMap<String, Seq>,
    head: Seq,
    connections: Vec<ConnectionId>,
    readers: Vec<(ConnectionId, Rc<Outbox>, Client)>,
    laggards: VecDeque<ConnectionId>,
    questions: VecDeque<(ConnectionId, Seq)>,
    snapshots: Vec<Sight>,
}

fn user(who: usize) -> UserId {
    format!("u{}", who % 3).parse().unwrap()
}

impl World {
    fn new() -> Self {
        let reader = || (ConnectionId::random(), Rc::new(Outbox::lagging_beyond(1_000)), Client::default());
        let mut world = Self {
            lane: RoomLane::new(home(), 0),
            presence: Presence::new(InstanceId::random(), 0),
            cursors: Cursors::default(),
            reads: BTreeMap::new(),
            head: 0,
            connections: (0..6).map(|_| ConnectionId::random()).collect(),
            readers: (0..3).map(|_| reader()).collect(),
            laggards: VecDeque::new(),
            questions: VecDeque::new(),
            snapshots: Vec::new(),
        };
        (0..3).for_each(|reader| world.enrol(reader));
        world
    }

    fn tell(&mut self, frame: Frame, told: Told) {
        self.lane.push(Entry { frame, told, except: None });
    }

    fn truth(&self) -> Sight {
        let members = self.presence.members(usize::MAX);
        let people = members.iter().flat_map(|member| {
            let person = |state: &Json| (member.user.user_id.as_str().to_owned(), state.get().to_owned());
            member.connections.iter().map(move |tab| (tab.connection_id.to_string(), person(tab.state)))
        });
        let cursors = self.cursors.shown().map(|(id, position)| (id.to_string(), position.get().to_owned()));
        Sight { seq: self.head, people: people.collect(), cursors: cursors.collect(), reads: self.reads.clone() }
    }

    fn enrol(&mut self, reader: usize) {
        self.flush_presence();
        self.flush_lane();
        self.snapshots.push(self.truth());
        let (connection, outbox, _) = &self.readers[reader];
        outbox.push(Frame::text(&format!(r#"{{"type":"joined","snapshot":{}}}"#, self.snapshots.len() - 1)).bytes());
        self.lane.enrol(*connection, Rc::clone(outbox));
    }

    fn flush_presence(&mut self) {
        let diff = Arc::new(self.presence.take_diff());
        for left in &diff.leaves {
            self.cursors.remove(left.connection);
        }
        if !diff.is_empty() {
            self.tell(diff.frame(&"p/r".parse().unwrap()), Told::Presence(diff));
        }
    }

    fn flush_cursors(&mut self) {
        let moves: Arc<[Move]> = self.cursors.take_moved().into_iter().map(|(moved, _)| moved).collect();
        self.tell(cursors::frame(&"p/r".parse().unwrap(), &moves), Told::Cursors(moves));
    }

    fn flush_lane(&mut self) {
        self.lane.flush();
        self.laggards.extend(self.lane.take_fallen_behind());
    }

    fn look(&mut self) {
        for _ in 0..self.laggards.len() {
            let connection = self.laggards.pop_front().unwrap();
            match self.lane.look_after(connection) {
                Look::Done => continue,
                Look::Ask(after) => self.questions.push_back((connection, after)),
                Look::Later => {}
            }
            self.laggards.push_back(connection);
        }
        let mut watched: Vec<_> = self.laggards.iter().collect();
        watched.sort();
        watched.dedup();
        assert_eq!(watched.len(), self.laggards.len(), "looked after once");
    }

    /// Answers a question, three messages at a time, as the room would.
    fn answer(&mut self) {
        let Some((connection, after)) = self.questions.pop_front() else { return };
        let to = self.head.min(after + 3);
        let frames: Vec<u8> = (after + 1..=to).flat_map(|seq| message(seq).frame().bytes().to_vec()).collect();
        self.flush_lane();
        self.lane.bring(connection, after, to, &frames.into());
    }

    fn take(&mut self, reader: usize, pieces: usize) -> bool {
        let (_, outbox, client) = &mut self.readers[reader];
        let bytes: Vec<u8> = (0..pieces).map_while(|_| outbox.pop(usize::MAX)).flatten().collect();
        frames(&bytes).iter().for_each(|frame| client.take(frame, &self.snapshots));
        !bytes.is_empty()
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Say => {
                self.head += 1;
                self.tell(message(self.head).frame().clone(), Told::Message(self.head));
            }
            Event::Join(who) => {
                let user_id = user(who);
                let user = User { user_id, name: "x".into(), color: "#000000".into(), avatar_url: None };
                let member = Member { user: user.into(), state: json("{}"), joined_at: now_utc() };
                self.presence.join_or_update(self.connections[who], member);
            }
            Event::Update(who, state) => {
                self.presence.update(self.connections[who], json(&format!(r#"{{"s":{state}}}"#)));
            }
            Event::Leave(who) => self.presence.leave(self.connections[who], LeaveReason::Left),
            Event::FlushPresence => self.flush_presence(),
            // The room takes moves of those who are told to be there.
            Event::Move(who, position) if !self.presence.has_changes() => {
                if self.presence.contains(self.connections[who]) {
                    self.cursors.place(self.connections[who], position.map(|x| json(&x.to_string())), true);
                    self.flush_cursors();
                }
            }
            Event::Move(..) => {}
            Event::Read(who, seq) => {
                let user = user(who);
                self.reads.insert(user.as_str().into(), seq);
                self.tell(outbound::read(&"p/r".parse().unwrap(), &user, seq), Told::Read(user, seq));
            }
            Event::Broadcast => self.tell(Frame::text(r#"{"type":"broadcast"}"#), Told::Broadcast),
            Event::FlushLane => self.flush_lane(),
            Event::Take(reader, pieces) => drop(self.take(reader, pieces)),
            Event::Look => self.look(),
            Event::Answer => self.answer(),
            Event::ComeAgain(reader) => self.enrol(reader),
            Event::Forget => self.lane.forget_what_all_know(),
        }
    }

    /// Lets everybody read until nothing is left to be told.
    fn settle(&mut self) {
        self.flush_presence();
        self.flush_lane();
        for _ in 0..1_000 {
            self.look();
            self.answer();
            // Last: what was just brought must be read before it is said that nothing is left.
            let took = (0..3).map(|reader| self.take(reader, usize::MAX)).fold(false, |any, took| any | took);
            if !took && self.laggards.is_empty() && self.questions.is_empty() {
                return;
            }
        }
        panic!("somebody lags for ever");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    /// Any speed, any order: messages without holes and once each, presence that adds up with `first` and `last` right, and
    /// in the end everybody sees what is true. Then nothing is remembered.
    #[test]
    fn readers_of_any_speed_end_up_with_the_truth(events in prop::collection::vec(event(), 0..250)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.settle();
        for (_, outbox, client) in &world.readers {
            prop_assert!(outbox.verdict().is_none());
            prop_assert_eq!(&client.sight, &world.truth());
        }
        prop_assert_eq!(world.lane.missed.weight(), 0);
        prop_assert_eq!(world.lane.current.len(), 3);
    }

    /// Nobody looks and one reader takes nothing: what is remembered for it is bounded by who there is, not by what they do.
    #[test]
    fn what_is_remembered_is_bounded_by_the_crowd(events in prop::collection::vec(event(), 200..400)) {
        let mut world = World::new();
        for event in events.iter().filter(|event| !matches!(event, Event::ComeAgain(_) | Event::Leave(_) | Event::Take(0, _))) {
            world.happen(event);
        }
        prop_assert!(world.lane.missed.weight() <= 6 + 6 + 6 + 3, "{}", world.lane.missed.weight());
    }
}

#[test]
fn all_get_the_batch_in_order_and_the_excepted_the_rest() {
    let (a, b) = (ConnectionId::random(), ConnectionId::random());
    let (to_a, to_b) = (Rc::new(Outbox::detached(1024)), Rc::new(Outbox::detached(1024)));
    let mut lane = RoomLane::new(home(), 0);
    lane.enrol(a, to_a.clone());
    lane.enrol(b, to_b.clone());
    lane.push(entry("1", Told::Message(1), None));
    lane.push(entry("2", Told::Broadcast, Some(a)));
    lane.push(entry("3", Told::Message(2), None));
    lane.flush();
    let taken = |outbox: &Outbox| frames(&std::iter::from_fn(|| outbox.pop(usize::MAX)).flatten().collect::<Vec<u8>>());
    assert_eq!(taken(&to_a), [1, 3]);
    assert_eq!(taken(&to_b), [1, 2, 3]);
}

#[test]
fn members_come_and_go_and_keep_their_places() {
    let mut lane = RoomLane::new(home(), 0);
    let members: Vec<_> = (0..9).map(|_| (ConnectionId::random(), Rc::new(Outbox::detached(1024)))).collect();
    for (connection, outbox) in &members {
        lane.enrol(*connection, Rc::clone(outbox));
        lane.enrol(*connection, Rc::clone(outbox));
    }
    for (connection, _) in members.iter().step_by(2) {
        lane.withdraw(*connection);
    }
    assert_eq!(lane.member_count(), 4);
    lane.push(entry("1", Told::Message(1), None));
    lane.flush();
    for (place, (_, outbox)) in members.iter().enumerate() {
        assert_eq!(outbox.pop(usize::MAX).is_some(), place % 2 == 1 && outbox.pop(usize::MAX).is_none());
    }
}

#[test]
fn who_is_behind_by_more_than_can_be_remembered_is_closed_and_the_others_are_not() {
    let mut lane = RoomLane::new(home(), 0);
    let members: Vec<_> = (0..2).map(|_| (ConnectionId::random(), Rc::new(Outbox::detached(1024)))).collect();
    for (connection, outbox) in &members {
        lane.enrol(*connection, Rc::clone(outbox));
    }
    members[0].1.push(&Bytes::from(vec![0; 1000]));
    for user in 0..=MISSED_MAX + FORGET_EVERY {
        lane.push(entry("0", Told::Read(format!("u{user}").parse().unwrap(), 1), None));
        lane.flush();
        members[1].1.pop(usize::MAX);
    }
    assert_eq!(members[0].1.verdict().map(|(code, _)| code), Some(CloseCode::SlowConsumer));
    assert!(members[1].1.verdict().is_none());
    assert_eq!((lane.member_count(), lane.missed.weight()), (1, 0));
}

#[test]
fn an_answer_to_a_question_from_before_it_came_again_is_not_for_it() {
    let mut lane = RoomLane::new(home(), 0);
    let (connection, outbox) = (ConnectionId::random(), Rc::new(Outbox::lagging_beyond(1_000)));
    let lag_and_ask = |lane: &mut RoomLane, seq: Seq| {
        outbox.push(&Bytes::from(vec![0; 2_000]));
        lane.push(entry(&seq.to_string(), Told::Message(seq), None));
        lane.flush();
        while outbox.pop(usize::MAX).is_some() {}
        lane.look_after(connection)
    };
    lane.enrol(connection, Rc::clone(&outbox));
    assert_eq!(lag_and_ask(&mut lane, 1), Look::Ask(0));
    lane.enrol(connection, Rc::clone(&outbox)); // its `joined` holds message 1
    assert_eq!(lag_and_ask(&mut lane, 2), Look::Ask(1));
    lane.bring(connection, 0, 1, message(1).frame().bytes());
    assert!(outbox.pop(usize::MAX).is_none(), "message 1 for the second time");
    lane.bring(connection, 1, 2, message(2).frame().bytes());
    assert_eq!(outbox.pop(usize::MAX).as_ref(), Some(message(2).frame().bytes()));
    assert_eq!((lane.current.len(), lane.laggards.len()), (1, 0));
}
