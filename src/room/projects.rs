//! A project that is deleted or closed to strangers: what the instances tell each other of it, and what becomes of its rooms.
//!
//! It is a topic of the whole hub: the instance that is asked may serve none of the rooms that others do.

use std::sync::Arc;

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    Directory, RoomActor,
    messages::{DeliverFrame, ForgetRoom, ReadmitMembers},
};
use crate::{
    bus::{BusDelivery, Channel},
    ids::ProjectId,
    vital::vital,
};

const TOPIC: Channel = Channel::Hub("projects");

/// What happened to a project.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    /// It is gone, with its rooms.
    Deleted(ProjectId),
    /// Not everybody may see it any more.
    Closed(ProjectId),
}

impl Directory {
    /// A project was deleted: its rooms close their members and end, on every instance.
    pub fn forget(&self, project: &ProjectId) {
        self.tell(&News::Deleted(project.clone()));
    }

    /// A project was made private: who is in its rooms is sent to come again, on every instance, and is let in as one who
    /// comes for the first time.
    pub fn readmit(&self, project: &ProjectId) {
        self.tell(&News::Closed(project.clone()));
    }

    /// This instance hears it, too, also while the bus is down.
    fn tell(&self, news: &News) {
        let text = serde_json::to_string(news).unwrap_or_default(); // a name alone: cannot fail
        self.bus().publish(TOPIC, text, None);
    }

    fn hear(&self, news: &News) {
        match news {
            News::Deleted(project) => {
                for (room, address) in self.rooms_of(project) {
                    address.do_send(ForgetRoom { room }); // once per room
                }
            }
            News::Closed(project) => {
                for (_, address) in self.rooms_of(project) {
                    address.do_send(ReadmitMembers); // once per room
                }
            }
        }
    }
}

/// Listens until the directory is gone.
pub(super) fn listen(directory: &Arc<Directory>) {
    let (inbox, mut deliveries) = mpsc::unbounded_channel();
    directory.bus().subscribe(TOPIC, inbox.into());
    let directory = Arc::downgrade(directory);
    actix_web::rt::spawn(vital("news of projects", async move {
        while let Some(delivery) = deliveries.recv().await {
            let Some(directory) = directory.upgrade() else { return };
            match delivery {
                BusDelivery::Event(text) => match serde_json::from_str(&text) {
                    Ok(news) => directory.hear(&news),
                    Err(error) => tracing::warn!(%error, "news of projects that this version does not understand"),
                },
                // A room of a project that was deleted unheard is found by the next message to it.
                BusDelivery::Restored => {}
            }
        }
    }));
}

impl Handler<ForgetRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, order: ForgetRoom, ctx: &mut Self::Context) {
        tracing::info!(room = %order.room, "the project was deleted, the room ends");
        self.forget(ctx);
    }
}

impl Handler<ReadmitMembers> for RoomActor {
    type Result = ();

    fn handle(&mut self, _: ReadmitMembers, _: &mut Self::Context) {
        for fanout in self.fanouts.values() {
            fanout.recipient.do_send(DeliverFrame::RoomLost { slot: self.slot });
        }
    }
}

impl RoomActor {
    /// The project is gone: everybody is closed for good.
    pub(super) fn forget(&mut self, ctx: &mut Context<Self>) {
        for fanout in self.fanouts.values() {
            fanout.recipient.do_send(DeliverFrame::RoomForgotten { slot: self.slot });
        }
        self.context.retire_anyway(&self.id, self.slot);
        self.stop(ctx);
    }
}
