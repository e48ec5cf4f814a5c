//! A frame ready for the socket: WebSocket header and payload in one shared piece of memory.
//!
//! Encoding happens once per frame, however many connections get it; what is queued and written is a reference.

use bytes::Bytes;
use serde::Serialize;

use super::CloseCode;

/// Room kept in front of a payload for the longest server header (RFC 6455, 5.2: 2, 4 or 10 bytes, never masked).
const HEADER_BYTES_MAX: usize = 10;

const OPCODE_TEXT: u8 = 0x1;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xA;

/// One whole WebSocket frame, header included; cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    header_len: u8,
}

impl Frame {
    /// A text frame holding `value` as JSON. The wire types serialise without fail; a failure would be a defect of
    /// theirs and yields an empty object rather than a panic.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut buffer = vec![0; HEADER_BYTES_MAX];
        buffer.reserve(246);
        if serde_json::to_writer(&mut buffer, value).is_err() {
            debug_assert!(false, "a wire type failed to serialise");
            buffer.truncate(HEADER_BYTES_MAX);
            buffer.extend_from_slice(b"{}");
        }
        Self::seal(OPCODE_TEXT, buffer)
    }

    /// A text frame holding the given JSON text.
    pub fn text(json: &str) -> Self {
        Self::with_payload(OPCODE_TEXT, json.as_bytes())
    }

    /// A text frame written piece by piece: `write` appends the JSON text.
    pub fn build(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = vec![0; HEADER_BYTES_MAX];
        write(&mut buffer);
        Self::seal(OPCODE_TEXT, buffer)
    }

    /// An empty ping.
    pub fn ping() -> Self {
        Self { bytes: Bytes::from_static(&[0x80 | OPCODE_PING, 0]), header_len: 2 }
    }

    /// The answer to a ping; at most 125 bytes of payload are echoed.
    pub fn pong(payload: &[u8]) -> Self {
        Self::with_payload(OPCODE_PONG, &payload[..payload.len().min(125)])
    }

    /// A close frame with its code and reason.
    pub fn close(code: CloseCode) -> Self {
        let mut payload = (code as u16).to_be_bytes().to_vec();
        payload.extend_from_slice(code.reason().as_bytes());
        Self::with_payload(OPCODE_CLOSE, &payload)
    }

    /// The bytes for the socket.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payload without its header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header_len)..]
    }

    /// Length on the socket, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header and is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn with_payload(opcode: u8, payload: &[u8]) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
        buffer.resize(HEADER_BYTES_MAX, 0);
        buffer.extend_from_slice(payload);
        Self::seal(opcode, buffer)
    }

    fn seal(opcode: u8, mut buffer: Vec<u8>) -> Self {
        let payload_len = buffer.len() - HEADER_BYTES_MAX;
        let start = write_header(opcode, &mut buffer, payload_len);
        let header_len = (HEADER_BYTES_MAX - start) as u8;
        Self { bytes: Bytes::from(buffer).slice(start..), header_len }
    }
}

/// Writes the header right in front of the payload, which starts at [`HEADER_BYTES_MAX`]; says where the header starts.
fn write_header(opcode: u8, buffer: &mut [u8], payload_len: usize) -> usize {
    let start = match payload_len {
        0..=125 => {
            buffer[HEADER_BYTES_MAX - 1] = payload_len as u8;
            HEADER_BYTES_MAX - 2
        }
        126..=0xFFFF => {
            buffer[HEADER_BYTES_MAX - 3] = 126;
            buffer[HEADER_BYTES_MAX - 2..HEADER_BYTES_MAX].copy_from_slice(&(payload_len as u16).to_be_bytes());
            HEADER_BYTES_MAX - 4
        }
        _ => {
            buffer[1] = 127;
            buffer[2..HEADER_BYTES_MAX].copy_from_slice(&(payload_len as u64).to_be_bytes());
            0
        }
    };
    buffer[start] = 0x80 | opcode;
    start
}

/// One whole text frame in parts, of which the later ones are shared with other frames.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedTail {
    parts: Box<[Bytes; 3]>,
}

impl SharedTail {
    /// A text frame whose JSON text is `start` and then the two shared parts.
    pub fn text(start: &str, middle: Bytes, end: Bytes) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + start.len());
        buffer.resize(HEADER_BYTES_MAX, 0);
        buffer.extend_from_slice(start.as_bytes());
        let from = write_header(OPCODE_TEXT, &mut buffer, start.len() + middle.len() + end.len());
        Self { parts: Box::new([Bytes::from(buffer).slice(from..), middle, end]) }
    }

    /// The bytes for the socket, to be sent one after the other with nothing between them.
    pub fn parts(&self) -> &[Bytes; 3] {
        &self.parts
    }
}

impl std::fmt::Debug for SharedTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedTail({} bytes)", self.parts.iter().map(Bytes::len).sum::<usize>())
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_lengths_of_the_rfc() {
        for (payload_len, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(payload_len);
            let frame = Frame::text(&text);
            assert_eq!(&frame.bytes()[..header.len()], header, "header of {payload_len} bytes");
            assert_eq!(frame.payload(), text.as_bytes());
            assert_eq!(frame.len(), header.len() + payload_len);
        }
    }

    #[test]
    fn a_frame_in_parts_is_the_same_frame() {
        for shared in [0, 30, 200, 70_000] {
            let (middle, end) = ("m".repeat(shared), "e".repeat(shared));
            let split = SharedTail::text("start", middle.clone().into(), end.clone().into());
            assert_eq!(split.parts().concat(), *Frame::text(&format!("start{middle}{end}")).bytes());
        }
    }

    #[test]
    fn close_carries_code_and_reason() {
        let frame = Frame::close(CloseCode::SlowConsumer);
        assert_eq!(&frame.payload()[..2], &4508u16.to_be_bytes());
        assert!(frame.payload().len() <= 125);
    }
}
