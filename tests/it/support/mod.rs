//! What the tests stand on: the hub and Redis as real processes, clients that speak the protocol, a network that breaks.

pub mod browser;
pub mod client;
pub mod cluster;
pub mod door;
pub mod frames;
pub mod http;
pub mod hub;
pub mod poll;
pub mod ports;
pub mod proxy;
pub mod pump;
pub mod raw;
pub mod redis;
pub mod resp;
pub mod tokens;
pub mod traffic;

pub use client::TestClient;
pub use cluster::TestCluster;
pub use door::Door;
pub use frames::{Change, Joined};
pub use hub::TestHub;
pub use poll::{eventually, eventually_within};
pub use proxy::Proxy;
pub use raw::RawClient;
pub use redis::RedisServer;
pub use traffic::Traffic;
