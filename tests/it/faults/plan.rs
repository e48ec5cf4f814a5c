//! What chance has in store for a round: which parts are struck, how, when, and for how long. No part is struck twice in a
//! round, so that each trouble can be ended by itself.

use std::{collections::HashMap, fmt, time::Duration};

use rand::{Rng as _, rngs::StdRng, seq::SliceRandom as _};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    transcript::Side,
    troubles::{Effect, Sides},
    world::{Ongoing, World},
};
use crate::support::Proxy;

/// A part of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Instance(Side),
    Redis,
    Database,
    /// Between an instance and Redis.
    Bus(Side),
    /// Between clients and an instance.
    Door(Side),
    /// Between an instance and the database.
    Store(Side),
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// SIGKILL; started again at the end.
    Kill,
    /// SIGTERM; started again at the end.
    Stop,
    /// SIGSTOP; SIGCONT at the end.
    Hang,
    /// FLUSHALL.
    Forget,
    /// A file's lock is held by somebody else.
    Lock,
    /// A reset.
    Cut,
    /// Resets, and no new connections.
    CutOff,
    /// Bytes are held.
    Stall,
    /// Bytes are late and come in pieces.
    Slow,
}

/// One trouble.
#[derive(Debug, Clone, Copy)]
struct Strike {
    part: Part,
    blow: Blow,
    at: Duration,
    lasts: Duration,
}

/// The troubles of a round.
#[derive(Debug)]
pub struct Plan(Vec<Strike>);

/// The beginning or end of a trouble, by its number in the plan.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    nth: usize,
    strike: Strike,
    begins: bool,
}

impl Plan {
    /// One to three troubles within a few seconds.
    pub fn of_chance(chance: &mut StdRng, world: &World) -> Self {
        let mut parts = vec![Part::Redis, Part::Database];
        for side in Side::BOTH {
            parts.extend([Part::Instance(side), Part::Bus(side), Part::Door(side)]);
            parts.extend(world.database.is_some().then_some(Part::Store(side)));
        }
        parts.shuffle(chance);
        parts.truncate(chance.random_range(1..=3));
        // An instance does not start without its database.
        if parts.iter().any(|part| matches!(part, Part::Instance(_))) {
            parts.retain(|part| !matches!(part, Part::Database | Part::Store(_)));
        }
        let mut strikes: Vec<Strike> = parts
            .into_iter()
            .map(|part| {
                let blows = part.blows(world);
                let blow = blows[chance.random_range(0..blows.len())];
                let millis = |chance: &mut StdRng, range| Duration::from_millis(chance.random_range(range));
                let (at, lasts) = (millis(chance, 0..4_000), millis(chance, 100..5_000));
                let is_moment = matches!(blow, Blow::Cut | Blow::Forget);
                Strike { part, blow, at, lasts: if is_moment { Duration::ZERO } else { lasts } }
            })
            .collect();
        strikes.sort_by_key(|strike| strike.at);
        Self(strikes)
    }

    /// What to do when, from the beginning.
    pub fn steps(&self) -> Vec<(Duration, Step)> {
        let mut steps = Vec::new();
        for (nth, strike) in self.0.iter().copied().enumerate() {
            steps.push((strike.at, Step { nth, strike, begins: true }));
            steps.push((strike.at + strike.lasts, Step { nth, strike, begins: false }));
        }
        steps.sort_by_key(|(at, _)| *at);
        steps
    }
}

impl Part {
    fn blows(self, world: &World) -> &'static [Blow] {
        match self {
            Self::Instance(_) => &[Blow::Kill, Blow::Stop, Blow::Hang],
            Self::Redis => &[Blow::Kill, Blow::Stop, Blow::Hang, Blow::Forget],
            Self::Database if world.database.is_some() => &[Blow::Kill, Blow::Stop, Blow::Hang],
            Self::Database => &[Blow::Lock],
            Self::Bus(_) | Self::Store(_) => &[Blow::Cut, Blow::CutOff, Blow::Stall, Blow::Slow],
            Self::Door(_) => &[Blow::Cut, Blow::Stall, Blow::Slow],
        }
    }
}

