//! The log of changes and the instances that answer from their caches.

use async_trait::async_trait;

use super::{PostgresStore, decode, pool::Kind};
use crate::{
    clock::Duration,
    ids::InstanceId,
    store::{
        StoreError,
        changes::{ChangeLog, ChangeNo, Changes},
        columns,
    },
};

/// The server's clock in milliseconds: all instances share it.
macro_rules! with_now {
    ($before:literal, $after:literal) => {
        concat!($before, " (extract(epoch FROM clock_timestamp()) * 1000)::bigint ", $after)
    };
}

#[async_trait]
impl ChangeLog for PostgresStore {
    async fn changes_after(&self, after: ChangeNo) -> Result<Changes, StoreError> {
        // One statement, and so one moment.
        let statement = || {
            sqlx::query(with_now!(
                "SELECT * FROM (SELECT 0::bigint AS part, last AS number, identity::text, NULL::text, NULL::text \
                 FROM change_log UNION ALL \
                 SELECT 1, change_no, kind, project_id, user_id FROM changes WHERE change_no > $1 UNION ALL \
                 SELECT 2, CASE WHEN ends_at IS NULL THEN 0 ELSE 1 END, instance_id, NULL, NULL FROM cache_readers \
                 WHERE ends_at IS NULL OR ends_at >",
                ") AS log ORDER BY part, number"
            ))
            .bind(columns::seq_column(after))
        };
        Changes::from_rows(decode(self.pool.run(Kind::Read, statement).await?)?)
    }

    async fn change_everything(&self) -> Result<(), StoreError> {
        let statement = || sqlx::query("SELECT note_change('everything', NULL, NULL)");
        self.pool.run(Kind::Change, statement).await.map(drop)
    }

    async fn enter_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        // Whoever was told to stop an hour ago has ended long since.
        let forget = || sqlx::query(with_now!("DELETE FROM cache_readers WHERE ends_at <", "- 3600000"));
        self.pool.run(Kind::Change, forget).await?;
        let name = instance.to_string();
        let enter = || {
            sqlx::query(
                "INSERT INTO cache_readers (instance_id) VALUES ($1) \
                 ON CONFLICT (instance_id) DO UPDATE SET ends_at = NULL",
            )
            .bind(&name)
        };
        self.pool.run(Kind::Change, enter).await.map(drop)
    }

    async fn leave_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        let name = instance.to_string();
        let statement = || sqlx::query("DELETE FROM cache_readers WHERE instance_id = $1").bind(&name);
        self.pool.run(Kind::Change, statement).await.map(drop)
    }

    async fn end_readers(&self, instances: &[InstanceId], grace: Duration) -> Result<(), StoreError> {
        let names: Vec<String> = instances.iter().map(InstanceId::to_string).collect();
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let statement = || {
            sqlx::query(with_now!(
                "UPDATE cache_readers SET ends_at =",
                "+ $1 WHERE ends_at IS NULL AND instance_id = ANY ($2)"
            ))
            .bind(grace)
            .bind(&names)
        };
        self.pool.run(Kind::Change, statement).await.map(drop)
    }
}
