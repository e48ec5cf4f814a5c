//! The HTTP side: projects, rooms, history, publishing, health, the page, and a problem document for every refusal.

mod api;
mod edge;
