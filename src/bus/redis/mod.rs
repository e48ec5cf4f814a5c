//! The bus over Redis pub/sub: one channel per room, so that an instance gets only the traffic of rooms it serves.
//!
//! Everything happens on the Redis thread, fed through a queue: `thread` carries out orders and keeps the overview, a
//! `link` speaks to one server. There is one link to a server on its own (or to the primary that Sentinels name), with
//! `SUBSCRIBE` and `PUBLISH`. Of a cluster there is one to each primary, with `SSUBSCRIBE` and `SPUBLISH`, so that the nodes
//! share the traffic; `scout` finds out which slots are whose, `changes` follows. `reach` is what other threads may look at.
//!
//! Whether a link is up is not believed but tried: a message to ourselves twice a second, through its publishing connection
//! and back through its subscribed one. When it has not come back for a while the link is down: rooms are told by silence,
//! sessions by a status frame, and once it comes back every room of it compares notes.

mod changes;
mod link;
mod reach;
mod scout;
mod shards;
mod thread;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use self::{
    reach::Reach,
    thread::{BusThread, CLOSE_PATIENCE, Shared},
};
use super::{Bus, Channel, Inbox};
use crate::{
    config::RedisConfig,
    count,
    health::Health,
    ids::InstanceId,
    redis::{Faults, RedisThread},
    vital::vital,
};

/// Publications under way beyond which new ones are dropped: rooms heal from the store.
const IN_FLIGHT_MAX: usize = 20_000;

/// Handle of the bus on the Redis thread.
pub struct RedisBus {
    orders: mpsc::UnboundedSender<Order>,
    reach: Arc<Reach>,
    in_flight: Arc<AtomicUsize>,
    /// Something was not published for want of room.
    lost: Arc<AtomicBool>,
}

/// From the handle to the thread.
enum Order {
    Subscribe(Channel, Inbox),
    Unsubscribe(Channel, Inbox),
    Publish(Channel, String, Option<oneshot::Sender<u64>>),
    Close(oneshot::Sender<()>),
}

impl RedisBus {
    /// Begins to connect, on the Redis thread; does not wait for Redis.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn start(
        thread: &RedisThread,
        config: &RedisConfig,
        instance: InstanceId,
        health: Arc<Health>,
        faults: Faults,
    ) -> Result<Self, String> {
        let (orders, queue) = mpsc::unbounded_channel();
        let reach = Arc::new(Reach::new(config));
        let (in_flight, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let this =
            Self { orders, reach: Arc::clone(&reach), in_flight: Arc::clone(&in_flight), lost: Arc::clone(&lost) };
        let config = config.clone();
        let start = async move || {
            let (shared, events) = Shared::new(&config, instance, in_flight)?;
            let thread = BusThread::new(&config, shared, reach, lost, health, faults)?;
            actix::spawn(vital("bus", thread.run(queue, events)));
            Ok::<_, String>(())
        };
        thread.run(start).await??;
        Ok(this)
    }

    fn order(&self, order: Order) {
        drop(self.orders.send(order)); // fails only after close
    }
}

impl Bus for RedisBus {
    fn is_shared(&self) -> bool {
        true
    }

    fn is_up(&self, channel: &Channel) -> bool {
        self.reach.is_up(channel)
    }

    fn subscribe(&self, channel: Channel, inbox: Inbox) {
        self.order(Order::Subscribe(channel, inbox));
    }

    fn unsubscribe(&self, channel: Channel, inbox: Inbox) {
        self.order(Order::Unsubscribe(channel, inbox));
    }

    fn publish(&self, channel: Channel, text: String, receivers: Option<oneshot::Sender<u64>>) {
        // Nothing drops what concerns the whole hub: it is little.
        if matches!(channel, Channel::Room(_)) {
            if !self.is_up(&channel) {
                return;
            }
            if self.in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                count!("hubbub_bus_dropped_total");
                return self.lost.store(true, Ordering::Relaxed);
            }
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.order(Order::Publish(channel, text, receivers));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (closed, done) = oneshot::channel();
        self.order(Order::Close(closed));
        Box::pin(async move {
            drop(tokio::time::timeout(CLOSE_PATIENCE * 3 / 2, done).await);
        })
    }
}
