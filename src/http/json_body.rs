//! A request's JSON body: within its size, its time and its depth before any handler sees it.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode, web};
use serde::Deserialize;
use tokio::time::timeout;

use super::{HttpState, Problem};
use crate::{clock::Duration, protocol::portable};

/// How long a body may take to arrive: a quarter of a megabyte over a bad mobile network.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// The text of a JSON body, not yet taken apart.
pub(super) struct JsonBody(web::Bytes);

impl JsonBody {
    /// Reads the body as `T`.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let text = std::str::from_utf8(&self.0).map_err(|_| Problem::bad_request("the body is not UTF-8"))?;
        portable::check(text).map_err(|fault| Problem::bad_request(format!("the body: {fault}")))?;
        if !text.trim_start().starts_with('{') {
            return Err(Problem::bad_request("the body must be one JSON object"));
        }
        serde_json::from_str(text).map_err(|error| Problem::bad_request(format!("the body: {error}")))
    }
}

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // A type that no HTML form can send: a page elsewhere needs a preflight first.
        let mime = request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mime = mime.split(';').next().unwrap_or_default().trim();
        if !mime.eq_ignore_ascii_case("application/json") {
            return Box::pin(async { Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)) });
        }
        let state = request.app_data::<web::Data<HttpState>>();
        let bytes_max = state.map_or(0, |state| state.config.limits.body_bytes_max);
        let body = web::Bytes::from_request(request, payload); // within the `PayloadConfig` of the app
        Box::pin(async move {
            match timeout(ARRIVAL_MAX, body).await {
                Ok(Ok(body)) => Ok(Self(body)),
                Ok(Err(error)) if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE => {
                    Err(Problem::too_large("the body", bytes_max))
                }
                Ok(Err(_)) => Err(Problem::bad_request("the body could not be read")),
                Err(_) => Err(Problem::of_status(StatusCode::REQUEST_TIMEOUT)),
            }
        })
    }
}
