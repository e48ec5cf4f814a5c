//! Carries out orders, keeps the overview of the links, and says whether the bus is well.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    prelude::Options,
    types::{cluster::ClusterRouting, config::Server},
};
use tokio::sync::{mpsc, oneshot};

use super::{Order, link::Link, reach::Reach, shards::Shards};
use crate::{
    bus::{
        Channel,
        inboxes::{Inboxes, LOST},
    },
    config::{RedisConfig, RedisForm},
    count,
    health::{Health, Link as State},
    ids::InstanceId,
    redis::{Clients, Fault, Faults, Part},
};

/// How long a stop waits for what is under way.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// How often a cluster is asked whether it changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two looks when there is reason to believe that something changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What the links have in common.
pub(super) struct Shared {
    pub(super) clients: Clients,
    pub(super) sharded: bool,
    pub(super) by_tls: bool,
    /// What the names of this instance's probe channels begin with.
    pub(super) probe_start: String,
    pub(super) publish_options: Options,
    pub(super) in_flight: Arc<AtomicUsize>,
    pub(super) inboxes: RefCell<Inboxes>,
    /// Channels to which a text was lost while their link seemed well.
    lost: RefCell<BTreeSet<String>>,
    events: mpsc::UnboundedSender<LinkEvent>,
}

/// From a link to the thread.
pub(super) enum LinkEvent {
    /// It went up or down.
    Changed(Rc<Link>),
    /// Something stands in its way.
    Fault(Fault),
    /// It was asked for what is another node's.
    Moved,
    /// It works, and something was lost before.
    Working,
}

impl Shared {
    pub(super) fn new(
        config: &RedisConfig,
        instance: InstanceId,
        in_flight: Arc<AtomicUsize>,
    ) -> Result<(Rc<Self>, mpsc::UnboundedReceiver<LinkEvent>), String> {
        let (events, incoming) = mpsc::unbounded_channel();
        let shared = Self {
            clients: Clients::new(config)?,
            sharded: matches!(config.address.form, RedisForm::Cluster(_)),
            by_tls: config.address.tls,
            probe_start: format!("{}probe:{instance}", config.key_prefix),
            publish_options: Options {
                fail_fast: true,
                max_attempts: Some(1),
                timeout: Some(config.command_timeout),
                ..Options::default()
            },
            in_flight,
            inboxes: RefCell::default(),
            lost: RefCell::default(),
            events,
        };
        Ok((Rc::new(shared), incoming))
    }

    /// A text did not leave.
    pub(super) fn lose(&self, name: String) {
        self.lost.borrow_mut().insert(name);
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.borrow().is_empty()
    }

    pub(super) fn tell(&self, event: LinkEvent) {
        drop(self.events.send(event)); // fails only at the end
    }
}

pub(super) struct BusThread {
    pub(super) shared: Rc<Shared>,
    prefix: String,
    pub(super) shards: Shards,
    pub(super) seeds: Vec<Server>,
    pub(super) epoch: Option<u64>,
    pub(super) last_read: Instant,
    pub(super) reach: Arc<Reach>,
    lost: Arc<AtomicBool>,
    health: Arc<Health>,
    faults: Faults,
    was_up: bool,
}

impl BusThread {
    pub(super) fn new(
        config: &RedisConfig,
        shared: Rc<Shared>,
        reach: Arc<Reach>,
        lost: Arc<AtomicBool>,
        health: Arc<Health>,
        faults: Faults,
    ) -> Result<Self, String> {
        let (shards, seeds) = match &config.address.form {
            RedisForm::Cluster(hosts) => {
                let seeds = hosts.iter().map(|host| Server::new(host.name.as_str(), host.port)).collect();
                (Shards::Many { routing: ClusterRouting::new(), links: HashMap::new() }, seeds)
            }
            _ => (Shards::One(Link::open(&shared, None)?), Vec::new()),
        };
        let prefix = config.key_prefix.clone();
        let (epoch, last_read, was_up) = (None, Instant::now(), false);
        Ok(Self { shared, prefix, shards, seeds, epoch, last_read, reach, lost, health, faults, was_up })
    }

