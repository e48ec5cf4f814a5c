//! The judge against hubs with one fault each, put there on purpose: it must find every one.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::{
    book::Habits,
    check::Kind,
    fleet::Crew,
    stage::Stage,
    troubles::{Effect, Trouble},
    world::{BRISK, Setup},
};
use crate::support::hub::SABOTAGE;

/// A broken hub may never come to rest.
const SETTLING: Duration = Duration::from_secs(3);

async fn with_fault(fault: &str) -> Stage {
    let setup = Setup::new(BRISK).with(SABOTAGE, fault).with("DATABASE_BUSY_TIMEOUT_MS", "300");
    Stage::set(setup, Crew::new(Habits::LIVELY)).await
}

/// What the judge says, all of it once.
async fn found(stage: Stage) -> BTreeSet<Kind> {
    let run = stage.end(SETTLING).await;
    let explained = |trouble: &Trouble| trouble.effect.errors.contains(&"unavailable");
    assert!(run.troubles.iter().all(explained), "nothing but a locked database was done");
    run.defects().into_iter().map(|defect| defect.kind).collect()
}

#[tokio::test]
async fn a_lost_delivery_is_found() {
    let stage = with_fault("lose").await;
    stage.fleet.talk(400).await;
    let found = found(stage).await;
    assert!(found.contains(&Kind::Hole), "{found:?}");
}

#[tokio::test]
async fn a_delivery_twice_is_found() {
    let stage = with_fault("twice").await;
    stage.fleet.talk(400).await;
    let found = found(stage).await;
    assert_eq!(found, [Kind::Repeated].into());
}

#[tokio::test]
async fn a_leave_that_is_not_told_is_found() {
    let stage = with_fault("stay").await;
    stage.fleet.talk(400).await;
    let found = found(stage).await;
    let seen_still = [Kind::Ghost, Kind::ViewWrong, Kind::Incoherent, Kind::FirstOrLast];
    assert!(seen_still.iter().any(|kind| found.contains(kind)), "{found:?}");
}

/// Acknowledged before the commit, which then fails.
#[tokio::test]
async fn an_ack_of_what_was_not_committed_is_found() {
    let mut stage = with_fault("acknowledge").await;
    let file = stage.world.hubs[0].home().path().join("data/hubbub.db");
    let mut other = SqliteConnectOptions::new().filename(&file).connect().await.expect("a connection");
    let effect = Effect { delays: true, errors: &["unavailable"], ..Effect::default() };
    let trouble = stage.world.trouble("the file is locked", effect);
    other.execute("BEGIN IMMEDIATE").await.expect("the lock");
    stage.outlast(trouble, Duration::from_secs(1)).await;
    other.execute("ROLLBACK").await.expect("the end of the lock");
    other.close().await.expect("closed");
    stage.world.mended(trouble);
    stage.fleet.talk(100).await;
    let found = found(stage).await;
    assert!(found.contains(&Kind::LostAcked), "{found:?}");
}
