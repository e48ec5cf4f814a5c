//! The writer task against a store whose commits a test holds back, fails or lets through.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use futures_util::future::join_all;
use tokio::{runtime, sync::Semaphore};

use super::*;
use crate::{
    clock::now_utc,
    ids::{MessageId, Seq},
    store::{Author, RoomKey},
};

const NO_LINGER: GroupCommitLimits = GroupCommitLimits {
    waiting_max: 10_000,
    waiting_of_room_max: 5_000,
    waiting_bytes_max: 1 << 20,
    linger: Duration::ZERO,
};

/// Commits only as often as it is let; a message's body says what becomes of it.
#[derive(Clone)]
struct Gate(Arc<Behind>);

struct Behind {
    lets: Semaphore,
    /// One permit for each commit that has begun.
    begun: Semaphore,
    batches: Mutex<VecDeque<Vec<String>>>,
    seq: AtomicU64,
    away: AtomicBool,
    at_once: usize,
}

impl Gate {
    fn open(open: bool) -> Self {
        Self::lanes(open, 1)
    }

    /// One that takes so many commits at once.
    fn lanes(open: bool, at_once: usize) -> Self {
        let lets = Semaphore::new(if open { 1 << 20 } else { 0 });
        Self(Arc::new(Behind {
            lets,
            begun: Semaphore::new(0),
            batches: Mutex::default(),
            seq: AtomicU64::new(0),
            away: AtomicBool::new(false),
            at_once,
        }))
    }

    /// Lets so many commits through.
    fn let_through(&self, commits: usize) {
        self.0.lets.add_permits(commits);
    }

    /// Waits until another commit has begun.
    async fn begun(&self) {
        self.0.begun.acquire().await.unwrap().forget();
    }

