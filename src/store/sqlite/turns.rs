//! Fair turns at writing among the processes that share a database file.
//!
//! SQLite by itself is not fair: who finds the file locked soon looks only ten times a second, and who has written can lock
//! it again in a moment. On a slow disk one busy process then keeps the others out for seconds.
//!
//! So whoever writes holds a lock on one file beside the database, and whoever is the next to write one on another file. Who
//! has just written has to be the next first, and is not while somebody else waits. These locks only bring an order into
//! the coming; the data is guarded by SQLite's own. A process that hangs in its turn is therefore passed by.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::{sleep, timeout};

/// How often one that waits looks: the file is idle for about so long between two processes.
const LOOKS: Duration = Duration::from_millis(1);

/// The two files, and what this process knows of the others.
#[derive(Debug)]
pub(super) struct Turns {
    next: File,
    turn: File,
    patience: Duration,
    /// Somebody's turn did not end within our patience: until it has, nobody is waited for.
    passing_by: AtomicBool,
}

/// A lock on a file, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a File);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.unlock().ok(); // of what is locked it does not fail
    }
}

impl Turns {
    /// Beside a database file. `patience` is how long others are let go first.
    pub(super) fn beside(database: &Path, patience: Duration) -> io::Result<Self> {
        let file = |extension: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(extension);
            File::options().create(true).truncate(false).write(true).open(path)
        };
        Ok(Self { next: file(".next")?, turn: file(".turn")?, patience, passing_by: AtomicBool::new(false) })
    }

    /// Waits for this process's turn. `None`: it cannot be had, and SQLite's lock has to do.
    pub(super) async fn wait(&self) -> Option<Turn<'_>> {
        let turn = async {
            let _next = lock(&self.next).await?;
            lock(&self.turn).await
        };
        let passing_by = self.passing_by.load(Relaxed);
        let turn = if passing_by { turn.now_or_never() } else { timeout(self.patience, turn).await.ok() };
        self.passing_by.store(turn.is_none(), Relaxed);
        turn?
    }
}

/// Looks until nobody else has it locked. `None`: its file system has no such locks.
async fn lock(file: &File) -> Option<Turn<'_>> {
    loop {
        match file.try_lock() {
            Ok(()) => return Some(Turn(file)),
            Err(TryLockError::WouldBlock) => sleep(LOOKS).await,
            Err(TryLockError::Error(_)) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn two(patience: Duration) -> (TempDir, [Turns; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let turns = [(); 2].map(|()| Turns::beside(&folder.path().join("a.db"), patience).unwrap());
        (folder, turns)
    }

    #[tokio::test]
    async fn who_waits_comes_before_who_was_there() {
        let (_folder, [one, other]) = two(Duration::from_secs(60));
        let mut turn = one.wait().await.unwrap();
        for _ in 0..20 {
            let mut waiting = Box::pin(other.wait());
            assert!(futures_util::poll!(&mut waiting).is_pending());
            drop(turn);
            let mut again = Box::pin(one.wait());
            assert!(futures_util::poll!(&mut again).is_pending(), "it has to let the other one go first");
            drop(waiting.await.unwrap());
            turn = again.await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_hangs_is_passed_by_until_it_is_done() {
        let (_folder, [hung, other]) = two(Duration::from_millis(5));
        let turn = hung.wait().await.unwrap();
        assert!(other.wait().await.is_none());
        assert!(other.wait().now_or_never().is_some(), "nobody waits for it twice");
        drop(turn);
        let mine = other.wait().await;
        assert!(mine.is_some());
        assert!(hung.wait().now_or_never().is_none(), "turns are waited for again");
    }
}
