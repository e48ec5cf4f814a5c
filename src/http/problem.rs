//! Problem documents (RFC 9457): the one form in which an HTTP request is refused.
//!
//! Handlers return a [`Problem`]; errors of the other modules become one in `translation`; what the framework refuses by
//! itself is turned into one by [`finish_problems`] on its way out. `detail` is for people and says what to change; it
//! never holds a token, a query string or anything of the hub's inside.

use std::{borrow::Cow, fmt};

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
};
use serde::Serialize;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refused request.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    /// The end of `type`, a word of its own for each cause that a program may tell apart.
    code: &'static str,
    detail: Cow<'static, str>,
    /// The parameter, field or header at fault.
    parameter: Option<&'static str>,
    /// `WWW-Authenticate`.
    challenge: Option<&'static str>,
    /// `Retry-After`, in seconds.
    retry_after_s: Option<u32>,
    /// The path that was asked for.
    instance: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self { status, code, detail, parameter: None, challenge: None, retry_after_s: None, instance: None }
    }

    /// 400: the request as a whole is not understood.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 400: a parameter of the path or query, a field of the body or a header breaks its rule.
    pub fn bad_parameter(name: &'static str, rule: impl fmt::Display) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "bad_parameter", format!("`{name}`: {rule}"));
        Self { parameter: Some(name), ..problem }
    }

    /// 401: nobody in particular asked; `challenge` is for `WWW-Authenticate`.
    pub fn unauthorized(challenge: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail) }
    }

    /// 403: whoever asks may see it, but not do that.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: not there, or not for whoever asks.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 409: what is there already stands in the way.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 413: over a limit.
    pub fn too_large(what: &str, bytes_max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("{what} is over {bytes_max} bytes"))
    }

    /// 429: over a limit that has room again later.
    pub fn too_many_requests(retry_after_s: u32, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// 501: this hub is not set up for it.
    pub fn not_implemented(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", detail)
    }

    /// 503: the same request may succeed later.
    pub fn unavailable(retry_after_s: u32, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// 500: the hub's own fault, of which nothing is told.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the hub failed to answer; its log says why")
    }

    /// Any other refusal, in the words of its status.
    pub fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::BAD_REQUEST => ("bad_request", "the request is not understood"),
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "see the `Allow` header for what can be done here")
            }
            StatusCode::REQUEST_TIMEOUT => ("timeout", "the request took too long to arrive"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "a body is `application/json` in UTF-8"),
            status if status.is_server_error() => return Self { status, ..Self::internal() },
            _ => ("refused", "the request was refused"),
        };
        Self::new(status, code, detail)
    }

    /// The problem, at the path that was asked for.
    pub fn at(self, path: &str) -> Self {
        Self { instance: Some(path.into()), ..self }
    }

    fn document(&self) -> String {
        let document = Document {
            r#type: format!("urn:hubbub:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            parameter: self.parameter,
            instance: self.instance.as_deref(),
        };
        serde_json::to_string(&document).unwrap_or_default() // strings and a number: cannot fail
    }
}

/// The members of the document; `parameter` is an extension of ours.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, MEDIA_TYPE));
        if let Some(challenge) = self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        let mut response = response.body(self.document());
        response.extensions_mut().insert(self.clone()); // for `finish_problems`, which knows the path
        response
    }
}

/// Middleware: every refusal that leaves is a problem document and names the path that was asked for, also those that the
/// framework or another middleware made.
pub(super) async fn finish_problems(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let problem = response.response().extensions().get::<Problem>().cloned();
    let document = problem.unwrap_or_else(|| Problem::of_status(status)).at(response.request().path()).document();
    Ok(response.map_body(|head, _| {
        head.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
        BoxBody::new(document)
    }))
}