    /// The bodies of the batches committed so far.
    fn batches(&self) -> Vec<Vec<String>> {
        self.0.batches.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl Commit for Gate {
    fn at_once(&self) -> usize {
        self.0.at_once
    }

    async fn commit(&self, batch: &[NewMessage]) -> Result<Vec<Option<Appended>>, StoreError> {
        let behind = &*self.0;
        behind.begun.add_permits(1);
        behind.lets.acquire().await.unwrap().forget();
        let bodies: Vec<String> = batch.iter().map(|message| message.body.clone()).collect();
        assert!(!bodies.iter().any(|body| body == "panics"), "as the test wishes");
        if behind.away.load(SeqCst) {
            return Err(StoreError::Unavailable("away".into()));
        }
        if bodies.iter().any(|body| body == "broken") {
            return Err(StoreError::Broken("at fault".into()));
        }
        let place = |body: &String| {
            (body != "no room").then(|| Appended { seq: behind.seq.fetch_add(1, SeqCst) + 1, duplicate: false })
        };
        let places = bodies.iter().map(place).collect();
        behind.batches.lock().unwrap_or_else(PoisonError::into_inner).push_back(bodies);
        Ok(places)
    }
}

fn message(body: &str) -> NewMessage {
    message_of(1, body)
}

fn message_of(room: i64, body: &str) -> NewMessage {
    let author = Author { user_id: "ada".parse().unwrap(), name: "Ada".into(), connection_id: None };
    NewMessage { room: RoomKey(room), id: MessageId::now_v7(), author, body: body.into(), sent_at: now_utc() }
}

fn seq(outcome: Result<Appended, StoreError>) -> Seq {
    outcome.unwrap().seq
}

fn is_unavailable(outcome: &Result<Appended, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn what_comes_during_a_commit_goes_with_the_next_in_the_order_of_the_calls() {
    let gate = Gate::open(false);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    let first = commits.append(message("a"));
    gate.begun().await;
    let mut rest: Vec<_> = ["b", "c", "d"].map(|body| commits.append(message(body))).into();
    rest.reverse(); // the order of the polls does not matter
    gate.let_through(2);
    assert_eq!(seq(first.await), 1);
    assert_eq!(join_all(rest).await.into_iter().map(seq).collect::<Vec<_>>(), [4, 3, 2]);
    assert_eq!(gate.batches(), [vec!["a"], vec!["b", "c", "d"]]);
    let snapshot = commits.snapshot();
    assert_eq!((snapshot.commits, snapshot.appended, snapshot.waiting, snapshot.waiting_bytes), (2, 4, 0, 0));
}

#[tokio::test]
async fn a_batch_has_its_most() {
    let gate = Gate::open(false);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    let first = commits.append(message("first"));
    gate.begun().await;
    let rest: Vec<_> = (0..BATCH_ROWS_MAX + 10).map(|_| commits.append(message("x"))).collect();
    gate.let_through(3);
    first.await.unwrap();
    assert!(join_all(rest).await.iter().all(Result::is_ok));
    assert_eq!(gate.batches().iter().map(Vec::len).collect::<Vec<_>>(), [1, BATCH_ROWS_MAX, 10]);
}

#[tokio::test]
async fn a_dropped_future_takes_nothing_back() {
    let gate = Gate::open(true);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    drop(commits.append(message("a")));
    commits.flush().await;
    assert_eq!(gate.batches(), [["a"]]);
}

#[tokio::test]
async fn flush_waits_for_everything_before_it() {
    let gate = Gate::open(false);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    commits.flush().await; // nothing waits
    let first = commits.append(message("a"));
    gate.begun().await;
    let second = commits.append(message("b"));
    let mut flushed = Box::pin(commits.flush());
    assert!(flushed.as_mut().now_or_never().is_none());
    gate.let_through(1);
    first.await.unwrap();
    assert!(flushed.as_mut().now_or_never().is_none());
    gate.let_through(1);
    flushed.await;
    assert!(second.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn too_much_waiting_is_refused_at_once() {
    let gate = Gate::open(false);
    let commits = GroupCommit::start_with(gate.clone(), GroupCommitLimits { waiting_max: 3, ..NO_LINGER });
    let first = commits.append(message("a"));
    gate.begun().await;
    let waiting: Vec<_> = (0..3).map(|_| commits.append(message("x"))).collect();
    assert!(is_unavailable(&commits.append(message("one too many")).now_or_never().unwrap()));
    assert_eq!(commits.snapshot().waiting, 4);
    gate.let_through(2);
    first.await.unwrap();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(commits.snapshot().waiting_bytes, 0);

    let big = "x".repeat(NO_LINGER.waiting_bytes_max / 2);
    let fits = commits.append(message(&big));
    assert!(is_unavailable(&commits.append(message(&big)).now_or_never().unwrap()));
    gate.let_through(2);
    fits.await.unwrap();
    commits.append(message(&big)).await.unwrap();
}

#[tokio::test]
async fn a_message_at_fault_fails_alone() {
    let gate = Gate::open(false);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    let first = commits.append(message("first"));
    gate.begun().await;
    let rest = ["a", "broken", "b", "no room"].map(|body| commits.append(message(body)));
    gate.let_through(10);
    assert_eq!(seq(first.await), 1);
    let outcomes = join_all(rest).await;
    assert!(matches!(
        outcomes[..],
        [Ok(Appended { seq: 2, .. }), Err(StoreError::Broken(_)), Ok(Appended { seq: 3, .. }), Err(StoreError::NoRoom)]
    ));
    let snapshot = commits.snapshot();
    assert_eq!((snapshot.appended, snapshot.failed), (3, 2));
}

#[tokio::test]
async fn an_unavailable_database_is_said_to_all_and_heals() {
    let gate = Gate::open(true);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    gate.0.away.store(true, SeqCst);
    let outcomes = join_all((0..5).map(|_| commits.append(message("x")))).await;
    assert!(outcomes.iter().all(is_unavailable));
    gate.0.away.store(false, SeqCst);
    assert_eq!(seq(commits.append(message("y")).await), 1);
    assert_eq!(commits.snapshot().failed, 5);
}

#[tokio::test]
async fn a_panic_costs_one_batch() {
    let gate = Gate::open(true);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    assert!(is_unavailable(&commits.append(message("panics")).await));
    assert_eq!(seq(commits.append(message("a")).await), 1);
}

#[test]
fn when_the_runtime_stops_nobody_hangs() {
    let writers = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gate = Gate::open(false);
    let (commits, waiting) = writers.block_on(async {
        let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
        let waiting = commits.append(message("a"));
        gate.begun().await;
        (commits.clone(), [waiting.boxed(), commits.append(message("b")).boxed()])
    });
    drop(writers);
    runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        assert!(join_all(waiting).await.iter().all(is_unavailable));
        assert!(is_unavailable(&commits.append(message("c")).await));
        commits.flush().await;
    });
}

#[tokio::test]
async fn messages_that_come_close_together_share_commits() {
    let gate = Gate::open(true);
    let linger = Duration::from_millis(200);
    let commits = GroupCommit::start_with(gate.clone(), GroupCommitLimits { linger, ..NO_LINGER });
    let began = Instant::now();
    join_all((0..2).map(|_| commits.append(message("together")))).await;
    // From now on a commit waits for company.
    let first = commits.append(message("a"));
    tokio::task::yield_now().await;
    let second = commits.append(message("b"));
    join_all([first, second]).await;
    assert!(began.elapsed() >= linger);
    assert_eq!(gate.batches(), [["together", "together"], ["a", "b"]]);
}

#[tokio::test]
async fn a_busy_room_holds_up_no_other_and_fills_no_others_place() {
    let gate = Gate::open(false);
    let limits = GroupCommitLimits { waiting_of_room_max: 600, ..NO_LINGER };
    let commits = GroupCommit::start_with(gate.clone(), limits);
    let first = commits.append(message("first"));
    gate.begun().await;
    let wild: Vec<_> = (0..600).map(|_| commits.append(message("wild"))).collect();
    assert!(is_unavailable(&commits.append(message("one too many")).now_or_never().unwrap()));
    let quiet = commits.append(message_of(2, "quiet"));
    gate.let_through(2);
    first.await.unwrap();
    quiet.await.unwrap(); // with the very next commit, though 600 came before it
    assert_eq!(gate.batches()[1].iter().filter(|body| *body == "quiet").count(), 1);
    gate.let_through(2);
    assert!(join_all(wild).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn rooms_commit_side_by_side_but_none_with_itself() {
    let gate = Gate::lanes(false, 2);
    let commits = GroupCommit::start_with(gate.clone(), NO_LINGER);
    let one = commits.append(message_of(1, "1a"));
    gate.begun().await;
    let again = commits.append(message_of(1, "1b"));
    let two = commits.append(message_of(2, "2"));
    gate.begun().await; // the second lane goes, with room 2 alone
    gate.let_through(2);
    one.await.unwrap();
    two.await.unwrap();
    gate.begun().await;
    gate.let_through(1);
    again.await.unwrap();
    assert_eq!(gate.batches(), [["1a"], ["2"], ["1b"]]);
    commits.flush().await;
}
