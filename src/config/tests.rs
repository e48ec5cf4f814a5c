//! What settings are taken, which are refused, and that `.env.example` tells of all of them.

use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser};

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn config(flags: &[&str]) -> Result<Config, String> {
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

#[test]
fn redis_comes_from_a_url_or_from_parts_and_can_be_switched_off() {
    let url = |flags: &[&str]| config(flags).unwrap().redis.map(|redis| redis.url.expose().to_owned());
    assert_eq!(url(&["--redis-url", "rediss://default:pw@host:25061"]).unwrap(), "rediss://default:pw@host:25061");
    assert_eq!(url(&["--redis-url", "redis://h", "--use-redis", "false"]), None);
    let parts = ["--redis-host", "h", "--redis-port", "7", "--redis-password", "p@ss/w"];
    assert_eq!(url(&parts).unwrap(), "redis://:p%40ss%2Fw@h:7");
    assert_eq!(url(&["--redis-host", "h", "--redis-tls-enabled", "true"]).unwrap(), "rediss://h:6379");
}

#[test]
fn no_secret_is_printed() {
    let secret = "hunter2".repeat(6);
    let checked = config(&["--jwt-secret", &secret, "--redis-url", "redis://u:hunter2@h"]).unwrap();
    assert!(!format!("{checked:?}").contains("hunter2"));
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
