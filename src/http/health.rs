//! `/health…`: for load balancers, monitors and people. Answered from flags that others set, so at once, even while the
//! database and Redis hang.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{Answer, HttpState, Problem};
use crate::health::{Health, Link, Links};

/// When a load balancer should look again.
const NOT_READY_RETRY_AFTER_S: u32 = 1;

/// `GET /health`: always 200 while the process answers; `status` is `healthy`, `degraded` (instances do not hear each
/// other) or `unhealthy` (nothing can be stored).
pub(super) async fn summary(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().json(figures(&state.health))
}

/// `GET /health/live`: the process answers.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

/// `GET /health/ready`: whether new clients should be sent here.
pub(super) async fn ready(state: web::Data<HttpState>) -> Answer {
    if state.health.is_draining() {
        return Err(Problem::unavailable(NOT_READY_RETRY_AFTER_S, "the hub is going away"));
    }
    if state.health.links().database == Link::Disconnected {
        return Err(Problem::unavailable(NOT_READY_RETRY_AFTER_S, "the database is disconnected"));
    }
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// `GET /health/cache`: nothing is cached yet, and the figures say so.
pub(super) async fn cache(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "not configured",
        "backend": "memory",
        "latency_ms": 0,
        "stats": {
            "hits": 0,
            "misses": 0,
            "hit_rate_percent": 0,
            "redis_available": state.health.links().redis == Link::Connected,
            "memory_cache_size": 0,
        },
    }))
}

/// `GET /api/health`: `/health` and the cache.
pub(super) async fn api(state: web::Data<HttpState>) -> HttpResponse {
    let mut figures = figures(&state.health);
    figures["cache"] = json!({
        "connected": false,
        "status": "not configured",
        "provider": "memory",
        "hits": 0,
        "misses": 0,
        "hit_rate": 0,
        "total_operations": 0,
        "circuit_breaker": {"state": "closed", "failures": 0, "successes": 0},
    });
    HttpResponse::Ok().json(figures)
}

fn figures(health: &Health) -> Value {
    let links = health.links();
    json!({
        "status": status(links),
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": health.uptime().as_secs(),
        "memory_bytes": memory_bytes(),
        "database": links.database.as_str(),
        "redis": links.redis.as_str(),
    })
}

fn status(links: Links) -> &'static str {
    match links {
        Links { database: Link::Disconnected, .. } => "unhealthy",
        Links { redis: Link::Disconnected, .. } => "degraded",
        _ => "healthy",
    }
}

/// Resident memory, `null` where the system does not tell. `status` gives it in kB; `statm` would give pages, whose size
/// differs between machines.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_part_names_the_status() {
        let status = |database, redis| status(Links { database, redis });
        assert_eq!(status(Link::Connected, Link::NotConfigured), "healthy");
        assert_eq!(status(Link::Connected, Link::Disconnected), "degraded");
        assert_eq!(status(Link::Disconnected, Link::Disconnected), "unhealthy");
    }

    #[test]
    fn memory_is_known_on_linux() {
        assert_eq!(memory_bytes().is_some_and(|bytes| bytes > 1024 * 1024), cfg!(target_os = "linux"));
    }
}
