//! The connections that commands go through, taken in turn, and the watch over them.
//!
//! fred notices a connection that breaks, not one that is open and dead: so every connection is pinged once a second, by
//! its own client. One that does not answer is passed over at once and made anew; when none is left, commands fail within
//! microseconds instead of waiting.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::WithOptions,
    interfaces::{ClientLike as _, ClusterInterface as _, EventInterface as _},
    prelude::{Client, Options},
    types::config::Server,
};
use futures_util::future::join_all;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Clients, Connection, Fault, Faults, Part};
use crate::config::RedisConfig;

/// How often each connection is tried.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A ping that is not answered for so long is a miss; shorter command timeouts count instead.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// Commands under way in all connections together. Whoever comes then waits, within its own timeout.
const IN_FLIGHT_MAX: usize = 10_000;
/// How often a command follows a slot of a cluster that moved.
const REDIRECTIONS_MAX: u32 = 3;
/// How long a stop waits for the connections to end in good order.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Pool {
    members: Vec<Member>,
    next: AtomicUsize,
    permits: Semaphore,
    options: Options,
    faults: Faults,
    closing: AtomicBool,
}

struct Member {
    /// Another one when it had to be made from scratch.
    client: RwLock<Client>,
    /// Did not answer its last ping.
    hangs: AtomicBool,
}

impl Member {
    fn client(&self) -> RwLockReadGuard<'_, Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) -> bool {
        !self.hangs.load(Ordering::Relaxed) && self.client().is_connected()
    }
}

impl Pool {
    /// Makes the connections and watches over them, on the thread it is called on.
    pub(super) fn start(config: &RedisConfig, faults: Faults) -> Result<Arc<Self>, String> {
        let clients = Clients::new(config)?;
        let member = || Ok(Member { client: RwLock::new(clients.client()?), hangs: AtomicBool::new(false) });
        let pool = Arc::new(Self {
            members: std::iter::repeat_with(member).take(config.pool_size).collect::<Result<_, String>>()?,
            next: AtomicUsize::new(0),
            permits: Semaphore::new(IN_FLIGHT_MAX),
            // With `fail_fast` what breaks is never repeated by fred, whatever the attempts: those are for following a
            // slot that moved, where nothing was carried out yet. What may be repeated is repeated by us.
            options: Options {
                fail_fast: true,
                max_attempts: Some(REDIRECTIONS_MAX + 1),
                max_redirections: Some(REDIRECTIONS_MAX),
                timeout: Some(config.command_timeout),
                ..Options::default()
            },
            faults,
            closing: AtomicBool::new(false),
        });
        for member in 0..pool.members.len() {
            let watch = Watch { pool: Arc::clone(&pool), member, clients: clients.clone(), by_tls: config.address.tls };
            actix::spawn(watch.run());
        }
        Ok(pool)
    }

    /// The next connection that works, to one node of a cluster if it matters.
    pub(super) fn next(&self, node: Option<&Server>) -> Result<WithOptions<Client>, Fault> {
        let client = self.next_client()?;
        Ok(match node {
            None => client.with_options(&self.options),
            node => client.with_options(&Options { cluster_node: node.cloned(), ..self.options.clone() }),
        })
    }

    fn next_client(&self) -> Result<Client, Fault> {
        let (first, count) = (self.next.fetch_add(1, Ordering::Relaxed), self.members.len());
        (0..count)
            .map(|n| &self.members[first.wrapping_add(n) % count])
            .find(|member| member.is_up())
            .map(|member| member.client().clone())
            .ok_or(Fault::Disconnected)
    }

    /// Leave for so many commands.
    pub(super) async fn permits(&self, commands: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let commands = u32::try_from(commands.min(IN_FLIGHT_MAX)).unwrap_or(u32::MAX); // never beyond the limit
        self.permits.acquire_many(commands).await.map_err(|_| Fault::Disconnected)
    }

    pub(super) fn is_up(&self) -> bool {
        self.members.iter().any(Member::is_up)
    }

    /// The primaries of a cluster as far as they are known; one `None` otherwise.
    pub(super) fn nodes(&self) -> Vec<Option<Server>> {
        let clustered = |member: &&Member| member.client().is_clustered();
        let Some(any) = self.members.iter().filter(clustered).max_by_key(|member| member.is_up()) else {
            return vec![None];
        };
        let routing = any.client().cached_cluster_state();
        routing.into_iter().flat_map(|routing| routing.unique_primary_nodes()).map(Some).collect()
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Refuses new commands and ends the connections.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.permits.close();
        let quits = self.members.iter().filter(|member| member.is_up()).map(|member| {
            let client = member.client().clone();
            async move { client.quit().await }
        });
        drop(tokio::time::timeout(CLOSE_PATIENCE, join_all(quits)).await);
    }
}

/// The watch over one connection.
struct Watch {
    pool: Arc<Pool>,
    member: usize,
    clients: Clients,
    by_tls: bool,
}

impl Watch {
    async fn run(self) {
        let member = &self.pool.members[self.member];
        let mut connection = self.clients.connect(member.client().clone());
        let mut errors = connection.error_rx();
        let mut tick = tokio::time::interval(PING_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.pool.closing.load(Ordering::Relaxed) {
            tokio::select! {
                Ok((error, server)) = errors.recv() => if server.is_none() {
                    let fault = Fault::of_connecting(&error, self.by_tls);
                    // Of a cluster it may be any node; that none is there is the bus's to say.
                    let of_a_node = connection.is_clustered() && fault.is_of_network();
                    self.pool.faults.report(Part::Pool, if of_a_node { Fault::ClusterInPart } else { fault });
                },
                _ = tick.tick() => {
                    if connection.is_hopeless() && let Ok(client) = self.clients.client() {
                        connection = self.clients.connect(client.clone());
                        errors = connection.error_rx();
                        *member.client.write().unwrap_or_else(PoisonError::into_inner) = client;
                    }
                    self.ping(member, &connection).await;
                }
            }
        }
        // What is said at the end has left by then.
        drop(
            tokio::time::timeout(CLOSE_PATIENCE, async {
                while connection.is_connected() {
                    tick.tick().await;
                }
            })
            .await,
        );
    }

    async fn ping(&self, member: &Member, connection: &Connection<Client>) {
        if !connection.is_connected() {
            return; // it is being made, and passed over meanwhile
        }
        let patience = self.pool.options.timeout.unwrap_or(PING_PATIENCE).min(PING_PATIENCE);
        let options = Options { timeout: Some(patience), ..self.pool.options.clone() };
        let pong = connection.with_options(&options).ping::<()>(None).await;
        // An error is an answer, too.
        let hangs = matches!(&pong, Err(error) if Fault::of_command(error) == Fault::Timeout);
        let hung = member.hangs.swap(hangs, Ordering::Relaxed);
        match pong {
            Err(_) if hangs => self.pool.faults.report(Part::Pool, Fault::Timeout),
            Err(error) if Fault::of_command(&error).is_for_operators() => {
                self.pool.faults.report(Part::Pool, Fault::of_command(&error));
            }
            Err(_) => {}
            Ok(()) if self.pool.members.iter().all(Member::is_up) => self.pool.faults.clear(Part::Pool),
            Ok(()) => {}
        }
        if hangs && hung {
            connection.renew().await;
        }
    }
}
