//! What was sent against what is stored: acknowledged means stored there, once, as it was written, in the writer's order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::{Findings, Kind, Run};
use crate::faults::transcript::{Room, What};

struct Sent<'a> {
    client: usize,
    room: &'a Room,
    body: &'a Value,
}

pub(super) fn check(run: &Run, findings: &mut Findings) {
    let mut sent: HashMap<Uuid, Sent<'_>> = HashMap::new();
    let mut settled: HashMap<usize, bool> = HashMap::new();
    let mut users: HashMap<usize, &str> = HashMap::new();
    for transcript in &run.transcripts {
        let client = transcript.client;
        for entry in &transcript.entries {
            match &entry.what {
                What::Sent { room, id, body } => drop(sent.insert(*id, Sent { client, room, body })),
                What::Connected { user_id, .. } => {
                    settled.insert(client, true);
                    users.insert(client, user_id);
                }
                What::Lost { .. } | What::HungUp { .. } => drop(settled.insert(client, false)),
                _ => {}
            }
        }
    }
    let places = histories(run, &sent, &users, findings);
    let mut fresh: HashSet<Uuid> = HashSet::new();
    for transcript in &run.transcripts {
        for entry in &transcript.entries {
            let What::Acked { room, id, seq, duplicate } = &entry.what else { continue };
            let story = format!("client {} in {room}: {id} acknowledged as {seq}", transcript.client);
            if sent.get(id).is_none_or(|sent| sent.client != transcript.client || sent.room != room) {
                findings.add(Kind::AckFromNowhere, story);
                continue;
            }
            match places.get(&(room, *id)) {
                None => findings.add(Kind::LostAcked, story),
                Some(place) if place != seq => findings.add(Kind::WrongPlace, format!("{story}, is at {place}")),
                Some(_) if !duplicate && !fresh.insert(*id) => {
                    findings.add(Kind::StoredTwice, format!("{story}, as new for the second time"));
                }
                Some(_) => {}
            }
        }
    }
    for (id, Sent { client, room, .. }) in &sent {
        if settled.get(client) == Some(&true) && !places.contains_key(&(*room, *id)) {
            findings.add(Kind::NeverStored, format!("client {client} in {room}: {id}"));
        }
    }
}

/// Judges what the instances tell of the past; gives each message's place.
fn histories<'a>(
    run: &'a Run,
    sent: &HashMap<Uuid, Sent<'_>>,
    users: &HashMap<usize, &str>,
    findings: &mut Findings,
) -> HashMap<(&'a Room, Uuid), u64> {
    let mut places = HashMap::new();
    let mut accounts = run.accounts.iter();
    let Some((_, account)) = accounts.next() else { return places };
    for (side, other) in accounts {
        for room in account.histories.keys().chain(other.histories.keys()) {
            if account.histories.get(room) != other.histories.get(room) {
                findings.add(Kind::HistoriesDiffer, format!("{room} on {side} and the other instance"));
            }
        }
    }
    for (room, messages) in &account.histories {
        let mut last_of: BTreeMap<usize, u64> = BTreeMap::new();
        for (expected, message) in (1..).zip(messages) {
            if message.seq != expected {
                findings.add(Kind::HistoryHole, format!("{room}: {} instead of {expected}", message.seq));
            }
            let id: Uuid = message.id.parse().unwrap_or_default();
            if let Some(first) = places.insert((room, id), message.seq) {
                findings.add(Kind::StoredTwice, format!("{room}: {id} at {first} and {}", message.seq));
            }
            let Some(Sent { client, body, .. }) = sent.get(&id).filter(|sent| sent.room == room) else {
                findings.add(Kind::NeverSent, format!("{room}: {} {id}", message.seq));
                continue;
            };
            if **body != message.body || users.get(client) != Some(&message.from.user_id.as_str()) {
                findings.add(Kind::Altered, format!("{room}: client {client} sent {body}, stored is {message:?}"));
                continue;
            }
            let number = body["n"].as_u64().unwrap_or_default();
            if let Some(before) = last_of.insert(*client, number).filter(|before| *before >= number) {
                findings.add(Kind::OwnOrder, format!("{room}: client {client}'s {number} is behind its {before}"));
            }
        }
    }
    places
}
