//! The bus over Redis pub/sub: one channel per room, so that an instance gets only the traffic of rooms it serves.
//!
//! Everything of Redis happens on one thread of its own, fed through a queue. Whether the bus is up is not believed but
//! tried: a message to ourselves twice a second, through the publishing connection and back through the subscribed one.
//! When it has not come back for a while the bus is down: rooms are told by silence, sessions by a status frame, and once
//! it comes back every room compares notes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Arbiter, Recipient};
use fred::{
    interfaces::{ClientLike, EventInterface as _, PubsubInterface as _},
    prelude::{Client, Options},
    types::Message,
};
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast::error::RecvError, mpsc, oneshot};

use super::{Bus, BusDelivery};
use crate::{
    config::RedisConfig,
    health::{Health, Link},
    ids::{InstanceId, RoomId},
    redis::{Clients, connect, plain_words},
};

/// How often the bus is tried.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// After so long without an echo it is down.
const ECHO_PATIENCE: Duration = Duration::from_millis(1_600);
/// How often a connection that looks well but does not echo is made anew.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// Publications under way beyond which new ones are dropped: rooms heal from the store.
const IN_FLIGHT_MAX: usize = 20_000;
/// How long a stop waits for what is under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// The same fault is logged again after this time.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Handle of the bus thread.
pub struct RedisBus {
    orders: mpsc::UnboundedSender<Order>,
    up: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
    /// Something was not published for want of room.
    lost: Arc<AtomicBool>,
}

enum Order {
    Subscribe(RoomId, Recipient<BusDelivery>),
    Unsubscribe(RoomId, Recipient<BusDelivery>),
    Publish(RoomId, String, Option<oneshot::Sender<u64>>),
    Close(oneshot::Sender<()>),
}

impl RedisBus {
    /// Starts the thread and begins to connect; does not wait for Redis.
    ///
    /// # Errors
    /// The address cannot be understood.
    pub async fn start(config: &RedisConfig, instance: InstanceId, health: Arc<Health>) -> Result<Self, String> {
        let (orders, queue) = mpsc::unbounded_channel();
        let (up, in_flight) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let lost = Arc::new(AtomicBool::new(false));
        let (config, bus_up, bus_in_flight) = (config.clone(), Arc::clone(&up), Arc::clone(&in_flight));
        let bus_lost = Arc::clone(&lost);
        let (started, start) = oneshot::channel();
        Arbiter::new().spawn(async move {
            match connect(&config) {
                Ok(clients) => {
                    drop(started.send(Ok(())));
                    BusThread::new(&config, instance, clients, health, bus_up, bus_in_flight, bus_lost)
                        .run(queue)
                        .await;
                }
                Err(fault) => drop(started.send(Err(fault))),
            }
        });
        start.await.unwrap_or_else(|_| Err("the bus thread did not start".into()))?;
        Ok(Self { orders, up, in_flight, lost })
    }

    fn order(&self, order: Order) {
        drop(self.orders.send(order)); // fails only after close
    }
}

