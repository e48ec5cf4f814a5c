//! Every figure the hub tells, with its labels and meaning: what `/metrics` describes and docs/metrics.md lists.

use metrics::Unit;

/// How a figure behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows; starts at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size; the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// A figure.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// The names of its labels; each has few values, none of which a client can choose.
    pub labels: &'static [&'static str],
    /// One sentence for operators.
    pub help: &'static str,
}

/// Seconds of things that cross a process: from half a millisecond to ten seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds of answers that mostly come from memory.
const QUICK_SECONDS: &[f64] =
    &[0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Messages of one commit; the last bound is the most a commit takes.
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 256.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, help }
}

const fn gauge(name: &'static str, unit: Unit, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram(SECONDS), unit: Unit::Seconds, labels, help }
}

/// All of them, in the order of docs/metrics.md.
pub const METRICS: &[Metric] = &[
    // --- the process ---
    gauge("hubbub_build_info", Unit::Count, &["version"], "1, with the version that runs"),
    gauge("hubbub_uptime_seconds", Unit::Seconds, &[], "Time since the start"),
    gauge("hubbub_draining", Unit::Count, &[], "1 while the hub stops and sends its clients away"),
    // --- connections ---
    gauge("hubbub_connections", Unit::Count, &[], "Open WebSocket connections"),
    counter("hubbub_connections_opened_total", &[], "WebSocket connections that began"),
    counter(
        "hubbub_connections_closed_total",
        &["code"],
        "WebSocket connections that ended, by close code; `none` when the peer vanished without one",
    ),
    counter("hubbub_upgrades_refused_total", &["reason"], "WebSocket handshakes that were refused"),
    gauge("hubbub_connections_lagging", Unit::Count, &[], "Connections that wait for so much that cursors are skipped"),
    gauge("hubbub_outbox_bytes", Unit::Bytes, &[], "Bytes that wait for all connections together"),
    // --- what clients send ---
    counter("hubbub_frames_received_total", &["type"], "Frames from clients that were understood"),
    counter("hubbub_frames_refused_total", &["code"], "Frames from clients answered with an error, by its code"),
    counter("hubbub_joins_total", &["outcome"], "Joins of rooms: `granted`, `forbidden`, `not_found`, `unavailable`"),
    // --- rooms ---
    gauge("hubbub_rooms", Unit::Count, &[], "Rooms that run on this instance"),
    gauge(
        "hubbub_presence_members",
        Unit::Count,
        &[],
        "People in these rooms, on all instances; who is in two rooms counts twice",
    ),
    gauge("hubbub_rooms_with_hole", Unit::Count, &[], "Rooms that know of a message they do not have"),
    counter("hubbub_holes_found_total", &[], "Times that a room learned of a message before it had it"),
    counter("hubbub_holes_healed_total", &[], "Such holes that were filled, by the bus or from the store"),
    counter("hubbub_hole_reads_total", &[], "Times that a room read from the store what it may have missed"),
    counter("hubbub_room_reads_total", &[], "Times that a room read messages from the store, for whatever reason"),
    counter("hubbub_compare_notes_total", &[], "Times that a room compared all with the others: the bus came back"),
    counter("hubbub_rooms_died_total", &[], "Rooms that ended by a fault of the hub; their members resumed"),
    // --- messages ---
    counter("hubbub_messages_accepted_total", &[], "Durable messages handed to the store's writer"),
    counter("hubbub_messages_acked_total", &[], "Durable messages stored and acknowledged"),
    counter("hubbub_messages_duplicate_total", &[], "Retries of messages that were stored before"),
    counter(
        "hubbub_messages_refused_total",
        &["reason"],
        "Durable messages that were not stored: `rate_limited`, `unavailable`, `no_room`, `broken`",
    ),
    seconds("hubbub_message_ack_seconds", &[], "From the arrival of a message in its room to its acknowledgement"),
    seconds("hubbub_append_seconds", &[], "One commit of messages"),
    Metric {
        name: "hubbub_append_batch_messages",
        kind: Kind::Histogram(BATCH),
        unit: Unit::Count,
        labels: &[],
        help: "Messages of one commit",
    },
    counter("hubbub_append_failures_total", &[], "Commits of messages that failed"),
    gauge("hubbub_append_waiting_messages", Unit::Count, &[], "Messages accepted and not yet answered"),
    gauge("hubbub_append_waiting_bytes", Unit::Bytes, &[], "Their bytes"),
    // --- out ---
    counter("hubbub_deliveries_total", &[], "Frames of rooms put into connections' queues"),
    counter(
        "hubbub_readers_fell_behind_total",
        &[],
        "Times that a room began to skip a connection because too much waited for it",
    ),
    counter("hubbub_cursor_frames_total", &[], "Cursor frames that rooms made, each for all their members"),
    Metric {
        name: "hubbub_sent_bytes_total",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &[],
        help: "Bytes of frames handed to WebSockets",
    },
    // --- the bus and Redis ---
    gauge("hubbub_bus_up", Unit::Count, &[], "1 while instances hear each other; 0 also without Redis"),
    gauge("hubbub_redis_configured", Unit::Count, &[], "1 when the hub is to use Redis"),
    counter("hubbub_bus_published_total", &[], "Texts published to other instances"),
    counter("hubbub_bus_dropped_total", &[], "Texts not published because too many were under way; rooms healed"),
    counter("hubbub_bus_received_total", &[], "Texts received from the bus, this instance's own included"),
    counter("hubbub_bus_lagged_total", &[], "Texts lost because the hub was behind Redis; rooms healed"),
    counter("hubbub_bus_lost_total", &[], "Times that instances ceased to hear each other"),
    counter("hubbub_redis_reconnects_total", &[], "Times that the subscribed connection was made"),
    counter("hubbub_redis_faults_total", &["fault"], "Faults of Redis that the log tells of"),
    gauge("hubbub_redis_figures", Unit::Count, &[], "1 while Redis tells the figures below; 0 when INFO is refused"),
    gauge("hubbub_redis_memory_used_bytes", Unit::Bytes, &[], "Memory that Redis uses; all primaries together"),
    gauge("hubbub_redis_memory_max_bytes", Unit::Bytes, &[], "Its maxmemory; 0 when there is no limit"),
    gauge(
        "hubbub_redis_memory_used_ratio",
        Unit::Count,
        &[],
        "Used memory by maxmemory on the fullest primary, 0 to 1; 0 without a limit",
    ),
    counter("hubbub_redis_evicted_keys_total", &[], "Keys that Redis evicted for want of memory while the hub looked"),
    counter("hubbub_redis_commands_total", &[], "Commands that Redis processed while the hub looked, of all clients"),
    counter("hubbub_redis_keyspace_hits_total", &[], "Keys that were asked for and found while the hub looked"),
    counter("hubbub_redis_keyspace_misses_total", &[], "Keys that were asked for in vain while the hub looked"),
    gauge("hubbub_redis_connected_clients", Unit::Count, &[], "Connections to Redis, of all clients"),
    gauge("hubbub_redis_commands_per_second", Unit::CountPerSecond, &[], "Commands per second as Redis counts them"),
    // --- the database ---
    gauge("hubbub_database_up", Unit::Count, &[], "1 while the database answers"),
    seconds("hubbub_database_ping_seconds", &[], "A small query, made every two seconds"),
    counter("hubbub_database_ping_failures_total", &[], "Such queries that failed or took too long"),
    counter("hubbub_store_queries_total", &["call"], "Calls of the database, by what was asked"),
    // --- the cache ---
    counter(
        "hubbub_cache_requests_total",
        &["tier", "outcome", "class"],
        "What was looked for in the cache: `hit` in tier `l1` or `l2`, `miss` in `l2`, then `load` (or `bypass`, while \
         the cache may not be used) from the `store`",
    ),
    Metric {
        name: "hubbub_cache_seconds",
        kind: Kind::Histogram(QUICK_SECONDS),
        unit: Unit::Seconds,
        labels: &["tier"],
        help: "How long an answer took, by where it was found",
    },
    // --- HTTP ---
    counter(
        "hubbub_http_requests_total",
        &["method", "route", "status"],
        "HTTP requests; `route` is the pattern, `none` when there is no such route",
    ),
    counter(
        "hubbub_rate_limited_total",
        &["at"],
        "Requests and frames refused because they came too fast: at `http` (429) or on a `socket`",
    ),
    seconds("hubbub_http_request_seconds", &["route"], "From an HTTP request to the head of its answer"),
];

/// The figure of this name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}
