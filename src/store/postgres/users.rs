//! Users: found by their id or address.

use super::{
    PostgresStore, decode,
    pool::{Kind, Statement},
};
use crate::{
    clock::now_utc,
    ids::UserId,
    store::{ProfileFields, StoreError, UserProfile, columns},
};

/// A row of `users` without its times.
type UserColumns = (String, String, Option<String>, Option<String>, Option<String>);

impl PostgresStore {
    pub(super) async fn find_user(&self, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        let statement = || {
            sqlx::query("SELECT user_id, name, color, avatar_url, email FROM users WHERE user_id = $1")
                .bind(id.as_str())
        };
        decode(self.pool.run(Kind::Read, statement).await?)?.into_iter().next().map(user).transpose()
    }

    pub(super) async fn find_or_make_user(&self, new: &UserProfile) -> Result<UserProfile, StoreError> {
        // The conflict changes nothing, but lets the row that is there be returned.
        let statement = || {
            let query = sqlx::query(
                "INSERT INTO users (user_id, name, color, avatar_url, email, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $6) \
                 ON CONFLICT (email) WHERE email IS NOT NULL DO UPDATE SET email = excluded.email \
                 RETURNING user_id, name, color, avatar_url, email",
            );
            bound(query, new)
        };
        written(decode(self.pool.run(Kind::Change, statement).await?)?)
    }

    pub(super) async fn upsert_profile(
        &self,
        profile: &UserProfile,
        fields: ProfileFields,
    ) -> Result<UserProfile, StoreError> {
        let statement = || {
            let query = sqlx::query(
                "INSERT INTO users AS u (user_id, name, color, avatar_url, email, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $6) \
                 ON CONFLICT (user_id) DO UPDATE SET \
                 name = CASE WHEN $7 THEN excluded.name ELSE u.name END, \
                 color = CASE WHEN $8 THEN excluded.color ELSE u.color END, \
                 avatar_url = CASE WHEN $9 THEN excluded.avatar_url ELSE u.avatar_url END, \
                 updated_at = excluded.updated_at \
                 RETURNING user_id, name, color, avatar_url, email",
            );
            bound(query, profile).bind(fields.name).bind(fields.color).bind(fields.avatar_url)
        };
        written(decode(self.pool.run(Kind::Change, statement).await?)?)
    }
}

fn bound<'q>(query: Statement<'q>, user: &'q UserProfile) -> Statement<'q> {
    query
        .bind(user.id.as_str())
        .bind(user.name.as_str())
        .bind(user.color.as_deref())
        .bind(user.avatar_url.as_deref())
        .bind(user.email.as_deref())
        .bind(now_utc().timestamp_millis())
}

fn written(rows: Vec<UserColumns>) -> Result<UserProfile, StoreError> {
    let row = rows.into_iter().next();
    user(row.ok_or_else(|| StoreError::Broken("a user was not written".into()))?)
}

fn user((id, name, color, avatar_url, email): UserColumns) -> Result<UserProfile, StoreError> {
    Ok(UserProfile { id: columns::id(&id)?, name, color, avatar_url, email })
}
