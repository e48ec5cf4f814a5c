//! The gate before the durable order: messages of all rooms wait here for a moment and are committed together.
//!
//! A room calls [`GroupCommit::append`] for each message; one task takes everything that waits and gives it to the store.
//! A commit costs its fsync and its way to the database whether it carries one message or two hundred. So what arrives
//! while one runs goes with the next, and when that has lately been more than one message at a time, the next commit
//! also waits until [`GroupCommitLimits::linger`] after the one before. A message that comes alone is never held back.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use super::{Appended, BATCH_ROWS_MAX, NewMessage, Store, StoreError};
use crate::clock::{Duration, Instant};

/// What may wait for a commit, and for how long.
#[derive(Debug, Clone)]
pub struct GroupCommitLimits {
    /// Messages that wait; the next one is refused as unavailable. Default 10,000: two seconds of a very busy hub.
    pub waiting_max: usize,
    /// Their bytes, for the same reason. Default 64 MiB.
    pub waiting_bytes_max: usize,
    /// The least time from the start of a commit to the start of the next while messages come close together. Default
    /// 8 ms: at 500 messages a second in 50 rooms it halves the writer's CPU time, for 5 ms more until the answer. Zero:
    /// never wait.
    pub linger: Duration,
}

impl Default for GroupCommitLimits {
    fn default() -> Self {
        Self { waiting_max: 10_000, waiting_bytes_max: 64 << 20, linger: Duration::from_millis(8) }
    }
}

/// What a [`GroupCommit`] has done and holds, for the monitor, tests and benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommitSnapshot {
    /// Messages accepted and not yet answered.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Calls of the store that succeeded.
    pub commits: u64,
    /// Messages answered with a place.
    pub appended: u64,
    /// Messages accepted and then answered with an error.
    pub failed: u64,
}

/// The way to the store for every room. Clones share one queue and one writer task, which ends with the last clone.
#[derive(Clone)]
pub struct GroupCommit {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// Why an accepted message was not stored.
const STOPPED: &str = "the writer has stopped";

enum Job {
    Append(NewMessage, Answer),
    /// Answered when everything before it has been.
    Flush(oneshot::Sender<()>),
}

type Answer = oneshot::Sender<Result<Appended, StoreError>>;

struct Shared {
    limits: GroupCommitLimits,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    commits: AtomicU64,
    appended: AtomicU64,
    failed: AtomicU64,
}

impl GroupCommit {
    /// Starts the writer task on the current tokio runtime. When that runtime stops, appends are `Unavailable`.
    pub fn start(store: Arc<dyn Store>, limits: GroupCommitLimits) -> Self {
        Self::start_with(store, limits)
    }

    fn start_with(commit: impl Commit, limits: GroupCommitLimits) -> Self {
        let (jobs, queue) = mpsc::channel(limits.waiting_max.max(1));
        let shared = Arc::new(Shared {
            limits,
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        tokio::spawn(Writer { commit, queue, shared: Arc::clone(&shared), refusing: false }.run());
        Self { jobs, shared }
    }

    /// Makes a message durable. It has its turn in the order of the calls, not of the polls: the message is accepted or
    /// refused before this returns, and a future that is dropped takes nothing back.
    ///
    /// Errors: [`Unavailable`](StoreError::Unavailable) when too much waits already (at once), when the database is, or
    /// when the writer has stopped; [`NoRoom`](StoreError::NoRoom); [`Broken`](StoreError::Broken) when this message is at
    /// fault. After an `Unavailable` the same id may be tried again: if it was written after all, the answer is its place.
    pub fn append(
        &self,
        message: NewMessage,
    ) -> impl Future<Output = Result<Appended, StoreError>> + Send + 'static + use<> {
        let accepted = self.accept(message);
        async move { accepted?.await.unwrap_or_else(|_| Err(StoreError::Unavailable(STOPPED.into()))) }
    }

    fn accept(&self, message: NewMessage) -> Result<oneshot::Receiver<Result<Appended, StoreError>>, StoreError> {
        let bytes = held_bytes(&message);
        let shared = &self.shared;
        if shared.waiting_bytes.fetch_add(bytes, Relaxed) + bytes > shared.limits.waiting_bytes_max {
            shared.waiting_bytes.fetch_sub(bytes, Relaxed);
            return Err(StoreError::Unavailable("too many bytes wait to be written".into()));
        }
        shared.waiting.fetch_add(1, Relaxed);
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Append(message, answer)).map_err(|error| {
            shared.release(1, bytes);
            StoreError::Unavailable(match error {
                mpsc::error::TrySendError::Full(_) => "too many messages wait to be written".into(),
                mpsc::error::TrySendError::Closed(_) => STOPPED.into(),
            })
        })?;
        Ok(answered)
    }

    /// Waits until everything accepted so far has been answered (or never will be, the writer having stopped).
    pub async fn flush(&self) {
        let (flushed, done) = oneshot::channel();
        if self.jobs.send(Job::Flush(flushed)).await.is_ok() {
            done.await.ok();
        }
    }

