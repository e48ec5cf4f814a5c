//! What is kept of what was read: how much, how long, and when Redis is left alone.

use std::time::Duration;

use super::{Faults, Settings};

/// The read cache.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Otherwise everything is read from the database.
    pub enabled: bool,
    /// Memory for L1, as it is counted.
    pub l1_bytes_max: u64,
    /// Entries in L1.
    pub l1_entries_max: u64,
    /// Larger values are not kept.
    pub value_bytes_max: usize,
    /// Values in Redis are compressed from this size on.
    pub compress_from_bytes: usize,
    /// How long an answer of Redis is waited for.
    pub l2_timeout: Duration,
    /// Failures in a row that open the circuit breaker.
    pub breaker_failures: u32,
    /// How long it stays open.
    pub breaker_rest: Duration,
    /// Successes in a row that close it.
    pub breaker_successes: u32,
    /// Projects brought back at the start.
    pub warm_projects: usize,
    /// How long, by what it is.
    pub lifetimes: CacheLifetimes,
}

/// How long something is kept at most, before jitter.
#[derive(Debug, Clone)]
pub struct CacheLifetimes {
    /// Projects, roles, the places of rooms.
    pub access: Duration,
    /// Lists of projects.
    pub projects: Duration,
    /// Lists of rooms.
    pub rooms: Duration,
    /// The newest page of a room's messages.
    pub history: Duration,
    /// Pages of messages that can never change.
    pub old_history: Duration,
    /// What a search found.
    pub search: Duration,
    /// Profiles.
    pub profiles: Duration,
}

pub(super) fn check(settings: &Settings, faults: &mut Faults) -> CacheConfig {
    const GIB: u64 = 1024 * 1024 * 1024;
    const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;
    let mut lifetime = |variable, text: &str| faults.millis(variable, text, 1, WEEK_MS);
    let lifetimes = CacheLifetimes {
        access: lifetime("CACHE_TTL_ACCESS_MS", &settings.cache_ttl_access_ms),
        projects: lifetime("CACHE_TTL_PROJECTS_MS", &settings.cache_ttl_projects_ms),
        rooms: lifetime("CACHE_TTL_ROOMS_MS", &settings.cache_ttl_rooms_ms),
        history: lifetime("CACHE_TTL_HISTORY_MS", &settings.cache_ttl_history_ms),
        old_history: lifetime("CACHE_TTL_OLD_HISTORY_MS", &settings.cache_ttl_old_history_ms),
        search: lifetime("CACHE_TTL_SEARCH_MS", &settings.cache_ttl_search_ms),
        profiles: lifetime("CACHE_TTL_PROFILES_MS", &settings.cache_ttl_profiles_ms),
    };
    CacheConfig {
        enabled: faults.flag("CACHE_ENABLED", &settings.cache_enabled),
        l1_bytes_max: faults.number("CACHE_MEMORY_MAX_BYTES", &settings.cache_memory_max_bytes, 1024, 64 * GIB),
        l1_entries_max: faults.number("CACHE_MEMORY_MAX_ENTRIES", &settings.cache_memory_max_entries, 1, 100_000_000),
        value_bytes_max: faults.number("CACHE_MAX_VALUE_BYTES", &settings.cache_max_value_bytes, 64, 256 << 20),
        compress_from_bytes: faults.number("CACHE_COMPRESS_BYTES", &settings.cache_compress_bytes, 0, usize::MAX),
        l2_timeout: faults.millis("CACHE_REDIS_TIMEOUT_MS", &settings.cache_redis_timeout_ms, 1, 60_000),
        breaker_failures: faults.number("CACHE_BREAKER_FAILURES", &settings.cache_breaker_failures, 1, 1_000_000),
        breaker_rest: faults.millis("CACHE_BREAKER_REST_MS", &settings.cache_breaker_rest_ms, 1, WEEK_MS),
        breaker_successes: faults.number("CACHE_BREAKER_SUCCESSES", &settings.cache_breaker_successes, 1, 1_000_000),
        warm_projects: faults.number("CACHE_WARM_PROJECTS", &settings.cache_warm_projects, 0, 10_000),
        lifetimes,
    }
}
