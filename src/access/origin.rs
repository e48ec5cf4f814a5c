//! Whether the page behind a browser's request may speak for its user (cross-site WebSocket hijacking, CSRF).
//!
//! Browsers send `Origin` with every WebSocket handshake and with every request that changes something, and pages cannot
//! forge it. Other clients send none; they act for nobody but themselves.

use actix_web::http::header::HeaderValue;
use url::{Origin, Url};

use crate::config::AllowedOrigins;

/// The page is neither the hub's own nor an allowed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pages of this origin may not use the hub; its operator can add it to ALLOWED_ORIGINS")]
pub struct OriginError;

/// Checks the `Origin` headers of a request against its `Host` and the allowed ones.
pub(super) fn check<'a>(
    allowed: &AllowedOrigins,
    mut origins: impl Iterator<Item = &'a HeaderValue>,
    host: Option<&str>,
) -> Result<(), OriginError> {
    let Some(origin) = origins.next() else { return Ok(()) };
    let AllowedOrigins::Listed(listed) = allowed else { return Ok(()) };
    let url = origin.to_str().ok().and_then(|text| Url::parse(text).ok()).ok_or(OriginError)?;
    // `null` (a sandboxed frame, a local file) is anybody, and schemes of apps have no host to compare.
    let origin = url.origin();
    if !origin.is_tuple() || origins.next().is_some() {
        return Err(OriginError);
    }
    let own = host.and_then(|host| own_origin(url.scheme(), host)).is_some_and(|own| own == origin);
    if own || listed.contains(&origin.ascii_serialization()) { Ok(()) } else { Err(OriginError) }
}

/// The hub's own origin by the `Host` header. The scheme is taken from the page: behind a load balancer that ends TLS the hub
/// does not know it.
fn own_origin(scheme: &str, host: &str) -> Option<Origin> {
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    plain.then(|| Url::parse(&format!("{scheme}://{host}")).ok()).flatten().map(|url| url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(allowed: &AllowedOrigins, origin: &str, host: &str) -> bool {
        check(allowed, std::iter::once(&HeaderValue::from_str(origin).unwrap()), Some(host)).is_ok()
    }

    #[test]
    fn the_own_origin_is_the_host_header() {
        let none = AllowedOrigins::Listed(vec![]);
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://hub.example", "hub.example"),
            ("https://hub.example", "HUB.example:443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(passes(&none, origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://localhost:3000", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("https://hub.example.evil", "hub.example"),
            ("https://evil.example", "hub.example"),
            ("https://hub.example", "evil@hub.example"),
            ("http://hub.example", "hub.example:443"),
            ("null", "null"),
            ("file://", "hub.example"),
            ("", ""),
        ] {
            assert!(!passes(&none, origin, host), "{origin} at {host}");
        }
    }

    #[test]
    fn allowed_origins_match_whole() {
        let listed = AllowedOrigins::Listed(vec!["https://app.example".into(), "null".into()]);
        assert!(passes(&listed, "https://app.example", "hub.example"));
        assert!(passes(&listed, "https://app.example:443", "hub.example"));
        for bad in ["http://app.example", "https://app.example:8443", "https://x.app.example", "null", "app://x"] {
            assert!(!passes(&listed, bad, "hub.example"), "{bad}");
        }
        assert!(passes(&AllowedOrigins::Any, "https://anybody.example", "hub.example"));
    }

    #[test]
    fn no_browser_no_origin() {
        assert!(check(&AllowedOrigins::Listed(vec![]), std::iter::empty(), None).is_ok());
        let two = [HeaderValue::from_static("http://a"), HeaderValue::from_static("http://b")];
        assert!(check(&AllowedOrigins::Listed(vec![]), two.iter(), Some("a")).is_err());
    }
}
