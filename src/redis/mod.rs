//! The one place that connects to Redis or Valkey.
//!
//! [`RedisThread`] is the one thread that drives every connection: fred drives them on the runtime that started them, and
//! one single-threaded runtime for all costs least. What connects is made by `clients`, from one set of timeouts and one
//! backoff. Three kinds of connection stay apart: the bus publishes on one and is subscribed on another, everything else
//! goes through the pool behind [`Commands`], a handle that any thread may use and copy. What goes wrong becomes a
//! [`Fault`], in plain words that name the setting to look at; [`Faults`] knows those of the present.

mod attempts;
mod certificate;
mod clients;
mod commands;
mod diagnosis;
mod fault;
mod faults;
mod figures;
mod info;
mod pool;
mod scan;
mod script;
mod thread;
mod tls;

pub use certificate::{Handshake, shake_hands};
pub(crate) use clients::{Clients, Connection};
pub use commands::{Commands, When};
pub use fault::Fault;
pub use faults::Faults;
pub(crate) use faults::Part;
pub use figures::{RedisFigures, Seen};
pub use fred::types::FromValue as FromReply;
pub use info::{Figures, Info};
pub use scan::Scan;
pub use script::Script;
pub use thread::RedisThread;
