//! Middleware: counts requests and their time by route.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
    middleware::Next,
};
use metrics::{counter, histogram};

use crate::{clock::Instant, count};

/// Counts a request under the pattern of its route: what a client chooses (a path, a made-up method) must not become a
/// label.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let method = known(request.method());
    let outcome = next.call(request).await;
    let (route, status) = match &outcome {
        Ok(response) => (response.request().match_pattern(), response.status()),
        Err(error) => (None, error.as_response_error().status_code()),
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        count!("hubbub_rate_limited_total", "at" => "http");
    }
    let route = route.unwrap_or_else(|| "none".to_owned());
    histogram!("hubbub_http_request_seconds", "route" => route.clone()).record(begun.elapsed().as_secs_f64());
    let status = status.as_u16().to_string();
    counter!("hubbub_http_requests_total", "method" => method, "route" => route, "status" => status).increment(1);
    outcome
}

fn known(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.iter().zip(names).find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}
