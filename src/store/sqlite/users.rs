//! Users: found by their id or address.

use sqlx::{query::QueryAs, sqlite::SqliteArguments};

use super::{SqliteStore, refusal::refused};
use crate::{
    clock::now_utc,
    ids::UserId,
    store::{ProfileFields, StoreError, UserProfile, columns},
};

/// A row of `users` without its times.
type UserColumns = (String, String, Option<String>, Option<String>, Option<String>);

impl SqliteStore {
    pub(super) async fn find_user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        let query = sqlx::query_as::<_, UserColumns>(
            "SELECT user_id, name, color, avatar_url, email FROM users WHERE user_id = ?",
        );
        let found = query.bind(id.as_str()).fetch_optional(&self.readers).await;
        found.map_err(|error| refused(&error))?.map(user).transpose()
    }

    pub(super) async fn find_or_make_user(&self, new: &UserProfile) -> Result<UserProfile, StoreError> {
        // The conflict changes nothing, but lets the row that is there be returned.
        let query = sqlx::query_as::<_, UserColumns>(
            "INSERT INTO users (user_id, name, color, avatar_url, email, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) \
             ON CONFLICT (email) WHERE email IS NOT NULL DO UPDATE SET email = excluded.email \
             RETURNING user_id, name, color, avatar_url, email",
        );
        self.write_user(bound(query, new)).await
    }

    pub(super) async fn upsert_profile(
        &self,
        profile: &UserProfile,
        fields: ProfileFields,
    ) -> Result<UserProfile, StoreError> {
        let query = sqlx::query_as::<_, UserColumns>(
            "INSERT INTO users (user_id, name, color, avatar_url, email, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) \
             ON CONFLICT (user_id) DO UPDATE SET name = iif(?7, excluded.name, name), \
             color = iif(?8, excluded.color, color), avatar_url = iif(?9, excluded.avatar_url, avatar_url), \
             updated_at = excluded.updated_at \
             RETURNING user_id, name, color, avatar_url, email",
        );
        let query = bound(query, profile).bind(fields.name).bind(fields.color).bind(fields.avatar_url);
        self.write_user(query).await
    }

    async fn write_user(
        &self,
        query: QueryAs<'_, sqlx::Sqlite, UserColumns, SqliteArguments>,
    ) -> Result<UserProfile, StoreError> {
        let mut writer = self.writer().await?;
        // `fetch_all`, since the row comes before the commit.
        let written = query.fetch_all(writer.connection()?).await;
        let row = writer.settle(written)?.into_iter().next();
        user(row.ok_or_else(|| StoreError::Broken("a user was not written".into()))?)
    }
}

fn bound<'q>(
    query: QueryAs<'q, sqlx::Sqlite, UserColumns, SqliteArguments>,
    user: &'q UserProfile,
) -> QueryAs<'q, sqlx::Sqlite, UserColumns, SqliteArguments> {
    query
        .bind(user.id.as_str())
        .bind(user.name.as_str())
        .bind(user.color.as_deref())
        .bind(user.avatar_url.as_deref())
        .bind(user.email.as_deref())
        .bind(now_utc().timestamp_millis())
}

fn user((id, name, color, avatar_url, email): UserColumns) -> Result<UserProfile, StoreError> {
    Ok(UserProfile { id: columns::id(&id)?, name, color, avatar_url, email })
}
