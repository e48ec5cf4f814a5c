//! The bus of a hub that is alone: rooms have nobody to tell, the hub's own parts tell each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Bus, Channel, Inbox, inboxes::Inboxes};

/// Reaches no other instance; always down, so that rooms spare the encoding.
#[derive(Debug, Default)]
pub struct LocalBus {
    topics: Mutex<Inboxes>,
}

impl LocalBus {
    fn topics(&self) -> MutexGuard<'_, Inboxes> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for LocalBus {
    fn is_shared(&self) -> bool {
        false
    }

    fn is_up(&self, _channel: &Channel) -> bool {
        false
    }

    fn subscribe(&self, channel: Channel, inbox: Inbox) {
        if let Channel::Hub(topic) = channel {
            self.topics().add(topic.into(), inbox);
        }
    }

    fn unsubscribe(&self, channel: Channel, inbox: Inbox) {
        if let Channel::Hub(topic) = channel {
            self.topics().remove(topic, &inbox);
        }
    }

    fn publish(&self, channel: Channel, text: String, _receivers: Option<oneshot::Sender<u64>>) {
        if let Channel::Hub(topic) = channel {
            self.topics().deliver(topic, &text);
        }
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
