//! Starting.

use std::sync::Arc;

use tempfile::TempDir;

use crate::support::{
    Door, TestClient, TestHub,
    tokens::{SECRET, token},
};

#[tokio::test]
async fn one_command_in_an_empty_folder_is_enough() {
    let mut hub = TestHub::start().await; // asserts the line with the address
    assert!(hub.home().path().join("data/hubbub.db").is_file(), "the database is made with its folder");
    assert!(hub.log().contains("REDIS_URL"), "that it is on its own is said once");
    let mut ada = TestClient::joined(&hub, "Ada", "p/r").await;
    ada.send("kept").await;
    hub.stop().await;
    hub.restart().await;
    let joined = TestClient::connect(&hub, "Ada").await.join("p/r").await;
    assert_eq!(joined.messages[0].body, "kept", "a second start finds the data of the first");
    hub.stop().await;
}

#[tokio::test]
async fn the_database_may_be_anywhere() {
    let elsewhere = TempDir::new().expect("a folder");
    let path = elsewhere.path().join("deep/er/hub.db");
    for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}", path.display())] {
        let mut hub = TestHub::with(&[("DATABASE_URL", &url)]).await;
        TestClient::joined(&hub, "Ada", "p/r").await;
        assert!(path.is_file() && !hub.home().path().join("data").exists(), "{url}");
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_dot_env_file_is_read_and_the_environment_goes_before_it() {
    let home = Arc::new(TempDir::new().expect("a folder"));
    let settings = format!("# a comment\nJWT_SECRET={SECRET}\nALLOW_GUESTS=false\nMAX_FRAME_BYTES=2048\n");
    std::fs::write(home.path().join(".env"), settings).expect("a file");
    let hub = TestHub::start_in(home, &[("MAX_FRAME_BYTES", "4096")]).await;
    assert_eq!(Door::of(&hub).name("Ada").refused().await.status, 401);
    let client = Door::of(&hub).bearer(&token("u1", serde_json::json!({}))).enter().await;
    assert_eq!(client.welcome["max_frame_bytes"], 4096);
}

#[tokio::test]
async fn outside_of_loopback_somebody_must_be_named_or_guests_allowed() {
    for settings in [[("HOST", "0.0.0.0"), ("JWT_SECRET", SECRET)], [("HOST", "0.0.0.0"), ("ALLOW_GUESTS", "true")]] {
        let mut hub = TestHub::with(&settings).await;
        let guests = Door::of(&hub).name("Ada").knock().await.is_ok();
        assert_eq!(guests, settings[1].0 == "ALLOW_GUESTS", "guests are off unless allowed");
        hub.stop().await;
    }
}

#[tokio::test]
async fn two_hubs_start_on_one_fresh_database() {
    let home = Arc::new(TempDir::new().expect("a folder"));
    let (mut a, mut b) =
        tokio::join!(TestHub::start_in(Arc::clone(&home), &[]), TestHub::start_in(Arc::clone(&home), &[]));
    for hub in [&a, &b] {
        TestClient::joined(hub, "Ada", "p/r").await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_log_may_be_json() {
    let hub = TestHub::with(&[("HUBBUB_LOG_FORMAT", "json"), ("HUBBUB_LOG", "debug")]).await;
    TestClient::joined(&hub, "Ada", "p/r").await;
    for line in hub.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
