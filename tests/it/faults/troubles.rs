//! What was done to a run, when, and what a client may notice of it. What no trouble explains is a defect.

use std::time::{Duration, Instant};

use super::transcript::Side;

/// Some of the two instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    pub a: bool,
    pub b: bool,
}

impl Sides {
    pub const NONE: Self = Self { a: false, b: false };
    pub const BOTH: Self = Self { a: true, b: true };

    pub fn only(side: Side) -> Self {
        Self { a: side == Side::A, b: side == Side::B }
    }

    /// Whether the side is among them; when it is not known, whether there is any.
    pub fn has(self, side: Option<Side>) -> bool {
        match side {
            Some(Side::A) => self.a,
            Some(Side::B) => self.b,
            None => self.a || self.b,
        }
    }
}

/// What a client may notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effect {
    /// Connections to these may end.
    pub closes: Sides,
    /// Frames between these and their clients may be held.
    pub holds: Sides,
    /// What is written on one instance may be late on the other, or everywhere.
    pub delays: bool,
    /// People may be taken for gone who are not.
    pub expires: bool,
    /// The reason that clients of these are told of, `degraded`; they may also not be, if the trouble is short.
    pub degrades: Option<(&'static str, Sides)>,
    /// What is asked may be refused with these.
    pub errors: &'static [&'static str],
}

/// Something that was done.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub what: String,
    pub from: Instant,
    /// When it was mended.
    pub until: Instant,
    pub effect: Effect,
}

/// When something is late that is due within `limit` after `start`, if the `troubles` that hold it up stop the clock.
pub fn due<'a>(start: Instant, limit: Duration, troubles: impl Iterator<Item = &'a Trouble>) -> Instant {
    let mut holding: Vec<_> = troubles.map(|trouble| (trouble.from, trouble.until)).collect();
    holding.sort();
    let mut start = start;
    for (from, until) in holding {
        if from <= start + limit && until > start {
            start = until;
        }
    }
    start + limit
}