impl Strike {
    /// What clients may notice of it.
    fn effect(self, world: &World) -> Effect {
        // What lasts as long as the TTL, or nearly, makes instances take each other's people for gone.
        let expires = self.lasts + world.times.heartbeat * 2 >= world.times.ttl;
        let none = Effect::default();
        match (self.part, self.blow) {
            (_, Blow::Forget) => none,
            (Part::Bus(_) | Part::Store(_), Blow::Slow) => Effect { delays: true, ..none },
            (Part::Door(side), Blow::Cut) => Effect { closes: Sides::only(side), ..none },
            (Part::Door(side), _) => Effect { closes: Sides::only(side), holds: Sides::only(side), ..none },
            (Part::Instance(side), Blow::Hang) => {
                let (sides, degrades) = (Sides::only(side), Some(("redis", Sides::only(side))));
                Effect { closes: sides, holds: sides, delays: true, expires, degrades, errors: &["unavailable"] }
            }
            (Part::Instance(side), _) => Effect { closes: Sides::only(side), delays: true, ..none },
            (Part::Redis, _) => Effect { delays: true, expires, degrades: Some(("redis", Sides::BOTH)), ..none },
            (Part::Bus(side), _) => {
                Effect { delays: true, expires, degrades: Some(("redis", Sides::only(side))), ..none }
            }
            (Part::Database, _) => {
                let degrades = Some(("database", Sides::BOTH));
                Effect { delays: true, degrades, errors: &["unavailable"], ..none }
            }
            (Part::Store(side), _) => {
                let degrades = Some(("database", Sides::only(side)));
                Effect { delays: true, degrades, errors: &["unavailable"], ..none }
            }
        }
    }
}

/// The troubles that are on.
#[derive(Default)]
pub struct Scourge {
    ongoing: HashMap<usize, Ongoing>,
    lock: Option<SqliteConnection>,
}

impl Scourge {
    pub async fn carry_out(&mut self, Step { nth, strike, begins }: Step, world: &mut World) {
        if begins {
            let effect = strike.effect(world);
            self.ongoing.insert(nth, world.trouble(&strike.to_string(), effect));
            self.strike(strike, world).await;
        } else {
            self.mend(strike, world).await;
            let ongoing = self.ongoing.remove(&nth).expect("it began");
            // What a killed instance told nobody of is found when it is missed.
            let missed = world.began(ongoing) + world.times.ttl.min(Duration::from_secs(3));
            let killed = matches!((strike.part, strike.blow), (Part::Instance(_), Blow::Kill));
            let now = std::time::Instant::now();
            world.mended_at(ongoing, if killed { now.max(missed) } else { now });
        }
    }

    async fn strike(&mut self, Strike { part, blow, .. }: Strike, world: &mut World) {
        match (part, blow) {
            (Part::Instance(side), Blow::Kill) => world.hub(side).kill(),
            (Part::Instance(side), Blow::Stop) => world.hub(side).stop_in_trouble().await,
            (Part::Instance(side), _) => world.hub(side).pause(),
            (Part::Redis, Blow::Kill) => world.redis.kill(),
            (Part::Redis, Blow::Stop) => world.redis.stop().await,
            (Part::Redis, Blow::Hang) => world.redis.pause(),
            (Part::Redis, _) => drop(world.redis.command(&["FLUSHALL"]).await),
            (Part::Database, Blow::Kill) => world.database().server.kill(),
            (Part::Database, Blow::Stop) => world.database().stop().await,
            (Part::Database, Blow::Hang) => world.database().server.pause(),
            (Part::Database, _) => {
                let file = world.hubs[0].home().path().join("data/hubbub.db");
                let patience = Duration::from_secs(5);
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(patience);
                let mut other = options.connect().await.expect("a connection");
                other.execute("BEGIN IMMEDIATE").await.expect("the lock");
                self.lock = Some(other);
            }
            (Part::Bus(side), _) => blow.on(&world.to_redis[side as usize]),
            (Part::Door(side), _) => blow.on(&world.doors[side as usize]),
            (Part::Store(side), _) => blow.on(&world.database().links[side as usize]),
        }
    }

    async fn mend(&mut self, Strike { part, blow, .. }: Strike, world: &mut World) {
        match (part, blow) {
            (Part::Instance(side), Blow::Hang) => world.hub(side).resume(),
            (Part::Instance(side), _) => world.hub(side).restart().await,
            (Part::Redis, Blow::Forget) => {}
            (Part::Redis, Blow::Hang) => world.redis.resume(),
            (Part::Redis, _) => drop(world.redis.restart().await),
            (Part::Database, Blow::Hang) => world.database().server.resume(),
            (Part::Database, Blow::Lock) => {
                let mut other = self.lock.take().expect("the lock");
                other.execute("ROLLBACK").await.expect("the end of the lock");
                other.close().await.expect("closed");
            }
            (Part::Database, _) => world.database().restart().await,
            (Part::Bus(side), _) => world.to_redis[side as usize].resume(),
            (Part::Door(side), _) => world.doors[side as usize].resume(),
            (Part::Store(side), _) => world.database().links[side as usize].resume(),
        }
    }
}

impl Blow {
    fn on(self, link: &Proxy) {
        match self {
            Self::Cut => link.cut(),
            Self::CutOff => link.cut_off(),
            Self::Stall => link.stall(),
            _ => link.slow(Duration::from_millis(50)),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, blow, at, lasts } = self;
        write!(f, "{blow:?} {part:?} after {:.1} s for {:.1} s", at.as_secs_f32(), lasts.as_secs_f32())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strikes: Vec<_> = self.0.iter().map(Strike::to_string).collect();
        f.write_str(&strikes.join(", "))
    }
}
