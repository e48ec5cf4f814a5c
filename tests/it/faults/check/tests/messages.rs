//! Order, acknowledgement and lateness.

use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::*;

// --- order ---

#[test]
fn a_hole_is_named() {
    let mut run = Forge::small().run();
    let at = told(&mut run, 1, 4);
    run.transcripts[1].entries.remove(at);
    assert_found(&run, [Kind::Hole]);
}

#[test]
fn a_missing_end_is_named() {
    let mut run = Forge::small().run();
    let at = told(&mut run, 1, 6);
    run.transcripts[1].entries.remove(at);
    assert_found(&run, [Kind::Behind]);
}

#[test]
fn a_repetition_is_named() {
    let mut run = Forge::small().run();
    let at = told(&mut run, 1, 4);
    let again = run.transcripts[1].entries[at].clone();
    run.transcripts[1].entries.insert(at + 1, again);
    assert_found(&run, [Kind::Repeated]);
}

#[test]
fn a_swap_of_two_deliveries_is_named() {
    let mut run = Forge::small().run();
    let (one, other) = (told(&mut run, 1, 4), told(&mut run, 1, 5));
    let (first, second) =
        (run.transcripts[1].entries[one].what.clone(), run.transcripts[1].entries[other].what.clone());
    run.transcripts[1].entries[one].what = second;
    run.transcripts[1].entries[other].what = first;
    assert_found(&run, [Kind::Hole, Kind::Repeated]);
}

#[test]
fn another_order_for_one_client_is_named() {
    let mut run = Forge::small().run();
    let (one, other) = (told_message(&mut run, 1, 4).clone(), told_message(&mut run, 1, 5).clone());
    *told_message(&mut run, 1, 4) = Message { seq: 4, ..other };
    *told_message(&mut run, 1, 5) = Message { seq: 5, ..one };
    assert_found(&run, [Kind::Reordered]);
}

#[test]
fn a_wrong_payload_is_named() {
    let mut run = Forge::small().run();
    told_message(&mut run, 1, 4).body["n"] = json!(99);
    assert_found(&run, [Kind::Altered]);
}

#[test]
fn a_message_that_the_store_lacks_is_named() {
    let mut run = Forge::small().run();
    on_both(&mut run, |history| drop(history.pop()));
    // Its writer was told that it is durable and has settled.
    assert_found(&run, [Kind::Phantom, Kind::LostAcked, Kind::NeverStored]);
}

#[test]
fn a_resume_that_brings_nothing_is_named() {
    let mut forge = Forge::small();
    forge.leave(2, "p/r");
    forge.send(0, "p/r");
    forge.join(2, "p/r");
    let mut run = forge.run();
    *last_joined(&mut run, 2).0 = false;
    assert_found(&run, [Kind::NotRecovered]);
    let (recovered, messages) = last_joined(&mut run, 2);
    *recovered = true;
    messages.clear();
    assert_found(&run, [Kind::NotRecovered]);
}

fn last_joined(run: &mut Run, client: usize) -> (&mut bool, &mut Vec<Message>) {
    let joined = run.transcripts[client].entries.iter_mut().rev().find_map(|entry| match &mut entry.what {
        What::Joined { recovered, messages, .. } => Some((recovered, messages)),
        _ => None,
    });
    joined.expect("it joined")
}

// --- what was acknowledged ---

#[test]
fn a_lost_acknowledged_message_is_named() {
    // Nobody was told of it, and it is nowhere.
    let mut run = Forge::small().run();
    for client in 0..3 {
        let at = told(&mut run, client, 6);
        run.transcripts[client].entries.remove(at);
    }
    on_both(&mut run, |history| drop(history.pop()));
    assert_found(&run, [Kind::LostAcked, Kind::NeverStored]);
}

#[test]
fn an_ack_of_another_place_is_named() {
    let mut run = Forge::small().run();
    let ack = run.transcripts[0].entries.iter_mut().find_map(|entry| match &mut entry.what {
        What::Acked { seq, .. } => Some(seq),
        _ => None,
    });
    *ack.expect("an ack") += 1;
    assert!(kinds(&run).contains(&Kind::WrongPlace), "{:?}", run.defects());
}

#[test]
fn an_ack_of_what_was_not_sent_is_named() {
    let mut forge = Forge::small();
    let (room, id) = (room(), Uuid::from_u128(77));
    forge.note(1, What::Acked { room, id, seq: 3, duplicate: false });
    assert_found(&forge.run(), [Kind::AckFromNowhere]);
}

