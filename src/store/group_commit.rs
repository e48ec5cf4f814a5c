//! The gate before the durable order: messages of all rooms wait here for a moment and are committed together.
//!
//! A room calls [`GroupCommit::append`] for each message; one task takes what waits and gives it to the store. A commit costs
//! its fsync and its way to the database whether it carries one message or two hundred. So what arrives while one runs goes
//! with the next, and when that has lately been more than one message at a time, the next commit also waits until
//! [`GroupCommitLimits::linger`] after the one before. A message that comes alone is never held back.
//!
//! Each room has a lane: a busy room fills its own and no other, and has no more than its share of a commit that others
//! want to go with. A store that takes several appends at once ([`Store::appends_at_once`]) gets them, never two with
//! messages of the same room.

mod pace;
mod queue;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep_until,
};

use self::{pace::Pace, queue::FairQueue};
use super::{Appended, BATCH_ROWS_MAX, NewMessage, RoomKey, Store, StoreError};
use crate::{
    clock::{Duration, Instant},
    count, observe,
    vital::vital,
};

/// What may wait for a commit, and for how long.
#[derive(Debug, Clone)]
pub struct GroupCommitLimits {
    /// Messages that wait; the next one is refused as unavailable. Default 10,000: two seconds of a very busy hub.
    pub waiting_max: usize,
    /// Those of one room. Default 5,000: a room gone wild leaves the others a place.
    pub waiting_of_room_max: usize,
    /// Their bytes, for the same reason. Default 64 MiB.
    pub waiting_bytes_max: usize,
    /// The least time from the start of a commit to the start of the next while messages come close together. Default
    /// 8 ms: at 500 messages a second in 50 rooms it saves a quarter of the hub's CPU time, for 5 ms more until the
    /// answer. Zero: never wait.
    pub linger: Duration,
}

impl Default for GroupCommitLimits {
    fn default() -> Self {
        Self {
            waiting_max: 10_000,
            waiting_of_room_max: 5_000,
            waiting_bytes_max: 64 << 20,
            linger: Duration::from_millis(8),
        }
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

/// The way to the store for every room. Clones share the lanes and one writer task, which ends after the last clone.
#[derive(Clone)]
pub struct GroupCommit {
    shared: Arc<Shared>,
    /// Its end is the end of the last clone.
    _handles: Arc<Handles>,
}

/// A message's way into the durable order; its end is its place there. Messages of one room come to their end in the order
/// in which they were accepted.
#[derive(Debug)]
pub struct Appending(Result<oneshot::Receiver<Outcome>, StoreError>);

impl Appending {
    /// Why the message was not accepted.
    pub fn refused(&self) -> Option<&StoreError> {
        self.0.as_ref().err()
    }
}

impl Future for Appending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            Ok(answer) => {
                let answered = ready!(Pin::new(answer).poll(cx));
                Poll::Ready(answered.unwrap_or_else(|_| Err(StoreError::Unavailable(STOPPED.into()))))
            }
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

/// Why an accepted message was not stored.
const STOPPED: &str = "the writer has stopped";

type Outcome = Result<Appended, StoreError>;

struct Job {
    message: NewMessage,
    answer: oneshot::Sender<Outcome>,
    /// Counts up; a flush waits for those before it.
    ticket: u64,
}

/// Somebody who waits until so many jobs with a lower ticket are answered.
struct Flush {
    before: u64,
    open: usize,
    done: oneshot::Sender<()>,
}

#[derive(Default)]
struct State {
    queue: FairQueue<Job>,
    next_ticket: u64,
    /// Jobs accepted and not yet answered.
    open: usize,
    flushes: Vec<Flush>,
    /// The writer is gone.
    stopped: bool,
}

struct Shared {
    limits: GroupCommitLimits,
    state: Mutex<State>,
    /// Something can be taken, or the last handle is gone.
    wake: Notify,
    abandoned: AtomicBool,
    waiting_bytes: AtomicUsize,
    commits: AtomicU64,
    appended: AtomicU64,
    failed: AtomicU64,
    /// The last commit failed: said in the log once, not for every message.
    refusing: AtomicBool,
}

struct Handles(Arc<Shared>);

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Relaxed);
        self.0.wake.notify_one();
    }
}

impl GroupCommit {
    /// Starts the writer task on the current tokio runtime. When that runtime stops, appends are `Unavailable`.
    pub fn start(store: Arc<dyn Store>, limits: GroupCommitLimits) -> Self {
        Self::start_with(store, limits)
    }

