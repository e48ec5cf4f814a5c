//! What holds for SQLite beyond the contract: opening, locks, full disks, and processes that are killed.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::join_all};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;

use super::*;
use crate::store::{
    CHANGES_KEPT, Change, ChangeLog as _, GroupCommit, GroupCommitLimits,
    contract::{Ground, a_message, a_project, a_room, contract_tests},
};

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

struct SqliteGround(TempDir);

impl SqliteGround {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data/hubbub.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), BUSY_TIMEOUT, 2).await.unwrap()
    }
}

#[async_trait]
impl Ground for SqliteGround {
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.open().await)
    }
}

contract_tests!(SqliteGround::new());

#[tokio::test]
async fn migrations_are_applied_once() {
    let ground = SqliteGround::new();
    assert!(SqliteStore::migrate_only(&ground.path(), BUSY_TIMEOUT).await.unwrap() > 0);
    assert_eq!(SqliteStore::migrate_only(&ground.path(), BUSY_TIMEOUT).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let ground = Arc::new(SqliteGround::new());
    let opening = (0..8).map(|_| {
        let ground = Arc::clone(&ground);
        tokio::spawn(async move { SqliteStore::migrate_only(&ground.path(), BUSY_TIMEOUT).await.unwrap() })
    });
    let applied: Vec<usize> = join_all(opening).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| **applied > 0).count(), 1, "{applied:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let ground = SqliteGround::new();
    let file = ground.0.path().join("file");
    std::fs::write(&file, "hello").unwrap();
    for path in [file.join("hubbub.db"), file.join("deeper/hubbub.db")] {
        let error = SqliteStore::open(&path, BUSY_TIMEOUT, 1).await.err().unwrap();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_another_kind_is_named_but_not_quoted() {
    let ground = SqliteGround::new();
    let path = ground.0.path().join("notes.txt");
    std::fs::write(&path, "a secret that is longer than the header of a database file. ".repeat(40)).unwrap();
    let error = SqliteStore::open(&path, BUSY_TIMEOUT, 1).await.err().unwrap();
    assert!(matches!(error, StoreError::Broken(_)), "{error}");
    assert!(error.to_string().contains("notes.txt: the file is not a SQLite database"), "{error}");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let mut writer = store.writer().await.unwrap();
    let newer =
        "UPDATE _sqlx_migrations SET version = 99999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(newer).execute(writer.connection().unwrap()).await.unwrap();
    drop(writer);
    store.close().await;
    let error = SqliteStore::open(&ground.path(), BUSY_TIMEOUT, 1).await.err().unwrap();
    assert!(matches!(&error, StoreError::Broken(text) if text.contains("99999")), "{error}");
}

#[tokio::test]
async fn a_lock_held_too_long_is_unavailable_and_heals() {
    let ground = SqliteGround::new();
    let store = SqliteStore::open(&ground.path(), Duration::from_millis(30), 1).await.unwrap();
    let room = a_room(&store, "p/r").await;
    let mut hog = store.database.connect().await.unwrap();
    let transaction = hog.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..2 {
        let error = store.append(&[a_message(room)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(store.create_project(&a_project("q"), None).await.is_err());
    }
    assert_eq!(store.head(room).await.unwrap(), 0); // readers do not mind
    transaction.rollback().await.unwrap();
    assert!(store.append(&[a_message(room)]).await.unwrap()[0].is_some_and(|place| place.seq == 1));
    assert!(store.create_project(&a_project("q"), None).await.unwrap());
}

#[tokio::test]
async fn stores_of_one_file_write_in_turns() {
    let ground = SqliteGround::new();
    let (one, other) = (ground.open().await, ground.open().await);
    let room = a_room(&one, "p/r").await;
    let writing = one.writer().await.unwrap();
    assert!(other.turns.wait().now_or_never().is_none(), "it is the other one's turn");
    let messages = [a_message(room)];
    let mut append = other.append(&messages);
    assert!(futures_util::poll!(&mut append).is_pending());
    assert!(one.turns.wait().now_or_never().is_none(), "somebody else is next");
    drop(writing);
    assert!(append.await.unwrap()[0].is_some_and(|place| place.seq == 1));
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_heals() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let room = a_room(&store, "p/r").await;
    limit(&store, "PRAGMA max_page_count = 1").await; // means: not one page more than there are
    let batch: Vec<_> = (0..200).map(|_| a_message(room)).collect();
    let error = store.append(&batch).await.unwrap_err();
    assert_eq!(error.to_string(), "the database is unavailable: the disk is full");
    assert_eq!(store.head(room).await.unwrap(), 0);
    assert!(store.append(&batch).await.unwrap()[199].is_some_and(|place| place.seq == 200));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_unavailable_and_heals() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let room = a_room(&store, "p/r").await;
    limit(&store, "PRAGMA query_only = ON").await;
    let error = store.append(&[a_message(room)]).await.unwrap_err();
    assert_eq!(error.to_string(), "the database is unavailable: the file or its folder is not writable");
    assert!(store.append(&[a_message(room)]).await.unwrap()[0].is_some());
}

/// Sets something on the writing connection, which is given up with the next error.
async fn limit(store: &SqliteStore, pragma: &'static str) {
    let mut writer = store.writer().await.unwrap();
    sqlx::query(pragma).execute(writer.connection().unwrap()).await.unwrap();
}

#[tokio::test]
async fn readers_cannot_write() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let delete = sqlx::query("DELETE FROM projects").execute(&store.readers).await;
    assert!(matches!(refused(&delete.unwrap_err()), StoreError::Unavailable(_)));
}

#[tokio::test]
async fn what_a_crash_left_of_a_deleted_project_is_removed_at_the_next_start() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let room = a_room(&store, "p/r").await;
    store.append(&(0..50).map(|_| a_message(room)).collect::<Vec<_>>()).await.unwrap();
    let mut writer = store.writer().await.unwrap();
    sqlx::query("DELETE FROM projects").execute(writer.connection().unwrap()).await.unwrap();
    drop(writer);
    assert!(store.append(&[a_message(room)]).await.unwrap()[0].is_none());
    assert_eq!(store.head(room).await.unwrap(), 50);
    store.close().await;

    let store = ground.open().await;
    assert_eq!(store.head(room).await.unwrap(), 0);
    let marks = sqlx::query("SELECT count(*) FROM deleted_rooms").fetch_one(&store.readers).await.unwrap();
    assert_eq!(marks.get::<i64, _>(0), 0);
}

#[tokio::test]
async fn what_is_not_as_expected_writes_nothing() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    let (room, other) = (a_room(&store, "p/r").await, a_room(&store, "p/s").await);
    let first = a_message(room);
    store.append(&[first.clone(), a_message(room), a_message(other)]).await.unwrap();
    let written = async |messages: &[&NewMessage], expected: &[(Seq, Seq)]| {
        let mut writer = store.writer().await.unwrap();
        let written = append::insert_expected(writer.connection().unwrap(), messages, expected).await.unwrap();
        written.is_some_and(|places| places.len() == messages.len())
    };
    let (new, also_new) = (a_message(room), a_message(other));
    assert!(!written(&[&also_new, &new], &[(1, 2), (1, 2)]).await, "somebody else has written into the room");
    assert!(!written(&[&also_new, &new], &[(1, 2), (3, 4)]).await, "there would be a hole");
    assert!(!written(&[&also_new, &first], &[(1, 2), (2, 3)]).await, "it is there already");
    let nowhere = a_message(RoomKey(i64::MAX));
    assert!(!written(&[&also_new, &nowhere], &[(1, 2), (0, 1)]).await, "there is no such room");
    assert_eq!([store.head(room).await.unwrap(), store.head(other).await.unwrap()], [2, 1]);

    let last = a_message(room);
    assert!(written(&[&new, &also_new, &last], &[(2, 3), (1, 2), (2, 4)]).await);
    assert_eq!([store.head(room).await.unwrap(), store.head(other).await.unwrap()], [4, 2]);
}

#[test]
fn where_others_write_nothing_is_expected_for_a_while() {
    let (room, other) = (a_message(RoomKey(1)), a_message(RoomKey(2)));
    let place = |message: &NewMessage, seq| ((message.room, message.id), seq);
    let mut heads = append::Heads::default();
    assert_eq!(heads.expected(&[&room]), None, "nothing is known yet");
    heads.remember(&[place(&room, 7), place(&other, 1)]);
    assert_eq!(heads.expected(&[&room, &other, &room]), Some(vec![(7, 8), (1, 2), (7, 9)]));
    heads.remember(&[place(&room, 9), place(&room, 8)]);
    assert_eq!(heads.expected(&[&room]), Some(vec![(9, 10)]));
    heads.remember(&[place(&room, 12)]);
    for _ in 0..append::CONTESTED_BATCHES {
        assert_eq!(heads.expected(&[&other, &room, &room]), None, "somebody else wrote 10 and 11");
    }
    assert_eq!(heads.expected(&[&other]), Some(vec![(1, 2)]), "it is a matter of the one room");
    assert_eq!(heads.expected(&[&room]), Some(vec![(12, 13)]));
}

#[tokio::test]
async fn no_append_searches_a_whole_table() {
    let ground = SqliteGround::new();
    let store = ground.open().await;
    for sql in append::every_statement() {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        for step in sqlx::query(explain).fetch_all(&store.readers).await.unwrap() {
            let step: String = step.get("detail");
            // The batch itself may be gone through, and nothing else.
            let scanned = step.strip_prefix("SCAN ").unwrap_or("b");
            let own = scanned == "b" || scanned.contains("CONSTANT ROW") || scanned.starts_with("(subquery");
            assert!(own, "{step}");
        }
    }
}

/// Another process that appends until it is killed, and says what was acknowledged.
struct Victim {
    process: Child,
    answers: BufReader<ChildStdout>,
    acknowledged: Vec<(Seq, String)>,
}

impl Victim {
    fn start(path: &Path) -> Self {
        let test = format!("{}::victim", module_path!().split_once("::").unwrap().1);
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture", "--quiet"])
            .env(VICTIM_PATH, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers, acknowledged: Vec::new() }
    }

    /// Reads acknowledgements until there are so many or no more.
    fn read(&mut self, enough: usize) {
        let mut line = String::new();
        while self.acknowledged.len() < enough && self.answers.read_line(&mut line).unwrap() > 0 {
            // The test harness writes lines of its own.
            if let Some(("acknowledged", answer)) = line.trim_end().split_once(' ')
                && let Some((seq, id)) = answer.split_once(' ')
            {
                self.acknowledged.push((seq.parse().unwrap(), id.to_owned()));
            }
            line.clear();
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.read(usize::MAX);
    }
}

/// Names the file of a [`Victim`]'s process.
const VICTIM_PATH: &str = "HUBBUB_TEST_VICTIM_PATH";

/// Eight writers at once through one group commit; in the process of a [`Victim`] they write until they are killed.
#[tokio::test]
async fn victim() {
    let ground = SqliteGround::new();
    let path = std::env::var_os(VICTIM_PATH);
    let rounds = if path.is_some() { usize::MAX } else { 3 };
    let path = path.map_or_else(|| ground.path(), Into::into);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, BUSY_TIMEOUT, 1).await.unwrap());
    let room = a_room(&*store, "p/r").await;
    let commits = GroupCommit::start(Arc::clone(&store), GroupCommitLimits::default());
    let writers = (0..8).map(|_| async {
        for _ in 0..rounds {
            let message = a_message(room);
            let id = message.id;
            let place = commits.append(message).await.unwrap();
            // Fails when nobody listens any more, so that no victim outlives its test.
            writeln!(io::stdout(), "acknowledged {} {id}", place.seq).unwrap();
        }
    });
    join_all::<_>(writers).await;
    assert_eq!(store.head(room).await.unwrap(), 8 * rounds as u64);
}

