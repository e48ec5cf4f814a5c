//! What the hub tells those who run it: metrics and health.

mod health;
mod metrics;
