//! Clients that talk while something else happens.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::TestClient;

/// How often each one says something.
const PACE: Duration = Duration::from_millis(20);

/// Clients that send messages one after the other, each once the last is acknowledged.
pub struct Traffic {
    speakers: Vec<JoinHandle<TestClient>>,
    stop: watch::Sender<bool>,
}

impl Traffic {
    /// Lets them begin.
    pub fn of(clients: impl IntoIterator<Item = TestClient>) -> Self {
        Self::begin(clients, false)
    }

    /// Lets them begin; that the hub closes their connections is expected and ends what they say.
    pub fn until_closed(clients: impl IntoIterator<Item = TestClient>) -> Self {
        Self::begin(clients, true)
    }

    fn begin(clients: impl IntoIterator<Item = TestClient>, may_close: bool) -> Self {
        let stop = watch::Sender::new(false);
        let speak = |client| tokio::spawn(speak(client, may_close, stop.subscribe()));
        Self { speakers: clients.into_iter().map(speak).collect(), stop }
    }

    /// Lets them finish what they say; gives them back.
    pub async fn stop(self) -> Vec<TestClient> {
        self.stop.send_replace(true);
        let mut clients = Vec::new();
        for speaker in self.speakers {
            clients.push(speaker.await.expect("a speaker failed"));
        }
        clients
    }
}

async fn speak(mut client: TestClient, may_close: bool, stop: watch::Receiver<bool>) -> TestClient {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0.. {
        pace.tick().await;
        if *stop.borrow() {
            break;
        }
        if client.try_send(n).await.is_none() {
            assert!(may_close, "the hub closed a connection");
            break;
        }
    }
    client
}
