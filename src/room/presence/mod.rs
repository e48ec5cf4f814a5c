//! Who is in a room: this instance's connections, which it owns, and the other instances' views of theirs, merged.
//!
//! Events go in (joins, drops, peers' diffs and beats), one [`Diff`] per flush comes out: against what was last told,
//! with the first and last connection of each user judged on the merged view. A connection that comes and goes between
//! two flushes was never there; a reload within one is one connection for another, the person never left.

mod diff;

pub use diff::{Diff, Joined, Left, Member, PeerDiff, Sync, Updated};

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    time::{Duration, Instant},
};

use crate::{
    ids::{ConnectionId, InstanceId, UserId},
    protocol::{
        Json,
        outbound::{ConnectionEntry, LeaveReason, MemberEntry},
    },
};

#[derive(Debug)]
struct Seat {
    member: Member,
    home: InstanceId,
    /// Dropped without goodbye: leaves then, unless its user comes back first.
    grace_until: Option<Instant>,
}

#[derive(Debug)]
struct Peer {
    revision: u64,
    heard: Instant,
}

/// The merged view of a room.
#[derive(Debug)]
pub struct Presence {
    here: InstanceId,
    revision: u64,
    seats: HashMap<ConnectionId, Seat>,
    users: HashMap<UserId, Vec<ConnectionId>>,
    peers: HashMap<InstanceId, Peer>,
    /// By the end of their grace.
    in_grace: BTreeSet<(Instant, ConnectionId)>,
    /// What was told of each connection that changed since the last flush.
    told: HashMap<ConnectionId, Option<Told>>,
    /// Changed connections in the order of their first change.
    changed: Vec<ConnectionId>,
    /// Which users of changed connections were there at the last flush.
    there_before: HashMap<UserId, bool>,
    reasons: HashMap<ConnectionId, LeaveReason>,
}

#[derive(Debug)]
struct Told {
    user_id: UserId,
    state: Json,
    home: InstanceId,
}

impl Presence {
    /// An empty room on this instance; `life` counts the room's lives here: a peer that remembers an earlier one knows the
    /// later one by its higher revisions.
    pub fn new(here: InstanceId, life: u64) -> Self {
        Self {
            here,
            revision: life << 32,
            seats: HashMap::new(),
            users: HashMap::new(),
            peers: HashMap::new(),
            in_grace: BTreeSet::new(),
            told: HashMap::new(),
            changed: Vec::new(),
            there_before: HashMap::new(),
            reasons: HashMap::new(),
        }
    }

    // --- this instance's connections ---

    /// A connection of this instance joins; one of the same user that is in grace gives way to it.
    pub fn join(&mut self, connection: ConnectionId, member: Member) {
        self.seat(connection, member, self.here);
    }

    /// A connection of this instance joins, or says again that it does and in which state.
    pub fn join_or_update(&mut self, connection: ConnectionId, member: Member) {
        if self.seats.contains_key(&connection) {
            self.update(connection, member.state);
        } else {
            self.join(connection, member);
        }
    }

    /// A connection of this instance has another state.
    pub fn update(&mut self, connection: ConnectionId, state: Json) {
        let Some(mut member) = self.seats.get(&connection).map(|seat| seat.member.clone()) else { return };
        member.state = state;
        self.seat(connection, member, self.here);
    }

    /// A connection is gone.
    pub fn leave(&mut self, connection: ConnectionId, reason: LeaveReason) {
        if !self.seats.contains_key(&connection) {
            return;
        }
        self.touch(connection);
        let Some(seat) = self.seats.remove(&connection) else { return };
        self.end_grace(connection, seat.grace_until);
        self.reasons.insert(connection, reason);
        let user_id = &seat.member.user.user_id;
        if let Some(connections) = self.users.get_mut(user_id) {
            connections.retain(|other| *other != connection);
            if connections.is_empty() {
                self.users.remove(user_id);
            }
        }
    }

