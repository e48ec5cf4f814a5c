//! What holds for PostgreSQL beyond the contract: starting many at once, the server's own settings, plans.

#[path = "../../../tests/it/support/postgres.rs"]
#[expect(unreachable_pub, dead_code, reason = "shared with the integration tests, which use all of it")]
mod server;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Row as _};

use self::server::{DATABASE_PASSWORD, PostgresServer};
use super::*;
use crate::{
    config::{DatabaseLocation, Secret},
    store::contract::{Ground, a_message, a_project, a_room, contract_tests},
};

/// A database of its own on the server that the tests share.
struct PostgresGround {
    database: tokio::sync::OnceCell<String>,
}

impl PostgresGround {
    fn new() -> Self {
        Self { database: tokio::sync::OnceCell::new() }
    }

    async fn database(&self) -> &str {
        self.database.get_or_init(|| PostgresServer::shared().database()).await
    }

    async fn config(&self) -> DatabaseConfig {
        config(PostgresServer::shared().url(self.database().await))
    }

    async fn open(&self) -> PostgresStore {
        open(&self.config().await).await.unwrap()
    }

    async fn execute(&self, sql: &str) {
        PostgresServer::shared().execute(self.database().await, sql).await;
    }
}

#[async_trait]
impl Ground for PostgresGround {
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.open().await)
    }
}

fn config(url: String) -> DatabaseConfig {
    DatabaseConfig {
        location: DatabaseLocation::Postgres(PostgresAddress {
            url: Secret::of(url),
            tls: None,
            root_cert: None,
            name: "the test server".into(),
        }),
        busy_timeout: Duration::ZERO,
        readers: 1,
        pool_size: 6,
        connect_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    }
}

fn address(config: &DatabaseConfig) -> &PostgresAddress {
    let DatabaseLocation::Postgres(address) = &config.location else { panic!("not PostgreSQL") };
    address
}

async fn open(config: &DatabaseConfig) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(address(config), config).await
}

contract_tests!(PostgresGround::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_can_be_opened_by_many_at_once() {
    let ground = PostgresGround::new();
    let config = ground.config().await;
    let opening = (0..8).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { PostgresStore::migrate_only(address(&config), &config).await.unwrap() })
    });
    let applied: Vec<usize> = join_all(opening).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| **applied > 0).count(), 1, "{applied:?}");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused() {
    let ground = PostgresGround::new();
    ground.open().await;
    let newer =
        "UPDATE _sqlx_migrations SET version = 99999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    ground.execute(newer).await;
    let error = open(&ground.config().await).await.err().unwrap();
    assert!(matches!(&error, StoreError::Broken(text) if text.contains("99999")), "{error}");
}

/// Whatever the server's defaults are: durable before it is answered, and no statement fails for what others write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_defaults_of_the_server_do_not_count() {
    let ground = PostgresGround::new();
    let database = ground.database().await;
    for setting in ["synchronous_commit = off", "default_transaction_isolation = 'serializable'"] {
        ground.execute(&format!("ALTER DATABASE {database} SET {setting}")).await;
    }
    let store = Arc::new(ground.open().await);
    let settings = || {
        let show = "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')";
        sqlx::query(show)
    };
    let rows: Vec<(String, String)> = decode(store.pool.run(Kind::Read, settings).await.unwrap()).unwrap();
    assert_eq!(rows, [("on".into(), "read committed".into())]);

    ground.execute(&format!("ALTER DATABASE {database} SET synchronous_commit = 'remote_apply'")).await;
    let stricter = ground.open().await;
    let rows: Vec<(String, String)> = decode(stricter.pool.run(Kind::Read, settings).await.unwrap()).unwrap();
    assert_eq!(rows[0].0, "remote_apply", "a stricter one stays");
}

