//! `GET /ws`: from a request to a session.
//!
//! Everything that can be refused is refused here, before the upgrade, with an HTTP status. Who is admitted is told so with
//! 101 by the HTTP server, which then hands over the socket and is out of the way.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::ws::Codec;
use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    http::{Version, header},
    web,
};
use actix_web_actors::ws::{self, WebsocketContext};
use bytes::Bytes;
use tokio::net::TcpStream;

use super::{
    SessionContext,
    actor::Session,
    conversation::{Incoming, converse},
    counts::{Counted, Crowded},
    guard::{FrameGuard, Inbound},
};
use crate::{
    access::{IdentifyError, Identity, OriginError},
    fanout::{LocalFanout, Outbox},
    ids::ConnectionId,
    protocol::SUBPROTOCOL,
};

/// How long a client is told to wait when it has too many connections.
const CROWDED_RETRY: Duration = Duration::from_secs(10);

/// Why a client is not let in; `http` turns it into a problem document.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeRefusal {
    /// 403.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// 401.
    #[error(transparent)]
    Identify(#[from] IdentifyError),
    /// 400.
    #[error("the hub speaks the subprotocol `hubbub.v1`")]
    Subprotocol,
    /// 400.
    #[error("not a WebSocket handshake: {0}")]
    Handshake(String),
    /// 429.
    #[error("too many connections from this {0}")]
    Crowded(&'static str, Duration),
    /// 503.
    #[error("the hub is stopping")]
    Draining,
    /// 500: the server was put together wrongly.
    #[error("no fan-out on this thread")]
    NoFanout,
}

/// Among the extensions of a request whose socket the HTTP server hands over if the answer is 101. What it reads as a
/// handshake is narrower than what `actix-web-actors` does; a 101 without a handover would be an open door in a proxy.
pub struct HandsOver;

/// A client that was let in, while the HTTP server still has its socket: among the extensions of the answer.
pub struct Admitted {
    identity: Identity,
    context: Arc<SessionContext>,
    fanout: LocalFanout,
    counted: Counted,
}

/// Lets a client in: the answer, with an [`Admitted`] among its extensions.
///
/// # Errors
/// Why not.
pub fn upgrade(request: &HttpRequest, context: web::Data<SessionContext>) -> Result<HttpResponse, UpgradeRefusal> {
    if context.health.is_draining() {
        return Err(UpgradeRefusal::Draining);
    }
    context.access.check_origin(request)?;
    let subprotocol = choose_subprotocol(request)?;
    let identity = context.access.identify(request)?;
    let mut response = ws::handshake(request).map_err(|error| UpgradeRefusal::Handshake(error.to_string()))?;
    if request.version() < Version::HTTP_11 || !request.extensions().contains::<HandsOver>() {
        return Err(UpgradeRefusal::Handshake("it takes HTTP/1.1, `Upgrade: websocket` alone, and no body".to_owned()));
    }
    if let Some(subprotocol) = subprotocol {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, subprotocol));
    }
    let ip = context.access.client_ip(request);
    let counted = context.counts.count(ip, identity.user.user_id.clone()).map_err(|crowded| match crowded {
        Crowded::Ip => UpgradeRefusal::Crowded("address", CROWDED_RETRY),
        Crowded::User => UpgradeRefusal::Crowded("user", CROWDED_RETRY),
    })?;
    let fanout = request.app_data::<LocalFanout>().ok_or(UpgradeRefusal::NoFanout)?.clone();
    let mut response = response.finish();
    response.extensions_mut().insert(Admitted { identity, context: context.into_inner(), fanout, counted });
    Ok(response)
}

impl Admitted {
    /// The client's conversation with its session, to its end. `early` is what came together with the handshake.
    pub async fn converse(self, socket: TcpStream, early: Bytes) {
        let Self { identity, context, fanout, counted } = self;
        let _open = fanout.count();
        let limits = &context.config.limits;
        let (frame_bytes_max, outbox_bytes_max) = (limits.frame_bytes_max, limits.outbox_bytes_max);
        let (read, write) = socket.into_split();
        let outbox = Rc::new(Outbox::new(outbox_bytes_max, Some(write)));
        let inbound = Rc::new(Inbound::new(frame_bytes_max));
        let guard = FrameGuard::new(Incoming::new(early, read), Rc::clone(&inbound));
        let (connection, to_session) = (ConnectionId::random(), Rc::clone(&outbox));
        let session = Session::new(connection, identity, context, fanout, to_session, Rc::clone(&inbound), counted);
        let codec = Codec::new().max_size(frame_bytes_max);
        converse(WebsocketContext::with_codec(session, guard, codec), &outbox, &inbound).await;
    }
}

/// Ours if it is offered; none if none is offered.
fn choose_subprotocol(request: &HttpRequest) -> Result<Option<&'static str>, UpgradeRefusal> {
    let mut offered = false;
    for value in request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if name == SUBPROTOCOL {
                return Ok(Some(SUBPROTOCOL));
            }
            offered |= !name.is_empty();
        }
    }
    if offered { Err(UpgradeRefusal::Subprotocol) } else { Ok(None) }
}
