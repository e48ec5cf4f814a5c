//! `GET /ws`: from a request to a session.
//!
//! Everything that can be refused is refused here, before the upgrade, with an HTTP status.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix_http::ws::Codec;
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use actix_web_actors::ws::{self, WebsocketContext};

use super::{
    SessionContext,
    actor::Session,
    counts::Crowded,
    guard::{FrameGuard, Inbound},
    tap::Tap,
};
use crate::{
    access::{IdentifyError, OriginError},
    fanout::{ClientSocket, LocalFanout, Outbox},
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

/// Lets a client in.
///
/// # Errors
/// Why not.
pub async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<SessionContext>,
) -> Result<HttpResponse, UpgradeRefusal> {
    if context.health.is_draining() {
        return Err(UpgradeRefusal::Draining);
    }
    context.access.check_origin(&request)?;
    let subprotocol = choose_subprotocol(&request)?;
    let identity = context.access.identify(&request)?;
    let mut response = ws::handshake(&request).map_err(|error| UpgradeRefusal::Handshake(error.to_string()))?;
    if let Some(subprotocol) = subprotocol {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, subprotocol));
    }
    let ip = context.access.client_ip(&request);
    let counted = context.counts.count(ip, identity.user.user_id.clone()).map_err(|crowded| match crowded {
        Crowded::Ip => UpgradeRefusal::Crowded("address", CROWDED_RETRY),
        Crowded::User => UpgradeRefusal::Crowded("user", CROWDED_RETRY),
    })?;
    let fanout = request.app_data::<LocalFanout>().ok_or(UpgradeRefusal::NoFanout)?.clone();

    let limits = &context.config.limits;
    let outbox = Rc::new(Outbox::new(limits.outbox_bytes_max, request.conn_data::<ClientSocket>().cloned()));
    let inbound = Rc::new(Cell::new(Inbound::Open));
    let guard = FrameGuard::new(payload, limits.frame_bytes_max, Rc::clone(&inbound));
    let codec = Codec::new().max_size(limits.frame_bytes_max);
    let connection = ConnectionId::random();
    let session =
        Session::new(connection, identity, context.into_inner(), fanout, Rc::clone(&outbox), inbound, counted);
    let body = WebsocketContext::with_codec(session, guard, codec);
    Ok(response.streaming(Tap::new(body, outbox)))
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
