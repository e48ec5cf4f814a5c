//! A network that loses, repeats and reorders what Redis publishes to rooms: the bus at its worst. It understands Redis'
//! answers just enough to find where each begins and ends.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What becomes of what is published on a room's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losing {
    /// It arrives.
    Nothing,
    /// It never arrives.
    Everything,
    /// Of five texts about one is lost, one comes twice and one comes behind its successor. Never are two in a row lost.
    OneInFive,
}

/// A way to Redis that loses things. Dropped, it closes everything.
pub struct LossyBus {
    address: SocketAddr,
    losing: watch::Sender<Losing>,
    lost: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl LossyBus {
    pub async fn to(target: SocketAddr, losing: Losing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let losing = watch::Sender::new(losing);
        let lost = Arc::new(AtomicUsize::new(0));
        let (seen, count) = (losing.subscribe(), Arc::clone(&lost));
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, seen.clone(), Arc::clone(&count)));
            }
        });
        Self { address, losing, lost, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn lose(&self, losing: Losing) {
        self.losing.send_replace(losing);
    }

    /// How many texts did not arrive so far, counted for each instance that should have had them.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LossyBus {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut losing: watch::Receiver<Losing>, count: Arc<AtomicUsize>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let ((mut near_in, near_out), (far_in, mut far_out)) = (near.split(), far.split());
    let gone = losing.clone();
    tokio::select! {
        _ = tokio::io::copy(&mut near_in, &mut far_out) => {}
        () = filter(far_in, near_out, gone, &count) => {}
        () = async { while losing.changed().await.is_ok() {} } => {} // the bus was dropped
    }
}

async fn filter(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, losing: watch::Receiver<Losing>, count: &AtomicUsize) {
    let (mut read, mut fates) = (Vec::new(), Fates::new());
    while let Ok(1..) = from.read_buf(&mut read).await {
        let (mut out, mut taken) = (Vec::new(), 0);
        while let Some(length) = answer_length(&read[taken..]) {
            if !fates.meet(&read[taken..taken + length], *losing.borrow(), &mut out) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            taken += length;
        }
        read.drain(..taken);
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// What has happened on each channel. Chance decides, as a rhythm would fall in step with that of the hub.
struct Fates {
    chance: StdRng,
    held: HashMap<String, Vec<u8>>,
    /// The last text on it was lost.
    lost: HashSet<String>,
}

impl Fates {
    fn new() -> Self {
        Self { chance: StdRng::seed_from_u64(5), held: HashMap::new(), lost: HashSet::new() }
    }

    /// Puts out what arrives now; `false` if this never will.
    fn meet(&mut self, answer: &[u8], losing: Losing, out: &mut Vec<u8>) -> bool {
        let Some(channel) = room_channel(answer) else {
            out.extend_from_slice(answer);
            return true;
        };
        let fate = if losing == Losing::OneInFive { self.chance.random_range(1..=5) } else { 5 };
        let may_be_lost = self.lost.replace(channel.clone()).is_none();
        if losing == Losing::Everything || (fate == 1 && may_be_lost) {
            return false;
        }
        self.lost.remove(&channel);
        if fate == 3 && !self.held.contains_key(&channel) {
            self.held.insert(channel, answer.to_vec());
            return true;
        }
        out.extend_from_slice(answer);
        if fate == 2 {
            out.extend_from_slice(answer);
        }
        out.extend(self.held.remove(&channel).unwrap_or_default());
        true
    }
}

/// The channel of a published text, if it is a room's.
fn room_channel(answer: &[u8]) -> Option<String> {
    let mut lines = answer.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if !matches!(lines.next()?, b"*3" | b">3") || lines.nth(1)? != b"message" {
        return None;
    }
    let channel = String::from_utf8_lossy(lines.nth(1)?).into_owned();
    channel.contains("room:").then_some(channel)
}

/// How many bytes the first answer has, if all of it is here. RESP2 and RESP3.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok()?.parse::<i64>().ok();
    let length = match bytes[0] {
        b'$' | b'=' | b'!' => end + usize::try_from(number()?).map_or(0, |length| length + 2),
        kind @ (b'*' | b'>' | b'~' | b'%') => {
            let items = usize::try_from(number()?).unwrap_or(0) * if kind == b'%' { 2 } else { 1 };
            let mut at = end;
            for _ in 0..items {
                at += answer_length(&bytes[at..])?;
            }
            at
        }
        _ => end,
    };
    (bytes.len() >= length).then_some(length)
}
