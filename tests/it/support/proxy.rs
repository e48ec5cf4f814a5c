//! A TCP proxy on loopback that breaks the network: between hub and Redis, or client and hub.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What a slow network carries at once.
const PIECE_BYTES: usize = 100;

/// What the network does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Carries them.
    Fair,
    /// Carries them later.
    Late(Duration),
    /// Carries them later, and a few at a time.
    Slow(Duration),
    /// Takes them and keeps them until it is fair again: a peer that hangs.
    Stalled,
    /// Carries what goes to the target and keeps its answers until it is fair again.
    Mute,
    /// Loses them: a pulled cable.
    Lost,
}

/// The proxy. Dropped, it closes everything.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Counted up to close all connections; odd while new ones are refused.
    cuts: watch::Sender<u64>,
    /// Counted up to strand the connections there are.
    strandings: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to `target` in fair weather.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let (weather, cuts) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let strandings = watch::Sender::new(0);
        let (seen_weather, seen_cuts, seen_strandings) =
            (weather.subscribe(), cuts.subscribe(), strandings.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen_cuts.borrow() % 2 == 0 {
                    let (weather, cuts) = (seen_weather.clone(), seen_cuts.clone());
                    tokio::spawn(carry(near, target, weather, cuts, seen_strandings.clone()));
                }
            }
        });
        Self { address, weather, cuts, strandings, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 2);
    }

    /// Resets all connections and refuses new ones until [`resume`](Self::resume).
    pub fn cut_off(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1 + *cuts % 2);
    }

    /// Nothing passes through the connections there are any more, and none is closed: a middlebox forgot them. New ones
    /// are as before.
    pub fn strand(&self) {
        self.strandings.send_modify(|strandings| *strandings += 1);
    }

    /// From now on bytes are held.
    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stalled);
    }

    /// From now on the target hears and is not heard.
    pub fn mute(&self) {
        self.weather.send_replace(Weather::Mute);
    }

    /// From now on bytes are lost.
    pub fn lose(&self) {
        self.weather.send_replace(Weather::Lost);
    }

    /// From now on bytes are late.
    pub fn delay(&self, by: Duration) {
        self.weather.send_replace(Weather::Late(by));
    }

    /// From now on bytes are late and come in small pieces, so that frames are torn.
    pub fn slow(&self, by: Duration) {
        self.weather.send_replace(Weather::Slow(by));
    }

    /// All is well again; what was held goes on.
    pub fn resume(&self) {
        self.weather.send_replace(Weather::Fair);
        // Only if new ones were refused: any change cuts.
        self.cuts.send_if_modified(|cuts| {
            let refused = *cuts % 2 == 1;
            *cuts += u64::from(refused);
            refused
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(
    mut near: TcpStream,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    mut cuts: watch::Receiver<u64>,
    mut strandings: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    strandings.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
    tokio::select! {
        _ = cuts.changed() => {}
        _ = strandings.changed() => drop(cuts.changed().await), // the sockets stay open until then
        () = pass(near_in, far_out, weather.clone(), &[Weather::Stalled]) => return,
        () = pass(far_in, near_out, weather, &[Weather::Stalled, Weather::Mute]) => return,
    }
    // A reset, not an end: what is under way is lost with it.
    drop((near.set_zero_linger(), far.set_zero_linger()));
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    held_by: &[Weather],
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = weather.wait_for(|weather| !held_by.contains(weather)).await.map(|weather| *weather) else {
            return;
        };
        let mut piece = count;
        match now {
            Weather::Lost => continue,
            Weather::Late(by) => tokio::time::sleep(by).await, // a slow network, not a wait of a test
            Weather::Slow(by) => {
                tokio::time::sleep(by).await; // as above
                piece = PIECE_BYTES;
            }
            Weather::Fair | Weather::Stalled | Weather::Mute => {}
        }
        for piece in bytes[..count].chunks(piece) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            if piece.len() < count {
                tokio::task::yield_now().await; // so that it leaves by itself
            }
        }
    }
}
