//! Every form of Redis, as a real server: on its own, by TLS, with an ACL, short of memory, behind Sentinels, as a Cluster.

mod commands;
mod faults;
mod sentinels;
pub mod servers;
mod sharded;
mod topics;
