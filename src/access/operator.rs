//! The operator: whoever shows `ADMIN_TOKEN` may use the routes under `/api/admin`. Without that setting there are none.

use actix_web::HttpRequest;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::bearer;
use crate::config::AccessConfig;

/// The guard of the operator's routes.
pub struct Operator {
    /// The hash: comparing hashes tells nothing of the token's length.
    token: Option<[u8; 32]>,
}

/// Why somebody is not the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// There are no such routes here.
    #[error("there is nothing at this address")]
    Off,
    /// No token, or another one.
    #[error("this needs the operator's token")]
    Refused,
}

impl Operator {
    /// Takes the setting.
    pub fn new(config: &AccessConfig) -> Self {
        Self { token: config.admin_token.as_ref().map(|token| Sha256::digest(token.expose()).into()) }
    }

    /// Whether the operator asks, by `Authorization: Bearer`.
    ///
    /// # Errors
    /// Somebody else asks, or there is no operator.
    pub fn check(&self, request: &HttpRequest) -> Result<(), OperatorError> {
        let expected = self.token.as_ref().ok_or(OperatorError::Off)?;
        let given: [u8; 32] = Sha256::digest(bearer(request).ok_or(OperatorError::Refused)?).into();
        if bool::from(given.ct_eq(expected)) { Ok(()) } else { Err(OperatorError::Refused) }
    }
}
