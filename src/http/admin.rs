//! `/api/admin/cache`: for the operator (`ADMIN_TOKEN`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{Answer, HttpState, health::breaker_figures};

/// `DELETE /api/admin/cache`: empties the caches of all instances, and Redis in steps.
pub(super) async fn clear(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    state.operator.check(&request)?;
    let removed = state.catalogue.clear().await?;
    tracing::info!(removed, "an operator emptied the cache");
    Ok(HttpResponse::Ok().json(json!({"removed_from_redis": removed})))
}

/// `POST /api/admin/cache/breaker/reset`: uses Redis again at once.
pub(super) async fn reset_breaker(state: web::Data<HttpState>, request: HttpRequest) -> Answer {
    state.operator.check(&request)?;
    state.catalogue.cache().reset_breaker();
    Ok(HttpResponse::Ok().json(json!({"circuit_breaker": breaker_figures(&state.catalogue.cache().snapshot())})))
}