    pub(super) async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut events: mpsc::UnboundedReceiver<LinkEvent>,
    ) {
        let (seen, mut views) = mpsc::unbounded_channel();
        let (mut next_look, mut looking) = (Instant::now(), false);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close(closed)) => return self.close(closed).await,
                    Some(order) => self.carry_out(order),
                    None => return,
                },
                Some(event) = events.recv() => match event {
                    LinkEvent::Changed(link) => {
                        self.changed(&link);
                        if self.shared.sharded && !link.is_up() {
                            next_look = next_look.min(Instant::now() + LOOK_AGAIN_AFTER);
                        }
                    }
                    LinkEvent::Fault(fault) => self.report(fault),
                    LinkEvent::Working => self.make_up(),
                    LinkEvent::Moved => {
                        self.epoch = None;
                        next_look = next_look.min(Instant::now() + LOOK_AGAIN_AFTER);
                    }
                },
                Some(view) = views.recv() => {
                    looking = false;
                    match view {
                        Ok(view) => self.take_view(view),
                        Err(fault) => self.report(fault),
                    }
                },
                () = tokio::time::sleep_until(next_look.into()) => {
                    next_look = Instant::now() + LOOK_INTERVAL;
                    self.tell_lost();
                    if self.shared.sharded && !std::mem::replace(&mut looking, true) {
                        self.look(seen.clone());
                    }
                },
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        #[cfg(feature = "sabotage")]
        crate::sabotage::break_bus();
        match order {
            Order::Subscribe(channel, inbox) => {
                let name = self.name(&channel);
                self.shared.inboxes.borrow_mut().add(name.clone(), inbox);
                if let Some(link) = self.shards.link_of(&name) {
                    link.listen(vec![name]);
                }
            }
            Order::Unsubscribe(channel, inbox) => {
                let name = self.name(&channel);
                if self.shared.inboxes.borrow_mut().remove(&name, &inbox)
                    && let Some(link) = self.shards.link_of(&name)
                {
                    link.forget(name);
                }
            }
            Order::Publish(channel, text, receivers) => self.publish(&channel, text, receivers),
            Order::Close(_) => {} // handled by the loop
        }
    }

    fn publish(&self, channel: &Channel, text: String, receivers: Option<oneshot::Sender<u64>>) {
        let name = self.name(channel);
        match self.shards.link_of(&name).filter(|link| link.is_up()) {
            Some(link) => link.publish(name, text, receivers),
            None => {
                self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
                if matches!(channel, Channel::Hub(_)) {
                    self.shared.inboxes.borrow().deliver(&name, &text);
                    self.shared.lose(name);
                }
            }
        }
    }

    /// Tells those who missed something, as far as they can be reached: of a room our own, who will tell the others; of a
    /// topic all.
    fn make_up(&self) {
        let lost = std::mem::take(&mut *self.shared.lost.borrow_mut());
        for name in lost {
            match self.shards.link_of(&name).filter(|link| link.is_up()) {
                None => self.shared.lose(name),
                Some(link) if name[self.prefix.len()..].starts_with("hub:") => {
                    self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
                    link.publish(name, LOST.into(), None);
                }
                Some(_) => self.shared.inboxes.borrow().tell_restored(|told| told == name),
            }
        }
    }

    fn tell_lost(&self) {
        if self.lost.swap(false, Ordering::Relaxed) {
            tracing::warn!("more was to be published than Redis takes; every room compares notes");
            self.shared.inboxes.borrow().tell_restored(|_| true);
        }
    }

    /// As Redis knows a channel.
    fn name(&self, channel: &Channel) -> String {
        format!("{}{channel}", self.prefix)
    }

    // --- the overview ---

    /// A link went up or down. The bits come first: who is told that the bus is back will look whether it is.
    fn changed(&mut self, link: &Rc<Link>) {
        if !self.shards.links().iter().any(|known| Rc::ptr_eq(known, link)) {
            return; // it was closed meanwhile
        }
        for slots in self.shards.slots_of(link) {
            self.reach.set(slots, link.is_up());
        }
        self.judge();
        if link.is_up() {
            let shards = &self.shards;
            let of_link = |name: &str| shards.link_of(name).is_some_and(|of_name| Rc::ptr_eq(of_name, link));
            self.shared.inboxes.borrow().tell_restored(of_link);
        }
    }

    /// Says whether the whole is well.
    pub(super) fn judge(&mut self) {
        let links = self.shards.links();
        let up = !links.is_empty() && self.shards.is_whole() && links.iter().all(|link| link.is_up());
        if up {
            self.faults.clear(Part::Bus);
        }
        if up != self.was_up {
            self.was_up = up;
            if up {
                tracing::info!("Redis is connected, instances hear each other");
            } else if links.iter().any(|link| link.is_up()) {
                count!("hubbub_bus_lost_total");
                tracing::warn!(
                    "a part of Redis is lost: its rooms go on by themselves on this instance until it is back"
                );
            } else {
                count!("hubbub_bus_lost_total");
                tracing::warn!("Redis is lost: this instance goes on by itself until it is back");
            }
        }
        self.health.set_redis(if up { State::Connected } else { State::Disconnected });
    }

    fn report(&self, fault: Fault) {
        let some_are_up = self.shards.links().iter().any(|link| link.is_up());
        if self.shared.sharded && some_are_up && fault.is_of_network() {
            return self.faults.report(Part::Bus, Fault::ClusterInPart);
        }
        self.faults.report(Part::Bus, fault);
    }

    async fn close(self, closed: oneshot::Sender<()>) {
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while self.shared.in_flight.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for link in self.shards.links() {
            link.close();
        }
        closed.send(()).ok();
    }
}
