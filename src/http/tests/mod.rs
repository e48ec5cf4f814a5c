//! The routes as a client meets them, against the real store.

mod edge;
mod members;
mod projects;
mod rooms;
mod search;
mod support;
