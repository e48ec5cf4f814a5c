//! The one place of the tests that sleeps.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` holds and gives its value; fails with `what` after [`PATIENCE`].
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// Waits until `condition` holds and gives its value; fails with `what` after `limit`.
pub async fn eventually_within<T>(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "within {limit:?} it did not come true that {what}");
        tokio::time::sleep(STEP).await;
    }
}