    fn start_with(commit: impl Commit, limits: GroupCommitLimits) -> Self {
        let shared = Arc::new(Shared {
            limits,
            state: Mutex::default(),
            wake: Notify::new(),
            abandoned: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
        });
        let writer = Writer { commit: Arc::new(commit), shared: Arc::clone(&shared) };
        tokio::spawn(vital("writer", writer.run()));
        Self { _handles: Arc::new(Handles(Arc::clone(&shared))), shared }
    }

    /// Makes a message durable. It has its turn in the order of the calls, not of the polls: the message is accepted or
    /// refused before this returns, and a future that is dropped takes nothing back.
    ///
    /// Errors: [`Unavailable`](StoreError::Unavailable) when too much waits already (at once), when the database is, or
    /// when the writer has stopped; [`NoRoom`](StoreError::NoRoom); [`Broken`](StoreError::Broken) when this message is at
    /// fault. After an `Unavailable` the same id may be tried again: if it was written after all, the answer is its place.
    pub fn append(&self, message: NewMessage) -> Appending {
        Appending(self.accept(message))
    }

    fn accept(&self, message: NewMessage) -> Result<oneshot::Receiver<Outcome>, StoreError> {
        let refused = |reason: &str| Err(StoreError::Unavailable(reason.into()));
        let (shared, room, bytes) = (&self.shared, message.room, held_bytes(&message));
        let mut state = shared.state();
        if state.stopped {
            return refused(STOPPED);
        }
        if state.queue.waiting() >= shared.limits.waiting_max {
            return refused("too many messages wait to be written");
        }
        if state.queue.waiting_of(room) >= shared.limits.waiting_of_room_max {
            return refused("too many messages of this room wait to be written");
        }
        if shared.waiting_bytes.load(Relaxed) + bytes > shared.limits.waiting_bytes_max {
            return refused("too many bytes wait to be written");
        }
        shared.waiting_bytes.fetch_add(bytes, Relaxed);
        let (answer, answered) = oneshot::channel();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.open += 1;
        state.queue.push(room, Job { message, answer, ticket });
        drop(state);
        shared.wake.notify_one();
        Ok(answered)
    }

    /// Waits until everything accepted so far has been answered (or never will be, the writer having stopped).
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if state.stopped || state.open == 0 {
                return;
            }
            let flush = Flush { before: state.next_ticket, open: state.open, done };
            state.flushes.push(flush);
        }
        flushed.await.ok();
    }

    /// What it has done and holds now.
    pub fn snapshot(&self) -> GroupCommitSnapshot {
        let shared = &self.shared;
        GroupCommitSnapshot {
            waiting: shared.state().open,
            waiting_bytes: shared.waiting_bytes.load(Relaxed),
            commits: shared.commits.load(Relaxed),
            appended: shared.appended.load(Relaxed),
            failed: shared.failed.load(Relaxed),
        }
    }
}

impl Shared {
    /// Nothing in here panics half-way, so what a poisoned lock guards is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers everybody of a batch.
    fn settle(&self, batch: Batch, places: Vec<Outcome>) {
        let mut state = self.state();
        state.queue.settled(&batch.rooms);
        state.open -= batch.messages.len();
        for flush in &mut state.flushes {
            flush.open -= batch.answers.iter().filter(|(ticket, _)| *ticket < flush.before).count();
        }
        let flushed: Vec<_> = state.flushes.extract_if(.., |flush| flush.open == 0).collect();
        drop(state);
        self.waiting_bytes.fetch_sub(batch.messages.iter().map(held_bytes).sum(), Relaxed);
        for ((_, answer), place) in batch.answers.into_iter().zip(places) {
            let counter = if place.is_ok() { &self.appended } else { &self.failed };
            counter.fetch_add(1, Relaxed);
            answer.send(place).ok(); // nobody waits any more: the message is stored all the same
        }
        for flush in flushed {
            flush.done.send(()).ok();
        }
    }
}

/// What a waiting message holds, near enough.
fn held_bytes(message: &NewMessage) -> usize {
    let author = &message.author;
    size_of::<Job>() + message.body.len() + author.name.len() + author.connection_id.as_deref().map_or(0, str::len)
}

/// What the writer wants of a store.
trait Commit: Send + Sync + 'static {
    /// How many commits may run at once.
    fn at_once(&self) -> usize;
    fn commit(&self, batch: &[NewMessage]) -> impl Future<Output = Result<Vec<Option<Appended>>, StoreError>> + Send;
}

impl Commit for Arc<dyn Store> {
    fn at_once(&self) -> usize {
        self.appends_at_once()
    }

