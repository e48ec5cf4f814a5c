//! The demo page in real browsers against real hubs: what people see of each other, and what the page says of the hub
//! when it is away. Pictures are kept under `target/screenshots/`; `demo.png` of them is the README's.

mod company;
mod one_page;
mod outages;

use crate::support::{hub::Settings, tokens};

const ROOM: &str = "demo/lobby";

/// Presence as people have it: a reload on a slow machine takes longer than the fast tests' grace.
const AS_BY_DEFAULT: Settings = &[
    ("HEARTBEAT_INTERVAL_MS", "10000"),
    ("PRESENCE_TTL_MS", "30000"),
    ("PRESENCE_GRACE_MS", "5000"),
    ("JWT_SECRET", tokens::SECRET),
];

fn unexpected(_: &str) -> bool {
    false
}