    /// A connection dropped without goodbye: it leaves at `until` unless its user comes back.
    pub fn drop_until(&mut self, connection: ConnectionId, until: Instant) {
        if let Some(seat) = self.seats.get_mut(&connection) {
            let before = seat.grace_until.replace(until);
            self.end_grace(connection, before);
            self.in_grace.insert((until, connection));
        }
    }

    fn end_grace(&mut self, connection: ConnectionId, until: Option<Instant>) {
        if let Some(until) = until {
            self.in_grace.remove(&(until, connection));
        }
    }

    /// Whether the connection is in the room.
    pub fn contains(&self, connection: ConnectionId) -> bool {
        self.seats.contains_key(&connection)
    }

    /// This instance's connections, for a peer that asks.
    pub fn own(&self) -> Vec<(ConnectionId, Member)> {
        let own = self.seats.iter().filter(|(_, seat)| seat.home == self.here);
        own.map(|(connection, seat)| (*connection, seat.member.clone())).collect()
    }

    /// This instance's revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many connections of this instance, in grace or not, are in the room.
    pub fn own_count(&self) -> usize {
        self.seats.values().filter(|seat| seat.home == self.here).count()
    }

    /// Whether there is one.
    pub fn has_own(&self) -> bool {
        self.seats.values().any(|seat| seat.home == self.here)
    }

    // --- the other instances ---

    /// A peer told all it owns.
    pub fn peer_told_all(&mut self, peer: InstanceId, revision: u64, all: Vec<(ConnectionId, Member)>, now: Instant) {
        if self.peers.get(&peer).is_some_and(|known| known.revision > revision) {
            return; // older than what it has told since
        }
        let named: HashSet<ConnectionId> = all.iter().map(|(connection, _)| *connection).collect();
        for connection in self.of_peer(peer) {
            if !named.contains(&connection) {
                self.leave(connection, LeaveReason::Closed);
            }
        }
        for (connection, member) in all {
            self.seat(connection, member, peer);
        }
        self.peers.insert(peer, Peer { revision, heard: now });
    }

