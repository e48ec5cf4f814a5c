//! What happened to each connection besides: its end, refusals, and what it was told of the hub's health. Each must be
//! explained by what was done, and what was done must show.

use std::time::{Duration, Instant};

use super::{Findings, Kind, Run};
use crate::faults::{
    transcript::{Entry, Side, Transcript, What},
    troubles::due,
};

/// What a trouble explains, it explains for so long after it is mended.
const AFTERMATH: Duration = Duration::from_secs(5);

pub(super) fn check(run: &Run, findings: &mut Findings) {
    for transcript in &run.transcripts {
        ends_and_refusals(run, transcript, findings);
        for (side, entries) in connections(transcript) {
            told_of_trouble(run, transcript.client, side, entries, findings);
        }
    }
}

fn ends_and_refusals(run: &Run, transcript: &Transcript, findings: &mut Findings) {
    let (mut on, client) = (None, transcript.client);
    for entry in &transcript.entries {
        let (at, clock) = (entry.at, run.clock(entry.at));
        let since = at.checked_sub(AFTERMATH).unwrap_or(at);
        match &entry.what {
            What::Connected { side, .. } => on = *side,
            What::Lost { code } => {
                let explained =
                    run.troubled(since, at, |trouble| trouble.effect.closes.has(on) || trouble.effect.holds.has(on));
                if !explained {
                    findings.add(Kind::Closed, format!("client {client} on {on:?} with {code}, at {clock}"));
                }
            }
            What::Refused { code, message }
                if !run.troubled(since, at, |trouble| trouble.effect.errors.contains(&code.as_str())) =>
            {
                findings.add(Kind::ErrorFrame, format!("client {client} on {on:?}: {code}, {message}, at {clock}"));
            }
            What::Status { reasons } => {
                for reason in reasons {
                    let explained = run.troubled(since, at, |trouble| {
                        trouble.effect.degrades.is_some_and(|(of, sides)| of == reason && sides.has(on))
                    });
                    if !explained {
                        findings.add(Kind::FalseAlarm, format!("client {client} on {on:?}: {reason}, at {clock}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Each connection's entries, its end included.
fn connections(transcript: &Transcript) -> Vec<(Option<Side>, &[Entry])> {
    let begins = |entry: &Entry| matches!(entry.what, What::Connected { .. });
    let starts: Vec<usize> = (0..transcript.entries.len()).filter(|at| begins(&transcript.entries[*at])).collect();
    let ends = starts.iter().skip(1).copied().chain([transcript.entries.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let entries = &transcript.entries[*start..end];
            let What::Connected { side, .. } = entries[0].what else { unreachable!("it begins so") };
            (side, entries)
        })
        .collect()
}

fn told_of_trouble(run: &Run, client: usize, side: Option<Side>, entries: &[Entry], findings: &mut Findings) {
    let began = entries[0].at;
    let ended = entries.iter().find(|entry| matches!(entry.what, What::Lost { .. } | What::HungUp { .. }));
    let covers = |at: Instant| began <= at && ended.is_none_or(|ended| ended.at >= at);
    let degraded_at = |at: Instant, reason: &str| {
        let mut statuses = entries.iter().filter(|entry| entry.at <= at).filter_map(|entry| match &entry.what {
            What::Status { reasons } => Some(reasons),
            _ => None,
        });
        statuses.next_back().is_some_and(|reasons| reasons.iter().any(|told| told == reason))
    };
    let over = entries.last().map_or(began, |entry| entry.at);
    for trouble in &run.troubles {
        let Some((reason, sides)) = trouble.effect.degrades.filter(|(_, sides)| sides.has(side)) else { continue };
        let same =
            |other: &super::Trouble| other.effect.degrades.is_some_and(|(of, others)| of == reason && others.has(side));
        let notice = if reason == "database" { run.rules.notice_database } else { run.rules.notice };
        // A link that holds frames, and an instance that hangs, hold this one, too.
        let held = || run.troubles.iter().filter(|other| other.effect.holds.has(side));
        let noticed = due(trouble.from, notice, held());
        if trouble.until >= noticed
            && covers(trouble.from)
            && covers(noticed)
            && sides.has(side)
            && !degraded_at(trouble.until, reason)
        {
            findings.add(Kind::NotTold, format!("client {client} of {reason} ({})", trouble.what));
        }
        let healed = due(trouble.until, notice, held());
        let again = run.troubles.iter().any(|other| same(other) && other.from <= healed && other.until > trouble.until);
        if !again && covers(healed) && healed <= over && degraded_at(healed, reason) {
            findings.add(Kind::StillDegraded, format!("client {client}: {reason} ({})", trouble.what));
        }
    }
    let last = entries.iter().rev().find_map(|entry| match &entry.what {
        What::Status { reasons } => Some(reasons),
        _ => None,
    });
    if ended.is_none() && last.is_some_and(|reasons| !reasons.is_empty()) {
        findings.add(Kind::StillDegraded, format!("client {client} at the end"));
    }
}
