//! The server: version, role, memory, connections, clock and pace. Most of it is said by `INFO`, which may be refused.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{HANGS, Session, is_forbidden};
use crate::{
    config::RedisForm,
    doctor::{
        examination::{Examination, Verdict},
        percentiles::Percentiles,
    },
    redis::{Figures, Info},
};

/// What needs `INFO`.
const WITH_INFO: &[&str] =
    &["redis.version", "redis.role", "redis.memory", "redis.eviction", "redis.persistence", "redis.clients"];
/// Older servers lack what is used.
const VERSION_MIN: (u32, u32) = (6, 2);
/// A cluster is used by sharded pub/sub.
const CLUSTER_VERSION_MIN: (u32, u32) = (7, 0);
/// A server that uses more of its memory is told of, and one that uses more than that is as good as full.
const MEMORY_HIGH: f64 = 0.8;
const MEMORY_FULL: f64 = 0.98;
/// The same for its connections.
const CLIENTS_HIGH: f64 = 0.8;
/// Connections of an instance besides the pool: one publishes, one is subscribed.
const BUS_CONNECTIONS: u64 = 2;
/// A clock that is further off is told of: lifetimes are counted by Redis' clock, tokens by ours.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// How many times an answer is waited for.
const PINGS: usize = 200;
/// A cached answer should come within a millisecond or so; from here on the distance is felt.
const P95_SLOW: Duration = Duration::from_millis(10);

pub(super) async fn examine(session: &Session, examination: &mut Examination) {
    let mut servers = Vec::new();
    examination.check("redis.info", HANGS, info(session, &mut servers)).await;
    if servers.is_empty() {
        examination.skip(WITH_INFO, "INFO says nothing about it");
    } else {
        let clustered = matches!(session.config.address.form, RedisForm::Cluster(_));
        examination.note("redis.version", version(&servers, clustered));
        examination.note("redis.role", role(&servers));
        examination.note("redis.memory", memory(&servers));
        examination.note("redis.eviction", eviction(&servers));
        examination.note("redis.persistence", persistence(&servers));
        examination.note("redis.clients", clients(&servers, session.pool_size as u64));
    }
    examination.check("redis.clock", HANGS, clock(session)).await;
    examination.check("redis.latency", HANGS, latency(session, examination.check_limit() / 2)).await;
}

async fn info(session: &Session, servers: &mut Vec<Info>) -> Verdict {
    match session.commands.info("default").await {
        Ok(texts) => {
            servers.extend(texts.iter().map(|text| Info::parse(text)));
            Verdict::passed(format!("{} server(s) tell their figures", servers.len()))
        }
        Err(fault) if is_forbidden(fault) => Verdict::warned(
            "INFO is not permitted: /api/health and /metrics have no figures of Redis, all else works",
            "grant `+info` with ACL SETUSER to the user in REDIS_URL, if you want them",
        ),
        Err(crate::redis::Fault::Other) => Verdict::warned(
            "the server has no INFO: /api/health and /metrics have no figures of Redis, all else works",
            "nothing, if it was renamed on purpose; else check that REDIS_URL leads to a Redis or Valkey server",
        ),
        Err(fault) => session.failed(fault),
    }
}

fn version(servers: &[Info], clustered: bool) -> Verdict {
    let needed = if clustered { CLUSTER_VERSION_MIN } else { VERSION_MIN };
    let Some(oldest) = servers.iter().filter_map(Info::version).min() else {
        return Verdict::skipped("the server does not tell its version");
    };
    let text = match servers.iter().find_map(|info| info.text("valkey_version")) {
        Some(valkey) => format!("Valkey {valkey}, which speaks Redis {}.{}", oldest.0, oldest.1),
        None => format!("Redis {}.{}", oldest.0, oldest.1),
    };
    if oldest >= needed {
        return Verdict::passed(text);
    }
    let remedy = format!("use Redis {}.{} or later, or Valkey, at REDIS_URL", needed.0, needed.1);
    Verdict::failed(format!("{text} is too old"), remedy)
}

