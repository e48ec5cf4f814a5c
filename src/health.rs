//! What is well and what is not, kept as flags that those who know set and everybody may read without waiting.
//!
//! The bus says whether Redis answers, the database probe whether the database does, `app` that the hub drains. Readers
//! are the health routes (under 30 ms even when everything hangs), readiness, and the `status` frames of the sessions.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// State of a part the hub depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Answers.
    Connected,
    /// Does not answer.
    Disconnected,
    /// Not used by this hub.
    NotConfigured,
}

impl Link {
    /// The word of the health routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::NotConfigured => "not configured",
        }
    }
}

/// The parts as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links {
    /// The store.
    pub database: Link,
    /// The bus between instances.
    pub redis: Link,
}

impl Links {
    /// The reasons of a `status` frame: empty when all is well.
    pub fn degraded_reasons(self) -> Vec<&'static str> {
        [("database", self.database), ("redis", self.redis)]
            .into_iter()
            .filter(|(_, link)| *link == Link::Disconnected)
            .map(|(name, _)| name)
            .collect()
    }
}

/// Shared flags; cheap to read and to set from any thread.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    links: watch::Sender<Links>,
    redis_fault: Mutex<Option<String>>,
    draining: AtomicBool,
}

impl Health {
    /// A hub that just started.
    pub fn new(links: Links) -> Self {
        Self {
            started: Instant::now(),
            links: watch::Sender::new(links),
            redis_fault: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The parts as they are now.
    pub fn links(&self) -> Links {
        *self.links.borrow()
    }

    /// Tells of every change of a part.
    pub fn watch(&self) -> watch::Receiver<Links> {
        self.links.subscribe()
    }

    /// The database probe's finding.
    pub fn set_database(&self, link: Link) {
        self.set(|links| links.database = link);
    }

    /// The bus's finding.
    pub fn set_redis(&self, link: Link) {
        self.set(|links| links.redis = link);
    }

    /// What is wrong with Redis at the moment, in words for an operator.
    pub fn redis_fault(&self) -> Option<String> {
        self.redis_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What those who speak to Redis met.
    pub fn set_redis_fault(&self, fault: Option<String>) {
        *self.redis_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn set(&self, change: impl FnOnce(&mut Links)) {
        self.links.send_if_modified(|links| {
            let before = *links;
            change(links);
            *links != before
        });
    }

    /// From now on not ready for new clients.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether a load balancer should send clients here.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
