//! The database: PostgreSQL as a place for everything, and what becomes of the hub when the database, either one, is away.

mod away;
mod sharing;
mod sqlite;
mod start;
mod tls;