    /// A peer told what changed.
    pub fn peer_changed(&mut self, peer: InstanceId, diff: PeerDiff, now: Instant) -> Sync {
        let known = match self.peers.entry(peer) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) => return Sync::Behind,
        };
        known.heard = now;
        if diff.revision <= known.revision {
            return Sync::Current;
        }
        if diff.revision > known.revision + 1 {
            return Sync::Behind;
        }
        known.revision = diff.revision;
        for (connection, member) in diff.set {
            self.seat(connection, member, peer);
        }
        for (connection, reason) in diff.gone {
            self.leave(connection, reason);
        }
        Sync::Current
    }

    /// A peer says that it is there, at a revision.
    pub fn peer_beat(&mut self, peer: InstanceId, revision: u64, connections: usize, now: Instant) -> Sync {
        match self.peers.get_mut(&peer) {
            Some(known) => {
                known.heard = now;
                let current = known.revision == revision && self.of_peer(peer).len() == connections;
                if current { Sync::Current } else { Sync::Behind }
            }
            None if connections == 0 => Sync::Current,
            None => Sync::Behind,
        }
    }

    /// A peer goes away in good order: its people have until then to come back elsewhere. Who is elsewhere already, because
    /// they came back before the peer said so, needs no grace: their old connection is only that.
    pub fn peer_leaves(&mut self, peer: InstanceId, until: Instant) {
        for connection in self.of_peer(peer) {
            if self.is_elsewhere(connection, peer) {
                self.leave(connection, LeaveReason::Closed);
            } else {
                self.drop_until(connection, until);
            }
        }
        self.peers.remove(&peer);
    }

    /// Whether the user of a peer's connection has a living one that is not the peer's.
    fn is_elsewhere(&self, connection: ConnectionId, peer: InstanceId) -> bool {
        let living =
            |id: &ConnectionId| self.seats.get(id).is_some_and(|seat| seat.home != peer && seat.grace_until.is_none());
        let user = self.seats.get(&connection).map(|seat| &seat.member.user.user_id);
        user.and_then(|user| self.users.get(user)).is_some_and(|connections| connections.iter().any(living))
    }

    /// The connections that a peer owns.
    pub fn of_peer(&self, peer: InstanceId) -> Vec<ConnectionId> {
        self.seats.iter().filter(|(_, seat)| seat.home == peer).map(|(connection, _)| *connection).collect()
    }

    /// How many other instances serve the room.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    // --- time ---

    /// Ends graces that are over and peers silent for the TTL; says whether there was such a peer.
    pub fn sweep(&mut self, now: Instant, ttl: Duration) -> bool {
        while let Some(&(until, connection)) = self.in_grace.first().filter(|(until, _)| *until <= now) {
            self.in_grace.remove(&(until, connection));
            self.leave(connection, LeaveReason::Closed);
        }
        let silent: Vec<_> = self.peers.iter().filter(|(_, peer)| peer.heard + ttl <= now).map(|(id, _)| *id).collect();
        for peer in &silent {
            for connection in self.of_peer(*peer) {
                self.leave(connection, LeaveReason::Expired);
            }
            self.peers.remove(peer);
        }
        !silent.is_empty()
    }

    /// When [`sweep`](Self::sweep) has something to do next.
    pub fn next_deadline(&self, ttl: Duration) -> Option<Instant> {
        let grace = self.in_grace.first().map(|(until, _)| *until);
        grace.into_iter().chain(self.peers.values().map(|peer| peer.heard + ttl)).min()
    }

    // --- what is told ---

    /// Whether a flush would tell anything (a change that was undone counts until then).
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What changed since the last call.
    pub fn take_diff(&mut self) -> Diff {
        let mut diff = Diff::default();
        let mut told = std::mem::take(&mut self.told);
        let mut reasons = std::mem::take(&mut self.reasons);
        let mut there = std::mem::take(&mut self.there_before);
        for connection in std::mem::take(&mut self.changed) {
            let before = told.remove(&connection).flatten();
            let seat = self.seats.get(&connection);
            match (before, seat) {
                (None, Some(seat)) => {
                    // The first of its user's to be named; later ones in the same diff find the user there.
                    let was_there = there.insert(seat.member.user.user_id.clone(), true).unwrap_or(true);
                    let local = seat.home == self.here;
                    diff.joins.push(Joined { connection, member: seat.member.clone(), first: !was_there, local });
                }
                (Some(before), None) => diff.leaves.push(Left {
                    connection,
                    reason: reasons.remove(&connection).unwrap_or(LeaveReason::Closed),
                    last: false,
                    local: before.home == self.here,
                    user_id: before.user_id,
                }),
                (Some(before), Some(seat)) if before.state.get() != seat.member.state.get() => {
                    diff.updates.push(Updated {
                        connection,
                        user_id: before.user_id,
                        state: seat.member.state.clone(),
                        local: seat.home == self.here,
                    });
                }
                _ => {}
            }
        }
        #[cfg(feature = "sabotage")]
        diff.leaves.retain(|_| !crate::sabotage::hides_leave());
        // The last to be named of a user who is no longer there.
        let mut said = HashSet::new();
        for leave in diff.leaves.iter_mut().rev() {
            leave.last = !self.users.contains_key(&leave.user_id) && said.insert(leave.user_id.clone());
        }
        let own = diff.joins.iter().any(|joined| joined.local)
            || diff.leaves.iter().any(|left| left.local)
            || diff.updates.iter().any(|updated| updated.local);
        if own {
            self.revision += 1;
            diff.revision = Some(self.revision);
        }
        diff
    }

    /// What the peers are told of a diff: this instance's own part.
    pub fn own_part(&self, diff: &Diff) -> Option<PeerDiff> {
        let revision = diff.revision?;
        let joined = diff.joins.iter().filter(|joined| joined.local).map(|joined| joined.connection);
        let updated = diff.updates.iter().filter(|updated| updated.local).map(|updated| updated.connection);
        let set = joined
            .chain(updated)
            .filter_map(|connection| Some((connection, self.seats.get(&connection)?.member.clone())))
            .collect();
        let gone = diff.leaves.iter().filter(|left| left.local).map(|left| (left.connection, left.reason)).collect();
        Some(PeerDiff { revision, set, gone })
    }

    /// How many users are in the room.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many connections are in the room.
    pub fn connection_count(&self) -> usize {
        self.seats.len()
    }

    /// The users with their connections, longest here first, at most `limit`.
    pub fn members(&self, limit: usize) -> Vec<MemberEntry<'_>> {
        // Who is among the first is found without sorting a crowd of thousands.
        let oldest = |connections: &[ConnectionId]| {
            let tabs = connections.iter().filter_map(|id| Some((self.seats.get(id)?.member.joined_at, *id)));
            tabs.min()
        };
        let mut users: Vec<_> = self
            .users
            .iter()
            .filter_map(|(user_id, connections)| Some((oldest(connections)?.0, user_id, connections)))
            .collect();
        if limit < users.len() {
            users.select_nth_unstable_by(limit, |a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            users.truncate(limit);
        }
        users.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let members = users.into_iter().filter_map(|(_, _, connections)| {
            let mut seats: Vec<_> =
                connections.iter().filter_map(|id| Some((*id, &self.seats.get(id)?.member))).collect();
            seats.sort_by_key(|(id, member)| (member.joined_at, *id));
            let user = &*seats.first()?.1.user;
            Some((user, seats))
        });
        members
            .map(|(user, seats)| MemberEntry {
                user,
                connections: seats
                    .into_iter()
                    .map(|(connection_id, member)| ConnectionEntry {
                        connection_id,
                        state: &member.state,
                        joined_at: member.joined_at,
                    })
                    .collect(),
            })
            .collect()
    }

    fn seat(&mut self, connection: ConnectionId, member: Member, home: InstanceId) {
        self.touch(connection);
        let user_id = member.user.user_id.clone();
        self.there_before.entry(user_id.clone()).or_insert_with(|| self.users.contains_key(&user_id));
        let before = self.seats.insert(connection, Seat { member, home, grace_until: None });
        self.end_grace(connection, before.as_ref().and_then(|seat| seat.grace_until));
        if before.is_none() {
            self.users.entry(user_id.clone()).or_default().push(connection);
            self.retire_one_in_grace(&user_id);
        }
        self.reasons.remove(&connection);
    }

    /// Somebody came back: of their connections in grace the one that dropped first is over.
    fn retire_one_in_grace(&mut self, user_id: &UserId) {
        if self.in_grace.is_empty() {
            return;
        }
        let connections = self.users.get(user_id).map(Vec::as_slice).unwrap_or_default();
        let retired = connections
            .iter()
            .filter_map(|id| Some((self.seats.get(id)?.grace_until?, *id)))
            .min_by_key(|(until, _)| *until);
        if let Some((_, connection)) = retired {
            self.leave(connection, LeaveReason::Closed);
        }
    }

    /// Remembers what was told of a connection before it changes for the first time since the last flush.
    fn touch(&mut self, connection: ConnectionId) {
        let Entry::Vacant(entry) = self.told.entry(connection) else { return };
        let told = self.seats.get(&connection).map(|seat| Told {
            user_id: seat.member.user.user_id.clone(),
            state: seat.member.state.clone(),
            home: seat.home,
        });
        if let Some(told) = &told {
            self.there_before.entry(told.user_id.clone()).or_insert(true);
        }
        entry.insert(told);
        self.changed.push(connection);
    }
}

#[cfg(test)]
mod tests;
