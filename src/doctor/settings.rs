//! What the settings mean together: each is valid, or the doctor would not have been called.

use super::examination::{Examination, Verdict};
use crate::config::{AllowedOrigins, Config, DatabaseLocation, MetricsAccess, RedisTrust};

/// Fewer open files than this are soon used up: each connection is one.
const FILES_FEW: u64 = 4_096;

pub(super) fn examine(config: &Config, examination: &mut Examination) {
    examination.note("settings.guests", guests(config));
    examination.note("settings.tokens", tokens(config));
    examination.note("settings.origins", origins(config));
    examination.note("settings.metrics", metrics(config));
    examination.note("settings.instances", instances(config));
    examination.note("settings.trust", trust(config));
    examination.note("settings.files", files(open_files_max()));
}

fn guests(config: &Config) -> Verdict {
    let (guests, open) = (config.access.allow_guests, !config.listen.host.is_loopback());
    match (guests, open) {
        (true, true) => Verdict::warned(
            format!("anybody who reaches {} may join by name alone and make rooms", config.listen.host),
            "set ALLOW_GUESTS=false and JWT_SECRET, unless that is what you want",
        ),
        (true, false) => {
            Verdict::passed("people may join by name alone, from this machine (HOST is a loopback address)")
        }
        (false, _) => Verdict::passed("nobody joins by name alone"),
    }
}

fn tokens(config: &Config) -> Verdict {
    match (&config.access.jwt_secret, config.access.allow_guests) {
        (Some(_), _) => Verdict::passed("tokens of your app are taken (JWT_SECRET)"),
        (None, true) => Verdict::skipped("no JWT_SECRET: only guests connect, nobody owns a project"),
        (None, false) => Verdict::failed("nobody can connect", "set JWT_SECRET, or ALLOW_GUESTS=true"),
    }
}

fn origins(config: &Config) -> Verdict {
    match &config.access.allowed_origins {
        AllowedOrigins::Any => Verdict::warned(
            "pages of any web site may connect in the name of their visitors",
            "list the origins of your app in ALLOWED_ORIGINS instead of *",
        ),
        AllowedOrigins::Listed(origins) if origins.is_empty() => {
            Verdict::passed("only the hub's own pages connect from browsers (ALLOWED_ORIGINS is empty)")
        }
        AllowedOrigins::Listed(origins) => Verdict::passed(format!("pages of {} connect", origins.join(", "))),
    }
}

fn metrics(config: &Config) -> Verdict {
    match config.metrics {
        MetricsAccess::Token(_) => Verdict::passed("/metrics asks for METRICS_TOKEN"),
        MetricsAccess::Open => Verdict::passed("/metrics is open on this machine (HOST is a loopback address)"),
        MetricsAccess::Closed => Verdict::skipped("/metrics is closed: set METRICS_TOKEN to be able to watch the hub"),
    }
}

fn instances(config: &Config) -> Verdict {
    match (&config.redis, &config.database.location) {
        (None, _) => Verdict::passed("one instance on its own: no Redis is configured"),
        (Some(_), DatabaseLocation::Postgres(_)) => {
            Verdict::passed("several instances on any machines: Redis and PostgreSQL")
        }
        (Some(_), DatabaseLocation::Sqlite(_)) => Verdict::warned(
            "with a SQLite file all instances must run on this machine",
            "let DATABASE_URL name a PostgreSQL server to run instances on several",
        ),
    }
}

fn trust(config: &Config) -> Verdict {
    match &config.redis {
        Some(redis) if redis.address.tls && redis.trust == RedisTrust::Anybody => Verdict::warned(
            "the certificate of Redis is not checked: somebody in the middle could read all",
            "set REDIS_TLS_CA_FILE to its authority and leave REDIS_TLS_VERIFY out",
        ),
        _ => Verdict::passed("certificates are checked wherever TLS is used"),
    }
}

/// What a process may have open at once, as the system says.
fn open_files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

fn files(max: Option<u64>) -> Verdict {
    match max {
        Some(max) if max < FILES_FEW => Verdict::warned(
            format!("only {max} files and sockets may be open, and each connection is one"),
            "raise the limit for the hub: ulimit -n 65536, or LimitNOFILE=65536 in its systemd unit",
        ),
        Some(max) => Verdict::passed(format!("{max} files and sockets may be open at once, seen from here")),
        None => Verdict::skipped("the system does not tell how many files may be open"),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;
    use crate::config::Settings;

    fn config(flags: &[&str]) -> Config {
        let command = Settings::augment_args(Command::new("hubbub")).mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from(["hubbub"].iter().chain(flags)).unwrap();
        Config::from_settings(&Settings::from_arg_matches(&matches).unwrap()).unwrap()
    }

    fn warns(verdict: Verdict, of: &str) {
        assert!(matches!(&verdict, Verdict::Warned(_, remedy) if remedy.contains(of)), "{verdict:?}");
    }

    #[test]
    fn what_is_open_to_all_is_warned_of() {
        let open = config(&["--host", "0.0.0.0", "--allow-guests", "true", "--allowed-origins", "*"]);
        warns(guests(&open), "ALLOW_GUESTS");
        warns(origins(&open), "ALLOWED_ORIGINS");
        assert!(matches!(metrics(&open), Verdict::Skipped(_)));
        let local = config(&[]);
        assert!(
            [guests(&local), origins(&local), metrics(&local), instances(&local), trust(&local)]
                .iter()
                .all(|verdict| matches!(verdict, Verdict::Passed(_)))
        );
    }

    #[test]
    fn a_file_for_several_instances_is_warned_of() {
        warns(instances(&config(&["--redis-url", "redis://h"])), "DATABASE_URL");
        warns(trust(&config(&["--redis-url", "rediss://h", "--redis-tls-verify", "false"])), "REDIS_TLS_CA_FILE");
        let both = config(&["--redis-url", "redis://h", "--database-url", "postgres://h/d"]);
        assert!(matches!(instances(&both), Verdict::Passed(_)));
    }

    #[test]
    fn few_files_are_warned_of() {
        warns(files(Some(1_024)), "ulimit");
        assert!(matches!(files(Some(65_536)), Verdict::Passed(_)) && matches!(files(None), Verdict::Skipped(_)));
    }
}
