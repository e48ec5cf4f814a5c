//! Somebody at the HTTP side of a hub who keeps a session's cookie, as a browser does.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Door, TestHub, http::Answer};

/// A browser's cookie, taken to whichever instance.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    cookie: Option<String>,
}

impl Visitor {
    /// Logs in, which must work.
    pub async fn logged_in(hub: &TestHub, login: &Value) -> Self {
        let mut visitor = Self::default();
        let answer = visitor.post(hub, "/api/sessions", login).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(visitor.cookie.is_some(), "no cookie: {answer:?}");
        visitor
    }

    /// `name=value` of the cookie.
    pub fn cookie(&self) -> &str {
        self.cookie.as_deref().expect("a cookie")
    }

    /// Sends a request with the cookie, and keeps the one that comes back.
    pub async fn send(&mut self, request: RequestBuilder) -> Answer {
        let request = match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        };
        let answer = Answer::to(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let (pair, attributes) = cookie.split_once(';').expect("attributes");
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        answer
    }

    pub async fn get(&mut self, hub: &TestHub, path: &str) -> Answer {
        self.send(hub.http().request(Method::GET, path)).await
    }

    pub async fn delete(&mut self, hub: &TestHub, path: &str) -> Answer {
        self.send(hub.http().request(Method::DELETE, path)).await
    }

    pub async fn post(&mut self, hub: &TestHub, path: &str, body: &Value) -> Answer {
        self.send(hub.http().request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&mut self, hub: &TestHub, path: &str, body: &Value) -> Answer {
        self.send(hub.http().request(Method::PATCH, path).json(body)).await
    }

    /// Who the hub says this is; `None` without a session.
    pub async fn who(&mut self, hub: &TestHub) -> Option<Value> {
        let answer = self.get(hub, "/api/sessions/current").await;
        (answer.status == 200).then(|| answer.json()["user"].clone())
    }

    /// The way to a WebSocket with the cookie.
    pub fn door(&self, hub: &TestHub) -> Door {
        Door::of(hub).header("Cookie", self.cookie())
    }
}
