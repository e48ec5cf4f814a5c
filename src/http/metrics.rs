//! `GET /metrics`: all figures, for Prometheus. What merely is at the moment is looked up here, when somebody asks.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use metrics::gauge;
use subtle::ConstantTimeEq as _;

use super::{Answer, HttpState, Problem};
use crate::{
    config::MetricsAccess,
    fanout::Fanouts,
    health::Link,
    redis::RedisFigures,
    store::GroupCommit,
    telemetry::{ProcessFigures, Recorder},
};

/// The text format of Prometheus.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const CHALLENGE: &str = r#"Bearer realm="hubbub metrics""#;

/// Where figures come from.
pub struct Instruments {
    /// What was counted.
    pub recorder: Recorder,
    /// Connections.
    pub fanouts: Arc<Fanouts>,
    /// Messages on their way to the store.
    pub group_commit: GroupCommit,
    /// What Redis says of itself.
    pub redis: RedisFigures,
}

/// `GET /metrics`
pub(super) async fn show(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    admit(&state.config.metrics, &request)?;
    refresh(&state);
    let mut text = state.instruments.recorder.render();
    text.push_str(&ProcessFigures::now().render(state.health.uptime().as_secs_f64()));
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(text))
}

fn admit(access: &MetricsAccess, request: &HttpRequest) -> Result<(), Problem> {
    match access {
        MetricsAccess::Open => Ok(()),
        MetricsAccess::Closed => Err(Problem::forbidden(
            "the figures are not for everybody: set METRICS_TOKEN and send it as a bearer token",
        )),
        MetricsAccess::Token(token) => {
            let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let right = shown.is_some_and(|shown| shown.as_bytes().ct_eq(token.expose().as_bytes()).into());
            if right {
                Ok(())
            } else {
                Err(Problem::unauthorized(CHALLENGE, "METRICS_TOKEN is needed as a bearer token"))
            }
        }
    }
}

fn refresh(state: &HttpState) {
    let (health, instruments) = (&state.health, &state.instruments);
    let flag = |is: bool| f64::from(u8::from(is));
    let links = health.links();
    gauge!("hubbub_uptime_seconds").set(health.uptime().as_secs_f64());
    gauge!("hubbub_draining").set(flag(health.is_draining()));
    gauge!("hubbub_connections").set(instruments.fanouts.connection_count() as f64);
    gauge!("hubbub_rooms").set(state.rooms.room_count() as f64);
    gauge!("hubbub_presence_members").set(state.rooms.online_in_all() as f64);
    gauge!("hubbub_bus_up").set(flag(links.redis == Link::Connected));
    gauge!("hubbub_redis_configured").set(flag(links.redis != Link::NotConfigured));
    gauge!("hubbub_database_up").set(flag(links.database == Link::Connected));
    let waiting = instruments.group_commit.snapshot();
    gauge!("hubbub_append_waiting_messages").set(waiting.waiting as f64);
    gauge!("hubbub_append_waiting_bytes").set(waiting.waiting_bytes as f64);
}
