//! Who on this instance listens to what.

use std::{collections::HashMap, sync::Arc};

use super::{BusDelivery, Inbox};

/// What an instance publishes on a hub channel, once it can again, after a text of its was lost: with it the others, to
/// whom all seemed well, know as much.
pub(super) const LOST: &str = "\0lost";

/// Inboxes by the name of their channel.
#[derive(Debug, Default)]
pub(super) struct Inboxes(HashMap<String, Vec<Inbox>>);

impl Inboxes {
    /// Whether it is the first inbox of its channel.
    pub(super) fn add(&mut self, channel: String, inbox: Inbox) -> bool {
        let inboxes = self.0.entry(channel).or_default();
        inboxes.retain(Inbox::is_open); // a room that died did not say so
        inboxes.push(inbox);
        inboxes.len() == 1
    }

    /// Whether it was the last inbox of its channel.
    pub(super) fn remove(&mut self, channel: &str, inbox: &Inbox) -> bool {
        let Some(inboxes) = self.0.get_mut(channel) else { return false };
        inboxes.retain(|known| known != inbox && known.is_open());
        let last = inboxes.is_empty();
        if last {
            self.0.remove(channel);
        }
        last
    }

    /// Delivers a text to a channel's inboxes.
    pub(super) fn deliver(&self, channel: &str, text: &str) {
        let Some(inboxes) = self.0.get(channel) else { return };
        if text == LOST {
            return self.tell_restored(|told| told == channel);
        }
        let text: Arc<str> = text.into();
        for inbox in inboxes {
            inbox.send(BusDelivery::Event(Arc::clone(&text)));
        }
    }

    /// Tells everybody on these channels that something may have been lost.
    pub(super) fn tell_restored(&self, channels: impl Fn(&str) -> bool) {
        for (_, inboxes) in self.0.iter().filter(|(channel, _)| channels(channel)) {
            for inbox in inboxes {
                inbox.send(BusDelivery::Restored);
            }
        }
    }

    /// The names of all channels somebody listens to.
    pub(super) fn channels(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}
