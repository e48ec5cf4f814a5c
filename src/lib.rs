//! Hubbub, a hub for real-time presence, cursors and messages. A guided tour, in the order in which a message meets the
//! modules:
//!
//! 1. [`http`] takes the request; [`access`] says who it is and what they may; [`session`] is the socket: one actor per
//!    connection reads frames ([`protocol`]) and carries them to rooms.
//! 2. [`room`] is the heart: one actor per room and instance, its logic pure and beside it.
//! 3. [`store`] makes a message durable and gives it its place; after that it is acknowledged.
//! 4. [`bus`] tells the other instances, through Redis ([`redis`]), where the same room delivers it too.
//! 5. [`fanout`] hands a frame to each worker thread once, and there to each connection's outbox, which its socket empties.
//!
//! What is read over HTTP, and who may, comes through [`cache`], which is never behind what was written.
//!
//! [`doctor`] looks at settings, Redis and database for those who run it. [`app`] puts it all together and takes it apart
//! again; [`config`] is the only reader of the environment; [`health`]
//! keeps what is well and what is not, [`telemetry`] counts what happens, [`vital`] says what the hub cannot do without; [`ids`] and [`clock`] are what everybody
//! speaks in.
//!
//! Imports point one way: ids, clock, config, telemetry ◄ protocol, store, bus, redis ◄ cache ◄ access ◄ room ◄ fanout ◄ session ◄ http ◄ app.

pub mod access;
pub mod app;
pub mod bus;
pub mod cache;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod fanout;
pub mod health;
pub mod http;
pub mod ids;
pub mod mail;
pub mod protocol;
pub mod redis;
pub mod room;
#[cfg(feature = "sabotage")]
mod sabotage;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod vital;
