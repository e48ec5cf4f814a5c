//! Redis goes away, the hub is killed: the page says so, and nothing that was written is lost.

use serde_json::json;

use super::{AS_BY_DEFAULT, ROOM, unexpected};
use crate::support::{TestCluster, TestHub, browser::Browsers, hub::UNHURRIED};

#[tokio::test]
async fn without_redis_both_sides_go_on_and_are_one_again_after() {
    let mut browsers = Browsers::start().await;
    let mut cluster = TestCluster::with(AS_BY_DEFAULT).await;
    let (ada, grace) = browsers.two_people().await;
    ada.enter(&cluster.a, "Ada", ROOM).await;
    grace.enter(&cluster.b, "Grace", ROOM).await;
    ada.say("before").await;
    grace.until_last("delivered", &["before"]).await;

    cluster.redis.stop().await;
    for page in [&ada, &grace] {
        page.until_connection("degraded").await;
    }
    ada.screenshot("degraded").await;
    for n in ["one", "two"] {
        ada.say(&format!("Ada {n}")).await;
        ada.until_last("delivered", &[&format!("Ada {n}")]).await;
        grace.say(&format!("Grace {n}")).await;
        grace.until_last("delivered", &[&format!("Grace {n}")]).await;
    }

    cluster.redis.restart().await;
    for page in [&ada, &grace] {
        page.until_connection("live").await;
        page.until_last("delivered", &["before", "Ada one", "Grace one", "Ada two", "Grace two"]).await;
    }
    ada.until_people(&["Ada (you)", "Grace"]).await;
    grace.until_people(&["Grace (you)", "Ada"]).await;
    assert_eq!(ada.messages().await, grace.messages().await);
    browsers.assert_quiet(unexpected).await;
}

#[tokio::test]
async fn messages_outlive_the_hub_that_was_killed() {
    let mut browsers = Browsers::start().await;
    let mut hub = TestHub::with(UNHURRIED).await;
    let ada = browsers.person().await;
    ada.enter(&hub, "Ada", ROOM).await;
    ada.say("zero").await;
    ada.until_last("delivered", &["zero"]).await;

    // One message is on its way when the hub dies, one is written while there is none.
    hub.pause();
    ada.say("one").await;
    ada.until_last("pending", &["one"]).await;
    hub.kill();
    ada.until(
        "it counts down",
        r"/^Reconnecting in \d+ s$/.test(document.getElementById('connection-label').textContent)",
    )
    .await;
    ada.until_connection("reconnecting").await;
    ada.say("two").await;
    ada.until_last("pending", &["one", "two"]).await;
    ada.screenshot("reconnecting").await;

    hub.restart().await;
    ada.until_connection("live").await;
    ada.until_last("delivered", &["zero", "one", "two"]).await;
    let shown: Vec<_> = ada.messages().await.into_iter().map(|message| (message.seq, message.text)).collect();
    assert_eq!(shown, [("1", "zero"), ("2", "one"), ("3", "two")].map(|(seq, text)| (seq.into(), text.into())));
    let stored: Vec<_> = hub.http().whole_history(ROOM).await.into_iter().map(|message| message.body).collect();
    assert_eq!(stored, ["zero", "one", "two"].map(|text| json!({"text": text})));
    browsers.assert_quiet(refused).await;
}

/// While the hub is away the browser itself complains that it cannot be reached.
fn refused(message: &str) -> bool {
    message.contains("WebSocket connection to") && message.contains("net::ERR_CONNECTION_REFUSED")
}
