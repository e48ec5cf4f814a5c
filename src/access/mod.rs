//! Who may: from a request to an identity, from an identity and a room to a role.
//!
//! Stands before everything a client can do. The WebSocket upgrade and every HTTP route ask [`Access::identify`] who is
//! there and [`Access::check_origin`] whether their page may speak for them; each join, and each HTTP request that names a
//! project, asks [`Access::authorize`] or [`Access::project`] what they may do there. Nothing here ends a request or a
//! connection: it answers, and its callers act.

mod address;
mod authorize;
mod color;
mod identity;
mod keys;
pub mod limits;
mod operator;
mod origin;
mod profile;
pub mod secrets;
pub mod sessions;
mod token;

pub use authorize::{AccessError, Grant, Need, ProjectGrant};
pub use identity::{Identity, IdentityKind, is_guest};
pub use keys::Keys;
pub use operator::{Operator, OperatorError};
pub use origin::OriginError;
pub use profile::{ProfileChange, ProfileFault};
pub use sessions::{SessionRef, Sessions};
pub use token::{TokenError, mint_token};

use std::{net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, http::header};
use ipnet::IpNet;

use self::{sessions::Presented, token::TokenVerifier};
use crate::{
    cache::Catalogue,
    config::{AccessConfig, AllowedOrigins},
    redis::Fault,
};

/// Identities, origins and roles, one for the whole hub.
pub struct Access {
    allow_guests: bool,
    tokens: Option<TokenVerifier>,
    allowed_origins: AllowedOrigins,
    trusted_proxies: Vec<IpNet>,
    catalogue: Arc<Catalogue>,
}

