//! What is promised holds whatever fails: two instances under traffic from dozens of clients, one thing goes wrong, and
//! every client's whole transcript is judged.

mod book;
mod check;
mod clocks;
mod database;
mod deploys;
mod fleet;
mod instances;
mod links;
mod person;
mod plan;
mod redis;
mod sabotage;
mod soak;
mod stage;
mod transcript;
mod troubles;
mod view;
mod world;
