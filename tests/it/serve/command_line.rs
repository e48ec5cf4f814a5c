//! `--help`, `migrate`, `token`.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Door, TestHub,
    hub::{Settings, run},
    tokens::SECRET,
};

/// What a run that must succeed printed.
async fn printed(home: &Path, settings: Settings<'_>, arguments: &[&str]) -> String {
    let ended = run(home, settings, arguments).await;
    assert!(ended.success, "{ended:?}");
    ended.out
}

/// The settings that `.env.example` lists, with their defaults.
fn example() -> BTreeMap<&'static str, &'static str> {
    const EXAMPLE: &str = include_str!("../../../.env.example");
    let setting = |line: &'static str| line.trim_start_matches('#').split_once('=');
    EXAMPLE
        .lines()
        .filter_map(setting)
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect()
}

#[tokio::test]
async fn help_names_every_setting_with_its_default() {
    let home = TempDir::new().expect("a folder");
    // Secrets that are set are not shown.
    let secrets = [
        ("DATABASE_URL", "postgres://u:s3cret@host/d"),
        ("REDIS_URL", "redis://:s3cret@host"),
        ("REDIS_PASSWORD", "s3cret"),
        ("JWT_SECRET", "s3cret"),
    ];
    let help = printed(home.path(), &secrets, &["--help"]).await;
    assert!(!help.contains("s3cret"), "{help}");
    let settings = example();
    assert!(settings.len() > 30, "{settings:?}");
    for (name, default) in &settings {
        let described = help.split("env: ").find(|part| part.starts_with(name) && !part[name.len()..].starts_with('_'));
        let before = help.split(&format!("env: {name}")).next().expect("a part");
        assert!(described.is_some(), "{name} is not in --help");
        if !default.is_empty() {
            let last = before.lines().rev().take(6).collect::<String>();
            let after = described.expect("described").lines().take(3).collect::<String>();
            assert!(
                last.contains(&format!("default: {default}")) || after.contains(&format!("default: {default}")),
                "the default of {name}, {default}, is not in --help: {last} {after}"
            );
        }
    }
    let named = help.matches("[env: ").count();
    assert_eq!(named, settings.len(), "--help and .env.example list the same settings");
    for command in ["serve", "migrate", "doctor", "token"] {
        assert!(help.contains(command), "{command} is not in --help");
    }
    assert_eq!(printed(home.path(), &[], &["--version"]).await.trim(), format!("hubbub {}", env!("CARGO_PKG_VERSION")));
    assert!(!run(home.path(), &[], &["--nonsense"]).await.success);
    assert!(!run(home.path(), &[], &["dance"]).await.success);
}

#[tokio::test]
async fn the_example_as_it_stands_is_a_configuration() {
    let home = TempDir::new().expect("a folder");
    let all: Vec<_> = example().into_iter().filter(|(name, _)| *name != "PORT").collect();
    let mut hub = TestHub::with(&all).await;
    assert_eq!(hub.http().get("/health").await.json()["redis"], "not configured");
    hub.stop().await;
    drop(home);
}

#[tokio::test]
async fn migrate_brings_the_database_up_to_date_and_ends() {
    let home = TempDir::new().expect("a folder");
    let first = printed(home.path(), &[], &["migrate"]).await;
    assert!(first.contains("hubbub.db") && !first.contains(": 0 "), "{first}");
    let second = printed(home.path(), &[], &["migrate"]).await;
    assert!(second.contains(": 0 "), "{second}");
    std::fs::write(home.path().join("file"), "").expect("a file");
    let failed = run(home.path(), &[("DATABASE_URL", "sqlite:file/x.db")], &["migrate"]).await;
    assert!(!failed.success && failed.err.contains("DATABASE_URL"), "{failed:?}");
}

#[tokio::test]
async fn token_makes_one_that_the_hub_takes() {
    let home = TempDir::new().expect("a folder");
    let settings = [("JWT_SECRET", SECRET)];
    let arguments = [
        "token",
        "--sub",
        "u1",
        "--name",
        "Ada",
        "--project",
        "p=editor",
        "--project",
        "q=viewer",
        "--ttl-seconds",
        "60",
    ];
    let token = printed(home.path(), &settings, &arguments).await;
    let hub = TestHub::with(&[("JWT_SECRET", SECRET), ("ALLOW_GUESTS", "false")]).await;
    let mut client = Door::of(&hub).bearer(token.trim()).enter().await;
    assert_eq!((client.user.user_id.as_str(), client.user.name.as_str()), ("u1", "Ada"));
    client.join("p/r").await;
    client.send("as an editor").await;
    let reference = client.ask_to_join("q/r", Value::Object(serde_json::Map::new()));
    client.refusal(reference, "not_found").await;

    let without = run(home.path(), &[], &["token", "--sub", "u1"]).await;
    assert!(!without.success && without.err.contains("JWT_SECRET"), "{without:?}");
    for bad in [&["token"][..], &["token", "--sub", "guest-1"], &["token", "--sub", "u", "--project", "p=king"]] {
        let failed = run(home.path(), &settings, bad).await;
        assert!(!failed.success && failed.out.is_empty(), "{bad:?}: {failed:?}");
    }
}

#[tokio::test]
async fn settings_may_stand_before_or_behind_the_command() {
    let home = TempDir::new().expect("a folder");
    for arguments in [["--database-url", "sqlite:here.db", "migrate"], ["migrate", "--database-url", "sqlite:here.db"]]
    {
        let printed = printed(home.path(), &[], &arguments).await;
        assert!(printed.contains("here.db"), "{arguments:?}: {printed}");
    }
}
