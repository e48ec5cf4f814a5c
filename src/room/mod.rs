//! Station 2: the room. Membership, order, presence, cursors and fan-out of one `project/room` on this instance.
//!
//! The thinking is pure and in [`sequencer`], [`presence`], [`cursors`] and [`pacer`]; the actor ([`RoomActor`], spread by
//! subject over `actor`, `people`, `messages_lane`, `recovery` and `peers`) is wiring. The [`Directory`] starts rooms and
//! finds them. A room never knows sessions: it sees each worker thread's fan-out as a `Recipient<DeliverFrame>`.

mod actor;
pub mod cursors;
mod directory;
pub mod exchange;
pub mod messages;
mod messages_lane;
pub mod pacer;
mod peers;
mod people;
pub mod presence;
mod recovery;
pub mod sequencer;

pub use actor::RoomActor;
pub use directory::{Directory, Lease, RoomContext};

/// What a client is told to wait before it tries again what the database could not do, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 1_000;
