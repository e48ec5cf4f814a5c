//! The HTTP upgrade, from both sides, as far as a benchmark on loopback needs it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A client's request for `path` on `host`. The key may be constant: nobody caches between us.
pub fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: hubbub.v1\r\n\r\n"
    )
}

/// What the server said at the start of `bytes`: how long its head is, or `None` until that is complete. Anything
/// but 101 is an error that quotes the status line.
pub fn read_response(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = head_end(bytes)? else {
        return Ok(None);
    };
    if bytes.starts_with(b"HTTP/1.1 101 ") {
        return Ok(Some(end));
    }
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    let said =
        said.lines().next().unwrap_or_default().to_owned() + said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, said))
}

/// A client's request as the server sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path and query.
    pub path: &'a str,
    /// Value of `Sec-WebSocket-Key`.
    pub key: &'a str,
    /// Length of the head, bytes.
    pub bytes: usize,
}

/// The request at the start of `bytes`, or `None` until it is complete.
pub fn read_request(bytes: &[u8]) -> io::Result<Option<Request<'_>>> {
    let Some(end) = head_end(bytes)? else {
        return Ok(None);
    };
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let head = str::from_utf8(&bytes[..end]).map_err(|_| bad("head is not text"))?;
    let path = head.split(' ').nth(1).ok_or_else(|| bad("no path"))?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or_else(|| bad("no Sec-WebSocket-Key"))?;
    Ok(Some(Request { path, key, bytes: end }))
}

/// The server's answer to a request with this key.
pub fn response(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(sha1.finalize())
    )
}

fn head_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(at) => Ok(Some(at + 4)),
        None if bytes.len() > HEAD_BYTES_MAX => Err(io::Error::new(io::ErrorKind::InvalidData, "endless HTTP head")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_and_response_agree_with_the_rfc() {
        let request = request("/ws?room=17", "127.0.0.1:1");
        let parsed = read_request(request.as_bytes()).expect("valid").expect("complete");
        assert_eq!(parsed.path, "/ws?room=17");
        assert_eq!(parsed.bytes, request.len());
        let response = response(parsed.key);
        assert!(response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(read_response(response.as_bytes()).expect("101"), Some(response.len()));
        assert_eq!(read_response(&response.as_bytes()[..40]).expect("so far"), None);
    }

    #[test]
    fn a_refusal_is_quoted() {
        let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}";
        let error = read_response(refusal).expect_err("not 101");
        assert_eq!(error.to_string(), "HTTP/1.1 401 Unauthorized{}");
    }
}
