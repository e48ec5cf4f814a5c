//! One person's page: history without a hole, on a phone, by keyboard.

use serde_json::{Value, json};
use thirtyfour::Key;

use super::{ROOM, unexpected};
use crate::support::{
    TestClient, TestHub,
    browser::{Browsers, Device},
    hub::UNHURRIED,
};

#[tokio::test]
async fn scrolling_up_finds_all_that_was_said() {
    let mut browsers = Browsers::start().await;
    let hub = TestHub::with(UNHURRIED).await;
    let path = "/api/projects/demo/rooms/lobby/messages?name=Archive";
    let ada = browsers.person().await;
    TestClient::joined(&hub, "Archive", ROOM).await;
    for n in 1..=120 {
        hub.http().post(path, &json!({"body": {"text": format!("number {n}")}})).await.json();
    }
    ada.enter(&hub, "Ada", ROOM).await;
    ada.until_last("delivered", &["number 120"]).await;
    assert_eq!(ada.messages().await.len(), 50);
    ada.until(
        "the latest is in view",
        "document.querySelector('[data-seq=\"120\"]').getBoundingClientRect().bottom <= innerHeight",
    )
    .await;

    ada.ask("document.getElementById('messages').focus()").await;
    for shown in [100, 120] {
        let first = ada.messages().await[0].seq.clone();
        ada.keys(Key::Home).await;
        ada.until(
            &format!("{shown} messages are shown"),
            &format!("document.querySelectorAll('[data-testid=message]').length === {shown}"),
        )
        .await;
        // What was read stays in view: older messages come above it.
        let place = format!("document.querySelector('[data-seq=\"{first}\"]').getBoundingClientRect().top");
        ada.until("the page did not jump", &format!("{place} > 0 && {place} < innerHeight")).await;
    }
    ada.keys(Key::Home).await;
    ada.until("it begins here", "!document.getElementById('beginning').hidden").await;
    let seqs: Vec<_> = ada.messages().await.into_iter().map(|message| (message.seq, message.text)).collect();
    let all: Vec<_> = (1..=120).map(|n| (n.to_string(), format!("number {n}"))).collect();
    assert_eq!(seqs, all);
    ada.screenshot("history").await;
    browsers.assert_quiet(unexpected).await;
}

#[tokio::test]
async fn a_phone_shows_all_of_it() {
    let mut browsers = Browsers::start().await;
    let hub = TestHub::start().await;
    let ada = browsers.open(Device::Phone).await;
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    ada.goto(&format!("http://{}/", hub.address())).await;
    ada.until("the door is open", "!document.getElementById('entry-page').hidden").await;
    assert_eq!(ada.ask("[innerWidth, matchMedia('(hover: none)').matches]").await, json!([390, true]));
    assert_eq!(ada.ask(overflow).await, 0);
    ada.screenshot("phone-door").await;

    let mut visitors = Vec::new();
    for name in ["Grace", "Margaret", "Katherine", "Noor", "Mateo", "Jonas", "Wei", "Amara", "Ines", "Yusuf"] {
        visitors.push(TestClient::joined(&hub, name, ROOM).await);
    }
    visitors[0].send(json!({"text": "A-very-long-word-".repeat(12)})).await;
    ada.enter(&hub, "Ada", ROOM).await;
    ada.say("From the train").await;
    ada.until_last("delivered", &["From the train"]).await;
    assert_eq!(ada.ask(overflow).await, 0);
    for id in ["board", "messages", "composer", "send", "connection"] {
        let inside = "b.width > 0 && b.height > 0 && b.left >= 0 && b.right <= innerWidth && b.top >= 0 && b.bottom <= innerHeight";
        let inside = format!("(b => {inside})(document.getElementById('{id}').getBoundingClientRect())");
        assert_eq!(ada.ask(&inside).await, true, "#{id} is not in view");
    }
    ada.screenshot("phone").await;
    browsers.assert_quiet(unexpected).await;
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let mut browsers = Browsers::start().await;
    let hub = TestHub::start().await;
    let mut grace = TestClient::joined(&hub, "Grace", ROOM).await;
    let ada = browsers.person().await;
    let focused = |id: &str| format!("document.activeElement.id === '{id}'");

    ada.goto(&format!("http://{}/", hub.address())).await;
    ada.until("one may begin to type", &focused("name")).await;
    ada.screenshot("door").await;
    ada.keys("Ada" + Key::Enter).await;
    ada.until_connection("live").await;
    ada.until("one may write at once", &focused("composer")).await;
    ada.keys("Look, no mouse" + Key::Enter).await;
    assert_eq!(grace.next_message().await.body, json!({"text": "Look, no mouse"}));

    ada.tab_back_to("board").await;
    ada.keys(Key::Right).await;
    assert_eq!(grace.next_cursors().await[0].position, json!({"x": 0.5, "y": 0.5}));
    ada.keys(Key::Right + Key::Down).await;
    loop {
        let position = grace.next_cursors().await.remove(0).position;
        if position == json!({"x": 0.52, "y": 0.52}) {
            break;
        }
    }
    ada.until("one sees where one is", "document.querySelector('.own-cursor')").await;
    ada.keys(Key::Enter).await;
    let ping = loop {
        let broadcast = grace.next_of("broadcast").await;
        if broadcast["event"] == "ping" {
            break broadcast;
        }
    };
    assert_eq!(ping["data"], json!({"x": 0.52, "y": 0.52}));
    ada.screenshot("keyboard").await;
    ada.keys(Key::Escape).await;
    assert_eq!(grace.next_cursors().await[0].position, Value::Null);
    ada.until("it is hidden", "!document.querySelector('.own-cursor')").await;

    ada.tab_back_to("leave").await;
    ada.keys(Key::Enter).await;
    ada.until("one is at the door again", "!document.getElementById('entry-page').hidden").await;
    browsers.assert_quiet(unexpected).await;
}
