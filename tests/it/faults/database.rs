//! The database dies, hangs, is restarted, is held by somebody else, or cannot be reached. What cannot be stored is refused
//! and never acknowledged; everything else goes on; when it is back, so is all.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::{
    book::Habits,
    check::Run,
    fleet::Crew,
    stage::{Stage, Volume},
    transcript::Side,
    troubles::{Effect, Sides},
    world::{PATIENT, Setup},
};
use crate::support::Proxy;

/// Long enough that everybody must have been told of it.
const OUTAGE: Duration = Duration::from_millis(5_500);
const SHORT: Duration = Duration::from_millis(1_500);

/// What the absence of the database explains.
fn away(sides: Sides) -> Effect {
    let degrades = Some(("database", sides));
    Effect { delays: true, degrades, errors: &["unavailable"], ..Effect::default() }
}

async fn on_postgres() -> Stage {
    let mut setup = Setup::new(PATIENT).with("DATABASE_STATEMENT_TIMEOUT_MS", "1000");
    setup.postgres = true;
    let stage = Stage::set(setup, Crew::new(Habits::LIVELY)).await;
    stage.fleet.talk(150).await;
    stage
}

#[tokio::test]
async fn the_database_is_killed_stopped_and_started_again() {
    let mut stage = on_postgres().await;
    let database = stage.world.database.take().expect("a database");
    let trouble = stage.world.trouble("the database is killed", away(Sides::BOTH));
    database.server.kill();
    stage.outlast(trouble, OUTAGE).await;
    database.restart().await;
    stage.world.mended(trouble);
    stage.fleet.talk(200).await;
    let trouble = stage.world.trouble("the database is restarted", away(Sides::BOTH));
    database.stop().await;
    database.restart().await;
    stage.world.mended(trouble);
    stage.fleet.talk(200).await;
    assert_showed(&stage.judge().await);
}

#[tokio::test]
async fn the_database_hangs_and_wakes() {
    let mut stage = on_postgres().await;
    let database = stage.world.database.take().expect("a database");
    for hang in [SHORT, OUTAGE] {
        let trouble = stage.world.trouble("the database hangs", away(Sides::BOTH));
        database.server.pause();
        stage.outlast(trouble, hang).await;
        database.server.resume();
        stage.world.mended(trouble);
        stage.fleet.talk(200).await;
    }
    assert_showed(&stage.judge().await);
}

#[tokio::test]
async fn the_link_between_an_instance_and_the_database_breaks() {
    let mut stage = on_postgres().await;
    let database = stage.world.database.take().expect("a database");
    for side in Side::BOTH {
        let link = &database.links[side as usize];
        for breaks in [Proxy::cut as fn(&Proxy), Proxy::cut_off, Proxy::stall] {
            let trouble = stage.world.trouble("the link to the database breaks", away(Sides::only(side)));
            breaks(link);
            stage.outlast(trouble, SHORT).await;
            link.resume();
            stage.world.mended(trouble);
            stage.fleet.talk(150).await;
        }
    }
    database.links.iter().for_each(|link| link.slow(Duration::from_millis(20)));
    stage.fleet.talk(150).await;
    database.links.iter().for_each(Proxy::resume);
    assert_showed(&stage.judge().await);
}

/// It was not for nothing: messages were refused.
fn assert_showed(run: &Run) {
    let volume = Volume::of(run);
    assert!(volume.refused > 0, "nobody noticed anything: {volume}");
}

/// Another process holds SQLite's lock for longer than the hub waits.
#[tokio::test]
async fn the_database_file_is_locked_by_somebody_else() {
    // Longer than two instances ever hold up each other, on a busy machine with a slow disk.
    let setup = Setup::new(PATIENT).with("DATABASE_BUSY_TIMEOUT_MS", "2500");
    let mut stage = Stage::set(setup, Crew::new(Habits::LIVELY)).await;
    let file = stage.world.hubs[0].home().path().join("data/hubbub.db");
    for _ in 0..2 {
        stage.fleet.talk(150).await;
        // The instances take turns; somebody else gets the lock by luck.
        let options = SqliteConnectOptions::new().filename(&file).busy_timeout(Duration::from_secs(60));
        let mut other = options.connect().await.expect("a connection");
        let trouble = stage.world.trouble("the file is locked", away(Sides::BOTH));
        other.execute("BEGIN IMMEDIATE").await.expect("the lock");
        stage.outlast(trouble, SHORT * 3).await;
        other.execute("ROLLBACK").await.expect("the end of the lock");
        other.close().await.expect("closed");
        stage.world.mended(trouble);
    }
    assert_showed(&stage.judge().await);
}
