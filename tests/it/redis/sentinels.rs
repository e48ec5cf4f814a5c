//! The primary dies and the Sentinels name another.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Sentinels, TestClient, Traffic,
    cluster::{PASSWORD, are_one, instances},
    eventually,
};

const SENTINEL_PASSWORD: &str = "p4ssw0rd-of-the-sentinels";
/// Within it instances are one again after the election.
const HEALING: Duration = Duration::from_secs(4);

/// Within it an instance that knows no living Sentinel any more is back by those of its settings.
const FROM_SCRATCH: Duration = Duration::from_secs(8);

/// Nobody may be seen to leave.
const LONG_TTL: (&str, &str) = ("PRESENCE_TTL_MS", "60000");

#[tokio::test]
async fn a_fail_over_under_traffic_costs_nothing() {
    let mut sentinels = Sentinels::start(PASSWORD, SENTINEL_PASSWORD).await;
    let url = sentinels.url(PASSWORD, SENTINEL_PASSWORD);
    let [a, b] = instances(&[("REDIS_URL", &url), LONG_TTL]).await;
    let (mut speakers, mut watchers) = (Vec::new(), Vec::new());
    for (hub, name) in [(&a, "a"), (&b, "b")] {
        speakers.push(TestClient::joined(hub, &format!("{name}-speaker"), "p/r").await);
        watchers.push(TestClient::joined(hub, &format!("{name}-watcher"), "p/r").await);
    }
    let traffic = Traffic::of(speakers);
    for watcher in &mut watchers {
        watcher.next_message().await;
    }
    sentinels.servers[0].kill();
    for watcher in &mut watchers {
        watcher.until_status("degraded").await;
    }
    eventually("the Sentinels agreed", async || sentinels.primary().await.map(|_| ())).await;
    let elected = Instant::now();
    for watcher in &mut watchers {
        watcher.until_status("live").await;
    }
    assert!(elected.elapsed() < HEALING, "it took {:?}", elected.elapsed());
    let mut speakers = traffic.stop().await;
    let total = speakers[0].send("the last").await;
    for watcher in &mut watchers {
        for seq in 2..=total {
            assert_eq!(watcher.next_message().await.seq, seq, "of {total}");
        }
    }
    for speaker in &mut speakers {
        for seq in 1..=total {
            assert_eq!(speaker.next_message().await.seq, seq, "of {total}");
        }
    }
    are_one(&a, &b, "p/s").await;
    let said = [a.log(), b.log()].concat();
    for secret in [PASSWORD, SENTINEL_PASSWORD] {
        assert!(!said.contains(secret), "a password is in a log");
    }
}

/// fred forgets the Sentinels of the settings for those it was told of; when these are gone, it must remember.
#[tokio::test]
async fn sentinels_may_die_as_well() {
    let mut sentinels = Sentinels::start(PASSWORD, SENTINEL_PASSWORD).await;
    let url = sentinels.url(PASSWORD, SENTINEL_PASSWORD);
    let times = [("REDIS_CONNECT_TIMEOUT", "1000"), ("REDIS_COMMAND_TIMEOUT", "1000")];
    let [a, b] = instances(&[&[("REDIS_URL", url.as_str())], &times[..]].concat()).await;
    are_one(&a, &b, "p/r").await;
    sentinels.kill_all_sentinels_but_the_first();
    let mut ada = TestClient::connect(&a, "Ada").await;
    sentinels.servers[0].kill();
    let killed = Instant::now();
    ada.until_status("degraded").await;
    sentinels.servers[0].restart().await;
    ada.until_status("live").await;
    eventually("both are back", async || (b.http().get("/health").await.json()["redis"] == "connected").then_some(()))
        .await;
    assert!(killed.elapsed() < FROM_SCRATCH, "it took {:?}", killed.elapsed());
    are_one(&a, &b, "p/s").await;
}
