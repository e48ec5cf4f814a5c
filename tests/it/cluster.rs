//! Several instances behave as one: what happens on one is seen on the others, whatever becomes of Redis between them.

mod bus;
mod deaths;
mod sharing;
