//! Routes that are read through the cache say so: `X-Cache`, `Server-Timing`, and an `ETag` by which a client that has the
//! answer already is told only that.

use actix_web::{
    Error,
    body::{BoxBody, MessageBody, to_bytes},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use sha2::{Digest as _, Sha256};

use crate::{
    cache::{Tier, Trace, traced},
    clock::{Duration, Instant},
};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// A browser may keep it, and must ask each time whether it is still so.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Middleware of a route whose `GET` is read through the cache.
pub(super) async fn cached(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let begun = Instant::now();
    let (response, trace) = traced(next.call(request)).await;
    let response = response?.map_into_boxed_body();
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let Ok(body) = to_bytes(body).await else { return Err(super::Problem::internal().into()) };
    let tag = entity_tag(&body);
    let took = begun.elapsed();
    let tier = trace.tier.unwrap_or(Tier::Miss);
    tracing::debug!(path = request.path(), cache = tier.as_str(), ?took, "read");

    let known = knows(request.headers(), &tag);
    let headers = response.headers_mut();
    headers.insert(X_CACHE, HeaderValue::from_static(tier.as_str()));
    headers.insert(header::CACHE_CONTROL, ASK_EACH_TIME);
    // Which of these are there decides what is answered.
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Cookie, Origin"));
    for (name, text) in [(header::ETAG, tag), (SERVER_TIMING, timing(trace, took))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    let response = if known {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.set_body(BoxBody::new(()))
    } else {
        response.set_body(BoxBody::new(body))
    };
    Ok(ServiceResponse::new(request, response))
}

/// A strong one: of the bytes.
fn entity_tag(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(body);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &hash[..16] {
        let written = write!(tag, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    tag.push('"');
    tag
}

/// Whether `If-None-Match` names it. It compares weakly (RFC 9110, 13.1.2): proxies that compress make strong tags weak.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let listed = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn timing(trace: Trace, took: Duration) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let tier = trace.tier.unwrap_or(Tier::Miss).as_str();
    let mut timing = format!("cache;desc=\"{tier}\", total;dur={:.3}", ms(took));
    for (name, time) in [("redis", trace.l2), ("db", trace.store)] {
        if !time.is_zero() {
            timing.push_str(&format!(", {name};dur={:.3}", ms(time)));
        }
    }
    timing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tag_is_found_in_any_form() {
        let tag = entity_tag(b"{}");
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
            knows(&headers, &tag)
        };
        assert!(asked(&tag) && asked("*") && asked(&format!("\"x\", W/{tag}")));
        assert!(!asked("\"x\"") && !asked("") && !knows(&HeaderMap::new(), &tag));
        assert_ne!(tag, entity_tag(b"[]"));
    }

    #[test]
    fn the_timing_names_what_was_asked() {
        let trace = Trace { tier: Some(Tier::L2), l2: Duration::from_micros(120), store: Duration::ZERO };
        assert_eq!(timing(trace, Duration::from_micros(250)), "cache;desc=\"l2\", total;dur=0.250, redis;dur=0.120");
    }
}
