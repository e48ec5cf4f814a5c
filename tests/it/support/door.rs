//! How a client comes to the hub: who it says it is, by which address, and what it is told when it may not.

use std::net::SocketAddr;

use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

use super::{TestClient, TestHub};

/// How a client comes to the hub.
pub struct Door {
    address: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

/// A handshake that the hub refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: Value,
}

impl Door {
    pub fn of(hub: &TestHub) -> Self {
        Self::at(hub.address())
    }

    /// By another address than the hub's own: a proxy's.
    pub fn at(address: SocketAddr) -> Self {
        Self { address: address.to_string(), query: Vec::new(), headers: Vec::new() }
    }

    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub fn name(self, name: &str) -> Self {
        self.query("name", name)
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Goes in.
    pub async fn enter(self) -> TestClient {
        self.knock().await.unwrap_or_else(|refused| panic!("the hub let nobody in: {refused:?}"))
    }

    /// Asks to be refused.
    pub async fn refused(self) -> Refused {
        match self.knock().await {
            Ok(_) => panic!("the hub let a client in"),
            Err(refused) => refused,
        }
    }

    /// Tries.
    pub async fn knock(self) -> Result<TestClient, Refused> {
        let mut url = url::Url::parse(&format!("ws://{}/ws", self.address)).expect("an address");
        url.query_pairs_mut().extend_pairs(&self.query);
        let mut request = url.as_str().into_client_request().expect("a request");
        for (name, value) in &self.headers {
            request.headers_mut().append(*name, value.parse().expect("a header"));
        }
        match tokio_tungstenite::connect_async_with_config(request, None, true).await {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol").cloned();
                Ok(TestClient::on(socket, chosen.and_then(|value| value.to_str().map(str::to_owned).ok())).await)
            }
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or_default();
                Err(Refused { status: response.status().as_u16(), body })
            }
            Err(error) => panic!("no handshake: {error}"),
        }
    }
}