/// Batches over the same rooms in every order, while projects with some of the rooms are deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_deletions_never_wait_for_each_other_in_a_circle() {
    let ground = PostgresGround::new();
    let stores = [ground.store().await, ground.store().await];
    let mut rooms = Vec::new();
    for nth in 0..12 {
        rooms.push(a_room(&*stores[0], &format!("p{}/r{nth}", nth % 3)).await);
    }
    let writers = (0..6).map(|writer| {
        let (store, mut rooms) = (Arc::clone(&stores[writer % 2]), rooms.clone());
        tokio::spawn(async move {
            for round in 0..20 {
                let rooms_count = rooms.len();
                rooms.rotate_left((writer + round) % rooms_count);
                if writer % 2 == 0 {
                    rooms.reverse();
                }
                let batch: Vec<_> = rooms.iter().map(|room| a_message(*room)).collect();
                store.append(&batch).await.unwrap();
            }
        })
    });
    let deleting = async {
        assert!(stores[1].delete_project(&"p1".parse().unwrap()).await.unwrap());
    };
    let (written, ()) = tokio::join!(join_all(writers), deleting);
    written.into_iter().for_each(Result::unwrap);
    let log = PostgresServer::shared().log();
    assert!(!log.contains("deadlock detected"), "{log}");
    for (nth, room) in rooms.iter().enumerate() {
        let stored = stores[0].messages_after(*room, 0, u32::MAX).await.unwrap();
        assert_eq!(stored.len(), if nth % 3 == 1 { 0 } else { 120 });
        assert!(stored.iter().zip(1..).all(|(message, seq)| message.seq == seq), "a hole");
    }
}

#[tokio::test]
async fn no_append_searches_a_whole_table() {
    let ground = PostgresGround::new();
    let store = ground.open().await;
    a_room(&store, "p/r").await;
    let mut connection = store.pool.connection().await;
    let plan = [
        "SET plan_cache_mode = force_generic_plan".to_owned(),
        format!("PREPARE append AS {}", append::APPEND),
        "EXPLAIN EXECUTE append ('{1}', ARRAY[gen_random_uuid()], '{u}', '{n}', '{c}', '{b}', '{1}', '{1}')".into(),
    ];
    let rows = sqlx::raw_sql(AssertSqlSafe(plan.join("; "))).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("messages_message_id_room_key_key")), "{plan:#?}");
    assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{plan:#?}");
}

/// The user of the hub may be one that cannot change the schema, if somebody else brings it up to date.
#[tokio::test]
async fn a_user_who_may_not_change_the_schema_will_do_when_it_is_up_to_date() {
    let ground = PostgresGround::new();
    let database = ground.database().await.to_owned();
    let url = PostgresServer::shared().url(&database);
    let plain = url.replace("://hubbub:", &format!("://plain_{database}:"));
    ground.execute(&format!("CREATE USER plain_{database} PASSWORD '{DATABASE_PASSWORD}'")).await;
    ground.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let error = open(&config(plain.clone())).await.err().unwrap().to_string();
    assert!(error.contains("the user may not") && error.contains("the test server"), "{error}");

    ground.open().await.close().await;
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    ground.execute(&format!("{grant} TO plain_{database}")).await;
    let store = open(&config(plain)).await.unwrap();
    let room = a_room(&store, "p/r").await;
    assert!(store.append(&[a_message(room)]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let ground = PostgresGround::new();
    let latin = format!("{}_latin", ground.database().await);
    ground.execute(&format!("CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0")).await;
    let error = open(&config(PostgresServer::shared().url(&latin))).await.err().unwrap();
    assert!(matches!(&error, StoreError::Broken(text) if text.contains("UTF8")), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_of_a_deleted_project_is_removed_at_the_next_start() {
    let ground = PostgresGround::new();
    let store = ground.open().await;
    let room = a_room(&store, "p/r").await;
    store.append(&(0..50).map(|_| a_message(room)).collect::<Vec<_>>()).await.unwrap();
    ground.execute("DELETE FROM projects").await;
    assert!(store.append(&[a_message(room)]).await.unwrap()[0].is_none());
    assert_eq!(store.messages_after(room, 0, 100).await.unwrap().len(), 50);
    let store = ground.open().await;
    assert_eq!(store.messages_after(room, 0, 100).await.unwrap().len(), 0);
    assert!(store.create_project(&a_project("p"), None).await.unwrap());
}