impl Bus for RedisBus {
    fn is_shared(&self) -> bool {
        true
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn subscribe(&self, room: &RoomId, inbox: Recipient<BusDelivery>) {
        self.order(Order::Subscribe(room.clone(), inbox));
    }

    fn unsubscribe(&self, room: &RoomId, inbox: &Recipient<BusDelivery>) {
        self.order(Order::Unsubscribe(room.clone(), inbox.clone()));
    }

    fn publish(&self, room: &RoomId, text: String, receivers: Option<oneshot::Sender<u64>>) {
        if !self.is_up() {
            return;
        }
        if self.in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
            return self.lost.store(true, Ordering::Relaxed);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.order(Order::Publish(room.clone(), text, receivers));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (closed, done) = oneshot::channel();
        self.order(Order::Close(closed));
        Box::pin(async move {
            drop(tokio::time::timeout(CLOSE_PATIENCE + Duration::from_millis(500), done).await);
        })
    }
}

struct BusThread {
    clients: Clients,
    prefix: String,
    probe_channel: String,
    probes: u64,
    last_echo: Option<Instant>,
    last_renewal: Instant,
    last_fault: Option<(&'static str, Instant)>,
    inboxes: HashMap<String, Vec<Recipient<BusDelivery>>>,
    /// Counts connections of the subscriber: a subscription that failed on an earlier one was made again since.
    connections: Arc<AtomicU64>,
    lost: Arc<AtomicBool>,
    health: Arc<Health>,
    up: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
    publish_options: Options,
}

impl BusThread {
    fn new(
        config: &RedisConfig,
        instance: InstanceId,
        clients: Clients,
        health: Arc<Health>,
        up: Arc<AtomicBool>,
        in_flight: Arc<AtomicUsize>,
        lost: Arc<AtomicBool>,
    ) -> Self {
        Self {
            clients,
            probe_channel: format!("{}probe:{instance}", config.key_prefix),
            prefix: format!("{}room:", config.key_prefix),
            probes: 0,
            last_echo: None,
            last_renewal: Instant::now(),
            last_fault: None,
            inboxes: HashMap::new(),
            connections: Arc::default(),
            lost,
            health,
            up,
            in_flight,
            publish_options: Options {
                fail_fast: true,
                max_attempts: Some(1),
                timeout: Some(config.command_timeout),
                ..Options::default()
            },
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut messages = self.clients.subscriber.message_rx();
        let mut reconnects = self.clients.subscriber.reconnect_rx();
        let mut errors = self.clients.commands.error_rx();
        let mut probe = tokio::time::interval(PROBE_INTERVAL);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close(closed)) => return self.close(closed).await,
                    Some(order) => self.carry_out(order),
                    None => return,
                },
                message = messages.recv() => match message {
                    Ok(message) => self.route(&message),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "the hub lagged behind Redis; every room compares notes");
                        self.tell_restored();
                    }
                    Err(RecvError::Closed) => return,
                },
                reconnected = reconnects.recv() => if reconnected.is_ok() {
                    self.reconnected();
                },
                error = errors.recv() => if let Ok((error, _)) = error {
                    self.log_fault(plain_words(&error));
                },
                _ = probe.tick() => self.probe(),
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Subscribe(room, inbox) => {
                let channel = self.channel(&room);
                let inboxes = self.inboxes.entry(channel.clone()).or_default();
                inboxes.retain(Recipient::connected); // a room that died did not say so
                inboxes.push(inbox);
                // Without a connection it is made, with all others, when there is one.
                if self.clients.subscriber.is_connected() {
                    self.subscribe(vec![channel]);
                }
            }
            Order::Unsubscribe(room, inbox) => {
                let channel = self.channel(&room);
                let Some(inboxes) = self.inboxes.get_mut(&channel) else { return };
                inboxes.retain(|known| *known != inbox);
                if inboxes.is_empty() {
                    self.inboxes.remove(&channel);
                    let subscriber = self.clients.subscriber.clone();
                    actix::spawn(async move { drop(subscriber.unsubscribe(channel).await) });
                }
            }
            Order::Publish(room, text, receivers) => self.publish(self.channel(&room), text, receivers),
            Order::Close(_) => {} // handled by the loop
        }
    }

    fn publish(&self, channel: String, text: String, receivers: Option<oneshot::Sender<u64>>) {
        let (client, in_flight) = (self.clients.commands.clone(), Arc::clone(&self.in_flight));
        let options = self.publish_options.clone();
        actix::spawn(async move {
            let published = publish_with(&client, &options, channel, text).await;
            in_flight.fetch_sub(1, Ordering::Relaxed);
            if let (Some(receivers), Ok(count)) = (receivers, published) {
                receivers.send(count).ok();
            }
        });
    }

    /// A subscription that fails is made again by the next reconnect; if there has been none, one is forced.
    fn subscribe(&self, channels: Vec<String>) {
        let subscriber = self.clients.subscriber.clone();
        let (connections, connection) = (Arc::clone(&self.connections), self.connections.load(Ordering::Relaxed));
        actix::spawn(async move {
            if let Err(error) = subscriber.subscribe(channels).await {
                tracing::debug!(reason = plain_words(&error), "a subscription has to wait for Redis");
                if connections.load(Ordering::Relaxed) == connection && subscriber.is_connected() {
                    drop(tokio::time::timeout(CLOSE_PATIENCE, subscriber.force_reconnection()).await);
                }
            }
        });
    }

    fn route(&mut self, message: &Message) {
        let channel: &str = &message.channel;
        if channel == self.probe_channel {
            return self.echoed();
        }
        let (Some(inboxes), Some(text)) = (self.inboxes.get(channel), message.value.as_str()) else { return };
        let text: Arc<str> = text.as_ref().into();
        for inbox in inboxes {
            // Bounded by what the channel carries; a room that died takes nothing.
            inbox.do_send(BusDelivery::Event(Arc::clone(&text)));
        }
    }

    /// The subscribed connection is new: nothing is subscribed on it yet, and whatever was said meanwhile is lost.
    fn reconnected(&mut self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.go_down();
        let mut channels: Vec<String> = self.inboxes.keys().cloned().collect();
        channels.push(self.probe_channel.clone());
        self.subscribe(channels);
        self.send_probe();
    }

    fn probe(&mut self) {
        if self.lost.swap(false, Ordering::Relaxed) {
            tracing::warn!("more was to be published than Redis takes; every room compares notes");
            self.tell_restored();
        }
        let silent = self.last_echo.is_none_or(|echo| echo.elapsed() > ECHO_PATIENCE);
        if silent {
            if self.is_up() {
                self.log_fault("Redis does not answer");
            }
            self.go_down();
            if self.last_renewal.elapsed() >= RENEW_INTERVAL {
                self.last_renewal = Instant::now();
                self.renew();
            }
        }
        self.send_probe();
    }

    fn send_probe(&mut self) {
        self.probes += 1;
        let (client, options) = (self.clients.commands.clone(), self.publish_options.clone());
        let (channel, number) = (self.probe_channel.clone(), self.probes.to_string());
        actix::spawn(async move { drop(publish_with(&client, &options, channel, number).await) });
    }

    fn echoed(&mut self) {
        self.last_echo = Some(Instant::now());
        if !self.up.swap(true, Ordering::AcqRel) {
            tracing::info!("Redis is connected, instances hear each other");
            self.health.set_redis(Link::Connected);
            self.last_fault = None;
            self.tell_restored();
        }
    }

    fn go_down(&mut self) {
        self.last_echo = None;
        if self.up.swap(false, Ordering::AcqRel) {
            tracing::warn!("Redis is lost: this instance goes on by itself until it is back");
            self.last_renewal = Instant::now();
        }
        self.health.set_redis(Link::Disconnected);
    }

    /// A connection that is open and dead (a stopped server, dropped packets) is not noticed by the library.
    fn renew(&self) {
        if self.clients.commands.is_connected() {
            let client = self.clients.commands.clone();
            actix::spawn(async move { drop(tokio::time::timeout(CLOSE_PATIENCE, client.force_reconnection()).await) });
        }
        if self.clients.subscriber.is_connected() {
            let client = self.clients.subscriber.clone();
            actix::spawn(async move { drop(tokio::time::timeout(CLOSE_PATIENCE, client.force_reconnection()).await) });
        }
    }

    fn tell_restored(&self) {
        for inbox in self.inboxes.values().flatten() {
            inbox.do_send(BusDelivery::Restored); // once per room and restoration
        }
    }

    fn log_fault(&mut self, fault: &'static str) {
        let fresh = self.last_fault.is_none_or(|(last, at)| last != fault || at.elapsed() > LOG_INTERVAL);
        if fresh {
            self.last_fault = Some((fault, Instant::now()));
            tracing::warn!("{fault}");
        }
    }

    async fn close(self, closed: oneshot::Sender<()>) {
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while self.in_flight.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let quit = async {
            drop(self.clients.commands.quit().await);
            drop(self.clients.subscriber.quit().await);
        };
        drop(tokio::time::timeout(Duration::from_millis(500), quit).await);
        closed.send(()).ok();
    }

    fn channel(&self, room: &RoomId) -> String {
        format!("{}{room}", self.prefix)
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }
}

async fn publish_with(
    client: &Client,
    options: &Options,
    channel: String,
    text: String,
) -> Result<u64, fred::error::Error> {
    client.with_options(options).publish::<u64, _, _>(channel, text).await
}
