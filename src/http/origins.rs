//! Pages of other origins: which may read the API's answers (CORS), and which may make a browser change something (CSRF).

use actix_cors::Cors;
use actix_web::{
    Error, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};

use super::{HttpState, Problem};
use crate::config::AllowedOrigins;

/// How long a browser remembers a preflight's answer, in seconds.
const PREFLIGHT_MAX_AGE_S: usize = 3600;

/// CORS: the listed origins with credentials, or with `*` everybody without.
pub(super) fn cors(allowed: &AllowedOrigins) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"])
        .expose_headers(["ETag", "Location", "Retry-After"])
        .expose_headers(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"])
        .max_age(PREFLIGHT_MAX_AGE_S);
    match allowed {
        AllowedOrigins::Any => cors.allow_any_origin().send_wildcard(),
        AllowedOrigins::Listed(origins) => {
            // `null` is not one page's origin but everybody's.
            let origins = origins.iter().filter(|origin| *origin != "null");
            origins.fold(cors.supports_credentials(), |cors, origin| cors.allowed_origin(origin))
        }
    }
}

/// Middleware: refuses a request that changes something and comes from a page that may not. (CORS keeps such a page from
/// reading the answer, not from sending.)
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let changes = !request.method().is_safe() && request.headers().contains_key(header::ORIGIN);
    let state = request.app_data::<web::Data<HttpState>>().filter(|_| changes);
    let checked = state.map_or(Ok(()), |state| state.access.check_origin(request.request()));
    match checked {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(error) => Ok(request.into_response(Problem::from(error).error_response())),
    }
}