#[tokio::test]
async fn killed_processes_lose_nothing_that_they_acknowledged() {
    let ground = SqliteGround::new();
    let mut victims = [Victim::start(&ground.path()), Victim::start(&ground.path())];
    let store = ground.open().await;
    let room = a_room(&store, "p/r").await;
    let mut acknowledged = Vec::new();
    for enough in [20, 60] {
        for victim in &mut victims {
            victim.read(enough);
        }
        let ours = a_message(room);
        let place = store.append(std::slice::from_ref(&ours)).await.unwrap()[0].unwrap();
        acknowledged.push((place.seq, ours.id.to_string()));
    }
    for victim in &mut victims {
        victim.kill();
        assert!(victim.acknowledged.len() >= 60, "the victim ended early");
        acknowledged.append(&mut victim.acknowledged);
    }

    let reopened = ground.open().await;
    for store in [&store, &reopened] {
        let stored = store.messages_after(room, 0, u32::MAX).await.unwrap();
        assert!(stored.iter().zip(1..).all(|(message, seq)| message.seq == seq), "a hole");
        let stored: HashMap<Seq, String> = stored.into_iter().map(|m| (m.seq, m.id.to_string())).collect();
        for (seq, id) in &acknowledged {
            assert_eq!(stored.get(seq), Some(id), "what was acknowledged as {seq}");
        }
    }
    assert!(reopened.append(&[a_message(room)]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn the_log_of_changes_keeps_the_latest_ten_thousand() {
    let store = SqliteGround::new().open().await;
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050) \
                INSERT INTO changes (change_no, kind) SELECT i, 'listing' FROM n";
    sqlx::query(many).execute(store.writer().await.unwrap().connection().unwrap()).await.unwrap();
    let log = store.changes_after(0).await.unwrap();
    assert_eq!((log.last, log.entries.len() as u64), (10_050, CHANGES_KEPT));
    assert_eq!(log.entries[0].0, 10_050 - CHANGES_KEPT + 1);
    store.change_everything().await.unwrap();
    assert_eq!(store.changes_after(10_050).await.unwrap().entries, [(10_051, Change::Everything)]);
}
