//! Who each client was told is there, against who was: changes add up, nobody is seen long after they went, nobody is seen
//! to go who stayed, and in the end all agree.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    Findings, Kind, Rules, Run,
    lives::{How, Lives, Stay},
};
use crate::{
    faults::{
        transcript::{Room, Seen, Side, Transcript, What},
        troubles::{Trouble, due},
        view::{Fault, View},
    },
    support::frames::Change,
};

/// A ghost may be seen for so long after the TTL.
const AFTER_TTL: Duration = Duration::from_secs(2);
/// How far the times of two clients may be apart for what one did and the other was told of.
const SLACK: Duration = Duration::from_secs(1);
/// A grace may be shorter by this: the hub counts it from when it noticed, clients from when they did.
const GRACE_SLACK: Duration = Duration::from_millis(300);

pub(super) fn check(run: &Run, lives: &Lives, findings: &mut Findings) {
    for transcript in &run.transcripts {
        let viewer = Viewer { run, lives, findings, client: transcript.client, side: None, views: HashMap::new() };
        viewer.read(transcript);
    }
    for (side, account) in &run.accounts {
        for (room, told) in &account.presences {
            let truth = lives.at_the_end(room);
            if *told != truth {
                findings.add(Kind::PresenceWrong, format!("{room} on {side}: {}", difference(told, &truth)));
            }
        }
    }
}

struct Viewer<'a> {
    run: &'a Run,
    lives: &'a Lives,
    findings: &'a mut Findings,
    client: usize,
    side: Option<Side>,
    views: HashMap<Room, View>,
}

