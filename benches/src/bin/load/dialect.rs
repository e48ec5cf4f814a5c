//! What is said on the wire to Hubbub, and to the floor, which takes bare payloads.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use hubbub_bench::stamp::{self, Stamp};
use memchr::memmem::Finder;

/// The server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Hubbub's protocol, version 1.
    Hubbub,
    /// The same, but what is sent are broadcasts: nothing is stored or acknowledged, and the sender gets nothing back.
    Ephemeral,
    /// The floor server.
    Floor,
}

/// A frame that carries no payload of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Joined,
    Ack,
    Error,
    Other,
}

static TYPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"type\":\""));
/// Makes message ids of different runs against one database different.
static SALT: LazyLock<u64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_micros() as u64
});

impl Dialect {
    /// Name for the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hubbub => "hubbub",
            Self::Ephemeral => "hubbub-ephemeral",
            Self::Floor => "floor",
        }
    }

    /// Path of connection `index`, which will be in `room`. Fixed width, so that all frames are equally long.
    pub fn path(self, index: usize, room: usize) -> String {
        match self {
            Self::Hubbub | Self::Ephemeral => format!("/ws?name=b{index:05}"),
            Self::Floor => format!("/ws?room={room:04}"),
        }
    }

    /// What to say after the upgrade to be in `room`, if anything.
    pub fn join(self, room: usize) -> Option<String> {
        match self {
            Self::Hubbub | Self::Ephemeral => {
                Some(format!(r#"{{"type":"join","ref":1,"room":"bench/r{room:04}","history":0}}"#))
            }
            Self::Floor => None,
        }
    }

    /// Appends the message with this stamp and a body of `body_bytes`. `serial` is different for each message of a run.
    pub fn message(self, out: &mut Vec<u8>, room: usize, serial: u64, stamp: &Stamp, body_bytes: usize) {
        if self == Self::Floor {
            return stamp.write_body(out, body_bytes);
        }
        if self == Self::Ephemeral {
            append(out, format_args!(r#"{{"type":"broadcast","room":"bench/r{room:04}","event":"m","data":"#));
            stamp.write_body(out, body_bytes);
            return out.push(b'}');
        }
        let salt = *SALT;
        let (high, low) = (salt >> 16 & 0xffff_ffff, salt & 0xffff);
        append(
            out,
            format_args!(
                r#"{{"type":"message","ref":{serial},"room":"bench/r{room:04}","id":"{high:08x}-{low:04x}-4000-8000-{serial:012x}","body":"#
            ),
        );
        stamp.write_body(out, body_bytes);
        out.push(b'}');
    }

    /// Appends the cursor of `person`, due at `due_us`.
    pub fn cursor(self, out: &mut Vec<u8>, room: usize, person: u64, due_us: u64) {
        if self == Self::Floor {
            return stamp::write_position(out, person, due_us);
        }
        append(out, format_args!(r#"{{"type":"cursor","room":"bench/r{room:04}","position":"#));
        stamp::write_position(out, person, due_us);
        out.push(b'}');
    }

    /// How many of a room's `members` get each message.
    pub fn receivers(self, members: u64) -> u64 {
        if self == Self::Ephemeral { members - 1 } else { members }
    }

    /// Whether each message is acknowledged.
    pub fn acknowledges(self) -> bool {
        self == Self::Hubbub
    }

    /// What a frame without a payload of ours is.
    pub fn kind(self, frame: &[u8]) -> Kind {
        let is = |name: &[u8]| {
            TYPE.find_iter(frame).any(|at| {
                let rest = &frame[at + TYPE.needle().len()..];
                rest.starts_with(name) && rest.get(name.len()) == Some(&b'"')
            })
        };
        match () {
            () if is(b"ack") => Kind::Ack,
            () if is(b"joined") => Kind::Joined,
            () if is(b"error") => Kind::Error,
            () => Kind::Other,
        }
    }
}

fn append(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "writing to a Vec does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_protocols() {
        let stamp = Stamp { phase: 1, sender: 2, number: 3, due_us: 4 };
        let mut out = Vec::new();
        Dialect::Hubbub.message(&mut out, 17, 255, &stamp, 128);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with(r#"{"type":"message","ref":255,"room":"bench/r0017","id":""#));
        let (_, id) = text.split_once("\"id\":\"").expect("an id");
        let dashes: Vec<usize> = id[..36].match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((dashes, &id[36..37]), (vec![8, 13, 18, 23], "\""));
        assert_eq!(text.split_once("\"body\":").expect("a body").1.len(), 129);
        assert_eq!(Stamp::find(text.as_bytes(), &mut 0), Some(stamp));
    }

    #[test]
    fn kinds_are_told_apart_wherever_the_type_stands() {
        let kind = |frame: &str| Dialect::Hubbub.kind(frame.as_bytes());
        assert_eq!(kind(r#"{"type":"joined","ref":1}"#), Kind::Joined);
        assert_eq!(kind(r#"{"ref":1,"type":"ack"}"#), Kind::Ack);
        assert_eq!(kind(r#"{"type":"error","code":"rate_limited"}"#), Kind::Error);
        assert_eq!(kind(r#"{"type":"presence","joins":[]}"#), Kind::Other);
    }
}
