//! A TCP proxy on loopback that breaks the network: between hub and Redis, or client and hub.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the network does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Carries them.
    Fair,
    /// Carries them later.
    Slow(Duration),
    /// Takes them and keeps them until it is fair again: a peer that hangs.
    Stalled,
    /// Loses them: a pulled cable.
    Lost,
}

/// The proxy. Dropped, it closes everything.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Counted up to close all connections; odd while new ones are refused.
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to `target` in fair weather.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let (weather, cuts) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let (seen_weather, seen_cuts) = (weather.subscribe(), cuts.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen_cuts.borrow() % 2 == 0 {
                    tokio::spawn(carry(near, target, seen_weather.clone(), seen_cuts.clone()));
                }
            }
        });
        Self { address, weather, cuts, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 2);
    }

    /// Closes all connections and refuses new ones until [`resume`](Self::resume).
    pub fn cut_off(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1 + *cuts % 2);
    }

    /// From now on bytes are held.
    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stalled);
    }

    /// From now on bytes are lost.
    pub fn lose(&self) {
        self.weather.send_replace(Weather::Lost);
    }

    /// From now on bytes are late.
    pub fn delay(&self, by: Duration) {
        self.weather.send_replace(Weather::Slow(by));
    }

    /// All is well again; what was held goes on.
    pub fn resume(&self) {
        self.weather.send_replace(Weather::Fair);
        self.cuts.send_modify(|cuts| *cuts += *cuts % 2);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(near: TcpStream, target: SocketAddr, weather: watch::Receiver<Weather>, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    let Ok(far) = TcpStream::connect(target).await else { return };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        _ = cuts.changed() => {}
        () = pass(near_in, far_out, weather.clone()) => {}
        () = pass(far_in, near_out, weather) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = weather.wait_for(|weather| *weather != Weather::Stalled).await.map(|weather| *weather) else {
            return;
        };
        match now {
            Weather::Lost => continue,
            Weather::Slow(by) => tokio::time::sleep(by).await, // a slow network, not a wait of a test
            Weather::Fair | Weather::Stalled => {}
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
