//! Tasks without which a hub must not go on.
//!
//! A panic ends one task and nothing else: a hub whose bus ended so would go on to serve its own people with half of the
//! truth. So it ends as a whole, at once, as if it were killed. What that costs is promised (`docs/guarantees.md`), and
//! whoever watches over the process starts it again.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// The exit status: a fault of the program itself, in the words of `sysexits.h`.
const SOFTWARE: i32 = 70;

/// The task, whose panic ends the process.
pub async fn vital<T>(part: &'static str, task: impl Future<Output = T>) -> T {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::error!(part, "a part that the hub cannot do without failed inside: it ends, to be started again");
            std::process::exit(SOFTWARE)
        }
    }
}
