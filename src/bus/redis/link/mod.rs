//! One server: a connection that publishes, one that is subscribed, and the proof that what goes out comes back.

mod channels;

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use fred::{
    clients::SubscriberClient,
    error::Error,
    interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _},
    prelude::Client,
    types::{Message, config::Server},
};
use tokio::sync::{Notify, broadcast::error::RecvError, oneshot};

use super::thread::{CLOSE_PATIENCE, LinkEvent, Shared};
use crate::{
    count,
    redis::{Connection, Fault},
    vital::vital,
};

/// How often a link is tried.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// After so long without an echo it is down.
const ECHO_PATIENCE: Duration = Duration::from_millis(1_600);
/// How often a connection that looks well but does not echo is made anew.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);

pub(super) struct Link {
    node: Option<Server>,
    shared: Rc<Shared>,
    connections: RefCell<Connections>,
    /// Channels that this link listens to besides the probe's.
    channels: RefCell<HashSet<String>>,
    probe_channel: RefCell<String>,
    probes: Cell<u64>,
    last_echo: Cell<Option<Instant>>,
    last_renewal: Cell<Instant>,
    /// Counts connections of the subscriber: a subscription that failed on an earlier one was made again since.
    generation: Cell<u64>,
    up: Cell<bool>,
    closed: Notify,
}

/// Publishing has a connection of its own: a subscribed one can publish nothing, and no slow command is in the way.
struct Connections {
    publisher: Connection<Client>,
    subscriber: Connection<SubscriberClient>,
}

impl Link {
    /// Begins to connect: to a node of a cluster, or to where the address leads.
    pub(super) fn open(shared: &Rc<Shared>, node: Option<Server>) -> Result<Rc<Self>, String> {
        let connections = Connections::open(shared, node.as_ref())?;
        let link = Rc::new(Self {
            node,
            shared: Rc::clone(shared),
            connections: RefCell::new(connections),
            channels: RefCell::default(),
            probe_channel: RefCell::new(shared.probe_start.clone()),
            probes: Cell::default(),
            last_echo: Cell::default(),
            last_renewal: Cell::new(Instant::now()),
            generation: Cell::default(),
            up: Cell::default(),
            closed: Notify::new(),
        });
        actix::spawn(vital("bus link", Rc::clone(&link).run()));
        Ok(link)
    }

    /// The node of a cluster.
    pub(super) fn node(&self) -> Option<&Server> {
        self.node.as_ref()
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.get()
    }

    pub(super) fn publisher(&self) -> Client {
        self.connections.borrow().publisher.clone()
    }

    fn subscriber(&self) -> SubscriberClient {
        self.connections.borrow().subscriber.clone()
    }

