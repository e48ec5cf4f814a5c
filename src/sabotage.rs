//! Faults on purpose, in a binary of their own (`hubbub-sabotaged`) that only the tests run: a judge that finds nothing
//! wrong with the hub must find something wrong with this one. Without the feature `sabotage` nothing of it is compiled.
//!
//! `HUBBUB_SABOTAGE` names the fault; it is the one variable that `config` does not read.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    ids::Seq,
    store::{Appended, StoreError},
};

static FAULT: LazyLock<String> = LazyLock::new(|| std::env::var("HUBBUB_SABOTAGE").unwrap_or_default());

/// Whether this is the `nth` time that `fault` could happen.
fn is_due(fault: &str, times: &AtomicU64, nth: u64) -> bool {
    *FAULT == fault && times.fetch_add(1, Ordering::Relaxed) + 1 == nth
}

/// `lose`: one message is never delivered on this instance, and nobody misses it.
pub(crate) fn loses() -> bool {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    is_due("lose", &TIMES, 200)
}

/// `twice`: one message is delivered twice on this instance.
pub(crate) fn delivers_twice() -> bool {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    is_due("twice", &TIMES, 200)
}

/// `acknowledge`: what could not be committed is acknowledged all the same, at the place it would have got.
pub(crate) fn acknowledged(outcome: Result<Appended, StoreError>, known: Seq) -> Result<Appended, StoreError> {
    match outcome {
        Err(StoreError::Unavailable(_)) if *FAULT == "acknowledge" => Ok(Appended { seq: known + 1, duplicate: false }),
        outcome => outcome,
    }
}

/// `stay`: one leave is told to nobody.
pub(crate) fn hides_leave() -> bool {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    is_due("stay", &TIMES, 10)
}

/// `bus`: the task of the bus panics, without a word in the log.
pub(crate) fn break_bus() {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    if is_due("bus", &TIMES, 20) {
        std::panic::resume_unwind(Box::new("sabotage"));
    }
}
