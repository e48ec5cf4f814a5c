//! The log of changes and the instances that answer from their caches.

use async_trait::async_trait;

use super::{SqliteStore, refusal::refused};
use crate::{
    clock::Duration,
    ids::InstanceId,
    store::{
        StoreError,
        changes::{ChangeLog, ChangeNo, Changes, LogColumns},
        columns,
    },
};

/// The host's clock in milliseconds: all processes of one file share it.
macro_rules! with_now {
    ($before:literal, $after:literal) => {
        concat!($before, " CAST(unixepoch('subsec') * 1000 AS INTEGER) ", $after)
    };
}

#[async_trait]
impl ChangeLog for SqliteStore {
    async fn changes_after(&self, after: ChangeNo) -> Result<Changes, StoreError> {
        // One statement, and so one moment.
        let query = sqlx::query_as::<_, LogColumns>(with_now!(
            "SELECT 0, last, CAST(identity AS TEXT), NULL, NULL FROM change_log UNION ALL \
             SELECT * FROM (SELECT 1, change_no, kind, project_id, user_id FROM changes WHERE change_no > ?1 \
             ORDER BY change_no) UNION ALL \
             SELECT 2, ends_at IS NOT NULL, instance_id, NULL, NULL FROM cache_readers \
             WHERE ends_at IS NULL OR ends_at >",
            ""
        ));
        let rows = query.bind(columns::seq_column(after)).fetch_all(&self.readers).await;
        Changes::from_rows(rows.map_err(|error| refused(&error))?)
    }

    async fn change_everything(&self) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO changes (change_no, kind) SELECT last + 1, 'everything' FROM change_log");
        let mut writer = self.writer().await?;
        let written = query.execute(writer.connection()?).await;
        writer.settle(written).map(drop)
    }

    async fn enter_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        // Whoever was told to stop an hour ago has ended long since.
        let forget = sqlx::query(with_now!("DELETE FROM cache_readers WHERE ends_at <", "- 3600000"));
        let enter = sqlx::query(
            "INSERT INTO cache_readers (instance_id) VALUES (?) ON CONFLICT (instance_id) DO UPDATE SET ends_at = NULL",
        );
        let mut writer = self.writer().await?;
        let forgotten = forget.execute(writer.connection()?).await;
        writer.settle(forgotten)?;
        let entered = enter.bind(instance.to_string()).execute(writer.connection()?).await;
        writer.settle(entered).map(drop)
    }

    async fn leave_readers(&self, instance: InstanceId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM cache_readers WHERE instance_id = ?").bind(instance.to_string());
        let mut writer = self.writer().await?;
        let left = query.execute(writer.connection()?).await;
        writer.settle(left).map(drop)
    }

    async fn end_readers(&self, instances: &[InstanceId], grace: Duration) -> Result<(), StoreError> {
        let query = sqlx::query(with_now!(
            "UPDATE cache_readers SET ends_at =",
            "+ ?1 WHERE ends_at IS NULL AND instance_id IN (SELECT value FROM json_each(?2))"
        ));
        let names: Vec<String> = instances.iter().map(InstanceId::to_string).collect();
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let query = query.bind(grace).bind(serde_json::Value::from(names).to_string());
        let mut writer = self.writer().await?;
        let ended = query.execute(writer.connection()?).await;
        writer.settle(ended).map(drop)
    }
}
