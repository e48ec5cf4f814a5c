//! The judge of a run: from what every client wrote down, what the hub says over HTTP at the end, and what was done to it,
//! everything that was promised and not kept. Pure, so that forged runs can show that it sees what it should.

mod acks;
mod forge;
mod lateness;
mod lives;
mod order;
mod presence;
mod story;
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    transcript::{Room, Seen, Side, Transcript},
    troubles::Trouble,
};
use crate::support::frames::Message;

pub use lives::Lives;

/// What one side says over HTTP when all is over.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Whole histories, oldest first.
    pub histories: BTreeMap<Room, Vec<Message>>,
    /// Who is in the rooms, by connection.
    pub presences: BTreeMap<Room, BTreeMap<String, Seen>>,
}

/// Times that the hub was set to or that are promised.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub ttl: Duration,
    pub grace: Duration,
    /// A message is everywhere so soon after somebody knows of it.
    pub tail: Duration,
    /// And so soon after somebody knows of the one behind it, if no two in a row are lost.
    pub hole: Option<Duration>,
    /// Trouble with Redis is told of, and its end, so soon.
    pub notice: Duration,
    /// The same for the database.
    pub notice_database: Duration,
}

/// All that a run left behind.
#[derive(Debug, Clone)]
pub struct Run {
    pub rules: Rules,
    pub transcripts: Vec<Transcript>,
    pub accounts: BTreeMap<Side, Account>,
    pub troubles: Vec<Trouble>,
}

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A client was told of a message before the one it follows.
    Hole,
    /// A client was told twice, or backwards.
    Repeated,
    /// A resume did not bring what was missed.
    NotRecovered,
    /// A client has another message in this place than the store.
    Reordered,
    /// The same message, with other contents.
    Altered,
    /// A client was told of a message that the store does not have.
    Phantom,
    /// A client ended without the latest messages.
    Behind,
    /// A message took too long.
    Late,
    /// The store lacks a message that was acknowledged.
    LostAcked,
    /// A message is elsewhere than its `ack` said.
    WrongPlace,
    /// An `ack` of what was not sent.
    AckFromNowhere,
    /// What a settled client sent is not stored.
    NeverStored,
    /// One message in two places, or stored as new twice.
    StoredTwice,
    /// The store has a message that nobody sent.
    NeverSent,
    /// The messages of one client are in another order than it sent them.
    OwnOrder,
    /// The store's places have a hole.
    HistoryHole,
    /// Two instances tell different histories.
    HistoriesDiffer,
    /// What a client was told of people does not add up to who is there.
    ViewWrong,
    /// An instance says over HTTP that others are there than are.
    PresenceWrong,
    /// Somebody was seen who was long gone.
    Ghost,
    /// Somebody was said to leave who was there.
    FalseLeave,
    /// Somebody was said to be there who was not.
    FalseJoin,
    /// Somebody who came back in time was seen to leave.
    Flicker,
    /// A join of who is here, or a leave of who is not.
    Incoherent,
    /// A `first` or `last` that was not.
    FirstOrLast,
    /// A connection ended and nothing explains it.
    Closed,
    /// An `error` frame that nothing explains.
    ErrorFrame,
    /// `degraded` without a reason.
    FalseAlarm,
    /// No `degraded` although there was reason.
    NotTold,
    /// `degraded` after it was over.
    StillDegraded,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Defect {
    pub kind: Kind,
    pub story: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.story)
    }
}

/// Collects what is found.
#[derive(Debug, Default)]
struct Findings(Vec<Defect>);

impl Findings {
    fn add(&mut self, kind: Kind, story: impl Into<String>) {
        self.0.push(Defect { kind, story: story.into() });
    }
}

impl Run {
    /// Every promise that was broken.
    pub fn defects(&self) -> Vec<Defect> {
        let mut findings = Findings::default();
        let lives = Lives::of(&self.transcripts);
        order::check(self, &mut findings);
        acks::check(self, &mut findings);
        lateness::check(self, &mut findings);
        presence::check(self, &lives, &mut findings);
        story::check(self, &mut findings);
        findings.0
    }

    /// Writes all notes of all clients into a file, by time, for somebody who wants to know how it came to this.
    pub fn write_down(&self) -> PathBuf {
        let mut lines: Vec<_> = self
            .transcripts
            .iter()
            .flat_map(|transcript| transcript.entries.iter().map(|entry| (entry.at, transcript.client, &entry.what)))
            .map(|(at, client, what)| (at, format!("{} client {client}: {what:?}", self.clock(at))))
            .chain(self.troubles.iter().map(|trouble| {
                let until = self.clock(trouble.until);
                (trouble.from, format!("{} TROUBLE until {until}: {}", self.clock(trouble.from), trouble.what))
            }))
            .collect();
        lines.sort();
        let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.txt", std::process::id()));
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// The messages of a room as the store has them.
    fn history(&self, room: &Room) -> &[Message] {
        let account = self.accounts.values().next();
        account.and_then(|account| account.histories.get(room)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The message in a place, if the store has one there.
    fn stored(&self, room: &Room, seq: u64) -> Option<&Message> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.history(room).get(at).filter(|message| message.seq == seq)
    }

    /// Whether a trouble of this sort was on at a time between two.
    fn troubled(&self, from: Instant, to: Instant, is: impl Fn(&Trouble) -> bool) -> bool {
        self.troubles.iter().any(|trouble| trouble.from <= to && trouble.until >= from && is(trouble))
    }

    /// For stories: seconds since the run began.
    fn clock(&self, at: Instant) -> String {
        let begin =
            self.transcripts.iter().filter_map(|transcript| transcript.entries.first()).map(|entry| entry.at).min();
        format!("{:.2} s", begin.map_or(0.0, |begin| at.saturating_duration_since(begin).as_secs_f64()))
    }
}