fn role(servers: &[Info]) -> Verdict {
    match servers.iter().find(|info| info.text("role").is_some_and(|role| role != "master")) {
        Some(_) => Verdict::failed(
            "REDIS_URL leads to a read-only replica",
            "let REDIS_URL name the primary, or the Sentinels (redis-sentinel://)",
        ),
        None => Verdict::passed("a primary, which takes writes"),
    }
}

fn memory(servers: &[Info]) -> Verdict {
    let figures = Figures::of(servers);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let used = mib(figures.memory_used_bytes);
    let Some(ratio) = figures.memory_used_ratio else {
        return Verdict::passed(format!("{used:.1} MiB in use, without a limit (maxmemory)"));
    };
    let text = format!("{used:.1} MiB in use, {:.0} % of maxmemory where it is fullest", ratio * 100.0);
    let evicts = servers.iter().all(|info| info.text("maxmemory_policy").is_some_and(|policy| policy != "noeviction"));
    let remedy = "raise maxmemory on the server in REDIS_URL, or set maxmemory-policy allkeys-lru";
    match ratio {
        ratio if ratio >= MEMORY_FULL && !evicts => Verdict::failed(format!("{text}: it is full"), remedy),
        ratio if ratio > MEMORY_HIGH => Verdict::warned(text, remedy),
        _ => Verdict::passed(text),
    }
}

fn eviction(servers: &[Info]) -> Verdict {
    let figures = Figures::of(servers);
    let limited = servers.iter().any(|info| info.number("maxmemory").is_some_and(|limit| limit > 0));
    let policy = servers.iter().find_map(|info| info.text("maxmemory_policy")).unwrap_or("not told");
    let text = format!("maxmemory-policy {policy}, {} key(s) evicted since the server started", figures.evicted_keys);
    if policy == "noeviction" && limited {
        return Verdict::warned(
            format!("{text}: when memory is used up, sessions and the cache cannot be written"),
            "set maxmemory-policy allkeys-lru on the server in REDIS_URL: the hub keeps nothing there that may not go",
        );
    }
    Verdict::passed(text)
}

fn persistence(servers: &[Info]) -> Verdict {
    let failed = |name: &str| servers.iter().any(|info| info.text(name).is_some_and(|status| status != "ok"));
    if failed("rdb_last_bgsave_status") || failed("aof_last_write_status") {
        return Verdict::warned(
            "Redis could not save to its disk, and may refuse writes for that",
            "look at the log and the disk of the server in REDIS_URL, or switch saving off there: the hub does not need it",
        );
    }
    let saves = servers.iter().any(|info| info.number("aof_enabled") == Some(1));
    Verdict::passed(if saves { "it saves to its disk, which the hub does not need" } else { "the hub needs none" })
}

fn clients(servers: &[Info], pool_size: u64) -> Verdict {
    let fullest = servers.iter().filter_map(|info| {
        let (open, max) = (info.number("connected_clients")?, info.number("maxclients").filter(|max| *max > 0)?);
        Some((open, max))
    });
    let Some((open, max)) = fullest.max_by_key(|(open, max)| open.saturating_mul(1_000) / max) else {
        return Verdict::skipped("the server does not tell its maxclients");
    };
    let text = format!("{open} of {max} connections are open; each instance takes {}", pool_size + BUS_CONNECTIONS);
    if (open + pool_size + BUS_CONNECTIONS) as f64 > max as f64 * CLIENTS_HIGH {
        return Verdict::warned(text, "raise maxclients on the server in REDIS_URL, or lower REDIS_POOL_SIZE");
    }
    Verdict::passed(text)
}

