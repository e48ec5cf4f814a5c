//! `/health…`: for load balancers, monitors and people. Answered from flags that others set, so at once, even while the
//! database and Redis hang.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{Answer, HttpState, Problem};
use crate::{
    cache::Snapshot,
    clock::Duration,
    health::{Health, Link, Links},
    redis::Seen,
    telemetry::ProcessFigures,
};

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

/// `GET /health/cache`: from memory, without asking Redis. `latency_ms` is what Redis took the last time.
pub(super) async fn cache(state: web::Data<HttpState>) -> HttpResponse {
    let cache = state.catalogue.cache().snapshot();
    HttpResponse::Ok().json(json!({
        "status": cache_status(&cache),
        "backend": backend(&cache),
        "latency_ms": ms(cache.latency),
        "stats": {
            "hits": cache.hits(),
            "misses": cache.misses,
            "hit_rate_percent": cache.hit_rate_percent(),
            "redis_available": cache.redis_available,
            "memory_cache_size": cache.entries,
            "memory_cache_bytes": cache.bytes,
            "l1_hits": cache.l1_hits,
            "l2_hits": cache.l2_hits,
            "database_reads": state.catalogue.store_reads(),
        },
        "circuit_breaker": breaker_figures(&cache),
    }))
}

/// `GET /api/health`: `/health`, the cache, and what Redis says of itself. No address, user or key is in any of it.
pub(super) async fn api(state: web::Data<HttpState>) -> HttpResponse {
    let mut figures = figures(&state.health);
    figures["redis_figures"] = redis_figures(state.instruments.redis.seen());
    let cache = state.catalogue.cache().snapshot();
    figures["cache"] = json!({
        "connected": cache.redis_available,
        "status": cache_status(&cache),
        "provider": backend(&cache),
        "hits": cache.hits(),
        "misses": cache.misses,
        "hit_rate": cache.hit_rate_percent(),
        "total_operations": cache.hits() + cache.misses,
        "circuit_breaker": breaker_figures(&cache),
    });
    HttpResponse::Ok().json(figures)
}

/// The worst that is true of it.
fn cache_status(cache: &Snapshot) -> &'static str {
    match cache {
        Snapshot { enabled: false, .. } => "off",
        Snapshot { fresh: false, .. } => "bypassed",
        Snapshot { has_redis: true, redis_available: false, .. } => "degraded",
        _ => "healthy",
    }
}

fn backend(cache: &Snapshot) -> &'static str {
    if cache.has_redis { "redis" } else { "memory" }
}

pub(super) fn breaker_figures(cache: &Snapshot) -> Value {
    let (state, failures, successes) = cache.breaker;
    json!({"state": state.as_str(), "failures": failures, "successes": successes})
}

fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn figures(health: &Health) -> Value {
    let links = health.links();
    let mut figures = json!({
        "status": status(links),
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": health.uptime().as_secs(),
        "memory_bytes": ProcessFigures::memory_now(),
        "database": links.database.as_str(),
        "redis": links.redis.as_str(),
    });
    if let Some(fault) = health.redis_fault() {
        figures["redis_fault"] = fault.into();
    }
    figures
}

fn status(links: Links) -> &'static str {
    match links {
        Links { database: Link::Disconnected, .. } => "unhealthy",
        Links { redis: Link::Disconnected, .. } => "degraded",
        _ => "healthy",
    }
}

/// What Redis says of itself, as it was asked last. `state` says why there are no figures.
fn redis_figures(seen: Seen) -> Value {
    let Seen::Known(figures, at) = seen else {
        let state = match seen {
            Seen::NotConfigured => "not configured",
            Seen::Refused => "refused",
            Seen::NotNow | Seen::Known(..) => "unavailable",
        };
        return json!({"state": state});
    };
    let percent = |share: f64| (share * 10_000.0).round() / 100.0;
    json!({
        "state": "known",
        "age_seconds": at.elapsed().as_secs(),
        "memory_used_bytes": figures.memory_used_bytes,
        "memory_max_bytes": Some(figures.memory_max_bytes).filter(|max| *max > 0),
        "memory_used_percent": figures.memory_used_ratio.map(percent),
        "evicted_keys": figures.evicted_keys,
        "connected_clients": figures.connected_clients,
        "commands_per_second": figures.commands_per_second,
        "hit_rate_percent": figures.hit_rate_percent().map(|rate| percent(rate / 100.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Instant,
        redis::{Figures, Info},
    };

    #[test]
    fn the_worse_part_names_the_status() {
        let status = |database, redis| status(Links { database, redis });
        assert_eq!(status(Link::Connected, Link::NotConfigured), "healthy");
        assert_eq!(status(Link::Connected, Link::Disconnected), "degraded");
        assert_eq!(status(Link::Disconnected, Link::Disconnected), "unhealthy");
    }

    #[test]
    fn redis_figures_say_what_is_known_and_why_nothing_is() {
        let info = Info::parse("used_memory:512\nmaxmemory:2048\nevicted_keys:3\nkeyspace_hits:2\nkeyspace_misses:1");
        let known = redis_figures(Seen::Known(Figures::of(&[info]), Instant::now()));
        assert_eq!((&known["state"], &known["memory_used_percent"]), (&json!("known"), &json!(25.0)));
        assert_eq!((&known["hit_rate_percent"], &known["evicted_keys"]), (&json!(66.67), &json!(3)));
        let unlimited = redis_figures(Seen::Known(Figures::of(&[Info::parse("used_memory:5")]), Instant::now()));
        assert_eq!((&unlimited["memory_max_bytes"], &unlimited["memory_used_percent"]), (&Value::Null, &Value::Null));
        assert_eq!(redis_figures(Seen::Refused), json!({"state": "refused"}));
    }
}
