//! Presence under any order of events: what clients are told adds up to who is there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::{clock::now_utc, protocol::User};

const TTL: Duration = Duration::from_secs(30);

fn json(text: &str) -> Json {
    RawValue::from_string(text.into()).unwrap().into()
}

fn member(user: &str) -> Member {
    let user = User { user_id: user.parse().unwrap(), name: user.into(), color: "#000000".into(), avatar_url: None };
    Member { user: user.into(), state: json("{}"), joined_at: now_utc() }
}

/// A client that believes what it is told, and complains about what does not fit.
#[derive(Default)]
struct Client {
    connections: BTreeMap<ConnectionId, (UserId, String)>,
}

impl Client {
    fn tabs(&self, user: &UserId) -> usize {
        self.connections.values().filter(|(other, _)| other == user).count()
    }

    fn take(&mut self, diff: &Diff) {
        let before = self.connections.clone();
        let was_there = |user: &UserId| before.values().any(|(other, _)| other == user);
        for joined in &diff.joins {
            let user = joined.member.user.user_id.clone();
            let state = joined.member.state.get().to_owned();
            assert!(self.connections.insert(joined.connection, (user, state)).is_none(), "joined twice");
        }
        for left in &diff.leaves {
            let (user, _) = self.connections.remove(&left.connection).expect("left without having joined");
            assert_eq!(user, left.user_id);
        }
        for updated in &diff.updates {
            let entry = self.connections.get_mut(&updated.connection).expect("updated without having joined");
            assert_ne!(entry.1, updated.state.get(), "updated to the same state");
            entry.1 = updated.state.get().to_owned();
        }
        for user in diff.joins.iter().map(|joined| &joined.member.user.user_id) {
            let firsts = diff.joins.iter().filter(|joined| joined.first && &joined.member.user.user_id == user).count();
            assert_eq!(firsts, usize::from(!was_there(user)), "`first` for {user:?}");
        }
        for user in diff.leaves.iter().map(|left| &left.user_id) {
            let lasts = diff.leaves.iter().filter(|left| left.last && &left.user_id == user).count();
            assert_eq!(lasts, usize::from(self.tabs(user) == 0), "`last` for {user:?}");
        }
    }

    fn believes(&self, presence: &Presence) {
        let truth: BTreeMap<_, _> = presence
            .seats
            .iter()
            .map(|(id, seat)| (*id, (seat.member.user.user_id.clone(), seat.member.state.get().to_owned())))
            .collect();
        assert_eq!(self.connections, truth);
        let listed: usize = presence.members(usize::MAX).iter().map(|entry| entry.connections.len()).sum();
        assert_eq!(listed, truth.len());
        assert_eq!(presence.members(usize::MAX).len(), presence.user_count());
    }
}

#[derive(Debug, Clone)]
enum Event {
    Join { instance: usize, connection: usize, user: usize },
    Update { instance: usize, connection: usize, state: u8 },
    Leave { instance: usize, connection: usize },
    Drop { instance: usize, connection: usize },
    Pass { seconds: u64 },
    Flush { instance: usize, lost: bool },
    Beat { instance: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let (instance, connection, user) = (0usize..2, 0usize..6, 0usize..3);
    prop_oneof![
        4 => (instance.clone(), connection.clone(), user)
            .prop_map(|(instance, connection, user)| Event::Join { instance, connection, user }),
        2 => (instance.clone(), connection.clone(), 0u8..3)
            .prop_map(|(instance, connection, state)| Event::Update { instance, connection, state }),
        2 => (instance.clone(), connection.clone()).prop_map(|(instance, connection)| Event::Leave { instance, connection }),
        2 => (instance.clone(), connection).prop_map(|(instance, connection)| Event::Drop { instance, connection }),
        1 => (1u64..8).prop_map(|seconds| Event::Pass { seconds }),
        4 => (instance.clone(), prop::bool::weighted(0.3)).prop_map(|(instance, lost)| Event::Flush { instance, lost }),
        1 => instance.prop_map(|instance| Event::Beat { instance }),
    ]
}

struct World {
    now: Instant,
    ids: Vec<InstanceId>,
    rooms: Vec<Presence>,
    clients: Vec<Client>,
}

impl World {
    fn new() -> Self {
        let ids = vec![InstanceId::random(), InstanceId::random()];
        let rooms = ids.iter().map(|id| Presence::new(*id, 0)).collect();
        Self { now: Instant::now(), ids, rooms, clients: vec![Client::default(), Client::default()] }
    }

