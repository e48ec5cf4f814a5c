//! How many commands a Redis server has processed, asked over a plain connection.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Commands that one probe adds to the next one's count: its own `INFO`.
pub const COMMANDS_PER_PROBE: u64 = 1;

/// `total_commands_processed` so far.
pub fn commands_processed(redis: SocketAddr) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&redis, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"INFO stats\r\n")?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        let got = stream.read(&mut chunk)?;
        answer.extend_from_slice(&chunk[..got]);
        if let Some(count) = total(&String::from_utf8_lossy(&answer)) {
            return Ok(count);
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn total(info: &str) -> Option<u64> {
    let (_, rest) = info.split_once("total_commands_processed:")?;
    // Only a whole line counts: the number may have been cut in the middle.
    let (digits, _) = rest.split_once("\r\n")?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_counts() {
        assert_eq!(total("$9\r\n# Stats\r\ntotal_commands_processed:12"), None);
        assert_eq!(total("total_commands_processed:123\r\nx:1"), Some(123));
    }
}