/// Why nobody was identified; the text is fit to be shown and never repeats a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// The request carries neither a token nor a name that counts here.
    #[error("say who you are: {0}")]
    Missing(&'static str),
    /// A token was given and is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `?name=` breaks its rule.
    #[error("parameter `name` must be 1 to {} characters without control characters", identity::NAME_CHARS_MAX)]
    Name,
    /// `?guest_id=` is not a UUID.
    #[error("parameter `guest_id` must be a UUID")]
    GuestId,
    /// The request has a session's cookie, and nobody can say whose.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is kept in Redis (sessions, one-time secrets) cannot be looked up or changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sessions and codes are unavailable: {0}")]
pub struct Unavailable(#[from] Fault);

impl Access {
    /// Takes the settings; roles come from the `catalogue`.
    pub fn new(config: &AccessConfig, trusted_proxies: Vec<IpNet>, catalogue: Arc<Catalogue>) -> Self {
        Self {
            allow_guests: config.allow_guests,
            tokens: config.jwt_secret.as_ref().map(|secret| TokenVerifier::new(secret.expose())),
            allowed_origins: config.allowed_origins.clone(),
            trusted_proxies,
            catalogue,
        }
    }

    /// Who is connecting; the first that is there decides, good or bad: `Authorization: Bearer`, `?token=`, the cookie of a
    /// session that lasts, and where guests are allowed `?name=` (with `?guest_id=` to tell two people of one name apart).
    ///
    /// # Errors
    /// 401 for a bad token or for nobody, 400 for a bad parameter, 503 when the cookie cannot be looked up.
    pub fn identify(&self, request: &HttpRequest) -> Result<Identity, IdentifyError> {
        if let Some(token) = bearer(request) {
            return Ok(self.verify_token(token)?);
        }
        let parameters = GuestParameters::read(request.query_string());
        if let Some(token) = &parameters.token {
            return Ok(self.verify_token(token)?);
        }
        if let Some(identity) = self.by_session(request)? {
            return Ok(identity);
        }
        match (&parameters.name, self.allow_guests) {
            (Some(name), true) => identity::guest(name, parameters.guest_id.as_deref()),
            (Some(_), false) => Err(IdentifyError::Missing("guests are not allowed here, a token is needed")),
            (None, true) => Err(IdentifyError::Missing("with a token, or with a name as the parameter `name`")),
            (None, false) => Err(IdentifyError::Missing("a token is needed")),
        }
    }

    /// Whoever the request's cookie session is for, if its page may use cookies.
    ///
    /// # Errors
    /// The session cannot be looked up now.
    pub fn by_session(&self, request: &HttpRequest) -> Result<Option<Identity>, Unavailable> {
        match sessions::presented(request) {
            Presented::Session { session, owner, expires_at } if self.cookies_count(request) => {
                Ok(Some(Identity::of_session(session, *owner, expires_at)))
            }
            Presented::Unavailable if self.cookies_count(request) => Err(Unavailable(Fault::Disconnected)),
            _ => Ok(None),
        }
    }

    /// A guest by their name.
    ///
    /// # Errors
    /// The name or id breaks its rule; guests are not allowed.
    pub fn guest(&self, name: &str, guest_id: Option<&str>) -> Result<Identity, IdentifyError> {
        if !self.allow_guests {
            return Err(IdentifyError::Missing("guests are not allowed here, a token is needed"));
        }
        identity::guest(name, guest_id)
    }

    /// As [`identify`](Self::identify), for requests that only read: where guests are allowed nobody has to say a name.
    ///
    /// # Errors
    /// As [`identify`](Self::identify).
    pub fn identify_reader(&self, request: &HttpRequest) -> Result<Identity, IdentifyError> {
        match self.identify(request) {
            Err(IdentifyError::Missing(_)) if self.allow_guests => Ok(Identity::anonymous()),
            other => other,
        }
    }

    /// Who a JWT names: for `Bearer`, `?token=` and the `auth` frame.
    ///
    /// # Errors
    /// What is wrong with the token, without repeating it.
    pub fn verify_token(&self, token: &str) -> Result<Identity, TokenError> {
        self.tokens.as_ref().ok_or(TokenError::NotAccepted)?.verify(token)
    }

    /// Whether the page that made the browser send this request may do so: it is the hub's own or an allowed one. Without
    /// an `Origin` header no page is involved.
    ///
    /// # Errors
    /// Another page.
    pub fn check_origin(&self, request: &HttpRequest) -> Result<(), OriginError> {
        let origins = request.headers().get_all(header::ORIGIN);
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        origin::check(&self.allowed_origins, origins, host)
    }

    /// Whether a cookie says who sent this request. It does for the pages of the hub itself and of origins listed by name,
    /// and where no page is involved; `ALLOWED_ORIGINS=*` opens the hub to other pages, not their visitors' sessions.
    pub fn cookies_count(&self, request: &HttpRequest) -> bool {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) {
            let listed = match &self.allowed_origins {
                AllowedOrigins::Any => &AllowedOrigins::Listed(Vec::new()),
                listed => listed,
            };
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            return origin::check(listed, headers.get_all(header::ORIGIN), host).is_ok();
        }
        // Browsers that leave `Origin` out say at least whether the request is another site's.
        let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
        matches!(site, None | Some(b"same-origin" | b"none"))
    }

    /// Whether the client came over TLS, as far as a trusted proxy says so.
    pub fn came_by_tls(&self, request: &HttpRequest) -> bool {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| self.trusted_proxies.iter().any(|net| net.contains(&peer)));
        // The nearest proxy writes last.
        let proto = request.headers().get_all("x-forwarded-proto").last().and_then(|value| value.to_str().ok());
        let proto = proto.and_then(|list| list.rsplit(',').next()).map(str::trim);
        trusted && proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }

    /// The client's address: the peer, or what a trusted proxy says it is.
    pub fn client_ip(&self, request: &HttpRequest) -> IpAddr {
        let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        address::client_ip(request.peer_addr().map(|peer| peer.ip()), forwarded, &self.trusted_proxies)
    }
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    // Other schemes belong to a proxy in front of the hub, and so do bytes that are no text.
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The query parameters that say who is there; empty ones are absent.
#[derive(Default)]
struct GuestParameters {
    token: Option<String>,
    name: Option<String>,
    guest_id: Option<String>,
}

impl GuestParameters {
    fn read(query: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*key {
                "token" if !value.is_empty() => &mut found.token,
                "name" => &mut found.name,
                "guest_id" if !value.is_empty() => &mut found.guest_id,
                _ => continue,
            };
            slot.get_or_insert_with(|| value.into_owned());
        }
        found
    }
}

#[cfg(test)]
mod tests;