    /// What it has done and holds now.
    pub fn snapshot(&self) -> GroupCommitSnapshot {
        let shared = &self.shared;
        GroupCommitSnapshot {
            waiting: shared.waiting.load(Relaxed),
            waiting_bytes: shared.waiting_bytes.load(Relaxed),
            commits: shared.commits.load(Relaxed),
            appended: shared.appended.load(Relaxed),
            failed: shared.failed.load(Relaxed),
        }
    }
}

impl Shared {
    fn release(&self, messages: usize, bytes: usize) {
        self.waiting.fetch_sub(messages, Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }
}

/// What a waiting message holds, near enough.
fn held_bytes(message: &NewMessage) -> usize {
    let author = &message.author;
    size_of::<Job>() + message.body.len() + author.name.len() + author.connection_id.as_deref().map_or(0, str::len)
}

/// The one thing that the writer wants of a store.
trait Commit: Send + 'static {
    fn commit(&self, batch: &[NewMessage]) -> impl Future<Output = Result<Vec<Option<Appended>>, StoreError>> + Send;
}

impl Commit for Arc<dyn Store> {
    async fn commit(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        self.append(batch).await
    }
}

struct Writer<C> {
    commit: C,
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    /// The last commit failed: said in the log once, not for every message.
    refusing: bool,
}

impl<C: Commit> Writer<C> {
    async fn run(mut self) {
        let mut pace = Pace::new(self.shared.limits.linger);
        let mut gathered = Vec::with_capacity(BATCH_ROWS_MAX);
        while self.queue.recv_many(&mut gathered, BATCH_ROWS_MAX).await > 0 {
            if let Some(until) = pace.linger_until(Instant::now(), gathered.len()) {
                sleep_until(until.into()).await;
                while gathered.len() < BATCH_ROWS_MAX
                    && let Ok(job) = self.queue.try_recv()
                {
                    gathered.push(job);
                }
            }
            pace.started(Instant::now(), gathered.len());
            self.settle(gathered.drain(..)).await;
        }
    }

    /// Commits the messages and answers everybody.
    async fn settle(&mut self, jobs: impl Iterator<Item = Job>) {
        let (mut batch, mut answers, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Append(message, answer) => {
                    batch.push(message);
                    answers.push(answer);
                }
                Job::Flush(flushed) => flushes.push(flushed),
            }
        }
        if !batch.is_empty() {
            let places = self.places(&batch).await;
            self.shared.release(batch.len(), batch.iter().map(held_bytes).sum());
            for (answer, place) in answers.into_iter().zip(places) {
                let counter = if place.is_ok() { &self.shared.appended } else { &self.shared.failed };
                counter.fetch_add(1, Relaxed);
                answer.send(place).ok(); // nobody waits any more: the message is stored all the same
            }
        }
        for flushed in flushes {
            flushed.send(()).ok();
        }
    }

    /// One answer for each message of the batch.
    async fn places(&mut self, batch: &[NewMessage]) -> Vec<Result<Appended, StoreError>> {
        match self.commit_guarded(batch).await {
            Ok(places) => places.into_iter().map(|place| place.ok_or(StoreError::NoRoom)).collect(),
            // One of them is at fault, and the others must not pay for it.
            Err(StoreError::Broken(_)) if batch.len() > 1 => {
                let mut places = Vec::with_capacity(batch.len());
                for message in batch {
                    let place = self.commit_guarded(std::slice::from_ref(message)).await;
                    places.push(place.and_then(|mut one| one.pop().flatten().ok_or(StoreError::NoRoom)));
                }
                places
            }
            Err(error) => vec![Err(error); batch.len()],
        }
    }

    /// Commits; a panic inside costs this batch, not the hub.
    async fn commit_guarded(&mut self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        let outcome = AssertUnwindSafe(self.commit.commit(batch)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer failed inside".into())));
        match &outcome {
            Ok(_) => {
                self.shared.commits.fetch_add(1, Relaxed);
                if std::mem::take(&mut self.refusing) {
                    tracing::info!("the database takes messages again");
                }
            }
            Err(error) if !self.refusing => {
                self.refusing = true;
                tracing::error!(%error, "messages cannot be stored");
            }
            Err(_) => {}
        }
        debug_assert!(outcome.as_ref().is_ok_and(|places| places.len() == batch.len()) || outcome.is_err());
        outcome
    }
}

/// When a commit may start: pure, time comes as an argument.
struct Pace {
    linger: Duration,
    started: Option<Instant>,
    /// For how many more commits of one message waiting is worth a try.
    worthwhile: u8,
}

/// Waiting goes on until this many commits in a row carried a single message. A lone client that sends one message after
/// the other gains nothing from it, and is left alone from then on; at 500 messages a second such a row does not happen.
const LONE_COMMITS_MAX: u8 = 16;

impl Pace {
    fn new(linger: Duration) -> Self {
        Self { linger, started: None, worthwhile: 0 }
    }

    /// Until when the next commit waits for company, if it does.
    fn linger_until(&self, now: Instant, gathered: usize) -> Option<Instant> {
        let until = self.started? + self.linger;
        (self.worthwhile > 0 && gathered < BATCH_ROWS_MAX && until > now).then_some(until)
    }

    /// A commit of so many starts.
    fn started(&mut self, now: Instant, gathered: usize) {
        self.started = Some(now);
        self.worthwhile = if gathered > 1 { LONE_COMMITS_MAX } else { self.worthwhile.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests;
