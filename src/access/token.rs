//! JSON Web Tokens: how an app tells the hub who its user is (RFC 7519, HS256 by a shared secret).
//!
//! Claims: `sub` (the user id) and `exp` are required; `name`, `color`, `avatar_url` and `projects` (`{"p":"editor"}`) are
//! optional, `nbf` counts when it is there. A token for an audience (`aud`) is refused, as RFC 7519, 4.1.3 demands of
//! whoever does not know itself as one. No error repeats the token or what it claims.

use std::{collections::BTreeMap, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::{
    Identity, IdentityKind, color,
    identity::{GUEST_PREFIX, NAME_CHARS_MAX},
};
use crate::{
    clock::{Duration, Timestamp, now_utc},
    ids::{ProjectId, UserId},
    protocol::User,
    store::Role,
};

/// How far the clocks of the app and the hub may differ, in seconds.
const LEEWAY_S: u64 = 5;

/// The longest picture address: it is repeated to everybody who joins.
const AVATAR_URL_BYTES_MAX: usize = 1024;

/// Midnight after 9999-12-31, less a second: the last moment RFC 3339 can write.
const EXPIRY_MAX_S: i64 = 253_402_300_799;

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The hub has no key to check one with.
    #[error("tokens are not accepted here")]
    NotAccepted,
    /// Not a JWT at all, or one with extensions that must be understood.
    #[error("the token is not a valid JWT")]
    Malformed,
    /// `none`, or an algorithm that the key is not for.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// Signed with another secret, or changed since.
    #[error("the token's signature does not match")]
    Signature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` names somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// A claim is missing or breaks its rule.
    #[error("the token's claim `{0}` is missing or not valid")]
    Claim(&'static str),
}

/// Checks tokens with one secret.
pub(super) struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl TokenVerifier {
    pub(super) fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S;
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation }
    }

    pub(super) fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation)
            .map_err(|error| fault(error.kind()))?;
        if data.header.crit.is_some() {
            return Err(TokenError::Malformed); // RFC 7515, 4.1.11: what is critical and not understood
        }
        identity(&data.claims)
    }
}

fn fault(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => match claim.as_str() {
            "exp" => TokenError::Claim("exp"),
            "nbf" => TokenError::Claim("nbf"),
            "sub" => TokenError::Claim("sub"),
            _ => TokenError::Malformed,
        },
        _ => TokenError::Malformed,
    }
}

fn identity(claims: &Map<String, Value>) -> Result<Identity, TokenError> {
    let sub = text(claims, "sub")?.ok_or(TokenError::Claim("sub"))?;
    let user_id = user_id(sub)?;
    let color = match text(claims, "color")? {
        Some(given) => color::parse(given).ok_or(TokenError::Claim("color"))?,
        None => color::of(&user_id),
    };
    let avatar_url = match text(claims, "avatar_url")? {
        Some(given) => Some(checked_picture(given).ok_or(TokenError::Claim("avatar_url"))?),
        None => None,
    };
    let name = text(claims, "name")?.map(shown_name).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| shown_name(sub));
    Ok(Identity {
        user: Arc::new(User { user_id, name, color, avatar_url }),
        kind: IdentityKind::Token,
        projects: roles(claims.get("projects"))?,
        expires_at: Some(expiry(claims)?),
        session: None,
    })
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Claim(claim)),
    }
}

fn user_id(sub: &str) -> Result<UserId, TokenError> {
    sub.parse().ok().filter(|_| !sub.starts_with(GUEST_PREFIX)).ok_or(TokenError::Claim("sub"))
}

/// A name as others see it. One that is too long is cut: its owner can do nothing about it.
fn shown_name(name: &str) -> String {
    let plain: String = name.trim().chars().filter(|character| !character.is_control()).take(NAME_CHARS_MAX).collect();
    plain.trim().into()
}

/// The address of a picture as it is shown, if it is a good one.
pub(super) fn checked_picture(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(String::from).filter(|url| url.len() <= AVATAR_URL_BYTES_MAX)
}

fn roles(claim: Option<&Value>) -> Result<Box<[(ProjectId, Role)]>, TokenError> {
    let Some(claim) = claim.filter(|claim| !claim.is_null()) else { return Ok(Box::default()) };
    let roles = BTreeMap::<ProjectId, Role>::deserialize(claim).map_err(|_| TokenError::Claim("projects"))?;
    Ok(roles.into_iter().collect())
}

fn expiry(claims: &Map<String, Value>) -> Result<Timestamp, TokenError> {
    let seconds = match claims.get("exp") {
        Some(Value::Number(number)) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64)),
        _ => None,
    };
    let seconds = seconds.ok_or(TokenError::Claim("exp"))?.clamp(0, EXPIRY_MAX_S);
    Timestamp::from_timestamp(seconds, 0).ok_or(TokenError::Claim("exp"))
}

/// Makes a token for development and scripts, good for `ttl` from now on.
///
/// # Errors
/// A `sub` that only a guest may have.
pub fn mint_token(
    secret: &str,
    sub: &UserId,
    name: Option<&str>,
    projects: &[(ProjectId, Role)],
    ttl: Duration,
) -> Result<String, TokenError> {
    user_id(sub.as_str())?;
    let now = now_utc().timestamp();
    let expires = now.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)).min(EXPIRY_MAX_S);
    let mut claims = json!({"sub": sub, "iat": now, "exp": expires});
    if let Some(name) = name {
        claims["name"] = name.into();
    }
    if !projects.is_empty() {
        claims["projects"] = projects.iter().map(|(project, role)| (project.as_str(), json!(role))).collect();
    }
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests;
