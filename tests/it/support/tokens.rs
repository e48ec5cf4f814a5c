//! Tokens, good and bad.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// What the hubs under test are given as `JWT_SECRET`.
pub const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

/// Seconds since 1970, `from_now` later.
pub fn time(from_now: i64) -> i64 {
    chrono::Utc::now().timestamp() + from_now
}

/// A good token for a user with roles, valid for an hour.
pub fn token(sub: &str, projects: Value) -> String {
    signed(&json!({"sub": sub, "name": sub, "exp": time(3600), "projects": projects}))
}

/// Claims signed with the right secret.
pub fn signed(claims: &Value) -> String {
    signed_with(SECRET, Algorithm::HS256, claims)
}

/// Claims signed with another secret or algorithm of its family.
pub fn signed_with(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("a token")
}
