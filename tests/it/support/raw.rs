//! A client on a bare TCP socket, for what no WebSocket library would send: broken handshakes and frames, half of
//! something, and nothing at all.

use std::{net::SocketAddr, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};

use super::{poll::PATIENCE, pump::NO_CLOSE_FRAME};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
/// The bit of a message's last fragment.
pub const FIN: u8 = 0x80;

/// A TCP connection to the hub. It does nothing by itself: it answers no ping and reads only when it is told to.
pub struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A frame from the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("a connection"), read: Vec::new() }
    }

    /// A connection for which the kernel keeps little that was not read.
    pub async fn connect_with_small_buffer(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a buffer size");
        Self { stream: socket.connect(address).await.expect("a connection"), read: Vec::new() }
    }

    /// A guest's WebSocket.
    pub async fn upgraded(address: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.upgrade(name).await;
        client
    }

    /// A guest's WebSocket in a room.
    pub async fn joined(address: SocketAddr, name: &str, room: &str) -> Self {
        let mut client = Self::upgraded(address, name).await;
        client.join(room).await;
        client
    }

    /// A guest's WebSocket, and what the hub answers to its join with these further fields.
    pub async fn join_with<T: DeserializeOwned>(address: SocketAddr, name: &str, room: &str, more: &str) -> (Self, T) {
        let mut client = Self::upgraded(address, name).await;
        client.say(&format!(r#"{{"type":"join","room":"{room}"{more}}}"#)).await;
        let joined = client.text_of("joined").await;
        let joined = serde_json::from_slice(&joined).expect("a joined frame");
        (client, joined)
    }

    /// Shakes hands as a guest and takes the `welcome`.
    pub async fn upgrade(&mut self, name: &str) {
        self.write(handshake(&format!("/ws?name={name}")).as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self.json_of("welcome").await;
    }

    pub async fn join(&mut self, room: &str) -> Value {
        self.say(&format!(r#"{{"type":"join","room":"{room}"}}"#)).await;
        self.json_of("joined").await
    }

    // --- out ---

    /// Sends bytes; that the hub has closed shows when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Sends as much as the hub takes without waiting, says how much that was.
    pub fn write_now(&mut self, bytes: &[u8]) -> usize {
        self.stream.try_write(bytes).unwrap_or(0)
    }

    /// Sends a text frame.
    pub async fn say(&mut self, text: &str) {
        self.write(&frame(FIN | TEXT, text.as_bytes())).await;
    }

    /// Ends the connection's sending half.
    pub async fn half_close(&mut self) {
        drop(self.stream.shutdown().await);
    }

    // --- in ---

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).expect("text");
            }
            assert!(self.read_more().await, "the hub closed: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// All that comes until the hub closes.
    pub async fn rest(&mut self) -> String {
        while self.read_more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// The next frame, or `None` when the hub closed the connection.
    pub async fn next_frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, length)) = RawFrame::parse(&self.read) {
                self.read.drain(..length);
                return Some(frame);
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// The next frame of a type, as it came: for frames that are too large to be looked at in vain.
    pub async fn text_of(&mut self, kind: &str) -> Vec<u8> {
        let start = format!(r#"{{"type":"{kind}""#);
        loop {
            let frame = self.next_frame().await.unwrap_or_else(|| panic!("the hub closed before `{kind}`"));
            if frame.payload.starts_with(start.as_bytes()) {
                return frame.payload;
            }
        }
    }

    /// The next text frame of a type.
    pub async fn json_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next_frame().await.unwrap_or_else(|| panic!("the hub closed before `{kind}`"));
            let frame: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next text frame, whatever it is.
    pub async fn next_json(&mut self) -> Value {
        loop {
            let frame = self.next_frame().await.expect("the hub closed");
            match frame.first & 0xF {
                TEXT => return serde_json::from_slice(&frame.payload).expect("JSON"),
                CLOSE => panic!("the hub closes: {:?}", frame.payload),
                _ => {}
            }
        }
    }

    /// Reads on until the hub closes; gives the code.
    pub async fn closed_with(&mut self) -> u16 {
        let mut code = NO_CLOSE_FRAME;
        while let Some(frame) = self.next_frame().await {
            if frame.first == FIN | CLOSE {
                code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
        code
    }

    /// Waits for some bytes; `false` when there are no more.
    async fn read_more(&mut self) -> bool {
        let read = timeout_at(Instant::now() + PATIENCE + Duration::from_secs(5), self.stream.read_buf(&mut self.read));
        matches!(read.await.expect("the hub neither sent nor closed"), Ok(1..))
    }
}

impl RawFrame {
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert!(second < 0x80, "a hub does not mask");
        let (length, head) = match second {
            126 => (u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into(), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (short.into(), 2),
        };
        let end = head + usize::try_from(length).expect("a length");
        Some((Self { first, payload: bytes.get(head..end)?.to_vec() }, end))
    }
}

/// A guest's request to upgrade.
pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A client's frame, masked as it should be.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip([7u8, 21, 42, 99].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A masked frame's header, which may announce anything.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend([7, 21, 42, 99]);
    bytes
}
