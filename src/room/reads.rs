//! Where a room reads messages from the store: each read counted, its messages encoded once.

use super::{directory::RoomContext, messages_lane::encode};
use crate::{
    count,
    ids::{RoomId, Seq},
    protocol::outbound::EncodedMessage,
    store::{RoomKey, StoreError, StoredMessage},
};

impl RoomContext {
    /// Up to `limit` messages with `seq > after`, oldest first.
    ///
    /// # Errors
    /// Those of [`Store::messages_after`](crate::store::Store::messages_after).
    pub(super) fn messages_after(
        &self,
        key: RoomKey,
        room: RoomId,
        after: Seq,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<EncodedMessage>, StoreError>> + use<> {
        let store = self.store.clone();
        note(&room, limit);
        async move { Ok(encoded(&room, &store.messages_after(key, after, limit).await?)) }
    }

    /// Up to `limit` messages with `seq < before` (all when `None`), newest first.
    ///
    /// # Errors
    /// Those of [`Store::messages_before`](crate::store::Store::messages_before).
    pub(super) fn messages_before(
        &self,
        key: RoomKey,
        room: RoomId,
        before: Option<Seq>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<EncodedMessage>, StoreError>> + use<> {
        let store = self.store.clone();
        note(&room, limit);
        async move { Ok(encoded(&room, &store.messages_before(key, before, limit).await?)) }
    }
}

fn note(room: &RoomId, limit: u32) {
    count!("hubbub_room_reads_total");
    tracing::debug!(%room, limit, "messages are read from the store");
}

fn encoded(room: &RoomId, stored: &[StoredMessage]) -> Vec<EncodedMessage> {
    stored.iter().filter_map(|stored| encode(room, stored)).collect()
}
