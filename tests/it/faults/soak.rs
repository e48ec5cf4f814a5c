//! A long run in which chance decides what fails, when and for how long; several things at once. The seed decides chance:
//! `tests/run soak --minutes 30 --seed 7` does the same again, without a seed it picks one, and says which. Among all other
//! tests it plays the same few rounds each time: what is new is looked for by those who have time.

use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    book::Habits,
    fleet::{Crew, Fleet},
    plan::{Plan, Scourge},
    stage::{SETTLING, Turn, Volume},
    world::{BRISK, Setup, World},
};
use crate::support::eventually_within;

/// How long it lasts among all other tests, and what it plays.
const DEFAULT_SECONDS: u64 = 20;
const DEFAULT_SEED: u64 = 20;
/// New instances, with perhaps another database, after so many rounds.
const ROUNDS_A_WORLD: u64 = 8;

#[tokio::test]
async fn a_random_run_keeps_every_promise() {
    let (seed, seconds) = (number("HUBBUB_SOAK_SEED"), number("HUBBUB_SOAK_SECONDS"));
    let seed = match seconds {
        None => seed.unwrap_or(DEFAULT_SEED),
        Some(_) => seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000)),
    };
    let time = Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS));
    let _turn = Turn::alone().await;
    eprintln!("soak: seed {seed}, {time:?}; again with: tests/run soak --seed {seed}");
    let (begun, mut total, mut round) = (Instant::now(), Volume::default(), 0);
    while begun.elapsed() < time {
        let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + round);
        let mut setup = Setup::new(BRISK).with("DRAIN_TIMEOUT_MS", "4000");
        setup = setup.with("DATABASE_STATEMENT_TIMEOUT_MS", "2500").with("DATABASE_BUSY_TIMEOUT_MS", "2500");
        setup.postgres = chance.random();
        let mut world = World::start(&setup).await;
        let last = round + ROUNDS_A_WORLD;
        while round < last && begun.elapsed() < time {
            let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + round);
            let plan = Plan::of_chance(&mut chance, &world);
            eprintln!("soak: {:>4} s, round {round}: {plan}", begun.elapsed().as_secs());
            let volume = play(&mut world, &plan, &mut chance, round).await;
            eprintln!("soak: {:>4} s, round {round} kept every promise: {volume}", begun.elapsed().as_secs());
            total += volume;
            round += 1;
        }
    }
    eprintln!("soak: {round} rounds with seed {seed} kept every promise: {total}");
}

/// One round: new people in new rooms, troubles, rest, judgement.
async fn play(world: &mut World, plan: &Plan, chance: &mut StdRng, round: u64) -> Volume {
    world.troubles.clear();
    let crew = Crew { project: format!("soak-{round}"), seed: chance.random(), ..Crew::new(Habits::LIVELY) };
    let fleet = Fleet::board(world, &crew).await;
    fleet.talk(100).await;
    let begun = Instant::now();
    let mut under_way = Scourge::default();
    for (after, step) in plan.steps() {
        let wait = "the next step was due";
        eventually_within(after + Duration::from_secs(30), wait, async || (begun.elapsed() >= after).then_some(()))
            .await;
        under_way.carry_out(step, world).await;
    }
    fleet.assembled().await;
    fleet.talk(200).await;
    fleet.settle(world, SETTLING).await;
    let run = fleet.leavings(world).await;
    fleet.disband().await;
    run.assert_no_defects(&format!("round {round} ({plan})"));
    Volume::of(&run)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: `{text}` is not a number")))
}
