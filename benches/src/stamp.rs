//! The marks that travel inside payloads, at a fixed width so that they are found by a substring search and read
//! without a JSON parser, wherever the server puts the payload in its own frame.
//!
//! A message body is `{"text":"~hb~…"}`; a cursor position is `{"x":0.123,"y":0.500,"t":1…}`, where `t` packs time and
//! person into one integer of 16 digits (below 2^53, so that a server may carry it as a double).

use std::io::Write as _;
use std::sync::LazyLock;

use memchr::memmem::Finder;

const MARK: &[u8] = b"~hb~";
const STAMP_BYTES: usize = MARK.len() + 4 + 6 + 10 + 12;
const BODY_OPEN: &[u8] = b"{\"text\":\"";
const BODY_CLOSE: &[u8] = b"\"}";
/// The smallest body that has room for a stamp, bytes.
pub const BODY_BYTES_MIN: usize = BODY_OPEN.len() + STAMP_BYTES + BODY_CLOSE.len();

const CURSOR_KEY: &[u8] = b"\"t\":";
const CURSOR_DIGITS: usize = 16;
const CURSOR_BASE: u64 = 1_000_000_000_000_000;
/// People whom a cursor stamp can tell apart.
pub const CURSOR_PEOPLE_MAX: u64 = 10_000;

static MARK_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
static CURSOR_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CURSOR_KEY));

/// Which message this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The phase it belongs to; what an earlier phase left behind is not counted in a later one.
    pub phase: u64,
    /// The connection that sent it.
    pub sender: u64,
    /// Its number among its room's messages of this phase, from 0.
    pub number: u64,
    /// When it was due, in microseconds of the generator's clock.
    pub due_us: u64,
}

impl Stamp {
    /// Appends a JSON body of exactly `bytes` bytes (at least [`BODY_BYTES_MIN`]) with this stamp.
    pub fn write_body(&self, out: &mut Vec<u8>, bytes: usize) {
        let fill = bytes.saturating_sub(BODY_BYTES_MIN);
        out.extend_from_slice(BODY_OPEN);
        out.extend_from_slice(MARK);
        let digits = write!(out, "{:04}{:06}{:010}{:012}", self.phase % 10_000, self.sender, self.number, self.due_us);
        debug_assert!(digits.is_ok(), "writing to a Vec does not fail");
        out.resize(out.len() + fill, b'x');
        out.extend_from_slice(BODY_CLOSE);
    }

    /// The stamp in `payload`, if it has one. `hint` is where the last one was found: frames of a run look alike, so
    /// this is nearly always the right place.
    pub fn find(payload: &[u8], hint: &mut usize) -> Option<Self> {
        let hinted = payload.get(*hint..).is_some_and(|p| p.starts_with(MARK));
        if !hinted {
            *hint = MARK_FINDER.find(payload)?;
        }
        let fields = payload.get(*hint + MARK.len()..*hint + STAMP_BYTES)?;
        Some(Self {
            phase: number(&fields[..4])?,
            sender: number(&fields[4..10])?,
            number: number(&fields[10..20])?,
            due_us: number(&fields[20..])?,
        })
    }
}

/// Appends a cursor position of `person` (below [`CURSOR_PEOPLE_MAX`]) that was due at `due_us`.
pub fn write_position(out: &mut Vec<u8>, person: u64, due_us: u64) {
    let packed = CURSOR_BASE + due_us * CURSOR_PEOPLE_MAX + person;
    let x = due_us / 1_000 % 1_000;
    let y = person % 1_000;
    let json = write!(out, "{{\"x\":0.{x:03},\"y\":0.{y:03},\"t\":{packed}}}");
    debug_assert!(json.is_ok(), "writing to a Vec does not fail");
}

/// Calls `each(person, due_us)` for every position in `payload`; says whether there was any.
pub fn each_position(payload: &[u8], mut each: impl FnMut(u64, u64)) -> bool {
    let mut any = false;
    for at in CURSOR_FINDER.find_iter(payload) {
        let value = payload[at + CURSOR_KEY.len()..].trim_ascii_start();
        let Some(packed) = value.get(..CURSOR_DIGITS).and_then(number) else {
            continue;
        };
        if let Some(packed) = packed.checked_sub(CURSOR_BASE) {
            any = true;
            each(packed % CURSOR_PEOPLE_MAX, packed / CURSOR_PEOPLE_MAX);
        }
    }
    any
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_wherever_it_stands() {
        let stamp = Stamp { phase: 7, sender: 499, number: 123_456, due_us: 98_765_432 };
        let mut body = Vec::new();
        stamp.write_body(&mut body, 128);
        assert_eq!(body.len(), 128);
        let mut hint = 0;
        assert_eq!(Stamp::find(&body, &mut hint), Some(stamp));
        let mut moved = b"{\"type\":\"message\",\"body\":".to_vec();
        moved.extend_from_slice(&body);
        assert_eq!(Stamp::find(&moved, &mut hint), Some(stamp));
        assert_eq!(hint, 25 + BODY_OPEN.len());
        assert_eq!(Stamp::find(&moved, &mut hint), Some(stamp));
    }

    #[test]
    fn what_has_no_stamp_gives_none() {
        let mut hint = 1_000;
        assert_eq!(Stamp::find(b"{\"type\":\"ack\"}", &mut hint), None);
        assert_eq!(Stamp::find(b"~hb~0001", &mut hint), None);
        assert_eq!(Stamp::find(&[b'~'; 60], &mut hint), None);
    }

    #[test]
    fn every_position_of_a_frame_is_read() {
        let mut frame = b"{\"type\":\"cursors\",\"cursors\":[{\"position\":".to_vec();
        write_position(&mut frame, 99, 9_999_999_999);
        frame.extend_from_slice(b"},{\"position\":");
        write_position(&mut frame, 0, 0);
        frame.extend_from_slice(b"},{\"position\":{\"t\": 1000000000020001}}]}");
        let mut seen = Vec::new();
        assert!(each_position(&frame, |person, due| seen.push((person, due))));
        assert_eq!(seen, [(99, 9_999_999_999), (0, 0), (1, 2)]);
        assert!(!each_position(b"{\"type\":\"joined\",\"t\":12}", |_, _| {}));
    }
}
