//! What arrived besides the payloads that a scenario asks for.

use crate::dialect::Kind;

/// What arrived, besides what the scenario counts itself.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Text frames, their payload bytes, and the reads that brought them.
    pub frames: u64,
    pub bytes: u64,
    pub reads: u64,
    pub acks: u64,
    pub errors: u64,
    pub pings: u64,
    /// Connections that the server ended after they had joined.
    pub closed: u64,
    /// The first error frame or close code, as it came.
    pub first_error: Option<String>,
}

impl Tally {
    /// Counts a frame that the scenario did not want.
    pub fn count(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Ack => self.acks += 1,
            Kind::Error => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| String::from_utf8_lossy(payload).into_owned());
            }
            Kind::Joined | Kind::Other => {}
        }
    }
}
