//! Each cable by itself: between an instance and Redis, between clients and an instance. Cut, cut off for a while, stalled,
//! and slow.

use std::time::Duration;

use super::{
    book::Habits,
    fleet::Crew,
    stage::Stage,
    transcript::Side,
    troubles::{Effect, Sides},
    world::{BRISK, PATIENT, Setup},
};
use crate::support::Proxy;

/// Long enough that everybody concerned must have been told of it.
const OUTAGE: Duration = Duration::from_millis(3_500);
/// What a slow link adds.
const SLOWNESS: Duration = Duration::from_millis(60);

/// Nobody is disconnected, nobody is seen to leave; the other instance's clients are told of nothing.
#[tokio::test]
async fn the_link_between_an_instance_and_redis_breaks() {
    let mut stage = Stage::set(Setup::new(PATIENT), Crew::new(Habits::LIVELY)).await;
    for side in Side::BOTH {
        let away = Effect { delays: true, degrades: Some(("redis", Sides::only(side))), ..Effect::default() };
        stage.fleet.talk(150).await;
        let cut = stage.world.trouble("the link to Redis is cut", away);
        stage.world.to_redis[side as usize].cut();
        stage.world.mended(cut);
        stage.fleet.talk(250).await;
        for breaks in [Proxy::cut_off as fn(&Proxy), Proxy::stall] {
            let trouble = stage.world.trouble("the link to Redis is broken", away);
            breaks(&stage.world.to_redis[side as usize]);
            stage.outlast(trouble, OUTAGE).await;
            stage.world.to_redis[side as usize].resume();
            stage.world.mended(trouble);
            stage.fleet.talk(200).await;
        }
    }
    stage.judge().await;
}

/// Slow is not broken: nothing may be noticed.
#[tokio::test]
async fn all_links_are_slow() {
    let stage = Stage::set(Setup::new(PATIENT), Crew::new(Habits::LIVELY)).await;
    let world = &stage.world;
    world.to_redis.iter().chain(&world.doors).for_each(|link| link.slow(SLOWNESS));
    stage.fleet.talk(500).await;
    world.to_redis.iter().chain(&world.doors).for_each(Proxy::resume);
    stage.judge().await;
}

/// Everybody comes back at once and resumes; nobody is seen to leave.
#[tokio::test]
async fn the_links_between_clients_and_an_instance_are_cut() {
    let mut stage = Stage::set(Setup::new(BRISK), Crew::new(Habits::STEADY)).await;
    for side in [Side::A, Side::B, Side::A, Side::B] {
        stage.fleet.talk(150).await;
        let trouble =
            stage.world.trouble("clients are cut off", Effect { closes: Sides::only(side), ..Effect::default() });
        stage.world.doors[side as usize].cut();
        stage.fleet.assembled().await;
        stage.world.mended(trouble);
    }
    stage.judge().await;
}

/// For longer than the TTL: the hub gives the silent up, they give the hub up, and come back.
#[tokio::test]
async fn the_links_between_clients_and_an_instance_stall() {
    let mut stage = Stage::set(Setup::new(BRISK), Crew::new(Habits::STEADY)).await;
    for (side, stall) in [(Side::A, BRISK.ttl + Duration::from_secs(1)), (Side::B, Duration::from_millis(500))] {
        stage.fleet.talk(150).await;
        let effect = Effect { closes: Sides::only(side), holds: Sides::only(side), ..Effect::default() };
        let trouble = stage.world.trouble("the links of clients stall", effect);
        stage.world.doors[side as usize].stall();
        stage.outlast(trouble, stall).await;
        stage.world.doors[side as usize].resume();
        stage.world.mended(trouble);
        stage.fleet.assembled().await;
    }
    stage.judge().await;
}