    /// Flushes one instance: its client is told, its peer too unless the bus loses it.
    fn flush(&mut self, instance: usize, lost: bool) {
        let diff = self.rooms[instance].take_diff();
        self.clients[instance].take(&diff);
        self.clients[instance].believes(&self.rooms[instance]);
        let Some(own) = self.rooms[instance].own_part(&diff) else { return };
        let peer = 1 - instance;
        if !lost && self.rooms[peer].peer_changed(self.ids[instance], own, self.now) == Sync::Behind {
            self.tell_all(instance);
        }
    }

    fn tell_all(&mut self, instance: usize) {
        let (own, revision) = (self.rooms[instance].own(), self.rooms[instance].revision());
        self.rooms[1 - instance].peer_told_all(self.ids[instance], revision, own, self.now);
    }

    fn beat(&mut self, instance: usize) {
        self.flush(instance, false);
        let (own, revision) = (self.rooms[instance].own().len(), self.rooms[instance].revision());
        if self.rooms[1 - instance].peer_beat(self.ids[instance], revision, own, self.now) == Sync::Behind {
            self.tell_all(instance);
        }
    }
}

proptest! {
    /// Two instances, a bus that loses diffs, reloads and expiry: clients are told what adds up, and after a beat of each
    /// instance both views are the same.
    #[test]
    fn what_is_told_adds_up_and_views_meet(events in prop::collection::vec(event(), 0..80)) {
        let mut world = World::new();
        let connections: Vec<Vec<ConnectionId>> =
            (0..2).map(|_| (0..6).map(|_| ConnectionId::random()).collect()).collect();
        let owners: Vec<std::cell::Cell<Option<usize>>> = (0..12).map(|_| std::cell::Cell::new(None)).collect();
        for event in events {
            match event {
                Event::Join { instance, connection, user } => {
                    // A connection belongs to one user for its life.
                    let owner = &owners[instance * 6 + connection];
                    let user = owner.get().unwrap_or(user);
                    owner.set(Some(user));
                    world.rooms[instance].join(connections[instance][connection], member(&format!("u{user}")));
                }
                Event::Update { instance, connection, state } => {
                    world.rooms[instance].update(connections[instance][connection], json(&format!(r#"{{"s":{state}}}"#)));
                }
                Event::Leave { instance, connection } => {
                    world.rooms[instance].leave(connections[instance][connection], LeaveReason::Left);
                }
                Event::Drop { instance, connection } => {
                    let until = world.now + Duration::from_secs(5);
                    world.rooms[instance].drop_until(connections[instance][connection], until);
                }
                Event::Pass { seconds } => {
                    world.now += Duration::from_secs(seconds);
                    let now = world.now;
                    for room in &mut world.rooms {
                        room.sweep(now, TTL);
                    }
                }
                Event::Flush { instance, lost } => world.flush(instance, lost),
                Event::Beat { instance } => world.beat(instance),
            }
        }
        // Two rounds: the first beats may make an instance retire a connection in grace, which is news for the other.
        for _ in 0..2 {
            world.beat(0);
            world.beat(1);
        }
        world.flush(0, false);
        world.flush(1, false);
        prop_assert_eq!(&world.clients[0].connections, &world.clients[1].connections);
    }
}

#[test]
fn three_tabs_join_once_and_leave_once() {
    let mut presence = Presence::new(InstanceId::random(), 0);
    let tabs: Vec<_> = (0..3).map(|_| ConnectionId::random()).collect();
    let mut firsts = 0;
    for tab in &tabs {
        presence.join(*tab, member("ada"));
        firsts += presence.take_diff().joins.iter().filter(|joined| joined.first).count();
    }
    assert_eq!(firsts, 1);
    let mut lasts = 0;
    for tab in &tabs {
        presence.leave(*tab, LeaveReason::Closed);
        lasts += presence.take_diff().leaves.iter().filter(|left| left.last).count();
    }
    assert_eq!(lasts, 1);
}

#[test]
fn a_later_life_of_a_room_is_believed_and_an_earlier_one_is_not() {
    let (mut presence, now, peer) = (Presence::new(InstanceId::random(), 0), Instant::now(), InstanceId::random());
    let (old, new) = (Presence::new(peer, 1), Presence::new(peer, 2));
    let ada = ConnectionId::random();
    presence.peer_told_all(peer, old.revision() + 7, vec![], now);
    presence.peer_told_all(peer, new.revision(), vec![(ada, member("ada"))], now);
    assert!(presence.contains(ada));
    presence.peer_told_all(peer, old.revision() + 8, vec![], now);
    assert!(presence.contains(ada), "late words of an earlier life");
}

#[test]
fn a_reload_within_the_grace_is_one_connection_for_another() {
    let (mut presence, now) = (Presence::new(InstanceId::random(), 0), Instant::now());
    let (old, new) = (ConnectionId::random(), ConnectionId::random());
    presence.join(old, member("ada"));
    presence.take_diff();
    presence.drop_until(old, now + Duration::from_secs(5));
    assert!(presence.take_diff().is_empty(), "a drop is not told");
    presence.join(new, member("ada"));
    let diff = presence.take_diff();
    assert_eq!((diff.joins.len(), diff.leaves.len()), (1, 1));
    assert!(!diff.joins[0].first && !diff.leaves[0].last);
}

#[test]
fn without_a_return_the_grace_ends_in_a_leave() {
    let (mut presence, now) = (Presence::new(InstanceId::random(), 0), Instant::now());
    let tab = ConnectionId::random();
    presence.join(tab, member("ada"));
    presence.take_diff();
    presence.drop_until(tab, now + Duration::from_secs(5));
    assert_eq!(presence.next_deadline(TTL), Some(now + Duration::from_secs(5)));
    presence.sweep(now + Duration::from_secs(4), TTL);
    assert!(presence.take_diff().is_empty());
    presence.sweep(now + Duration::from_secs(5), TTL);
    let diff = presence.take_diff();
    assert!(diff.leaves[0].last && diff.leaves[0].reason == LeaveReason::Closed);
}

#[test]
fn a_silent_instance_goes_with_its_members_and_a_leaving_one_hands_them_over() {
    let (mut presence, now) = (Presence::new(InstanceId::random(), 0), Instant::now());
    let (crashed, leaving) = (InstanceId::random(), InstanceId::random());
    let (ada, bob) = (ConnectionId::random(), ConnectionId::random());
    presence.peer_told_all(crashed, 3, vec![(ada, member("ada"))], now);
    presence.peer_told_all(leaving, 1, vec![(bob, member("bob"))], now);
    presence.take_diff();

    presence.peer_leaves(leaving, now + Duration::from_secs(5));
    presence.join(ConnectionId::random(), member("bob"));
    let diff = presence.take_diff();
    assert!(!diff.joins[0].first && !diff.leaves[0].last, "bob moved house without leaving");

    assert_eq!(presence.peer_beat(crashed, 3, 1, now + Duration::from_secs(10)), Sync::Current);
    presence.sweep(now + Duration::from_secs(39), TTL);
    assert!(presence.take_diff().is_empty());
    presence.sweep(now + Duration::from_secs(40), TTL);
    let diff = presence.take_diff();
    assert!(diff.leaves[0].last && diff.leaves[0].reason == LeaveReason::Expired);
}

#[test]
fn who_comes_back_before_a_peer_says_goodbye_has_one_tab() {
    let (here, leaving, now) = (InstanceId::random(), InstanceId::random(), Instant::now());
    let mut presence = Presence::new(here, 0);
    let (old, other) = (ConnectionId::random(), ConnectionId::random());
    presence.peer_told_all(leaving, 1, vec![(old, member("ada")), (other, member("bob"))], now);
    presence.take_diff();
    let back = ConnectionId::random();
    presence.join(back, member("ada"));
    presence.take_diff();

    presence.peer_leaves(leaving, now + Duration::from_secs(5));
    let diff = presence.take_diff();
    let left: Vec<_> = diff.leaves.iter().map(|left| (left.connection, left.last)).collect();
    assert_eq!(left, [(old, false)], "ada is there, bob may come back");
    presence.sweep(now + Duration::from_secs(5), TTL);
    let diff = presence.take_diff();
    assert_eq!(diff.leaves.iter().map(|left| (left.connection, left.last)).collect::<Vec<_>>(), [(other, true)]);
    assert!(presence.contains(back));
}

#[test]
fn the_list_names_those_who_were_here_first() {
    let mut presence = Presence::new(InstanceId::random(), 0);
    let start = now_utc();
    for n in 0..300i64 {
        let mut member = member(&format!("u{n:03}"));
        member.joined_at = start + chrono::TimeDelta::milliseconds(n * 7 % 300);
        presence.join(ConnectionId::random(), member);
    }
    let all = presence.members(usize::MAX);
    let keys: Vec<_> = all.iter().map(|entry| (entry.connections[0].joined_at, entry.user.user_id.clone())).collect();
    assert!(keys.is_sorted() && keys.len() == 300);
    let first: Vec<_> = presence.members(200).iter().map(|entry| entry.user.user_id.clone()).collect();
    assert_eq!(first, keys[..200].iter().map(|(_, user)| user.clone()).collect::<Vec<_>>());
}
