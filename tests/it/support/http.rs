//! The HTTP side of a hub.

use std::net::SocketAddr;

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::Deserialize as _;
use serde_json::Value;

use super::frames::Message;

/// A client of one hub.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Http {
    pub fn to(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { client, base: format!("http://{address}") }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    /// All messages of a room, page by page to the end, oldest first.
    pub async fn whole_history(&self, room: &str) -> Vec<Message> {
        let (project, room) = room.split_once('/').expect("project/room");
        let path = format!("/api/projects/{project}/rooms/{room}/messages");
        let mut all = Vec::new();
        let mut page = self.get(&format!("{path}?limit=200&after=0")).await.json();
        loop {
            all.extend(Vec::<Message>::deserialize(&page["items"]).expect("messages"));
            let Some(next) = page["next"].as_str() else { return all };
            page = self.get(&format!("{path}?limit=200&cursor={next}")).await.json();
        }
    }
}

impl Answer {
    /// Sends a request.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.text().await.expect("a body") }
    }

    /// The body of a success.
    pub fn json(&self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// Asserts that it is a problem document of this status and code, and gives it.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/problem+json", "{self:?}");
        let document: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(document["type"], format!("urn:hubbub:problem:{code}"), "{document}");
        assert_eq!(document["status"], status, "{document}");
        for field in ["title", "detail"] {
            assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "no {field} in {document}");
        }
        document
    }
}
