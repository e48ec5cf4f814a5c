//! An instance dies, hangs, or is restarted, in the middle of everything.

use std::time::Duration;

use super::{
    book::Habits,
    fleet::Crew,
    stage::Stage,
    transcript::Side,
    troubles::{Effect, Sides},
    world::{BRISK, PATIENT, Setup},
};

/// What the death of an instance explains.
fn death_of(side: Side) -> Effect {
    Effect { closes: Sides::only(side), delays: true, ..Effect::default() }
}

#[tokio::test]
async fn a_run_without_trouble_keeps_every_promise() {
    let stage = Stage::set(Setup::new(BRISK), Crew::new(Habits::LIVELY)).await;
    stage.fleet.talk(1_000).await;
    stage.judge().await;
}

#[tokio::test]
async fn an_instance_is_killed_and_started_again() {
    let mut stage = Stage::set(Setup::new(BRISK), Crew::new(Habits::LIVELY)).await;
    for side in Side::BOTH {
        stage.fleet.talk(200).await;
        let trouble = stage.world.trouble("an instance is killed", death_of(side));
        stage.world.hub(side).kill();
        stage.fleet.talk(100).await;
        stage.world.hub(side).restart().await;
        stage.fleet.assembled().await;
        // What it stored and told nobody of is found when it is missed.
        let missed = stage.world.began(trouble) + BRISK.ttl + Duration::from_millis(100);
        stage.world.mended_at(trouble, missed.max(std::time::Instant::now()));
    }
    stage.judge().await;
}

/// Alive and silent for longer than the TTL: taken for dead, and taken back.
#[tokio::test]
async fn an_instance_hangs_and_wakes() {
    let mut stage = Stage::set(Setup::new(BRISK), Crew::new(Habits::LIVELY)).await;
    for side in Side::BOTH {
        stage.fleet.talk(200).await;
        let (closes, degrades) = (Sides::only(side), Some(("redis", Sides::only(side))));
        let hangs = Effect { closes, holds: closes, degrades, expires: true, delays: true, errors: &[] };
        let trouble = stage.world.trouble("an instance hangs", hangs);
        stage.world.hub(side).pause();
        stage.outlast(trouble, BRISK.ttl + Duration::from_secs(1)).await;
        stage.world.hub(side).resume();
        stage.fleet.assembled().await;
        stage.world.mended(trouble);
    }
    stage.judge().await;
}

/// Those who can go to the other instance do, the others wait: nobody is seen to leave.
#[tokio::test]
async fn the_instances_are_restarted_one_after_the_other() {
    let mut stage = Stage::set(Setup::new(PATIENT), Crew::new(Habits::STEADY)).await;
    for side in Side::BOTH {
        stage.fleet.talk(150).await;
        let effect = Effect { closes: Sides::only(side), ..Effect::default() };
        let trouble = stage.world.trouble("an instance is restarted", effect);
        stage.world.hub(side).stop().await;
        stage.world.hub(side).restart().await;
        stage.fleet.assembled().await;
        stage.world.mended(trouble);
    }
    stage.judge().await;
}
