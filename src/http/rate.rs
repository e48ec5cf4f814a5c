//! Rate limits at the edge: who asks too often gets 429, everybody else learns how often they may.
//!
//! The headers are the three of draft-ietf-httpapi-ratelimit-headers-06: `RateLimit-Limit` (how many), `RateLimit-Remaining`
//! (how many more at once) and `RateLimit-Reset` (seconds until all may pass again).

use std::time::Duration;

use actix_web::{
    Error, HttpRequest, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web,
};

use super::{HttpState, Problem};
use crate::access::limits::{Class, Verdict, Whom};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Health is asked for by load balancers, which come from one address.
const UNLIMITED: &str = "/api/health";

/// Middleware: limits requests by the client's address.
pub(super) async fn by_address(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<web::Data<HttpState>>().filter(|_| request.path() != UNLIMITED).cloned();
    let verdict = match state {
        Some(state) => {
            let whom = Whom::at(state.access.client_ip(request.request()));
            state.limits.check(Class::Api, whom).await
        }
        None => None,
    };
    guarded(request, next, verdict).await
}

/// Middleware: limits requests by the user, where that is asked for.
pub(super) async fn by_user(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<web::Data<HttpState>>().filter(|state| state.limits.has(Class::User)).cloned();
    let verdict = match state {
        Some(state) if request.path() != UNLIMITED => match state.access.identify(request.request()) {
            Ok(who) => state.limits.check(Class::User, Whom::User(who.user.user_id.clone())).await,
            Err(_) => None, // the handler says what is wrong
        },
        _ => None,
    };
    guarded(request, next, verdict).await
}

async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    verdict: Option<Verdict>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(verdict) = verdict else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    let mut response = if verdict.allowed {
        next.call(request).await?.map_into_boxed_body()
    } else {
        let problem = refusal(verdict.retry_after);
        request.into_response(problem.error_response())
    };
    tell(&verdict, response.headers_mut());
    Ok(response)
}

fn tell(verdict: &Verdict, headers: &mut HeaderMap) {
    // The narrower of two limits is the one that matters.
    let known = headers.get(&REMAINING).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    if known.is_some_and(|known| known <= verdict.remaining) {
        return;
    }
    headers.insert(LIMIT, HeaderValue::from(verdict.limit));
    headers.insert(REMAINING, HeaderValue::from(verdict.remaining));
    headers.insert(RESET, HeaderValue::from(whole_seconds(verdict.reset)));
}

/// Counts something that is limited by itself, besides the API.
///
/// # Errors
/// 429.
pub(super) async fn count(state: &HttpState, class: Class, whom: Whom) -> Result<(), Problem> {
    match state.limits.check(class, whom).await {
        Some(verdict) if !verdict.allowed => Err(refusal(verdict.retry_after)),
        _ => Ok(()),
    }
}

/// Who asks, by address.
pub(super) fn address(state: &HttpState, request: &HttpRequest) -> Whom {
    Whom::at(state.access.client_ip(request))
}

fn refusal(retry_after: Duration) -> Problem {
    let seconds = whole_seconds(retry_after).max(1);
    Problem::too_many_requests(seconds, format!("too many requests; the next may come in {seconds} s"))
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
