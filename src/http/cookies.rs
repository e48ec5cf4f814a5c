//! The edge of cookie sessions: how their cookies leave, and what happens when sessions cannot be kept.

use actix_session::SessionExt as _;
use actix_web::{
    Error, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderValue, SET_COOKIE},
    middleware::Next,
    web,
};

use super::{HttpState, Problem};
use crate::{
    access::{
        Unavailable,
        sessions::{self, Outcome},
    },
    config::CookieSecure,
    redis::Fault,
};

/// Middleware around the sessions' own: what could not be kept leaves as 503, and cookies of clients who came over TLS
/// travel over TLS alone.
pub(super) async fn outside(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let secure =
        request.app_data::<web::Data<HttpState>>().is_some_and(|state| match state.config.sessions.cookie_secure {
            CookieSecure::Always => true,
            CookieSecure::Never => false,
            CookieSecure::Auto => state.access.came_by_tls(request.request()),
        });
    let (response, outcome) = sessions::observed(next.call(request)).await;
    let mut response = response?.map_into_boxed_body();
    match outcome {
        Outcome::Kept => {}
        Outcome::Gone => response.headers_mut().remove(SET_COOKIE).for_each(drop),
        Outcome::Unavailable => {
            let problem = Problem::from(Unavailable::from(Fault::Disconnected));
            response = response.into_response(problem.error_response());
        }
    }
    if secure {
        let cookies: Vec<_> = response.headers_mut().remove(SET_COOKIE).collect();
        for cookie in cookies {
            let marked = HeaderValue::from_bytes(&[cookie.as_bytes(), b"; Secure"].concat());
            response.headers_mut().append(SET_COOKIE, marked.unwrap_or(cookie));
        }
    }
    Ok(response)
}

/// Middleware inside of the sessions' own: a session that was moved on by this request takes its cookie along.
pub(super) async fn inside(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    sessions::follow(&request.get_session());
    Ok(next.call(request).await?.map_into_boxed_body())
}
