//! The little of HTTP that reading needs: one keep-alive connection that asks and waits.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    authorization: String,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    head: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A duration in `Server-Timing`, milliseconds.
    pub fn timing_ms(&self, name: &str) -> Option<f64> {
        let timing = self.header("server-timing")?;
        let entry =
            timing.split(',').map(str::trim).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(";dur="))?;
        entry.parse().ok()
    }

    /// The text of a member of the body, wherever it first stands; enough for the hub's own answers.
    pub fn member(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let rest = &text[text.find(&format!("\"{name}\":"))? + name.len() + 3..];
        match rest.strip_prefix('"') {
            Some(rest) => rest.split('"').next(),
            None => rest.split([',', '}']).next(),
        }
    }
}

impl Http {
    /// Connects; `token` is sent with every request.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn connect(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        Ok(Self { stream, authorization, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    /// The connection broke, or what came is not HTTP.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let content = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
        };
        let auth = &self.authorization;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: hub\r\n{auth}{content}\r\n{body}");
        self.stream.write_all(request.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> io::Result<Answer> {
        let broken = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        self.buffer.clear();
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| broken("no status"))?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = match answer.header("content-length") {
            Some(length) => length.parse().map_err(|_| broken("no length"))?,
            None if matches!(status, 204 | 304) => 0,
            None => return Err(broken("an answer without a length")),
        };
        while self.buffer.len() < end + length {
            self.fill()?;
        }
        answer.body = self.buffer[end..end + length].to_vec();
        Ok(answer)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}
