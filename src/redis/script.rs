//! Lua scripts that the server keeps under their hash.

use fred::util::sha1_hash;

/// A script with its hash, made once (in a `LazyLock`).
#[derive(Debug)]
pub struct Script {
    pub(super) text: &'static str,
    pub(super) hash: String,
}

impl Script {
    /// A script in Lua 5.1. It must touch only the keys it is given, and those of one call must share a hash tag
    /// (`{…}`) or be one, or a cluster refuses it. A text from outside it must give in a list of one or two: fred takes
    /// a bare one that begins with `MOVED` for a redirection, a list of three that begins with `message` for news of a
    /// subscription.
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: sha1_hash(text) }
    }
}
