//! A Redis that is not what the settings say: the hub starts, says plainly what is wrong, and never the password.

use crate::support::{
    RedisServer, TestClient, TestHub,
    cluster::{PASSWORD, connected},
    eventually,
    ports::free_port,
};

/// Waits for a line of the log; asserts that the hub serves meanwhile, degraded, and keeps the secret.
async fn says(settings: &[(&str, &str)], words: &str) {
    let settings = [&[("HUBBUB_LOG", "debug")], settings].concat();
    let mut hub = TestHub::with(&settings).await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    ada.until_status("degraded").await;
    ada.join("p/r").await;
    ada.send("hi").await;
    eventually(&format!("the log warns that `{words}`"), async || {
        hub.log().lines().any(|line| line.contains(" WARN ") && line.contains(words)).then_some(())
    })
    .await;
    let health = hub.http().get("/health").await;
    assert_eq!(health.json()["redis"], "disconnected");
    hub.stop().await;
    for said in [hub.log(), health.body] {
        assert!(!said.contains(PASSWORD), "the password is shown");
    }
}

#[tokio::test]
async fn nobody_there() {
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", free_port());
    says(&[("REDIS_URL", &url)], "nothing listens at the Redis address").await;
}

#[tokio::test]
async fn a_wrong_password() {
    let redis = RedisServer::with_password("another").await;
    let url = format!("redis://:{PASSWORD}@{}", redis.address());
    says(&[("REDIS_URL", &url)], "Redis refused the user or password").await;
}

#[tokio::test]
async fn no_password_where_one_is_needed() {
    let redis = RedisServer::with_password("needed").await;
    let url = redis.url().replace(":needed@", "");
    says(&[("REDIS_URL", &url)], "Redis refused the user or password").await;
}

#[tokio::test]
async fn tls_to_a_server_without() {
    let redis = RedisServer::start().await;
    let url = redis.url().replace("redis://", "rediss://");
    // Such a server waits for the end of what it takes for a command.
    says(&[("REDIS_URL", &url), ("REDIS_CONNECT_TIMEOUT", "500")], "Redis does not answer in time").await;
}

#[tokio::test]
async fn something_that_is_no_redis() {
    let hub = TestHub::start().await;
    let url = format!("redis://:{PASSWORD}@{}", hub.address());
    says(&[("REDIS_URL", &url)], "Redis").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let url = format!("redis://:{PASSWORD}@redis.invalid:6379");
    says(&[("REDIS_URL", &url)], "the Redis host name cannot be resolved").await;
}

#[tokio::test]
async fn redis_that_comes_later_is_found() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let hub = TestHub::with(&[("REDIS_URL", &redis.url())]).await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    ada.until_status("degraded").await;
    redis.restart().await;
    ada.until_status("live").await;
    connected(&hub).await;
}

#[tokio::test]
async fn its_parts_do_as_well_as_its_address_and_false_keeps_it_off() {
    let redis = RedisServer::with_password(PASSWORD).await;
    let port = redis.address().port().to_string();
    let parts = [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", port.as_str()), ("REDIS_PASSWORD", PASSWORD)];
    connected(&TestHub::with(&parts).await).await;
    let off = TestHub::with(&[&parts[..], &[("USE_REDIS", "false")]].concat()).await;
    assert_eq!(off.http().get("/health").await.json()["redis"], "not configured");
}
