//! One room's members on one worker thread, and the frames that wait to go to them together.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::Outbox;
use crate::{
    ids::ConnectionId,
    protocol::Frame,
    room::{messages::Lane, pacer::Pacer},
};

/// A frame on its way to the members.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) frame: Frame,
    pub(super) lane: Lane,
    pub(super) except: Option<ConnectionId>,
}

/// Members and batch. Invariant: what is in the batch is for all who are members now (but `except`): the fan-out flushes
/// before it enrols or withdraws.
#[derive(Debug, Default)]
pub(super) struct RoomLane {
    pub(super) pacer: Pacer,
    members: Vec<(ConnectionId, Rc<Outbox>)>,
    batch: Vec<Entry>,
}

impl RoomLane {
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Rc<Outbox>> {
        self.members.iter().map(|(_, outbox)| outbox)
    }

    pub(super) fn enrol(&mut self, connection: ConnectionId, outbox: Rc<Outbox>) {
        match self.members.iter_mut().find(|(id, _)| *id == connection) {
            Some((_, known)) => *known = outbox,
            None => self.members.push((connection, outbox)),
        }
    }

    pub(super) fn withdraw(&mut self, connection: ConnectionId) {
        if let Some(index) = self.members.iter().position(|(id, _)| *id == connection) {
            self.members.swap_remove(index);
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.batch.push(entry);
    }

    /// Hands the batch to every member: as one piece of memory where all get all of it.
    pub(super) fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let Some(together) = joined_bytes(&batch) else { return };
        let for_all = batch.iter().all(|entry| entry.except.is_none());
        let skippable = batch.iter().any(|entry| entry.lane == Lane::Cursors);
        for (connection, outbox) in &self.members {
            if for_all && !(skippable && outbox.lags()) {
                outbox.push(&together);
                continue;
            }
            for entry in &batch {
                let skipped = entry.lane == Lane::Cursors && outbox.lags();
                if entry.except != Some(*connection) && !skipped {
                    outbox.push(entry.frame.bytes());
                }
            }
        }
        self.batch = batch;
        self.batch.clear(); // keeps the allocation
    }
}

fn joined_bytes(batch: &[Entry]) -> Option<Bytes> {
    match batch {
        [] => None,
        [one] => Some(one.frame.bytes().clone()),
        many => {
            let mut together = BytesMut::with_capacity(many.iter().map(|entry| entry.frame.len()).sum());
            many.iter().for_each(|entry| together.extend_from_slice(entry.frame.bytes()));
            Some(together.freeze())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, lane: Lane, except: Option<ConnectionId>) -> Entry {
        Entry { frame: Frame::text(text), lane, except }
    }

    fn taken(outbox: &Outbox) -> Vec<u8> {
        std::iter::from_fn(|| outbox.pop()).flatten().collect()
    }

    #[test]
    fn all_get_the_batch_in_order_and_the_excepted_the_rest() {
        let (a, b) = (ConnectionId::random(), ConnectionId::random());
        let (to_a, to_b) = (Rc::new(Outbox::detached(1024)), Rc::new(Outbox::detached(1024)));
        let mut lane = RoomLane::default();
        lane.enrol(a, to_a.clone());
        lane.enrol(b, to_b.clone());
        lane.push(entry("1", Lane::Reliable, None));
        lane.push(entry("2", Lane::Reliable, Some(a)));
        lane.push(entry("3", Lane::Reliable, None));
        lane.flush();
        let frame = |text| Frame::text(text).bytes().to_vec();
        assert_eq!(taken(&to_a), [frame("1"), frame("3")].concat());
        assert_eq!(taken(&to_b), [frame("1"), frame("2"), frame("3")].concat());
    }

    #[test]
    fn a_lagging_reader_misses_cursors_but_no_message() {
        let a = ConnectionId::random();
        let outbox = Rc::new(Outbox::detached(1 << 20));
        outbox.push(&Bytes::from(vec![0; 200 * 1024]));
        assert!(outbox.lags());
        let mut lane = RoomLane::default();
        lane.enrol(a, outbox.clone());
        lane.push(entry("cursor", Lane::Cursors, None));
        lane.push(entry("message", Lane::Reliable, None));
        lane.flush();
        outbox.pop();
        assert_eq!(taken(&outbox), Frame::text("message").bytes().to_vec());
    }
}
