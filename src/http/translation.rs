//! The table from the errors of the other modules to HTTP. (The other table, to `error` frames and close codes, is the
//! sessions'.)

use super::Problem;
use crate::{
    access::{AccessError, IdentifyError, OperatorError, OriginError, TokenError, Unavailable},
    store::StoreError,
};

const CHALLENGE: &str = r#"Bearer realm="hubbub""#;
/// RFC 6750, 3.1: a token was there, and another one may do.
const CHALLENGE_INVALID_TOKEN: &str = r#"Bearer realm="hubbub", error="invalid_token""#;

/// A locked or full database seldom recovers faster.
const STORE_RETRY_AFTER_S: u32 = 1;
/// Redis is tried again every second.
const REDIS_RETRY_AFTER_S: u32 = 1;

impl From<IdentifyError> for Problem {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Missing(_) | IdentifyError::Token(TokenError::NotAccepted) => {
                Self::unauthorized(CHALLENGE, error.to_string())
            }
            IdentifyError::Token(token) => Self::unauthorized(CHALLENGE_INVALID_TOKEN, token.to_string()),
            IdentifyError::Name => Self::bad_parameter("name", "1 to 64 characters without control characters"),
            IdentifyError::GuestId => Self::bad_parameter("guest_id", "must be a UUID"),
            IdentifyError::Unavailable(error) => error.into(),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        tracing::debug!(%error, "a request was refused for want of Redis");
        Self::unavailable(REDIS_RETRY_AFTER_S, "sessions and codes are unavailable for the moment")
    }
}

impl From<OriginError> for Problem {
    fn from(error: OriginError) -> Self {
        Self::forbidden(error.to_string())
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Off => Self::not_found(error.to_string()),
            OperatorError::Refused => Self::unauthorized(CHALLENGE, error.to_string()),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Forbidden => Self::forbidden(error.to_string()),
            AccessError::NotFound => Self::not_found(error.to_string()),
            AccessError::Unavailable(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::debug!(%cause, "a request was refused for want of the database");
                Self::unavailable(STORE_RETRY_AFTER_S, "the database is unavailable; nothing was written")
            }
            StoreError::Broken(cause) => {
                tracing::error!(%cause, "the database refused a request");
                Self::internal()
            }
            StoreError::NoRoom => AccessError::NotFound.into(),
        }
    }
}
