//! A run from its beginning to its judgement.

use std::{
    fmt,
    net::SocketAddr,
    ops::AddAssign,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    check::Run,
    fleet::{Crew, Fleet},
    transcript::What,
    world::{Ongoing, Setup, World},
};
use crate::support::{TestHub, eventually_within};

/// How long all may take to agree, once nothing new happens. What is not agreed then is for the judge.
/// Longer than the longest grace: a drop that the reconnect overtook on the way is seen as a second tab until then.
pub const SETTLING: Duration = Duration::from_secs(25);

/// How many runs take place at a time: each keeps the machine busy, and times are judged.
const TURNS: u32 = 2;
static TURN: Semaphore = Semaphore::const_new(TURNS as usize);

/// Leave to run.
pub struct Turn(#[expect(dead_code, reason = "held")] SemaphorePermit<'static>);

impl Turn {
    async fn beside_another() -> Self {
        Self(TURN.acquire().await.expect("it is never closed"))
    }

    /// For what needs the whole machine.
    pub async fn alone() -> Self {
        Self(TURN.acquire_many(TURNS).await.expect("it is never closed"))
    }
}

/// The world and its people.
pub struct Stage {
    pub world: World,
    pub fleet: Fleet,
    _turn: Turn,
}

impl Stage {
    pub async fn set(setup: Setup, crew: Crew) -> Self {
        let turn = Turn::beside_another().await;
        let world = World::start(&setup).await;
        let fleet = Fleet::board(&world, &crew).await;
        Self { world, fleet, _turn: turn }
    }

    /// With a crowd, and something between clients and instances, which `crew` is given the addresses of.
    pub async fn set_behind(setup: Setup, crew: impl AsyncFnOnce([SocketAddr; 2]) -> Crew) -> Self {
        let turn = Turn::alone().await;
        let world = World::start(&setup).await;
        let crew = crew(world.hubs.each_ref().map(TestHub::address)).await;
        let fleet = Fleet::board(&world, &crew).await;
        Self { world, fleet, _turn: turn }
    }

    /// Waits until a trouble has lasted so long.
    pub async fn outlast(&self, trouble: Ongoing, time: Duration) {
        let until = self.world.began(trouble) + time;
        let what = format!("it lasted {time:?}");
        eventually_within(time * 2, &what, async || (Instant::now() >= until).then_some(())).await;
    }

    /// Ends the run and gives what is left of it.
    pub async fn end(self, settling: Duration) -> Run {
        self.fleet.settle(&self.world, settling).await;
        let run = self.fleet.leavings(&self.world).await;
        self.fleet.disband().await;
        run
    }

    /// Ends the run, asserts that no promise was broken, and gives what is left for a closer look.
    pub async fn judge(self) -> Run {
        self.fleet.talk(100).await; // life goes on after the trouble
        let run = self.end(SETTLING).await;
        run.assert_no_defects("this run");
        let volume = Volume::of(&run);
        volume.assert_worth_judging();
        eprintln!("{volume}");
        run
    }
}

impl Run {
    /// Fails with what was broken.
    pub fn assert_no_defects(&self, what: &str) {
        let defects = self.defects();
        if !defects.is_empty() {
            let shown: Vec<_> = defects.iter().take(25).map(ToString::to_string).collect();
            let (count, volume, notes) = (defects.len(), Volume::of(self), self.write_down());
            let (notes, shown) = (notes.display(), shown.join("\n"));
            panic!("{count} promises broken in {what}, {volume}; all notes are in {notes}:\n{shown}");
        }
    }
}

/// How much happened: a run in which nothing did proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Volume {
    connections: usize,
    acks: usize,
    told: usize,
    resumed: usize,
    changes: usize,
    /// Messages and joins that were refused for now.
    pub refused: usize,
    /// How often somebody was told of trouble.
    pub degraded: usize,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.acks += other.acks;
        self.told += other.told;
        self.resumed += other.resumed;
        self.changes += other.changes;
        self.refused += other.refused;
        self.degraded += other.degraded;
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, acks, told, resumed, changes, refused, degraded } = self;
        write!(
            f,
            "{acks} messages acknowledged, {told} delivered and {resumed} resumed, {changes} changes of presence, \
             {connections} connections, {refused} refusals, told of trouble {degraded} times"
        )
    }
}

impl Volume {
    pub fn of(run: &Run) -> Self {
        let mut volume = Self::default();
        for entry in run.transcripts.iter().flat_map(|transcript| &transcript.entries) {
            match &entry.what {
                What::Connected { .. } => volume.connections += 1,
                What::Acked { .. } => volume.acks += 1,
                What::Told { .. } => volume.told += 1,
                What::Joined { messages, since: Some(_), .. } => volume.resumed += messages.len(),
                What::Changed { changes, .. } => volume.changes += changes.len(),
                What::Refused { .. } => volume.refused += 1,
                What::Status { reasons } => volume.degraded += usize::from(!reasons.is_empty()),
                _ => {}
            }
        }
        volume
    }

    fn assert_worth_judging(&self) {
        assert!(self.acks >= 500 && self.told >= 4_000 && self.changes >= 500, "too little happened: {self:?}");
    }
}
