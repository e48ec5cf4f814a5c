//! Who is there.

use std::time::Instant;

use serde_json::json;

use super::*;

// --- who is there ---

#[test]
fn a_ghost_is_named() {
    let mut forge = Forge::small();
    forge.drop_off(2);
    forge.wait(SECOND * 9 / 2);
    forge.goes(2, "p/r", "expired");
    let mut run = forge.run();
    run.troubles.push(trouble(
        run.transcripts[0].entries[0].at,
        Instant::now(),
        Effect { closes: Sides::BOTH, ..Effect::default() },
    ));
    assert_found(&run, [Kind::Ghost]);
}

#[test]
fn a_ghost_of_two_troubles_is_excused_only_for_as_long_as_they_explain() {
    let mut forge = Forge::small();
    let from = forge.at();
    forge.drop_off(2);
    forge.wait(SECOND * 9 / 2);
    forge.goes(2, "p/r", "expired");
    let mut run = forge.run();
    let closes = Effect { closes: Sides::BOTH, ..Effect::default() };
    run.troubles.push(trouble(run.transcripts[0].entries[0].at, Instant::now(), closes));
    // Its own instance could not know, and when it did it could tell nobody.
    let held = Effect { holds: Sides::only(Side::A), ..Effect::default() };
    run.troubles.push(trouble(from, from + SECOND, held));
    run.troubles.push(trouble(from + SECOND, from + SECOND * 4, Effect { delays: true, ..Effect::default() }));
    assert_found(&run, []);
    run.troubles[2].from = from + SECOND * 4;
    assert_found(&run, [Kind::Ghost]);
}

#[test]
fn a_ghost_in_joined_is_named() {
    let mut forge = Forge::small();
    forge.leave(2, "p/r");
    let gone = forge.connection(2).to_owned();
    forge.wait(SECOND * 6);
    forge.connect(1);
    forge.join(1, "p/r");
    let mut run = forge.run();
    let members = run.transcripts[1].entries.iter_mut().rev().find_map(|entry| match &mut entry.what {
        What::Joined { members, .. } => Some(members),
        _ => None,
    });
    let mut ghost = somebody();
    ghost.user_id = user(2);
    members.expect("it joined").push((gone, ghost));
    assert!(kinds(&run).is_superset(&[Kind::Ghost, Kind::ViewWrong].into()), "{:?}", run.defects());
}

#[test]
fn somebody_who_was_never_there_is_named() {
    let mut forge = Forge::small();
    let (connection_id, state) = ("nobody".to_owned(), json!({}));
    let join = Change::Join { user_id: "u9".into(), name: "u9".into(), connection_id, state, first: true };
    forge.note(0, What::Changed { room: room(), changes: vec![join] });
    assert_found(&forge.run(), [Kind::FalseJoin, Kind::ViewWrong]);
}

#[test]
fn a_leave_of_who_is_there_is_named_unless_nobody_could_know() {
    let mut forge = Forge::small();
    forge.wait(SECOND * 2);
    forge.goes(2, "p/r", "expired");
    let at = forge.at();
    let mut run = forge.run();
    assert_found(&run, [Kind::FalseLeave, Kind::Flicker, Kind::ViewWrong, Kind::PresenceWrong]);
    run.troubles.push(trouble(at - SECOND, at, Effect { expires: true, ..Effect::default() }));
    assert_found(&run, [Kind::ViewWrong, Kind::PresenceWrong]);
}

#[test]
fn a_skipped_leave_is_named() {
    let mut forge = Forge::small();
    forge.leave(2, "p/r");
    let mut run = forge.run();
    let is_change = |entry: &Entry| matches!(&entry.what, What::Changed { changes, .. } if matches!(changes[0], Change::Leave { .. }));
    run.transcripts[0].entries.retain(|entry| !is_change(entry));
    assert_found(&run, [Kind::ViewWrong]);
    let truth = run.accounts[&Side::B].presences[&room()].clone();
    let told = run.accounts.get_mut(&Side::A).expect("A").presences.get_mut(&room()).expect("it");
    told.insert("c3".into(), somebody());
    assert_found(&run, [Kind::ViewWrong, Kind::PresenceWrong]);
    assert_ne!(run.accounts[&Side::A].presences[&room()], truth);
}

#[test]
fn somebody_who_comes_back_within_the_grace_and_was_seen_to_leave_is_named() {
    let mut forge = Forge::small();
    forge.wait(SECOND * 2);
    let cut = forge.at();
    forge.drop_off(2);
    forge.wait(SECOND / 4);
    forge.goes(2, "p/r", "closed");
    forge.connect(2);
    forge.join(2, "p/r");
    let mut run = forge.run();
    run.troubles.push(trouble(cut, cut + SECOND, Effect { closes: Sides::BOTH, ..Effect::default() }));
    assert_found(&run, [Kind::Flicker]);
}

#[test]
fn changes_that_do_not_add_up_are_named() {
    let mut forge = Forge::small();
    forge.leave(2, "p/r");
    let mut run = forge.run();
    let change = run.transcripts[0].entries.last().expect("it was told").clone();
    run.transcripts[0].entries.push(change.clone());
    assert_found(&run, [Kind::Incoherent]);
    run.transcripts[0].entries.pop();
    let What::Changed { changes, .. } = &mut run.transcripts[0].entries.last_mut().expect("one").what else {
        panic!("the leave is the last that client 0 was told")
    };
    let Change::Leave { last, .. } = &mut changes[0] else { panic!("a leave") };
    *last = false;
    assert_found(&run, [Kind::FirstOrLast]);
}