async fn clock(session: &Session) -> Verdict {
    let begun = Instant::now();
    let theirs = match session.commands.time().await {
        Ok(theirs) => theirs,
        Err(fault) => return session.failed(fault),
    };
    let Ok(ours) = SystemTime::now().duration_since(UNIX_EPOCH) else {
        return Verdict::failed("the clock of this machine is before 1970", "set the clock of this machine");
    };
    // It looked at its clock somewhere in between.
    let ours = ours.saturating_sub(begun.elapsed() / 2);
    let skew = ours.abs_diff(theirs);
    let text = format!("its clock is {} ms from ours", skew.as_millis());
    if skew > SKEW_MAX {
        return Verdict::warned(text, "let both machines follow NTP; tokens and sessions may end too soon or too late");
    }
    Verdict::passed(text)
}

async fn latency(session: &Session, patience: Duration) -> Verdict {
    let (mut times, begun) = (Vec::with_capacity(PINGS), Instant::now());
    while times.len() < PINGS && begun.elapsed() < patience {
        match session.commands.ping().await {
            Ok(took) => times.push(took),
            Err(fault) => return session.failed(fault),
        }
    }
    let count = times.len();
    let Some(percentiles) = Percentiles::of(times) else { return Verdict::skipped("there was no time for it") };
    let text = format!("{count} pings: {percentiles}");
    if percentiles.p95 > P95_SLOW {
        return Verdict::warned(text, "run Redis near the hub, in the same zone; look at its SLOWLOG and load");
    }
    Verdict::passed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> [Info; 1] {
        [Info::parse(text)]
    }

    fn warns(verdict: Verdict, of: &str) {
        assert!(matches!(&verdict, Verdict::Warned(_, remedy) if remedy.contains(of)), "{verdict:?}");
    }

    fn fails(verdict: Verdict, of: &str) {
        assert!(matches!(&verdict, Verdict::Failed(_, remedy) if remedy.contains(of)), "{verdict:?}");
    }

    fn passes(verdict: Verdict) {
        assert!(matches!(verdict, Verdict::Passed(_)), "{verdict:?}");
    }

    #[test]
    fn old_servers_fail_and_a_cluster_needs_newer_ones() {
        fails(version(&servers("redis_version:6.0.20"), false), "6.2");
        passes(version(&servers("redis_version:6.2.0"), false));
        fails(version(&servers("redis_version:6.2.0"), true), "7.0");
        let valkey = version(&servers("redis_version:7.2.4\nvalkey_version:8.0.1"), true);
        assert_eq!(valkey, Verdict::passed("Valkey 8.0.1, which speaks Redis 7.2"));
        assert!(matches!(version(&servers("x:1"), false), Verdict::Skipped(_)));
    }

    #[test]
    fn memory_is_judged_by_what_happens_when_it_is_used_up() {
        let with = |used: u32, policy: &str| {
            servers(&format!("used_memory:{used}\nmaxmemory:1000\nmaxmemory_policy:{policy}"))
        };
        passes(memory(&with(500, "noeviction")));
        warns(memory(&with(900, "noeviction")), "maxmemory");
        fails(memory(&with(990, "noeviction")), "maxmemory");
        warns(memory(&with(990, "allkeys-lru")), "maxmemory");
        passes(memory(&servers("used_memory:990\nmaxmemory:0")));
        warns(eviction(&with(10, "noeviction")), "allkeys-lru");
        passes(eviction(&with(10, "allkeys-lfu")));
        passes(eviction(&servers("used_memory:990\nmaxmemory:0\nmaxmemory_policy:noeviction")));
    }

    #[test]
    fn replicas_disks_and_crowds_are_seen() {
        fails(role(&servers("role:slave")), "primary");
        passes(role(&servers("role:master")));
        warns(persistence(&servers("rdb_last_bgsave_status:err\naof_enabled:0")), "disk");
        passes(persistence(&servers("rdb_last_bgsave_status:ok\naof_enabled:1\naof_last_write_status:ok")));
        warns(clients(&servers("connected_clients:75\nmaxclients:100"), 10), "REDIS_POOL_SIZE");
        passes(clients(&servers("connected_clients:5\nmaxclients:10000"), 10));
        assert!(matches!(clients(&servers("connected_clients:5"), 10), Verdict::Skipped(_)));
    }
}
