//! Ends, refusals and status frames.

use super::*;

#[test]
fn an_unexplained_error_frame_is_named() {
    let mut forge = Forge::small();
    let at = forge.at();
    forge.note(1, What::Refused { code: "unavailable".into(), message: "".into() });
    let mut run = forge.run();
    assert_found(&run, [Kind::ErrorFrame]);
    run.troubles = vec![trouble(at - SECOND, at, Effect { errors: &["unavailable"], ..Effect::default() })];
    assert_found(&run, []);
    run.troubles[0].effect.errors = &["internal"];
    assert_found(&run, [Kind::ErrorFrame]);
}

#[test]
fn an_unexplained_close_is_named() {
    let mut forge = Forge::small();
    let at = forge.at();
    forge.drop_off(1);
    forge.wait(SECOND * 3 / 2);
    forge.goes(1, "p/r", "closed");
    let mut run = forge.run();
    assert_found(&run, [Kind::Closed]);
    run.troubles = vec![trouble(at, at, Effect { closes: Sides::only(Side::A), ..Effect::default() })];
    assert_found(&run, [Kind::Closed]); // client 1 was on B
    run.troubles[0].effect.closes = Sides::only(Side::B);
    assert_found(&run, []);
}

#[test]
fn a_false_alarm_a_missing_one_and_one_that_does_not_end_are_named() {
    let degraded = |reasons: &[&str]| What::Status { reasons: reasons.iter().map(|text| (*text).into()).collect() };
    let mut forge = Forge::small();
    let from = forge.at();
    forge.wait(SECOND);
    for client in 0..3 {
        forge.note(client, degraded(&["redis"]));
    }
    forge.wait(SECOND * 2);
    let until = forge.at();
    forge.wait(SECOND / 2);
    for client in 0..3 {
        forge.note(client, degraded(&[]));
    }
    forge.wait(SECOND * 5);
    forge.send(0, "p/r");
    let mut run = forge.run();
    assert_found(&run, [Kind::FalseAlarm]);
    let effect = Effect { degrades: Some(("redis", Sides::BOTH)), ..Effect::default() };
    run.troubles = vec![trouble(from, until, effect)];
    assert_found(&run, []);
    run.troubles[0].effect.degrades = Some(("database", Sides::BOTH));
    assert_found(&run, [Kind::FalseAlarm, Kind::NotTold]);
    run.troubles[0].effect = effect;
    for transcript in &mut run.transcripts {
        transcript.entries.retain(|entry| !matches!(&entry.what, What::Status { reasons } if reasons.is_empty()));
    }
    assert_found(&run, [Kind::StillDegraded]);
}
