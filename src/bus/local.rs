//! The bus of a hub that is alone: nobody to tell.

use actix::Recipient;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Bus, BusDelivery};
use crate::ids::RoomId;

/// Reaches no other instance; always down, so that rooms spare the encoding.
#[derive(Debug, Default)]
pub struct LocalBus;

impl Bus for LocalBus {
    fn is_shared(&self) -> bool {
        false
    }

    fn is_up(&self) -> bool {
        false
    }

    fn subscribe(&self, _room: &RoomId, _inbox: Recipient<BusDelivery>) {}

    fn unsubscribe(&self, _room: &RoomId, _inbox: &Recipient<BusDelivery>) {}

    fn publish(&self, _room: &RoomId, _text: String, _receivers: Option<oneshot::Sender<u64>>) {}

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
