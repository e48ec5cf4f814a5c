//! The floor: what the kernel charges for the fan-out, and nothing else.
//!
//! Accepts WebSockets at `/ws?room=<name>` and answers each text frame with one pre-encoded frame, in which the
//! payload was put, to every connection of that room: one `sendto` per delivery, one thread, no protocol, no queue but
//! what a non-blocking socket needs. With `--tick-ms` it gathers what comes within a tick and writes it at once: the
//! floor of a coalescing server. With `--log` as well, what was gathered is on the disk before it goes out, frame by
//! frame: the floor of a durable server with a group commit. No hub can be below it by much; how far above it is, is what
//! `benches/run` shows.

mod log;
mod rooms;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use hubbub_bench::poller::{self, Poller};

use log::Log;
use rooms::Rooms;

/// The cheapest server that could do the fan-out.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on; port 0 picks a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Bytes of payload in each frame sent, the received one included: as many as the hub sends for the same message.
    #[arg(long, default_value_t = 400)]
    frame_bytes: usize,
    /// Gather what arrives within so many milliseconds and write it at once; 0 writes each frame by itself.
    #[arg(long, default_value_t = 0)]
    tick_ms: u64,
    /// With `--tick-ms`: write what was gathered into this file and wait until it is on the disk, then send it, each frame
    /// by itself.
    #[arg(long, requires = "tick_ms")]
    log: Option<PathBuf>,
    /// Leave out every n-th delivery, to prove that losses are counted; 0 leaves out none.
    #[arg(long, default_value_t = 0)]
    drop_every: u64,
    /// Send every n-th delivery twice, to prove that duplicates are counted; 0 repeats none.
    #[arg(long, default_value_t = 0)]
    repeat_every: u64,
}

/// The listener's token; connections have the small numbers.
const LISTENER: usize = usize::MAX;

fn main() -> io::Result<()> {
    let options = Options::parse();
    let (listener, address) = poller::listen(options.listen)?;
    let mut poller = Poller::new()?;
    poller.add(&listener, LISTENER)?;
    writeln!(io::stdout(), "floor listening on http://{address}")?;

    let tick = Duration::from_millis(options.tick_ms);
    let log = options.log.as_deref().map(Log::create).transpose()?;
    let mut rooms = Rooms::new(options.frame_bytes, !tick.is_zero(), log);
    rooms.drop_every = options.drop_every;
    rooms.repeat_every = options.repeat_every;
    let mut flush_at: Option<Instant> = None;
    loop {
        let timeout = flush_at.map(|at| at.saturating_duration_since(Instant::now()));
        for n in 0..poller.wait(timeout)? {
            let ready = poller.ready(n);
            if ready.token == LISTENER {
                while let Some(socket) = poller::accept(&listener)? {
                    rooms.open(socket, &poller)?;
                }
                continue;
            }
            if ready.writable {
                rooms.flush(ready.token);
            }
            if ready.readable {
                rooms.receive(ready.token, ready.ended);
            }
        }
        if rooms.has_batches() {
            let at = *flush_at.get_or_insert_with(|| Instant::now() + tick);
            if Instant::now() >= at {
                rooms.send_batches()?;
                flush_at = None;
            }
        }
    }
}
