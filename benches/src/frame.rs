//! WebSocket frames (RFC 6455, section 5): written whole, read in place from a buffer of received bytes.
//!
//! Neither side here sends fragments or extensions; a continuation is handed on like any other frame.

use std::io;

/// A frame of UTF-8 text.
pub const TEXT: u8 = 1;
/// The closing handshake.
pub const CLOSE: u8 = 8;
/// "Are you there?"
pub const PING: u8 = 9;
/// "I am."
pub const PONG: u8 = 10;

/// More than any server under test sends in one frame; beyond it the stream is taken as garbage.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;
/// The mask exists against confused proxies; on loopback a constant does, and saves a random number per frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends a frame as a client sends it (masked).
pub fn write_client(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let from = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[from..], MASK);
}

/// Appends a frame as a server sends it.
pub fn write_server(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Calls `each(opcode, payload)` for every whole frame at the start of `bytes`, unmasked in place, and returns how
/// many bytes they took.
pub fn each(bytes: &mut [u8], mut each: impl FnMut(u8, &mut [u8]) -> io::Result<()>) -> io::Result<usize> {
    let mut used = 0;
    while let Some(head) = read_head(&bytes[used..])? {
        let from = used + head.bytes;
        let Some(payload) = bytes.get_mut(from..from + head.payload_bytes) else {
            break;
        };
        if let Some(mask) = head.mask {
            unmask(payload, mask);
        }
        each(head.opcode, payload)?;
        used = from + head.payload_bytes;
    }
    Ok(used)
}

struct Head {
    opcode: u8,
    bytes: usize,
    payload_bytes: usize,
    mask: Option<[u8; 4]>,
}

fn read_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let (length, length_bytes) = match second & 0x7f {
        126 => match rest {
            &[a, b, ..] => (u64::from(u16::from_be_bytes([a, b])), 2),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(eight) => (u64::from_be_bytes(*eight), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    if first & 0x70 != 0 || length > PAYLOAD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a WebSocket frame"));
    }
    let mut bytes = 2 + length_bytes;
    let mut mask = None;
    if second & 0x80 != 0 {
        let Some(four) = rest[length_bytes..].first_chunk::<4>() else {
            return Ok(None);
        };
        mask = Some(*four);
        bytes += 4;
    }
    Ok(Some(Head { opcode: first & 0x0f, bytes, payload_bytes: length as usize, mask }))
}

fn write_head(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match payload_bytes {
        0..=125 => out.push(mask_bit | payload_bytes as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &mut [u8]) -> (usize, Vec<(u8, Vec<u8>)>) {
        let mut seen = Vec::new();
        let used = each(bytes, |opcode, payload| {
            seen.push((opcode, payload.to_vec()));
            Ok(())
        });
        (used.expect("well-formed"), seen)
    }

    #[test]
    fn every_length_form_comes_back_whole_from_both_sides() {
        for length in [0, 1, 125, 126, 400, 0xffff, 0x10000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            for write in [write_client, write_server] {
                let mut bytes = Vec::new();
                write(&mut bytes, TEXT, &payload);
                let total = bytes.len();
                assert_eq!(read_all(&mut bytes), (total, vec![(TEXT, payload.clone())]));
            }
        }
    }

    #[test]
    fn a_cut_frame_is_left_for_later() {
        let mut whole = Vec::new();
        write_client(&mut whole, PING, b"hi");
        let first = whole.len();
        write_client(&mut whole, TEXT, &[b'x'; 300]);
        for cut in first..whole.len() {
            let (used, seen) = read_all(&mut whole[..cut].to_vec());
            assert_eq!((used, seen), (first, vec![(PING, b"hi".to_vec())]));
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read_all(&mut bytes), (11, vec![(TEXT, b"Hello".to_vec())]));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(each(&mut [0xff; 20], |_, _| Ok(())).is_err());
    }
}