    async fn commit(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        self.append(batch).await
    }
}

/// What goes to the store together.
struct Batch {
    rooms: Vec<RoomKey>,
    messages: Vec<NewMessage>,
    /// Of each message the ticket and whom to answer.
    answers: Vec<(u64, oneshot::Sender<Outcome>)>,
}

struct Writer<C> {
    commit: Arc<C>,
    shared: Arc<Shared>,
}

impl<C: Commit> Writer<C> {
    async fn run(self) {
        let mut pace = Pace::new(self.shared.limits.linger);
        let mut under_way = FuturesUnordered::new();
        let at_once = self.commit.at_once().max(1);
        loop {
            let free = under_way.len() < at_once;
            let waiting = if free { self.ready() } else { 0 };
            let rest = if free { pace.rest_until(Instant::now(), waiting) } else { None };
            if waiting > 0 && rest.is_none() {
                let batch = self.take();
                pace.started(Instant::now(), batch.messages.len() > 1 || !under_way.is_empty());
                under_way.push(places(Arc::clone(&self.commit), Arc::clone(&self.shared), batch));
                continue;
            }
            if waiting == 0 && under_way.is_empty() && self.shared.abandoned.load(Relaxed) {
                return;
            }
            tokio::select! {
                Some((batch, places)) = under_way.next() => self.shared.settle(batch, places),
                // Until then nobody wakes the writer: what comes is only put with the rest.
                () = rested(rest), if rest.is_some() => {}
                () = self.shared.wake.notified(), if free && rest.is_none() => {}
            }
        }
    }

    /// How many messages wait, if some of them may go now.
    fn ready(&self) -> usize {
        let state = self.shared.state();
        if state.queue.is_ready() { state.queue.waiting() } else { 0 }
    }

    fn take(&self) -> Batch {
        let (rooms, jobs) = self.shared.state().queue.take(BATCH_ROWS_MAX);
        let (messages, answers) = jobs.into_iter().map(|job| (job.message, (job.ticket, job.answer))).unzip();
        Batch { rooms, messages, answers }
    }
}

async fn rested(until: Option<Instant>) {
    if let Some(until) = until {
        sleep_until(until.into()).await;
    }
}

/// The runtime has stopped, or the last handle is gone: nobody is to wait for an answer that never comes.
impl<C> Drop for Writer<C> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.stopped = true;
        let unanswered: Vec<Job> = state.queue.drain().collect();
        let flushes = std::mem::take(&mut state.flushes);
        drop(state);
        drop((unanswered, flushes));
    }
}

/// Commits a batch: one answer for each of its messages.
async fn places<C: Commit>(commit: Arc<C>, shared: Arc<Shared>, batch: Batch) -> (Batch, Vec<Outcome>) {
    let places = match commit_guarded(&*commit, &shared, &batch.messages).await {
        Ok(places) => places.into_iter().map(|place| place.ok_or(StoreError::NoRoom)).collect(),
        // One of them is at fault, and the others must not pay for it.
        Err(StoreError::Broken(_)) if batch.messages.len() > 1 => {
            let mut places = Vec::with_capacity(batch.messages.len());
            for message in &batch.messages {
                let place = commit_guarded(&*commit, &shared, std::slice::from_ref(message)).await;
                places.push(place.and_then(|mut one| one.pop().flatten().ok_or(StoreError::NoRoom)));
            }
            places
        }
        Err(error) => vec![Err(error); batch.messages.len()],
    };
    (batch, places)
}

/// Commits; a panic inside costs this batch, not the hub.
async fn commit_guarded(
    commit: &impl Commit,
    shared: &Shared,
    batch: &[NewMessage],
) -> Result<Vec<Option<Appended>>, StoreError> {
    let begun = Instant::now();
    let outcome = AssertUnwindSafe(commit.commit(batch)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer failed inside".into())));
    match &outcome {
        Ok(_) => {
            shared.commits.fetch_add(1, Relaxed);
            observe!("hubbub_append_seconds", begun.elapsed().as_secs_f64());
            observe!("hubbub_append_batch_messages", batch.len() as f64);
            if shared.refusing.swap(false, Relaxed) {
                tracing::info!("the database takes messages again");
            }
        }
        Err(error) => {
            count!("hubbub_append_failures_total");
            if !shared.refusing.swap(true, Relaxed) {
                tracing::error!(%error, "messages cannot be stored");
            }
        }
    }
    debug_assert!(outcome.as_ref().is_ok_and(|places| places.len() == batch.len()) || outcome.is_err());
    outcome
}

#[cfg(test)]
mod tests;
