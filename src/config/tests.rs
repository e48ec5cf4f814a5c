//! What settings are taken, which are refused, and that `.env.example` tells of all of them.

use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser};

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

/// What is made of these flags.
pub(crate) fn config(flags: &[&str]) -> Result<Config, String> {
    let command = Settings::augment_args(Command::new("hubbub")).mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["hubbub"].iter().chain(flags)).unwrap();
    Config::from_settings(&Settings::from_arg_matches(&matches).unwrap()).map_err(|faults| faults.to_string())
}

#[test]
fn the_defaults_are_a_local_hub_with_guests_and_without_redis() {
    let config = config(&[]).unwrap();
    assert!(config.access.allow_guests && config.redis.is_none());
    assert_eq!(config.room.presence_ttl, Duration::from_secs(30));
}

#[test]
fn all_faults_are_told_at_once_each_with_its_variable() {
    let text =
        config(&["--port", "http", "--heartbeat-interval-ms", "x", "--jwt-secret", "short", "--redis-url", "foo"])
            .unwrap_err();
    for variable in ["PORT", "HEARTBEAT_INTERVAL_MS", "JWT_SECRET", "REDIS_URL"] {
        assert!(text.contains(variable), "{variable} is missing in: {text}");
    }
}

#[test]
fn an_open_address_needs_auth_or_a_word() {
    assert!(config(&["--host", "0.0.0.0"]).unwrap_err().contains("ALLOW_GUESTS"));
    assert!(config(&["--host", "0.0.0.0", "--allow-guests", "true"]).unwrap().access.allow_guests);
    let secret = "s".repeat(32);
    assert!(!config(&["--host", "0.0.0.0", "--jwt-secret", &secret]).unwrap().access.allow_guests);
    assert!(config(&["--allow-guests", "false"]).unwrap_err().contains("JWT_SECRET"));
}

fn postgres(url: &str) -> Result<PostgresAddress, String> {
    let location = config(&["--database-url", url])?.database.location;
    let DatabaseLocation::Postgres(address) = location else { panic!("not PostgreSQL: {location}") };
    Ok(address)
}

#[test]
fn the_database_is_a_file_or_a_server() {
    for (url, path) in [("sqlite:a/b.db", "a/b.db"), ("sqlite://a.db", "a.db"), ("sqlite:///a.db", "/a.db")] {
        assert_eq!(config(&["--database-url", url]).unwrap().database.location.to_string(), path);
    }
    for (url, name) in [
        ("postgres://u:p@h:7/d", "PostgreSQL at h:7, database d"),
        ("postgresql://h/d", "PostgreSQL at h:5432, database d"),
        ("postgres://u:p%40ss@%2Frun%2Fpg/d", "PostgreSQL at /run/pg:5432, database d"),
        ("postgres:///d?host=/run/pg&port=7&user=u", "PostgreSQL at /run/pg:7, database d"),
        ("postgres://u@[::1]", "PostgreSQL at [::1]:5432, database by default"),
    ] {
        assert_eq!(postgres(url).unwrap().name, name, "{url}");
    }
    for bad in ["", "sqlite:", "mysql://h/d", "postgres:h", "postgres://a,b:1/d", "postgres://u:p#x@h/d", "a.db"] {
        assert!(config(&["--database-url", bad]).unwrap_err().contains("DATABASE_URL: "), "{bad}");
    }
}

#[test]
fn tls_is_as_libpq_has_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ca = file.path().to_str().unwrap();
    let tls =
        |query: &str| postgres(&format!("postgres://h/d?{query}")).map(|address| (address.tls, address.root_cert));
    for (query, mode) in [
        ("", None),
        ("sslmode=disable", Some(TlsMode::Disable)),
        ("sslmode=allow", Some(TlsMode::Allow)),
        ("sslmode=prefer", Some(TlsMode::Prefer)),
        ("sslmode=require&channel_binding=require&connect_timeout=5", Some(TlsMode::Require)),
        ("sslmode=verify-ca", Some(TlsMode::VerifyCa)),
        ("sslmode=verify-full", Some(TlsMode::VerifyFull)),
        ("sslrootcert=system", Some(TlsMode::VerifyFull)),
    ] {
        assert_eq!(tls(query), Ok((mode, None)), "{query}");
    }
    let with_ca = |query: &str| tls(&format!("{query}&sslrootcert={ca}")).unwrap();
    assert_eq!(with_ca("sslmode=require"), (Some(TlsMode::VerifyCa), Some(ca.into())));
    assert_eq!(with_ca("sslmode=verify-full"), (Some(TlsMode::VerifyFull), Some(ca.into())));
    for bad in ["sslmode=", "sslmode=REQUIRE", "ssl=true", "sslmode=require&sslrootcert=system", "sslrootcert=/no/file"]
    {
        assert!(tls(bad).is_err(), "{bad}");
    }
    // What is passed on is what the library knows, and nothing that it would print.
    let url = "postgres://u:p@h/d?sslmode=require&pgbouncer=true&application_name=x%20y&options=-c%20geqo%3Doff";
    let passed = postgres(url).unwrap().url.expose().to_owned();
    assert_eq!(passed, "postgres://u:p@h/d?application_name=x+y&options=-c+geqo%3Doff");
    assert_eq!(postgres("postgres://u:p@h/d?sslmode=require").unwrap().url.expose(), "postgres://u:p@h/d");
}

#[test]
fn no_secret_is_printed() {
    let secret = "hunter2".repeat(6);
    let database = ["--database-url", "postgres://u:hunter2@h/d?password=hunter2"];
    let checked =
        config(&[&["--jwt-secret", &secret, "--redis-url", "redis://u:hunter2@h"], &database[..]].concat()).unwrap();
    assert!(!format!("{checked:?}").contains("hunter2"));
    assert!(!checked.database.location.to_string().contains("hunter2"));
    for bad in ["postgres://u:hunter2@h:x/d", "postgres://u:hunter2@h/d?passwort=hunter2", "pg://u:hunter2@h/d"] {
        let faults = config(&["--database-url", bad]).unwrap_err();
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    let faults = config(&["--redis-url", "http://u:hunter2@h"]).unwrap_err();
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn env_example_lists_every_setting_with_its_default() {
    let example = include_str!("../../.env.example");
    for arg in Flags::command().get_arguments() {
        let Some(variable) = arg.get_env().and_then(|name| name.to_str()) else { continue };
        let default = arg.get_default_values().first().and_then(|value| value.to_str()).unwrap_or_default();
        let line = format!("#{variable}={default}");
        assert!(example.lines().any(|found| found == line), ".env.example lacks the line {line}");
    }
}

#[test]
fn figures_are_open_on_a_loopback_address_and_else_for_a_token_only() {
    let secret = "s".repeat(32);
    let metrics = |flags: &[&str]| config(&[&["--jwt-secret", &secret], flags].concat()).map(|config| config.metrics);
    assert_eq!(metrics(&[]), Ok(MetricsAccess::Open));
    assert_eq!(metrics(&["--host", "0.0.0.0"]), Ok(MetricsAccess::Closed));
    for host in ["127.0.0.1", "0.0.0.0"] {
        let shown = metrics(&["--host", host, "--metrics-token", &secret]).unwrap();
        assert!(matches!(&shown, MetricsAccess::Token(token) if token.expose() == secret), "{shown:?}");
        assert!(!format!("{shown:?}").contains(&secret));
    }
    assert!(metrics(&["--metrics-token", "short"]).unwrap_err().contains("METRICS_TOKEN"));
}
