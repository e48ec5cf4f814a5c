//! What a link listens to.

use std::{ops::RangeInclusive, rc::Rc};

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike as _, PubsubInterface as _},
    util::redis_keyslot,
};
use futures_util::future::join_all;

use super::{
    super::{shards::name_in_slots, thread::LinkEvent},
    Link,
};
use crate::redis::Fault;

impl Link {
    /// Listens to channels, and goes on with it on every new connection.
    pub(in crate::bus::redis) fn listen(self: &Rc<Self>, names: Vec<String>) {
        self.channels.borrow_mut().extend(names.iter().cloned());
        // Without a connection it is done, for all, when there is one.
        if self.subscriber().is_connected() {
            self.subscribe(names, false);
        }
    }

    /// Listens to channels that were another link's: when it does, their subscribers are told.
    pub(in crate::bus::redis) fn take_over(self: &Rc<Self>, names: Vec<String>) {
        self.channels.borrow_mut().extend(names.iter().cloned());
        if self.subscriber().is_connected() {
            self.subscribe(names, true);
        }
    }

    /// Subscribes once more to all channels: a cluster that changes ends subscriptions by itself.
    pub(in crate::bus::redis) fn listen_again(self: &Rc<Self>) {
        if self.subscriber().is_connected() {
            self.subscribe(self.all_names(), false);
        }
    }

    pub(in crate::bus::redis) fn forget(&self, name: String) {
        if self.channels.borrow_mut().remove(&name) {
            let (subscriber, sharded) = (self.subscriber(), self.shared.sharded);
            actix::spawn(async move {
                drop(if sharded { subscriber.sunsubscribe(name).await } else { subscriber.unsubscribe(name).await });
            });
        }
    }

    /// Forgets channels that are another link's now; the server has done so already.
    pub(in crate::bus::redis) fn hand_over(&self, gone: impl Fn(&str) -> bool) {
        self.channels.borrow_mut().retain(|name| !gone(name));
    }

    /// The slots of this node: the probe must lie in one of them.
    pub(in crate::bus::redis) fn set_slots(self: &Rc<Self>, slots: &[RangeInclusive<u16>]) {
        let current = redis_keyslot(self.probe_channel.borrow().as_bytes());
        if slots.iter().any(|range| range.contains(&current)) {
            return;
        }
        if let Some(name) = name_in_slots(&self.shared.probe_start, slots) {
            *self.probe_channel.borrow_mut() = name.clone();
            if self.subscriber().is_connected() {
                self.subscribe(vec![name], false);
            }
        }
    }

    /// All channels, the probe's last: when it echoes, all are subscribed.
    pub(super) fn all_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.channels.borrow().iter().cloned().collect();
        names.push(self.probe_channel.borrow().clone());
        names
    }

    /// A subscription that fails is made again by the next reconnect; if there has been none, one is forced.
    pub(super) fn subscribe(self: &Rc<Self>, names: Vec<String>, tell: bool) {
        let (link, subscriber, generation) = (Rc::clone(self), self.subscriber(), self.generation.get());
        actix::spawn(async move {
            let failed = if link.shared.sharded {
                link.subscribe_shards(&subscriber, names, tell).await
            } else {
                subscriber.subscribe(names).await.err().map(|error| Fault::of_command(&error))
            };
            let Some(fault) = failed else { return };
            tracing::debug!(%fault, "a subscription has to wait for Redis");
            match fault {
                Fault::IsCluster => link.shared.tell(LinkEvent::Moved),
                fault if link.generation.get() == generation && subscriber.is_connected() => {
                    link.shared.tell(LinkEvent::Fault(fault));
                    let renewal = link.connections.borrow().subscriber.renew();
                    renewal.await;
                }
                _ => {}
            }
        });
    }

    /// One by one, all in one go: a command may name channels of one slot only. Gives the first fault.
    async fn subscribe_shards(&self, subscriber: &SubscriberClient, names: Vec<String>, tell: bool) -> Option<Fault> {
        let each = names.into_iter().map(async |name| {
            let subscribed = subscriber.ssubscribe(name.clone()).await;
            if subscribed.is_ok() && tell {
                self.shared.inboxes.borrow().tell_restored(|channel| channel == name);
            }
            subscribed.err().map(|error| Fault::of_command(&error))
        });
        join_all(each).await.into_iter().flatten().next()
    }
}
