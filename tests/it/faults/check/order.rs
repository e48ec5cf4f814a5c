//! Each client's order of each room, over all its connections: from where it came in to the end, every place once.

use std::collections::HashMap;

use super::{Findings, Kind, Run};
use crate::{
    faults::transcript::{Room, Transcript, What},
    support::frames::Message,
};

/// More than this missed, a resume may start over.
const REPLAY_MAX: u64 = 1_000;

pub(super) fn check(run: &Run, findings: &mut Findings) {
    for transcript in &run.transcripts {
        Reader { run, findings, client: transcript.client, heads: HashMap::new() }.read(transcript);
    }
}

struct Reader<'a> {
    run: &'a Run,
    findings: &'a mut Findings,
    client: usize,
    heads: HashMap<Room, u64>,
}

impl Reader<'_> {
    fn read(mut self, transcript: &Transcript) {
        let mut here: HashMap<Room, bool> = HashMap::new();
        for entry in &transcript.entries {
            match &entry.what {
                What::Told { room, message } => {
                    self.next(room, message);
                    self.compare(room, message);
                }
                What::Joined { room, since, seq, recovered, messages, .. } => {
                    here.insert(room.clone(), true);
                    self.resume(room, *since, *seq, *recovered, messages);
                }
                What::Left { room } => drop(here.insert(room.clone(), false)),
                What::Lost { .. } | What::HungUp { .. } => here.clear(),
                _ => {}
            }
        }
        for (room, _) in here.iter().filter(|(_, here)| **here) {
            let (head, last) = (self.heads.get(room).copied().unwrap_or(0), self.run.history(room).len() as u64);
            if head < last {
                self.add(Kind::Behind, room, format!("ended at {head} of {last}"));
            }
        }
    }

    fn resume(&mut self, room: &Room, since: Option<u64>, seq: u64, recovered: bool, messages: &[Message]) {
        let head = self.heads.get(room).copied();
        match since {
            Some(since) if recovered => {
                if head != Some(since) {
                    self.add(Kind::Hole, room, format!("resumed after {since} with {head:?}"));
                }
            }
            Some(since) if seq.saturating_sub(since) <= REPLAY_MAX => {
                self.add(Kind::NotRecovered, room, format!("asked for all after {since}, is at {seq}"));
                self.start_before(room, seq, messages);
            }
            Some(_) | None => self.start_before(room, seq, messages),
        }
        for message in messages {
            self.next(room, message);
            self.compare(room, message);
        }
        if self.heads.get(room) != Some(&seq) {
            let head = self.heads.get(room).copied();
            self.add(Kind::NotRecovered, room, format!("joined at {seq} with messages up to {head:?}"));
            self.heads.insert(room.clone(), seq);
        }
    }

    fn start_before(&mut self, room: &Room, seq: u64, messages: &[Message]) {
        let before = messages.first().map_or(seq, |first| first.seq.saturating_sub(1));
        self.heads.insert(room.clone(), before);
    }

    fn next(&mut self, room: &Room, message: &Message) {
        let head = self.heads.get(room).copied().unwrap_or(0);
        if message.seq <= head {
            return self.add(Kind::Repeated, room, format!("{} came after {head}", message.seq));
        }
        if message.seq > head + 1 {
            self.add(Kind::Hole, room, format!("{} came after {head}", message.seq));
        }
        self.heads.insert(room.clone(), message.seq);
    }

    fn compare(&mut self, room: &Room, message: &Message) {
        match self.run.stored(room, message.seq) {
            None => self.add(Kind::Phantom, room, format!("{} {} is not in the store", message.seq, message.id)),
            Some(stored) if stored.id != message.id => {
                self.add(
                    Kind::Reordered,
                    room,
                    format!("{} is {}, in the store {}", message.seq, message.id, stored.id),
                );
            }
            Some(stored) if stored != message => {
                self.add(Kind::Altered, room, format!("{message:?}, in the store {stored:?}"));
            }
            Some(_) => {}
        }
    }

    fn add(&mut self, kind: Kind, room: &Room, story: String) {
        self.findings.add(kind, format!("client {} in {room}: {story}", self.client));
    }
}
