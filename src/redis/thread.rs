//! The thread that drives all connections.

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

/// The one thread of Redis. It ends with the actix system.
pub struct RedisThread {
    handle: ArbiterHandle,
}

impl RedisThread {
    /// Starts the thread. Must be called inside an actix system.
    pub fn start() -> Self {
        Self { handle: Arbiter::new().handle() }
    }

    /// Runs something on the thread to its end, and gives what it gives.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn run<F, T>(&self, task: impl FnOnce() -> F + Send + 'static) -> Result<T, String>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (done, result) = oneshot::channel();
        self.handle.spawn_fn(move || {
            let running = task();
            actix::spawn(async move { drop(done.send(running.await)) });
        });
        result.await.map_err(|_| "the Redis thread has ended".into())
    }
}
