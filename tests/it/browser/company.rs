//! People in company: on two instances, in several tabs, with cursors; seen by each other.

use serde_json::{Value, json};
use thirtyfour::Key;

use super::{AS_BY_DEFAULT, ROOM, unexpected};
use crate::support::{
    Door, TestCluster, TestHub,
    browser::{Browsers, Page},
    tokens,
};

#[tokio::test]
async fn two_people_on_two_instances_share_a_room() {
    let mut browsers = Browsers::start().await;
    let cluster = TestCluster::with(AS_BY_DEFAULT).await;
    let (ada, grace) = browsers.two_people().await;
    ada.enter(&cluster.a, "Ada", ROOM).await;
    grace.enter(&cluster.b, "Grace", ROOM).await;
    ada.until_people(&["Ada (you)", "Grace"]).await;
    grace.until_people(&["Grace (you)", "Ada"]).await;

    // Ada types, then sends.
    tokio::join!(grace.until_typing("Ada is typing"), ada.write("Shall we begin"));
    ada.keys("?" + Key::Enter).await;
    grace.until_last("delivered", &["Shall we begin?"]).await;
    grace.until_typing("").await;
    ada.until_last("delivered", &["Shall we begin?"]).await;
    ada.until("the mark says so", "document.querySelector('.mark-text').textContent === 'Delivered'").await;
    grace.say("I have been ready since 1952").await;
    ada.until_last("delivered", &["Shall we begin?", "I have been ready since 1952"]).await;

    // Her cursor comes, moves and goes.
    ada.point(0.25, 0.4).await;
    grace.until_cursor("Ada", 0.25, 0.4).await;
    ada.point(0.7, 0.6).await;
    grace.until_cursor("Ada", 0.7, 0.6).await;
    grace.screenshot("cursor").await;
    ada.move_pointer(1200.0, 400.0).await;
    grace.until_no_cursor("Ada").await;

    // A second tab is no second person; looking elsewhere is seen when no tab is looked at.
    let second = ada.new_tab().await;
    second.enter(&cluster.a, "Ada", ROOM).await;
    grace.until_people(&["Grace (you)", "Ada, 2 tabs"]).await;
    let badge = "document.querySelector('[data-name=Ada] .tabs').textContent";
    assert_eq!(grace.ask(badge).await, "2");
    grace.screenshot("two-tabs").await;
    let elsewhere = second.new_tab().await;
    grace.until_people(&["Grace (you)", "Ada, 2 tabs, away"]).await;
    grace.screenshot("away").await;
    elsewhere.close().await;
    grace.until_people(&["Grace (you)", "Ada, 2 tabs"]).await;
    // A page that was left is no tab any more, though the browser keeps it for the back button.
    second.goto("about:blank").await;
    grace.until_people(&["Grace (you)", "Ada, away"]).await;
    second.back().await;
    grace.until_people(&["Grace (you)", "Ada, 2 tabs"]).await;
    second.close().await;
    grace.until_people(&["Grace (you)", "Ada"]).await;
    assert_eq!(grace.ask(badge).await, "");

    a_reload_is_not_seen(&ada, &grace, &cluster).await;
    a_picture(&ada, &grace, &cluster).await;
    browsers.assert_quiet(unexpected).await;
}

/// All that Grace's page showed of who is here while Ada reloads hers.
async fn a_reload_is_not_seen(ada: &Page, grace: &Page, cluster: &TestCluster) {
    let before = connections(&cluster.a, "Ada").await;
    grace.record_people().await;
    ada.reload().await;
    grace.until_people(&["Grace (you)", "Ada"]).await;
    let after = connections(&cluster.b, "Ada").await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");
    ada.say("Still me").await;
    grace.until_last("delivered", &["Still me"]).await;
    for people in grace.recorded_people().await {
        assert!(people.iter().any(|person| person.starts_with("Ada")), "Ada was not here: {people:?}");
    }
    let texts: Vec<_> = ada.messages().await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["Shall we begin?", "I have been ready since 1952", "Still me"]);
}

/// A room as it may be on a good day, seen by Ada; people come with tokens of their own colours.
async fn a_picture(ada: &Page, grace: &Page, cluster: &TestCluster) {
    const ROOM: &str = "studio/launch-day";
    let token = |name: &str, color: &str| {
        tokens::signed(&json!({"sub": name, "name": name, "color": color, "exp": tokens::time(3600)}))
    };
    let noor = grace.new_window().await;
    ada.enter_with_token(&cluster.a, &token("Ada Okafor", "#c2410c"), ROOM).await;
    grace.enter_with_token(&cluster.b, &token("Grace Lindholm", "#206bde"), ROOM).await;
    noor.enter_with_token(&cluster.b, &token("Noor Haddad", "#078567"), ROOM).await;
    assert_eq!(ada.ask("location.search").await, "", "the token stays where it is seen");
    let mut others = Vec::new();
    for (name, color, away) in [
        ("Mateo Silva", "#a83daa", false),
        ("Jonas Weber", "#9a6700", false),
        ("Jonas Weber", "#9a6700", false),
        ("Priya Nair", "#d6336c", true),
    ] {
        let mut client = Door::of(&cluster.b).bearer(&token(name, color)).enter().await;
        client.join_with(ROOM, json!({"presence": {"away": away}})).await;
        others.push(client);
    }
    let people = ["Ada Okafor (you)", "Grace Lindholm", "Noor Haddad", "Mateo Silva", "Jonas Weber, 2 tabs"];
    ada.until_people(&[&people[..], &["Priya Nair, away"]].concat()).await;
    for (page, text) in [
        (grace, "Morning! The new landing page is up on staging."),
        (&noor, "Oh, that is lovely. The headline finally has room to breathe."),
        (ada, "Agreed. Could we move the sign-up a little higher?"),
        (grace, "Like here? Watch my cursor"),
        (&noor, "Yes, right under the picture"),
        (ada, "Perfect. We ship at noon"),
    ] {
        page.say(text).await;
        ada.until_last("delivered", &[text]).await;
    }
    ada.point(0.9, 0.9).await;
    noor.point(0.66, 0.64).await;
    others[0].move_cursor(json!({"x": 0.15, "y": 0.74}));
    grace.point(0.36, 0.34).await;
    for (name, x, y) in [("Grace Lindholm", 0.36, 0.34), ("Noor Haddad", 0.66, 0.64), ("Mateo Silva", 0.15, 0.74)] {
        ada.until_cursor(name, x, y).await;
    }
    tokio::join!(ada.until_typing("Noor Haddad is typing"), noor.write("I will tell the"));
    // Grown a little, or gone if the machine is too busy to see more of it.
    let ping = "(ring => ring ? (window.pinged = true) && ring.getAnimations({ subtree: true })[0].currentTime > 50 \
        : window.pinged)(document.querySelector('.ripple'))";
    tokio::join!(ada.until("a ping is seen", ping), grace.click());
    ada.screenshot("demo").await;
    noor.close().await;
}

async fn connections(hub: &TestHub, name: &str) -> Vec<Value> {
    let presence = hub.http().get("/api/projects/demo/rooms/lobby/presence").await.json();
    let members = presence["members"].as_array().expect("members").clone();
    let member = members.into_iter().find(|member| member["user"]["name"] == name).unwrap_or_default();
    let connections = member["connections"].as_array().into_iter().flatten();
    connections.map(|connection| connection["connection_id"].clone()).collect()
}
