//! How long messages took to everybody who was there to hear them: from the moment anybody knew, the times not counted in
//! which a trouble held them up.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Findings, Kind, Run};
use crate::faults::{
    transcript::{Room, What},
    troubles::{Effect, due},
};

pub(super) fn check(run: &Run, findings: &mut Findings) {
    let known = first_known(run);
    for transcript in &run.transcripts {
        let (mut side, mut joined) = (None, HashMap::<&Room, Instant>::new());
        for entry in &transcript.entries {
            match &entry.what {
                What::Connected { side: to, .. } => {
                    side = *to;
                    joined.clear();
                }
                What::Joined { room, .. } => drop(joined.insert(room, entry.at)),
                What::Told { room, message } => {
                    let heard_from = joined.get(room).copied();
                    let holds = |effect: &Effect| effect.delays || effect.holds.has(side);
                    let due_after = |start: Instant, limit: Duration| {
                        let start = heard_from.map_or(start, |heard_from| start.max(heard_from));
                        due(start, limit, run.troubles.iter().filter(|trouble| holds(&trouble.effect)))
                    };
                    let Some(start) = known.get(&(room, message.seq)).copied() else { continue };
                    let mut deadline = due_after(start, run.rules.tail);
                    if let (Some(hole), Some(next)) = (run.rules.hole, known.get(&(room, message.seq + 1))) {
                        deadline = deadline.min(due_after(start.max(*next), hole));
                    }
                    if entry.at > deadline {
                        let by = entry.at - deadline;
                        let (client, seq, at) = (transcript.client, message.seq, run.clock(entry.at));
                        findings.add(Kind::Late, format!("client {client} in {room}: {seq} by {by:?}, at {at}"));
                    }
                }
                _ => {}
            }
        }
    }
}

/// When anybody first knew of each message.
fn first_known(run: &Run) -> HashMap<(&Room, u64), Instant> {
    let mut known = HashMap::new();
    for transcript in &run.transcripts {
        for entry in &transcript.entries {
            let mut note = |room, seq| {
                let at = known.entry((room, seq)).or_insert(entry.at);
                *at = entry.at.min(*at);
            };
            match &entry.what {
                What::Told { room, message } => note(room, message.seq),
                What::Acked { room, seq, .. } => note(room, *seq),
                What::Joined { room, messages, .. } => messages.iter().for_each(|message| note(room, message.seq)),
                _ => {}
            }
        }
    }
    known
}