#[test]
fn an_ack_twice_as_new_is_named() {
    let mut forge = Forge::small();
    let (room, id) = (room(), Uuid::from_u128(1));
    forge.note(0, What::Acked { room, id, seq: 1, duplicate: false });
    assert_found(&forge.run(), [Kind::StoredTwice]);
}

#[test]
fn what_was_sent_and_never_stored_is_named() {
    let mut forge = Forge::small();
    let (room, id) = (room(), Uuid::from_u128(77));
    forge.note(1, What::Sent { room, id, body: json!({"client": 1, "n": 50}) });
    let mut run = forge.run();
    assert_found(&run, [Kind::NeverStored]);
    // Of a client that went before it was acknowledged nobody knows.
    run.troubles.push(trouble(
        run.transcripts[1].entries[0].at,
        Instant::now() + SECOND * 60,
        Effect { closes: Sides::BOTH, ..Effect::default() },
    ));
    let at = run.transcripts[1].entries.last().expect("one").at;
    run.transcripts[1].entries.push(Entry { at, what: What::Lost { code: 1006 } });
    assert!(!kinds(&run).contains(&Kind::NeverStored));
}

#[test]
fn one_message_in_two_places_is_named() {
    let mut run = Forge::small().run();
    on_both(&mut run, |history| {
        let copy = Message { seq: 7, ..history[2].clone() };
        history.push(copy);
    });
    assert!(kinds(&run).contains(&Kind::StoredTwice), "{:?}", run.defects());
}

#[test]
fn a_message_that_nobody_sent_is_named() {
    let mut run = Forge::small().run();
    for transcript in &mut run.transcripts {
        transcript.entries.retain(
            |entry| !matches!(&entry.what, What::Sent { id, .. } | What::Acked { id, .. } if *id == Uuid::from_u128(3)),
        );
    }
    assert_found(&run, [Kind::NeverSent]);
}

#[test]
fn a_writers_messages_out_of_its_order_are_named() {
    let mut run = Forge::small().run();
    // Client 0 sent the first and the fourth message; everybody has them the other way round.
    let swap = |history: &mut Vec<Message>| {
        let (one, four) = (history[0].clone(), history[3].clone());
        history[0] = Message { seq: 1, ..four };
        history[3] = Message { seq: 4, ..one };
    };
    let history = run.accounts[&Side::A].histories[&room()].clone();
    on_both(&mut run, swap);
    for client in 0..3 {
        *told_message(&mut run, client, 1) = Message { seq: 1, ..history[3].clone() };
        *told_message(&mut run, client, 4) = Message { seq: 4, ..history[0].clone() };
    }
    for entry in &mut run.transcripts[0].entries {
        if let What::Acked { seq, .. } = &mut entry.what {
            *seq = if *seq == 1 { 4 } else { 1 };
        }
    }
    assert_found(&run, [Kind::OwnOrder]);
}

#[test]
fn histories_that_differ_or_have_holes_are_named() {
    let mut run = Forge::small().run();
    run.accounts.get_mut(&Side::B).expect("B").histories.get_mut(&room()).expect("it").pop();
    assert_found(&run, [Kind::HistoriesDiffer]);
    let mut run = Forge::small().run();
    on_both(&mut run, |history| drop(history.remove(2)));
    assert!(kinds(&run).contains(&Kind::HistoryHole), "{:?}", run.defects());
}

// --- time ---

#[test]
fn a_late_message_is_named_unless_it_was_held_up() {
    let mut forge = Forge::small();
    forge.wait(SECOND * 5);
    let mut run = forge.run();
    let at = told(&mut run, 1, 6);
    let told_at = run.transcripts[1].entries[at].at;
    run.transcripts[1].entries[at].at = told_at + SECOND * 3;
    assert_found(&run, [Kind::Late]);
    let effect = Effect { delays: true, ..Effect::default() };
    run.troubles = vec![trouble(told_at - SECOND, told_at + SECOND * 2, effect)];
    assert_found(&run, []);
    run.troubles = vec![trouble(told_at - SECOND, told_at + SECOND / 2, effect)];
    assert_found(&run, [Kind::Late]);
}

#[test]
fn a_hole_that_heals_too_slowly_is_named() {
    let mut forge = Forge::small();
    forge.wait(SECOND * 5);
    let mut run = forge.run();
    // 5 and 6 came after 1.5 s: too long for a hole, soon enough for an end.
    let at = told(&mut run, 1, 5);
    for entry in &mut run.transcripts[1].entries[at..] {
        entry.at += SECOND * 3 / 2;
    }
    assert_found(&run, [Kind::Late]);
    run.rules.hole = None;
    assert_found(&run, []);
}
