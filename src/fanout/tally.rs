//! What a worker thread delivered, counted without a shared cache line: cells of the thread, told to the figures with each
//! sweep.

use std::cell::Cell;

use metrics::gauge;

use crate::count;

/// Counts since the last sweep, and what this thread's connections were told to hold then.
struct Tally {
    deliveries: Cell<u64>,
    sent_bytes: Cell<u64>,
    told: Cell<Waiting>,
}

/// What waits for the connections of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// For all of them together.
    pub(super) bytes: usize,
    /// Connections with so much that what rooms send is skipped.
    pub(super) lagging: usize,
}

thread_local! {
    static TALLY: Tally = const {
        Tally {
            deliveries: Cell::new(0),
            sent_bytes: Cell::new(0),
            told: Cell::new(Waiting { bytes: 0, lagging: 0 }),
        }
    };
}

fn add(cell: &Cell<u64>, number: usize) {
    cell.set(cell.get() + number as u64);
}

/// Frames of a room were put into outboxes.
pub(super) fn delivered(deliveries: usize) {
    TALLY.with(|tally| add(&tally.deliveries, deliveries));
}

/// Bytes were handed to a socket.
pub(crate) fn sent(bytes: usize) {
    TALLY.with(|tally| add(&tally.sent_bytes, bytes));
}

/// Tells the figures what was counted on this thread since the last time, and what waits on it.
pub(super) fn tell(waiting: Waiting) {
    TALLY.with(|tally| {
        count!("hubbub_deliveries_total"; tally.deliveries.take());
        count!("hubbub_sent_bytes_total"; tally.sent_bytes.take());
        let told = tally.told.replace(waiting);
        if told != waiting {
            // Each thread adds its own share.
            gauge!("hubbub_outbox_bytes").increment(waiting.bytes as f64 - told.bytes as f64);
            gauge!("hubbub_connections_lagging").increment(waiting.lagging as f64 - told.lagging as f64);
        }
    });
}