impl Viewer<'_> {
    fn read(mut self, transcript: &Transcript) {
        let mut last_heard = None;
        for entry in &transcript.entries {
            let at = entry.at;
            match &entry.what {
                What::Connected { side, .. } => {
                    self.side = *side;
                    self.views.clear();
                }
                What::Joined { room, members, .. } => {
                    for (connection, _) in members {
                        self.look_for_ghost(room, connection, at);
                    }
                    self.views.insert(room.clone(), View::of(members.iter().cloned()));
                }
                What::Changed { room, changes } => {
                    changes.iter().for_each(|change| self.changed(room, change, at));
                }
                What::Left { room } => {
                    self.look_for_ghosts(room, at);
                    self.views.remove(room);
                }
                What::Lost { .. } | What::HungUp { .. } => {
                    // What was not taken off the wire does not count against the hub.
                    let rooms: Vec<Room> = self.views.keys().cloned().collect();
                    rooms.iter().for_each(|room| self.look_for_ghosts(room, last_heard.unwrap_or(at)));
                    self.views.clear();
                }
                _ => {}
            }
            if !matches!(entry.what, What::Sent { .. } | What::AskedIn { .. } | What::Became { .. }) {
                last_heard = Some(at);
            }
        }
        for (room, view) in std::mem::take(&mut self.views) {
            let truth = self.lives.at_the_end(&room);
            if view.0 != truth {
                self.add(Kind::ViewWrong, &room, &difference(&view.0, &truth));
            }
        }
    }

    fn changed(&mut self, room: &Room, change: &Change, at: Instant) {
        let clock = self.run.clock(at);
        match self.views.entry(room.clone()).or_default().apply(change) {
            Some(Fault::Incoherent) => self.add(Kind::Incoherent, room, &format!("{change:?} at {clock}")),
            Some(Fault::FirstOrLast) => self.add(Kind::FirstOrLast, room, &format!("{change:?} at {clock}")),
            None => {}
        }
        match change {
            Change::Leave { user_id, connection_id, reason, last } => {
                self.left(room, connection_id, reason, at);
                if *last {
                    self.went(room, user_id, connection_id, at);
                }
            }
            Change::Join { connection_id, .. } => {
                let lived = self.lives.of_connection(room, connection_id).any(|stay| stay.from <= at + SLACK);
                if !lived {
                    self.add(Kind::FalseJoin, room, &format!("{connection_id} at {clock}"));
                }
                self.look_for_ghost(room, connection_id, at);
            }
            Change::Update { .. } => {}
        }
    }

    /// A connection was said to leave.
    fn left(&mut self, room: &Room, connection: &str, reason: &str, at: Instant) {
        let stays: Vec<&Stay> = self.lives.of_connection(room, connection).collect();
        let ended = |stay: &&Stay| stay.until.map(|(until, _)| until).filter(|until| *until <= at + SLACK);
        let last_ended =
            stays.iter().filter_map(|stay| Some((ended(stay)?, stay.side))).max_by_key(|(until, _)| *until);
        let is_there = stays.iter().any(|stay| stay.from <= at && ended(stay).is_none());
        match last_ended {
            Some((until, side)) if !is_there => {
                if at > self.ghost_after(until, side) {
                    let gone = at.saturating_duration_since(until);
                    let story = format!("{connection} was gone for {gone:?} when it left, at {}", self.run.clock(at));
                    self.add(Kind::Ghost, room, &story);
                }
            }
            // It came back since.
            Some((until, _)) if at <= until + self.run.rules.tail => {}
            _ if self.is_excused(room, connection, at) => {}
            _ if stays.first().is_some_and(|stay| self.is_old_news(room, &stay.user_id, at)) => {}
            _ => self.add(Kind::FalseLeave, room, &format!("{connection} ({reason}) at {}", self.run.clock(at))),
        }
    }

    /// A person was said to leave.
    fn went(&mut self, room: &Room, user_id: &str, connection: &str, at: Instant) {
        let ended = |stay: &&Stay| stay.until.filter(|(until, _)| *until <= at + SLACK);
        // Another stay that had hardly begun may not be known of yet.
        let is_it = |stay: &&Stay| stay.connection == connection && ended(stay).is_some();
        let is_known = |stay: &&Stay| stay.from + SLACK <= at || is_it(stay);
        let known: Vec<&Stay> = self.lives.of_user(room, user_id).filter(is_known).collect();
        // News may be as late as messages may.
        let told_from = |(until, how)| match how {
            How::Left => until - SLACK,
            How::Dropped => until + self.run.rules.grace - GRACE_SLACK,
        };
        let mut departures = self.lives.of_user(room, user_id).filter_map(|stay| stay.until).map(told_from);
        if departures.any(|from| from <= at && at <= from + SLACK + self.run.rules.tail) {
            return;
        }
        let story = if let Some(there) = known.iter().find(|stay| ended(stay).is_none()) {
            format!("{user_id} is there as {} at {}", there.connection, self.run.clock(at))
        } else if let Some((until, How::Dropped)) = known.iter().filter_map(ended).max_by_key(|(until, _)| *until)
            && at + GRACE_SLACK < until + self.run.rules.grace
        {
            let had = at.saturating_duration_since(until);
            format!("{user_id} had {had:?} to come back, at {}", self.run.clock(at))
        } else {
            return;
        };
        let excused = known.iter().any(|stay| self.is_excused(room, &stay.connection, at));
        if !excused && !self.is_old_news(room, user_id, at) {
            self.add(Kind::Flicker, room, &story);
        }
    }

    /// Whether instances, or a client and its instance, could not hear each other for long enough before.
    fn is_excused(&self, room: &Room, connection: &str, at: Instant) -> bool {
        let side = self.lives.of_connection(room, connection).next().and_then(|stay| stay.side);
        let since = at.checked_sub(self.run.rules.ttl + AFTER_TTL).unwrap_or(at);
        self.run.troubled(since, at, |trouble| trouble.effect.expires || trouble.effect.holds.has(side))
    }

    /// Whether the person did leave, and only the news of it was held up.
    fn is_old_news(&self, room: &Room, user_id: &str, at: Instant) -> bool {
        let ended_in = |trouble: &Trouble| {
            let mut ends = self.lives.of_user(room, user_id).filter_map(|stay| stay.until).map(|(until, _)| until);
            ends.any(|until| trouble.from <= until + self.run.rules.tail && until <= trouble.until)
        };
        self.run.troubled(at.checked_sub(self.run.rules.tail).unwrap_or(at), at, |trouble| {
            (trouble.effect.delays || trouble.effect.holds.has(self.side)) && ended_in(trouble)
        })
    }

    fn look_for_ghosts(&mut self, room: &Room, at: Instant) {
        let connections: Vec<String> =
            self.views.get(room).into_iter().flat_map(|view| view.0.keys().cloned()).collect();
        connections.iter().for_each(|connection| self.look_for_ghost(room, connection, at));
    }

    /// A connection is seen at a time: it must not have ended long before.
    fn look_for_ghost(&mut self, room: &Room, connection: &str, at: Instant) {
        let mut stays = self.lives.of_connection(room, connection);
        let ended = stays.try_fold(None, |last: Option<(Instant, _)>, stay| {
            let (until, _) = stay.until?;
            Some(Some(last.filter(|(last, _)| *last > until).unwrap_or((until, stay.side))))
        });
        let Some(Some((until, side))) = ended else { return }; // there, or of another run
        if at > self.ghost_after(until, side) {
            let story = format!("{connection} was gone for {:?} at {}", at - until, self.run.clock(at));
            self.add(Kind::Ghost, room, &story);
        }
    }

    /// When somebody may not be seen any more who was on a side until then.
    fn ghost_after(&self, until: Instant, on: Option<Side>) -> Instant {
        let Rules { ttl, grace, .. } = self.run.rules;
        let troubles = || self.run.troubles.iter();
        let holding = |side| troubles().filter(move |trouble| trouble.effect.holds.has(side));
        // When its own instance lets go of it. If others cannot be told then, they let go of it a TTL after they last could.
        let let_go = due(until, grace, holding(on)).min(until + ttl);
        let untold = troubles().filter(|trouble| trouble.effect.delays && (until..=let_go).contains(&trouble.from));
        let from = untold.map(|trouble| trouble.from).max().unwrap_or(until);
        due(from, ttl + AFTER_TTL, holding(self.side))
    }

    fn add(&mut self, kind: Kind, room: &Room, story: &str) {
        self.findings.add(kind, format!("client {} in {room}: {story}", self.client));
    }
}

fn difference(told: &BTreeMap<String, Seen>, truth: &BTreeMap<String, Seen>) -> String {
    let only = |left: &BTreeMap<String, Seen>, right: &BTreeMap<String, Seen>| {
        left.iter()
            .filter(|(connection, _)| !right.contains_key(*connection))
            .map(|(connection, seen)| format!("{connection} ({})", seen.user_id))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let states: Vec<_> = told.iter().filter(|(id, seen)| truth.get(*id).is_some_and(|other| other != *seen)).collect();
    format!("not there: [{}], missing: [{}], otherwise: {states:?}", only(told, truth), only(truth, told))
}
