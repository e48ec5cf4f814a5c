//! A database that is not as it should be.

use std::{fs, net::TcpListener, time::Duration};

use tempfile::TempDir;

use super::{USUAL, examine, examine_in, hurried};
use crate::support::{PostgresServer, ports::free_port, postgres::DATABASE_PASSWORD};

#[tokio::test]
async fn a_folder_that_takes_no_files() {
    // Nobody makes files there, root included.
    let report = examine(&[("DATABASE_URL", "sqlite:/proc/hubbub.db")]).await;
    report.fails("database.folder", "/proc takes no files", "DATABASE_URL");
    let below_a_file = examine(&[("DATABASE_URL", "sqlite:/proc/version/hub/hub.db")]).await;
    below_a_file.fails("database.folder", "takes no files", "DATABASE_URL");
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let home = TempDir::new().expect("a folder");
    fs::write(home.path().join("hub.db"), "a letter to a friend, ".repeat(100)).expect("a file");
    let report = examine_in(home.path(), &[("DATABASE_URL", "sqlite:hub.db")], USUAL).await;
    report.fails("database.open", "not a SQLite database", "DATABASE_URL");
    let text = fs::read_to_string(home.path().join("hub.db")).expect("the file");
    assert!(text.starts_with("a letter"), "the file was changed");
}

#[tokio::test]
async fn a_file_of_a_newer_hub_and_one_without_tables() {
    let home = TempDir::new().expect("a folder");
    let path = home.path().join("hub.db");
    fs::write(&path, "").expect("a file");
    let settings = [("DATABASE_URL", "sqlite:hub.db")];
    let empty = examine_in(home.path(), &settings, USUAL).await;
    assert_eq!(empty.status, 0, "{empty:#?}");
    empty.warns("database.migrations", "0 of", "hubbub migrate");
    empty.warns("database.journal", "not wal", "DATABASE_URL");
    assert_eq!(fs::metadata(&path).expect("the file").len(), 0, "the file was changed");

    assert!(crate::support::hub::run(home.path(), &settings, &["migrate"]).await.success);
    let migrated = examine_in(home.path(), &settings, USUAL).await;
    migrated.is_well_but_for(&[]);
    migrated.passes(&["database.migrations", "database.journal", "database.write"]);

    sqlite(&path, "UPDATE _sqlx_migrations SET version = version + 1000").await;
    let newer = examine_in(home.path(), &settings, USUAL).await;
    newer.fails("database.migrations", "another version", "DATABASE_URL");
}

async fn sqlite(path: &std::path::Path, sql: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("the file");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is done");
    connection.close().await.expect("it is closed");
}

#[tokio::test]
async fn a_file_that_somebody_else_writes_for_too_long() {
    use sqlx::{ConnectOptions as _, Connection as _};
    let home = TempDir::new().expect("a folder");
    let settings = [("DATABASE_URL", "sqlite:hub.db"), ("DATABASE_BUSY_TIMEOUT_MS", "100")];
    assert!(crate::support::hub::run(home.path(), &settings, &["migrate"]).await.success);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.path().join("hub.db"));
    let mut other = options.connect().await.expect("the file");
    let writing = other.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
    let report = examine_in(home.path(), &settings, USUAL).await;
    report.fails("database.write", "another process has been writing", "DATABASE_BUSY_TIMEOUT_MS");
    report.passes(&["database.open", "database.migrations"]);
    writing.rollback().await.expect("the end");
}

#[tokio::test]
async fn a_wrong_password_or_a_database_that_is_not_there() {
    let postgres = PostgresServer::shared();
    let database = postgres.database().await;
    let url = postgres.url(&database);
    let wrong = url.replace(DATABASE_PASSWORD, "not-the-passw0rd");
    let report = examine(&[("DATABASE_URL", &wrong)]).await;
    report.fails("database.connect", "refused user or password", "DATABASE_URL");
    assert_eq!(report.check("database.write")["status"], "skipped");
    assert!(!report.document.to_string().contains("not-the-passw0rd"), "{report:#?}");

    let report = examine(&[("DATABASE_URL", &url.replace(&database, "elsewhere"))]).await;
    report.fails("database.connect", "no such database", "DATABASE_URL");
}

#[tokio::test]
async fn nobody_listens_and_a_black_hole() {
    let url = format!("postgres://hub:{DATABASE_PASSWORD}@127.0.0.1:{}/hub", free_port());
    examine(&[("DATABASE_URL", &url)]).await.fails("database.connect", "nobody listens", "DATABASE_URL");

    let hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = hole.local_addr().expect("an address");
    let report = hurried(&[("DATABASE_URL", &format!("postgres://hub:{DATABASE_PASSWORD}@{address}/hub"))]).await;
    report.fails("database.connect", "no answer within", "DATABASE_URL");
    assert!(report.took < Duration::from_secs(6), "it took {:?}", report.took);
}

#[tokio::test]
async fn a_server_that_hangs_and_one_that_may_lose_what_it_acknowledged() {
    let postgres = PostgresServer::start();
    let url = postgres.url(&postgres.database().await);
    // The tests' servers do not wait for the disk.
    examine(&[("DATABASE_URL", &url)]).await.warns("database.durability", "fsync is off", "fsync=on");
    postgres.pause();
    let report = hurried(&[("DATABASE_URL", &url)]).await;
    postgres.resume();
    report.fails("database.connect", "no answer within", "DATABASE_URL");
    assert!(report.took < Duration::from_secs(6), "it took {:?}", report.took);
}

#[tokio::test]
async fn a_pool_that_is_larger_than_the_server() {
    let postgres = PostgresServer::with(&["max_connections=12"], &[]);
    let url = postgres.url(&postgres.database().await);
    let report = examine(&[("DATABASE_URL", &url), ("DATABASE_POOL_SIZE", "40")]).await;
    report.fails("database.connections", "each instance takes up to 40", "DATABASE_POOL_SIZE");
}
