//! The judge is judged: each kind of defect is forged into a faultless run, and must be named.

mod messages;
mod people;
mod stories;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    Kind, Run,
    forge::{Forge, somebody, user},
};
use crate::{
    faults::{
        transcript::{Entry, Room, Side, What},
        troubles::{Effect, Sides, Trouble},
    },
    support::frames::{Change, Message},
};

fn room() -> Room {
    "p/r".into()
}

fn kinds(run: &Run) -> BTreeSet<Kind> {
    run.defects().iter().map(|defect| defect.kind).collect()
}

#[track_caller]
fn assert_found(run: &Run, expected: impl IntoIterator<Item = Kind>) {
    let (found, expected) = (kinds(run), expected.into_iter().collect::<BTreeSet<_>>());
    assert_eq!(found, expected, "{:#?}", run.defects());
}

/// Where a client was told of a message.
fn told(run: &mut Run, client: usize, seq: u64) -> usize {
    let is_it = |entry: &Entry| matches!(&entry.what, What::Told { message, .. } if message.seq == seq);
    run.transcripts[client].entries.iter().position(is_it).expect("it was told")
}

fn told_message(run: &mut Run, client: usize, seq: u64) -> &mut Message {
    let at = told(run, client, seq);
    let What::Told { message, .. } = &mut run.transcripts[client].entries[at].what else { unreachable!() };
    message
}

fn on_both(run: &mut Run, change: impl Fn(&mut Vec<Message>)) {
    for account in run.accounts.values_mut() {
        change(account.histories.get_mut(&room()).expect("the room"));
    }
}

fn trouble(from: Instant, until: Instant, effect: Effect) -> Trouble {
    Trouble { what: "forged".into(), from, until, effect }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_faultless_run_has_no_defect() {
    let mut forge = Forge::small();
    forge.join(1, "p/other");
    forge.send(1, "p/other");
    forge.leave(2, "p/r");
    forge.send(0, "p/r");
    forge.join(2, "p/r");
    forge.send(2, "p/r");
    assert_found(&forge.run(), []);
}

#[test]
fn a_reconnect_that_is_explained_is_no_defect() {
    let mut forge = Forge::small();
    let cut = forge.at();
    forge.drop_off(2);
    let old = forge.connection(2).to_owned();
    forge.send(0, "p/r");
    forge.connect(2);
    forge.join(2, "p/r");
    forge.goes_as(2, &old, "p/r", "closed");
    // Its own client is told, too.
    let change = Change::Leave { user_id: user(2), connection_id: old, reason: "closed".into(), last: false };
    forge.note(2, What::Changed { room: room(), changes: vec![change] });
    forge.send(2, "p/r");
    let mut run = forge.run();
    assert_found(&run, [Kind::Closed]);
    run.troubles.push(trouble(cut, cut + SECOND, Effect { closes: Sides::BOTH, ..Effect::default() }));
    assert_found(&run, []);
}
