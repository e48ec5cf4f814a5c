//! Station 2: the room. Membership, order, presence, cursors and fan-out of one `project/room` on this instance.
//!
//! The thinking is pure and in [`sequencer`], [`window`], [`presence`], [`cursors`] and [`pacer`]; the actor ([`RoomActor`],
//! spread by subject over `actor`, `resume`, `catch_up`, `people`, `messages_lane`, `appends`, `recovery`, `peers` and `projects`) is wiring.
//! The [`Directory`] starts rooms and finds them. A room never knows sessions: it sees each worker thread's fan-out as a `Recipient<DeliverFrame>`.

mod actor;
mod appends;
mod catch_up;
pub mod cursors;
mod directory;
pub mod exchange;
mod hole;
pub mod messages;
mod messages_lane;
pub mod pacer;
mod peers;
mod people;
pub mod presence;
mod projects;
mod reads;
mod recovery;
mod resume;
pub mod sequencer;
pub mod window;

pub use actor::RoomActor;
pub use directory::{Directory, Lease, RoomContext};

/// What a client is told to wait before it tries again what the database could not do, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 1_000;
