//! What the hub promises, tried from outside: the real binary, real Redis, real sockets. A file per promise, a test per
//! sentence; `support` has what they stand on.

#![expect(unreachable_pub, reason = "`pub` in `support` marks what the tests use; the crate has no users beyond")]

mod support;

mod access;
mod browser;
mod cluster;
mod cursors;
mod http;
mod limits;
mod messages;
mod presence;
mod serve;
mod stop;
