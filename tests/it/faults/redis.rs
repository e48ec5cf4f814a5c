//! Redis dies, hangs, is restarted, forgets, or loses what it should carry. No connection ends for it, nobody is seen to
//! leave, everybody is told while it lasts, and two seconds after it all is as if nothing had been.

use std::time::Duration;

use super::{
    book::Habits,
    fleet::Crew,
    stage::Stage,
    troubles::{Effect, Sides},
    world::{BRISK, PATIENT, Setup, Times},
};
use crate::support::Losing;

/// Long enough that everybody must have been told of it.
const OUTAGE: Duration = Duration::from_millis(3_500);

/// What the absence of Redis explains.
const AWAY: Effect = Effect {
    delays: true,
    degrades: Some(("redis", Sides::BOTH)),
    closes: Sides::NONE,
    holds: Sides::NONE,
    expires: false,
    errors: &[],
};

async fn lively(times: Times) -> Stage {
    let stage = Stage::set(Setup::new(times), Crew::new(Habits::LIVELY)).await;
    stage.fleet.talk(150).await;
    stage
}

#[tokio::test]
async fn redis_is_killed_and_started_again() {
    let mut stage = lively(PATIENT).await;
    for outage in [OUTAGE, Duration::ZERO] {
        let trouble = stage.world.trouble("Redis is killed", AWAY);
        stage.world.redis.kill();
        stage.outlast(trouble, outage).await;
        stage.world.redis.restart().await;
        stage.world.mended(trouble);
        stage.fleet.talk(200).await;
    }
    stage.judge().await;
}

#[tokio::test]
async fn redis_is_restarted_in_good_order() {
    let mut stage = lively(PATIENT).await;
    for _ in 0..2 {
        let trouble = stage.world.trouble("Redis is restarted", AWAY);
        stage.world.redis.stop().await;
        stage.world.redis.restart().await;
        stage.world.mended(trouble);
        stage.fleet.talk(300).await;
    }
    stage.judge().await;
}

#[tokio::test]
async fn redis_hangs_and_wakes() {
    let mut stage = lively(PATIENT).await;
    for hang in [OUTAGE, Duration::from_millis(800)] {
        let trouble = stage.world.trouble("Redis hangs", AWAY);
        stage.world.redis.pause();
        stage.outlast(trouble, hang).await;
        stage.world.redis.resume();
        stage.world.mended(trouble);
        stage.fleet.talk(200).await;
    }
    stage.judge().await;
}

/// The instances take each other for dead, and take each other back.
#[tokio::test]
async fn redis_is_away_for_longer_than_the_ttl() {
    let mut stage = lively(BRISK).await;
    let trouble = stage.world.trouble("Redis is away", Effect { expires: true, ..AWAY });
    stage.world.redis.kill();
    stage.outlast(trouble, BRISK.ttl * 2).await;
    stage.world.redis.restart().await;
    stage.world.mended(trouble);
    stage.fleet.talk(200).await;
    stage.judge().await;
}

#[tokio::test]
async fn redis_forgets_everything() {
    let stage = lively(BRISK).await;
    for _ in 0..10 {
        stage.world.redis.command(&["FLUSHALL"]).await;
        stage.fleet.talk(60).await;
    }
    stage.judge().await; // nothing explains anything
}

/// Of five texts one is lost, one comes twice, one too late. Holes heal within a second, and no connection ends for it.
#[tokio::test]
async fn the_bus_loses_repeats_and_reorders() {
    // Times in which not all signs of life of an instance are lost in a row.
    let seconds = Duration::from_secs;
    let times = Times { ttl: seconds(4), grace: seconds(4), ..BRISK };
    let setup = Setup { losing: Losing::OneInFive, ..Setup::new(times) };
    let stage = Stage::set(setup, Crew::new(Habits::LIVELY)).await;
    stage.fleet.talk(1_200).await;
    let mut run = stage.judge().await;
    run.rules.hole = Some(Duration::from_secs(1));
    let defects = run.defects();
    assert!(defects.is_empty(), "{} holes were open for too long: {}", defects.len(), defects[0]);
}
