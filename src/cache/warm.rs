//! The projects that were used last, remembered in Redis, so that a hub that starts has them at hand.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::{Catalogue, ProjectKey};
use crate::{
    clock::{Duration, Instant},
    ids::ProjectId,
    store::StoreError,
};

/// Where they are remembered. No project's name begins with a hyphen.
const NAME: &str = "-recent";
/// For how long.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How often, if there is something new.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a start waits until the cache can be used.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// What is asked for at once.
const STEP: usize = 50;

/// Projects by their latest use.
#[derive(Debug)]
pub(super) struct Recent {
    max: usize,
    used: Mutex<Used>,
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Used {
    at: HashMap<ProjectId, u64>,
    count: u64,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        Self { max, used: Mutex::default(), changed: AtomicBool::new(false) }
    }

    /// A project was asked for. One use more or less does not matter, so nobody waits here.
    pub(super) fn used(&self, id: &ProjectId) {
        if self.max == 0 {
            return;
        }
        let Ok(mut used) = self.used.try_lock() else { return };
        used.count += 1;
        let now = used.count;
        match used.at.get_mut(id) {
            Some(at) => *at = now,
            None => {
                used.at.insert(id.clone(), now);
                self.changed.store(true, Ordering::Relaxed);
            }
        }
        // Twice as many, so that the oldest are seldom looked for.
        if used.at.len() > 2 * self.max {
            let keep = latest(&used.at, self.max);
            used.at.retain(|id, _| keep.contains(id));
        }
    }

    /// The latest, the latest first.
    fn latest(&self) -> Vec<ProjectId> {
        latest(&self.used.lock().unwrap_or_else(PoisonError::into_inner).at, self.max)
    }
}

fn latest(at: &HashMap<ProjectId, u64>, max: usize) -> Vec<ProjectId> {
    let mut by_use: Vec<_> = at.iter().collect();
    by_use.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(**at));
    by_use.into_iter().take(max).map(|(id, _)| id.clone()).collect()
}

impl Catalogue {
    /// Brings back, in the background, the projects that were used last before this start, then remembers those that are
    /// used now.
    pub fn keep_warm(self: &Arc<Self>) {
        if self.cache().shared.is_none() || self.recent().max == 0 {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = this.warm_up().await {
                tracing::debug!(%error, "the cache starts cold");
            }
            loop {
                tokio::time::sleep(SAVE_INTERVAL).await;
                this.remember_recent().await;
            }
        });
    }

    /// Writes down what was used last, if that changed.
    pub async fn remember_recent(&self) {
        if let Some(shared) = &self.cache().shared
            && self.recent().changed.swap(false, Ordering::Relaxed)
        {
            let latest = serde_json::to_vec(&self.recent().latest()).unwrap_or_default(); // names: cannot fail
            shared.set(NAME, Bytes::from(latest), LIFETIME).await;
        }
    }

    async fn warm_up(&self) -> Result<(), StoreError> {
        let Some(shared) = &self.cache().shared else { return Ok(()) };
        let begun = Instant::now();
        while !(self.cache().snapshot().fresh && shared.is_connected()) {
            if begun.elapsed() > START_PATIENCE {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let Some(remembered) = shared.get_plain(NAME).await else { return Ok(()) };
        let Ok(mut projects) = serde_json::from_slice::<Vec<ProjectId>>(&remembered) else { return Ok(()) };
        projects.truncate(self.recent().max);
        for step in projects.chunks(STEP) {
            let keys: Vec<_> = step.iter().cloned().map(ProjectKey).collect();
            self.load_projects(&keys).await?;
        }
        projects.iter().rev().for_each(|project| self.recent().used(project));
        tracing::debug!(projects = projects.len(), took = ?begun.elapsed(), "the cache is warm");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_used_are_remembered_and_no_more() {
        let recent = Recent::new(3);
        for name in ["a", "b", "c", "d", "e", "a", "f", "g", "h"] {
            recent.used(&name.parse().unwrap());
        }
        let latest: Vec<_> = recent.latest().iter().map(|id| id.as_str().to_owned()).collect();
        assert_eq!(latest, ["h", "g", "f"]);
        assert!(recent.used.lock().unwrap().at.len() <= 6);
    }
}
