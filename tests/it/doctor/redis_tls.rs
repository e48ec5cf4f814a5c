//! TLS to Redis that does not fit.

use super::{Report, examine, hurried};
use crate::{
    redis::servers::with_tls,
    support::{
        RedisServer,
        certificates::{Authority, Certificate},
        cluster::PASSWORD,
        ports::free_port,
    },
};

#[tokio::test]
async fn a_private_authority_is_well() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["localhost"]).await;
    let report = examine(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    report.is_well_but_for(&["settings.instances"]);
    report.passes(&["redis.tls", "redis.pubsub"]);
    assert!(report.check("redis.tls")["text"].as_str().is_some_and(|text| text.contains("30 days and more")));
    let unchecked = examine(&[("REDIS_URL", &url), ("REDIS_TLS_VERIFY", "false")]).await;
    unchecked.is_well_but_for(&["settings.instances", "settings.trust"]);
}

#[tokio::test]
async fn tls_to_a_port_without() {
    let redis = RedisServer::start().await;
    let url = redis.url().replace("redis://", "rediss://");
    let authority = Authority::new();
    let report = hurried(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    report.fails("redis.tls", "", "redis://");
    assert_eq!(report.check("redis.login")["status"], "skipped");
}

#[tokio::test]
async fn no_tls_to_a_port_with() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["localhost"]).await;
    let report = hurried(&[("REDIS_URL", &url.replace("rediss://", "redis://"))]).await;
    report.fails("redis.login", "", "rediss://");
}

#[tokio::test]
async fn an_unknown_authority() {
    let (_redis, url) = with_tls(&Authority::new(), &["localhost"]).await;
    let other = Authority::new();
    for settings in [&[("REDIS_URL", &*url), ("REDIS_TLS_CA_FILE", &*other.file())][..], &[("REDIS_URL", &*url)]] {
        examine(settings).await.fails("redis.tls", "unknown authority", "REDIS_TLS_CA_FILE");
    }
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["elsewhere.example"]).await;
    let report = examine(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    report.fails("redis.tls", "another name", "REDIS_URL");
}

#[tokio::test]
async fn a_certificate_that_ended_or_soon_will() {
    let authority = Authority::new();
    let soon = examine_certificate(&authority, authority.sign_for_days(&["localhost"], 6)).await;
    soon.is_well_but_for(&["settings.instances", "redis.tls"]);
    soon.warns("redis.tls", "more day(s)", "renew");
    let ended = examine_certificate(&authority, authority.sign_for_days(&["localhost"], -2)).await;
    ended.fails("redis.tls", "not valid at this time", "renew");
}

async fn examine_certificate(authority: &Authority, certificate: Certificate) -> Report {
    let port = free_port().to_string();
    let settings = [
        ["tls-port", port.as_str()],
        ["tls-cert-file", &certificate.certificate],
        ["tls-key-file", &certificate.key],
        ["tls-ca-cert-file", &authority.file()],
        ["tls-auth-clients", "no"],
    ];
    let _redis = RedisServer::launch(Some(PASSWORD.into()), &settings).await;
    let url = format!("rediss://:{PASSWORD}@localhost:{port}");
    examine(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate() {
    let authority = Authority::new();
    let (redis, url) = with_tls(&authority, &["localhost"]).await;
    redis.ask(&["CONFIG", "SET", "tls-auth-clients", "yes"]).await;
    let report = hurried(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())]).await;
    report.fails("redis.login", "client certificate", "tls-auth-clients");
}
