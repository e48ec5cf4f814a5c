//! What is read through the cache: quick, and never older than the last write that was answered.

mod answers;
mod checker;
mod cluster;
mod outages;
mod races;
mod tiers;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    TestHub, eventually,
    http::{Answer, Http},
    tokens,
};

/// A hub as one user with a token uses it over HTTP.
struct User {
    http: Http,
    token: String,
}

impl User {
    fn of(hub: &TestHub, name: &str) -> Self {
        Self { http: hub.http(), token: tokens::token(name, json!({})) }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.http.request(method, path).bearer_auth(&self.token);
        Answer::to(match &body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// Makes a public project.
    async fn make(&self, project: &str) {
        let body = json!({"id": project, "name": "first", "visibility": "public"});
        assert_eq!(self.ask(Method::POST, "/api/projects", Some(body)).await.status, 201);
    }

    async fn rename(&self, project: &str, name: &str) {
        let path = format!("/api/projects/{project}");
        let renamed = self.ask(Method::PATCH, &path, Some(json!({"name": name}))).await;
        assert_eq!(renamed.json()["name"], name);
    }

    async fn name(&self, project: &str) -> String {
        let shown = self.get(&format!("/api/projects/{project}")).await.json();
        shown["name"].as_str().expect("a name").to_owned()
    }

    async fn say(&self, room: &str, text: &str) {
        let said = self.ask(Method::POST, &messages(room), Some(json!({"body": {"text": text}}))).await;
        assert_eq!(said.status, 201, "{said:?}");
    }
}

/// The messages of a room, by its address.
fn messages(room: &str) -> String {
    let (project, room) = room.split_once('/').expect("project/room");
    format!("/api/projects/{project}/rooms/{room}/messages")
}

/// Makes rooms of a project.
async fn make_rooms(user: &User, project: &str, rooms: &[&str]) {
    for room in rooms {
        let path = format!("/api/projects/{project}/rooms");
        assert_eq!(user.ask(Method::POST, &path, Some(json!({"name": room}))).await.status, 201);
    }
}

/// Waits until a hub answers from its cache.
async fn warm(hub: &TestHub) {
    let http = hub.http();
    eventually("the cache is used", async || {
        (http.get("/health/cache").await.json()["status"] == "healthy").then_some(())
    })
    .await;
}

/// Asks until the answer comes from that tier.
async fn comes_from(tier: &str, user: &User, path: &str) -> Answer {
    eventually(&format!("{path} comes from {tier}"), async || {
        let answer = user.get(path).await;
        (answer.header("x-cache") == tier).then_some(answer)
    })
    .await
}

async fn took<T>(task: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let done = task.await;
    (done, begun.elapsed())
}
