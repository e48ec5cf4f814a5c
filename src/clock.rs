//! Time as an argument.
//!
//! Pure parts (presence, ordering, pacing, lanes) never ask what time it is: the actor that drives them passes an
//! [`Instant`]. Wall-clock time appears only where a person or the database reads it, always in UTC.

pub use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};

/// Wall-clock time, millisecond precision: what goes on the wire and into the database.
pub type Timestamp = DateTime<Utc>;

/// Now, cut to milliseconds so that a stored time equals the one that was sent.
pub fn now_utc() -> Timestamp {
    Utc::now().trunc_subsecs(3)
}

/// RFC 3339 with milliseconds and `Z`.
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Serde form of a [`Timestamp`] on the wire.
pub mod wire_time {
    use super::{Timestamp, rfc3339};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes RFC 3339 with milliseconds.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*at))
    }

    /// Reads RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
