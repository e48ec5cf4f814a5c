//! The circuit breaker before Redis, as a pure state machine: closed, open after failures in a row, half open after a rest.
//!
//! Half open, one call at a time is let through to try. What a call reports counts only in the state it was let through
//! in: a late failure of before does not open a breaker that has just closed.

use crate::clock::{Duration, Instant};

/// When it changes its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Failures in a row that open it; at least 1.
    pub(super) failures_to_open: u32,
    /// How long it stays open before a call is let through to try.
    pub(super) rest: Duration,
    /// Successes in a row that close it again; at least 1.
    pub(super) successes_to_close: u32,
}

/// As others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// No call goes through.
    Open,
    /// One call at a time goes through.
    HalfOpen,
}

impl State {
    /// The word of the health routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Inner {
    Closed { failures: u32 },
    Open { since: Instant },
    HalfOpen { successes: u32, trying: bool },
}

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    inner: Inner,
    /// Counts the changes of state.
    turn: u64,
}

/// The leave of one call, to be given back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    turn: u64,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Redis answered.
    Succeeded,
    /// It did not.
    Failed,
    /// Nobody waited for the end.
    Abandoned,
}

impl Breaker {
    /// A closed one.
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, inner: Inner::Closed { failures: 0 }, turn: 0 }
    }

    /// Whether a call may go through now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Pass> {
        if let Inner::Open { since } = self.inner
            && now.saturating_duration_since(since) >= self.rules.rest
        {
            self.turn_to(Inner::HalfOpen { successes: 0, trying: false });
        }
        match &mut self.inner {
            Inner::Closed { .. } => {}
            Inner::Open { .. } | Inner::HalfOpen { trying: true, .. } => return None,
            Inner::HalfOpen { trying, .. } => *trying = true,
        }
        Some(Pass { turn: self.turn })
    }

    /// Takes back the leave of a call. Says whether that changed the state.
    pub(super) fn report(&mut self, pass: Pass, outcome: Outcome, now: Instant) -> bool {
        if pass.turn != self.turn {
            return false;
        }
        let next = match (&mut self.inner, outcome) {
            (Inner::Closed { failures }, Outcome::Succeeded) => {
                *failures = 0;
                None
            }
            (Inner::Closed { failures }, Outcome::Failed) => {
                *failures += 1;
                (*failures >= self.rules.failures_to_open).then_some(Inner::Open { since: now })
            }
            (Inner::HalfOpen { successes, trying }, Outcome::Succeeded) => {
                (*trying, *successes) = (false, *successes + 1);
                (*successes >= self.rules.successes_to_close).then_some(Inner::Closed { failures: 0 })
            }
            (Inner::HalfOpen { .. }, Outcome::Failed) => Some(Inner::Open { since: now }),
            (Inner::HalfOpen { trying, .. }, Outcome::Abandoned) => {
                *trying = false;
                None
            }
            (Inner::Open { .. }, _) | (Inner::Closed { .. }, Outcome::Abandoned) => None,
        };
        if let Some(next) = next {
            self.turn_to(next);
        }
        next.is_some()
    }

    /// Closes it: an operator knows better.
    pub(super) fn reset(&mut self) {
        self.turn_to(Inner::Closed { failures: 0 });
    }

    /// Its state, and the failures or successes in a row that count towards the next one.
    pub(super) fn snapshot(&self, now: Instant) -> (State, u32, u32) {
        match self.inner {
            Inner::Closed { failures } => (State::Closed, failures, 0),
            // A call would go through.
            Inner::Open { since } if now.saturating_duration_since(since) >= self.rules.rest => (State::HalfOpen, 0, 0),
            Inner::Open { .. } => (State::Open, self.rules.failures_to_open, 0),
            Inner::HalfOpen { successes, .. } => (State::HalfOpen, 0, successes),
        }
    }

    fn turn_to(&mut self, inner: Inner) {
        self.inner = inner;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { failures_to_open: 5, rest: Duration::from_secs(60), successes_to_close: 2 };

    fn call(breaker: &mut Breaker, outcome: Outcome, now: Instant) -> bool {
        let pass = breaker.ask(now);
        pass.inspect(|pass| {
            breaker.report(*pass, outcome, now);
        })
        .is_some()
    }

    #[test]
    fn it_opens_rests_tries_and_closes() {
        let (mut breaker, start) = (Breaker::new(RULES), Instant::now());
        for _ in 0..4 {
            assert!(call(&mut breaker, Outcome::Failed, start));
        }
        assert!(call(&mut breaker, Outcome::Succeeded, start), "a success begins the count anew");
        for _ in 0..5 {
            assert!(call(&mut breaker, Outcome::Failed, start));
        }
        assert_eq!(breaker.snapshot(start), (State::Open, 5, 0));
        assert!(breaker.ask(start + RULES.rest - Duration::from_millis(1)).is_none());

        let later = start + RULES.rest;
        let probe = breaker.ask(later).unwrap();
        assert!(breaker.ask(later).is_none(), "one call at a time");
        breaker.report(probe, Outcome::Succeeded, later);
        assert_eq!(breaker.snapshot(later), (State::HalfOpen, 0, 1));
        assert!(call(&mut breaker, Outcome::Succeeded, later));
        assert_eq!(breaker.snapshot(later), (State::Closed, 0, 0));
    }

    #[test]
    fn a_failed_try_rests_again_and_a_lost_one_is_made_again() {
        let (mut breaker, start) = (Breaker::new(RULES), Instant::now());
        (0..5).for_each(|_| assert!(call(&mut breaker, Outcome::Failed, start)));
        let later = start + RULES.rest;
        assert!(call(&mut breaker, Outcome::Abandoned, later));
        assert!(call(&mut breaker, Outcome::Failed, later));
        assert!(breaker.ask(later + RULES.rest / 2).is_none());
        assert!(breaker.ask(later + RULES.rest).is_some());
    }

    #[test]
    fn an_operator_closes_it_and_what_was_under_way_does_not_count() {
        let (mut breaker, now) = (Breaker::new(RULES), Instant::now());
        let late: Vec<_> = (0..20).map(|_| breaker.ask(now).unwrap()).collect();
        (0..5).for_each(|_| assert!(call(&mut breaker, Outcome::Failed, now)));
        breaker.reset();
        assert!(late.into_iter().all(|pass| !breaker.report(pass, Outcome::Failed, now)));
        assert_eq!(breaker.snapshot(now), (State::Closed, 0, 0));
    }

    /// What may happen to a breaker.
    #[derive(Debug, Clone)]
    enum Event {
        Ask,
        /// Of the calls under way, this one reports.
        Report(prop::sample::Index, Outcome),
        Wait(u64),
        Reset,
    }

    fn event() -> impl Strategy<Value = Event> {
        let outcome = prop_oneof![
            3 => Just(Outcome::Failed),
            2 => Just(Outcome::Succeeded),
            1 => Just(Outcome::Abandoned),
        ];
        prop_oneof![
            6 => Just(Event::Ask),
            6 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Event::Report(which, outcome)),
            2 => (0..100u64).prop_map(Event::Wait),
            1 => Just(Event::Reset),
        ]
    }

    proptest! {
        /// Whatever happens: open means no call before the rest is over; half open, at most one is under way; it never
        /// opens without a failure nor closes by itself; and it always recovers when all goes well.
        #[test]
        fn any_history_keeps_the_rules(events in prop::collection::vec(event(), 0..200)) {
            let mut breaker = Breaker::new(RULES);
            let mut now = Instant::now();
            let mut under_way: Vec<(Pass, State)> = Vec::new();
            let mut opened_at = None;
            for event in events {
                let (before, ..) = breaker.snapshot(now);
                match event {
                    Event::Ask => {
                        let pass = breaker.ask(now);
                        match before {
                            State::Closed => prop_assert!(pass.is_some()),
                            State::Open => prop_assert!(pass.is_none()),
                            State::HalfOpen => {
                                let trying = under_way.iter().filter(|(known, state)| {
                                    *state == State::HalfOpen && known.turn == breaker.turn
                                }).count();
                                prop_assert_eq!(pass.is_some(), trying == 0);
                            }
                        }
                        under_way.extend(pass.map(|pass| (pass, before)));
                    }
                    Event::Report(..) if under_way.is_empty() => {}
                    Event::Report(which, outcome) => {
                        let (pass, _) = under_way.swap_remove(which.index(under_way.len()));
                        breaker.report(pass, outcome, now);
                        let (after, ..) = breaker.snapshot(now);
                        if after != before {
                            let by_failure = after == State::Open && outcome == Outcome::Failed;
                            let by_success = after == State::Closed && outcome == Outcome::Succeeded
                                && before == State::HalfOpen;
                            prop_assert!(by_failure || by_success, "{:?} to {:?} by {:?}", before, after, outcome);
                        }
                        if after == State::Open && before != State::Open {
                            opened_at = Some(now);
                        }
                    }
                    Event::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        if breaker.snapshot(now).0 == State::Open {
                            prop_assert!(now < opened_at.unwrap() + RULES.rest);
                        }
                    }
                    Event::Reset => breaker.reset(),
                }
            }
            // The calls under way are lost, Redis is well again.
            for (pass, _) in under_way {
                breaker.report(pass, Outcome::Abandoned, now);
            }
            now += RULES.rest;
            for _ in 0..RULES.successes_to_close {
                prop_assert!(call(&mut breaker, Outcome::Succeeded, now));
            }
            prop_assert_eq!(breaker.snapshot(now).0, State::Closed);
        }
    }
}
