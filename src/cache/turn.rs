//! Questions whose answer must not be older than the question, asked together.
//!
//! Whoever comes while an answer is under way cannot use it: it may have been read before they came. They wait for the next
//! one, all together. However many ask, one question is under way, and nobody gets an answer that began before they asked.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// One question.
#[derive(Debug)]
pub(super) struct Turns<T> {
    begun: AtomicU64,
    /// The latest answer and which turn gave it.
    latest: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), latest: Mutex::new(None) }
    }
}

impl<T: Clone> Turns<T> {
    /// An answer that began after the call; `ask` gives it if nobody else does.
    pub(super) async fn next(&self, ask: impl AsyncFnOnce() -> T) -> T {
        let before = self.begun.load(Ordering::SeqCst);
        let mut latest = self.latest.lock().await; // in the order of arrival
        if let Some((turn, answer)) = &*latest
            && *turn > before
        {
            return answer.clone();
        }
        let turn = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = ask().await;
        *latest = Some((turn, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU32};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_comes_meanwhile_shares_the_next_answer() {
        let (turns, gate, asked) = (Turns::default(), Semaphore::new(0), AtomicU32::new(0));
        let ask = async || {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            gate.acquire().await.unwrap().forget();
            number
        };
        let first = turns.next(ask);
        let rest = async {
            // The first is under way when they come.
            assert_eq!(asked.load(Ordering::SeqCst), 1);
            let answers = join_all((0..100).map(|_| turns.next(ask)));
            let (answers, ()) = tokio::join!(answers, async { gate.add_permits(2) });
            answers
        };
        let (first, rest) = tokio::join!(biased; first, rest);
        assert_eq!(first, 1);
        assert_eq!(rest, vec![2; 100]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_who_gives_up_holds_up_nobody() {
        let turns = Arc::new(Turns::default());
        let (stuck, begun) = (Arc::clone(&turns), Arc::new(Semaphore::new(0)));
        let has_begun = Arc::clone(&begun);
        let asking = tokio::spawn(async move {
            stuck
                .next(async || {
                    has_begun.add_permits(1);
                    std::future::pending::<u32>().await
                })
                .await
        });
        begun.acquire().await.unwrap().forget();
        asking.abort();
        assert_eq!(turns.next(async || 7).await, 7);
    }
}
