//! Station 1: one socket, one actor.
//!
//! [`upgrade`] lets a client in and takes its socket over from the HTTP server. From then on, in a `conversation`, bytes
//! pass the inbound `guard`, become frames, and the [`Session`] carries them to the rooms. What goes out never passes the
//! actor: it goes through the connection's outbox (`fanout`). The only place that names `actix_web_actors`.

mod actor;
mod commands;
mod conversation;
mod counting;
mod counts;
mod expiry;
mod guard;
mod lanes;
mod roles;
mod upgrade;

pub use actor::Session;
pub use conversation::linger;
pub use counts::ConnectionCounts;
pub use upgrade::{Admitted, HandsOver, UpgradeRefusal, upgrade};

use std::sync::Arc;

use crate::{
    access::{Access, Sessions},
    config::Config,
    health::Health,
    room::Directory,
};

/// What all sessions of the hub share.
pub struct SessionContext {
    /// The settings.
    pub config: Arc<Config>,
    /// Who may.
    pub access: Arc<Access>,
    /// Cookie sessions, and news of them and of roles.
    pub sessions: Arc<Sessions>,
    /// The rooms.
    pub rooms: Arc<Directory>,
    /// What is degraded.
    pub health: Arc<Health>,
    /// How many connections each address and user has.
    pub counts: Arc<ConnectionCounts>,
}