    async fn run(self: Rc<Self>) {
        let mut probe = tokio::time::interval(PROBE_INTERVAL);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (publisher, subscriber) = (self.publisher(), self.subscriber());
            let (mut messages, mut reconnects) = (subscriber.message_rx(), subscriber.reconnect_rx());
            let mut publisher_reconnects = publisher.reconnect_rx();
            let (mut errors, mut subscriber_errors) = (publisher.error_rx(), subscriber.error_rx());
            if subscriber.is_connected() {
                self.reconnected(); // before anybody listened
            }
            loop {
                tokio::select! {
                    message = messages.recv() => match message {
                        Ok(message) => self.route(&message),
                        Err(RecvError::Lagged(missed)) => {
                            count!("hubbub_bus_lagged_total"; missed);
                            tracing::warn!(missed, "the hub lagged behind Redis; every room compares notes");
                            self.shared.inboxes.borrow().tell_restored(|channel| self.channels.borrow().contains(channel));
                        }
                        Err(RecvError::Closed) => return,
                    },
                    reconnected = reconnects.recv() => if reconnected.is_ok() {
                        self.reconnected();
                    },
                    // The probe at the subscriber's return went nowhere if that came first.
                    Ok(_) = publisher_reconnects.recv() => self.send_probe(),
                    Ok((error, server)) = errors.recv() => self.failed(&error, server.is_none()),
                    Ok((error, server)) = subscriber_errors.recv() => self.failed(&error, server.is_none()),
                    _ = probe.tick() => if self.probe() {
                        break; // the connections were made from scratch
                    },
                    () = self.closed.notified() => return self.quit().await,
                }
            }
        }
    }

    // --- texts ---

    pub(super) fn publish(self: &Rc<Self>, name: String, text: String, receivers: Option<oneshot::Sender<u64>>) {
        count!("hubbub_bus_published_total");
        let link = Rc::clone(self);
        actix::spawn(async move {
            let published = link.publish_with(name.clone(), text).await;
            link.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            match published {
                Ok(count) => drop(receivers.map(|receivers| receivers.send(count))),
                Err(Fault::Disconnected | Fault::Broken | Fault::Timeout | Fault::IsCluster | Fault::ClusterDown) => {
                    link.shared.lose(name);
                }
                Err(_) => {} // would be refused again
            }
        });
    }

    async fn publish_with(&self, name: String, text: String) -> Result<u64, Fault> {
        let client = self.publisher().with_options(&self.shared.publish_options);
        let published =
            if self.shared.sharded { client.spublish(name, text).await } else { client.publish(name, text).await };
        published.map_err(|error| Fault::of_command(&error)).inspect_err(|fault| match fault {
            Fault::IsCluster => self.shared.tell(LinkEvent::Moved),
            Fault::Disconnected | Fault::Broken | Fault::Timeout => {} // the probe's affair
            fault => self.shared.tell(LinkEvent::Fault(*fault)),
        })
    }

    fn route(self: &Rc<Self>, message: &Message) {
        let channel: &str = &message.channel;
        if channel == *self.probe_channel.borrow() {
            return self.echoed();
        }
        if let Some(text) = message.value.as_str() {
            count!("hubbub_bus_received_total");
            self.shared.inboxes.borrow().deliver(channel, &text);
        }
    }

    // --- up and down ---

    /// The subscribed connection is new: nothing is subscribed on it yet, and whatever was said meanwhile is lost.
    fn reconnected(self: &Rc<Self>) {
        count!("hubbub_redis_reconnects_total");
        self.generation.set(self.generation.get() + 1);
        self.last_renewal.set(Instant::now()); // it has yet to prove itself
        self.go_down();
        self.subscribe(self.all_names(), false);
        self.send_probe();
    }

    fn failed(&self, error: &Error, connecting: bool) {
        if connecting {
            self.shared.tell(LinkEvent::Fault(Fault::of_connecting(error, self.shared.by_tls)));
        }
    }

    /// Whether the connections were made from scratch.
    fn probe(self: &Rc<Self>) -> bool {
        if self.last_echo.get().is_none_or(|echo| echo.elapsed() > ECHO_PATIENCE) {
            if self.up.get() {
                self.shared.tell(LinkEvent::Fault(Fault::Timeout));
            }
            self.go_down();
            let hopeless = self.connections.borrow().are_hopeless();
            if hopeless && let Ok(connections) = Connections::open(&self.shared, self.node.as_ref()) {
                self.connections.replace(connections);
                self.last_renewal.set(Instant::now());
                return true;
            }
            if self.last_renewal.get().elapsed() >= RENEW_INTERVAL {
                self.last_renewal.set(Instant::now());
                // A connection that is open and dead is not noticed by the library.
                let connections = self.connections.borrow();
                let (publisher, subscriber) = (connections.publisher.renew(), connections.subscriber.renew());
                actix::spawn(async move { tokio::join!(publisher, subscriber) });
            }
        }
        self.send_probe();
        false
    }

    fn send_probe(self: &Rc<Self>) {
        self.probes.set(self.probes.get() + 1);
        let (link, name) = (Rc::clone(self), self.probe_channel.borrow().clone());
        actix::spawn(async move {
            let published = link.publish_with(name, link.probes.get().to_string()).await;
            // Nobody took it although the subscription was sent before: the server refused it, and fred drops that.
            let refused =
                matches!(published, Ok(0)) && !link.up.get() && link.last_renewal.get().elapsed() > ECHO_PATIENCE;
            if refused && link.subscriber().is_connected() {
                let command = if link.shared.sharded { "ssubscribe" } else { "subscribe" };
                link.shared.tell(LinkEvent::Fault(Fault::NotDelivered(command)));
            }
        });
    }

    fn echoed(self: &Rc<Self>) {
        self.last_echo.set(Some(Instant::now()));
        if !self.up.replace(true) {
            self.shared.tell(LinkEvent::Changed(Rc::clone(self)));
        }
        if self.shared.has_lost() {
            self.shared.tell(LinkEvent::Working);
        }
    }

    fn go_down(self: &Rc<Self>) {
        self.last_echo.set(None);
        if self.up.replace(false) {
            self.last_renewal.set(Instant::now());
            self.shared.tell(LinkEvent::Changed(Rc::clone(self)));
        }
    }

    // --- end ---

    /// Ends the connections; nothing is delivered any more.
    pub(super) fn close(&self) {
        self.closed.notify_one();
    }

    async fn quit(&self) {
        let (publisher, subscriber) = (self.publisher(), self.subscriber());
        let quit = async { tokio::join!(publisher.quit(), subscriber.quit()) };
        drop(tokio::time::timeout(CLOSE_PATIENCE / 4, quit).await);
    }
}

impl Connections {
    fn open(shared: &Shared, node: Option<&Server>) -> Result<Self, String> {
        let of_node = node.map(|node| shared.clients.of_node(node));
        let clients = of_node.as_ref().unwrap_or(&shared.clients);
        Ok(Self { publisher: clients.connect(clients.client()?), subscriber: clients.connect(clients.subscriber()?) })
    }

    fn are_hopeless(&self) -> bool {
        self.publisher.is_hopeless() | self.subscriber.is_hopeless() // both keep the time
    }
}
