//! What the hub promises, tried from outside: the real binary, real Redis, real sockets. A file per promise, a test per
//! sentence; `support` has what they stand on.

#![expect(unreachable_pub, reason = "`pub` in `support` marks what the tests use; the crate has no users beyond")]

mod support;

mod access;
mod browser;
mod cache;
mod cluster;
mod crowds;
mod cursors;
mod database;
mod doctor;
mod faults;
mod figures;
mod guarantees;
mod http;
mod limits;
mod messages;
mod presence;
mod redis;
mod resume;
mod serve;
mod stop;
