//! What the two benchmark binaries share, in the order in which a message meets it.
//!
//! `load` (the generator) and `floor` (the cheapest server that could do the fan-out) are single-threaded loops around
//! one epoll instance, because the figures are only worth something if the tools cost less than what they measure:
//! no runtime, no JSON parser, and no allocation per message.
//!
//! - [`schedule`]: when each message is due, whatever happened to the ones before
//! - [`stamp`]: the fixed-width mark in a payload that says which message it is and when it was due
//! - [`upgrade`], [`frame`]: the little of HTTP and WebSocket that is needed
//! - [`poller`], [`link`]: epoll, and one non-blocking socket
//! - [`ledger`]: which deliveries arrived, twice, or never
//! - [`procfs`], [`redis_count`], [`writes`]: what it cost the server
//! - [`http`], [`zipf`]: asking over keep-alive connections, and for what; for `reads`, which has a thread for each
//! - [`report`]: a table for people, a line of JSON for the script

pub mod frame;
pub mod http;
pub mod ledger;
pub mod link;
pub mod poller;
pub mod procfs;
pub mod redis_count;
pub mod report;
pub mod schedule;
pub mod stamp;
pub mod upgrade;
pub mod writes;
pub mod zipf;
