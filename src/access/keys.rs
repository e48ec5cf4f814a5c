//! Keys for cookies and one-time secrets, each derived from the one secret of the settings.

use actix_web::cookie::Key;
use hmac::{Hmac, Mac as _};
use rand::RngCore as _;
use sha2::{Sha256, Sha512};

/// What each key is for. Invariant: never changes, or all cookies and codes end.
const COOKIES: &[u8] = b"hubbub: session cookies, 1";
const CODES: &[u8] = b"hubbub: one-time secrets, 1";

/// The keys of this hub. No `Debug`: they are secrets.
#[derive(Clone)]
pub struct Keys {
    /// Signs and encrypts session cookies.
    pub(super) cookies: Key,
    /// Hashes one-time secrets.
    pub(super) codes: CodeKey,
}

/// A key to hash short secrets with: whoever reads the hashes cannot try all codes without it.
#[derive(Clone)]
pub(super) struct CodeKey([u8; 32]);

impl Keys {
    /// Derives the keys, or makes random ones that nobody else has.
    pub fn derive(secret: Option<&str>) -> Self {
        let mut random = [0; 32];
        rand::rng().fill_bytes(&mut random);
        let secret = secret.map_or(&random[..], str::as_bytes);
        let cookies = keyed::<Hmac<Sha512>>(secret).chain_update(COOKIES).finalize().into_bytes();
        let codes = keyed::<Hmac<Sha256>>(secret).chain_update(CODES).finalize().into_bytes();
        Self { cookies: Key::from(&cookies), codes: CodeKey(codes.into()) }
    }
}

impl CodeKey {
    /// The hash of several texts, none of which can run into the next.
    pub(super) fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut mac = keyed::<Hmac<Sha256>>(&self.0);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

fn keyed<M: hmac::Mac + hmac::digest::KeyInit>(key: &[u8]) -> M {
    // HMAC takes keys of any length.
    <M as hmac::Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key of any length"))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// So many random bytes as hexadecimal digits.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_the_secret_and_differ_by_purpose() {
        let (one, same, other) = (Keys::derive(Some("a")), Keys::derive(Some("a")), Keys::derive(Some("b")));
        assert!(one.cookies == same.cookies && one.codes.0 == same.codes.0);
        assert!(one.cookies != other.cookies && one.codes.0 != other.codes.0);
        assert!(Keys::derive(None).codes.0 != Keys::derive(None).codes.0, "random");
        assert_ne!(&one.cookies.signing()[..32], &one.codes.0[..]);
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = Keys::derive(Some("a")).codes;
        assert_ne!(key.hash(&["ab", "c"]), key.hash(&["a", "bc"]));
        assert_ne!(key.hash(&["ab"]), key.hash(&["ab", ""]));
        assert_eq!((hex(&[0, 255, 16]), random_hex::<4>().len()), ("00ff10".into(), 8));
    }
}
