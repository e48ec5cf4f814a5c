//! Station 1: one socket, one actor.
//!
//! [`upgrade`] lets a client in; from then on bytes pass the inbound `guard`, become frames, and the [`Session`] carries
//! them to the rooms. What goes out never passes the actor: it waits in the connection's outbox (`fanout`), from which the
//! `tap` feeds the socket. The only place that names `actix_web_actors`.

mod actor;
mod commands;
mod counting;
mod counts;
mod expiry;
mod guard;
mod lanes;
mod roles;
mod tap;
mod upgrade;

pub use actor::Session;
pub use counts::ConnectionCounts;
pub use upgrade::{UpgradeRefusal, upgrade};

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
