//! What a session goes by: the secret in its cookie, and the hash of it that everything else knows.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::{
    access::keys::{hex, random_hex},
    ids::UserId,
};

/// Digits of a user's tag: half a SHA-256, enough that no two users share one.
const TAG_DIGITS: usize = 32;

/// All sessions of a user go by it: a part of the hash of their id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserTag(String);

/// A session without its secret: fit to be stored, told to other instances and logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// Whose it is.
    pub user: UserTag,
    /// The hash of its secret.
    pub hash: String,
}

impl UserTag {
    /// The tag of a user.
    pub fn of(user: &UserId) -> Self {
        let mut digits = hex(&Sha256::digest(user.as_str().as_bytes()));
        digits.truncate(TAG_DIGITS);
        Self(digits)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionRef {
    /// A new session of a user, with what goes into the cookie and nowhere else.
    pub(super) fn new(user: &UserId) -> (Self, String) {
        let secret = random_hex::<32>();
        let user = UserTag::of(user);
        let cookie = format!("{}.{secret}", user.0);
        (Self { user, hash: hash(&secret) }, cookie)
    }

    /// The session of a cookie's value.
    pub(super) fn of_cookie(value: &str) -> Option<Self> {
        let (user, secret) = value.split_once('.')?;
        Some(Self { user: user.parse().ok()?, hash: hash(secret) })
    }

    /// By which its user may name it.
    pub fn public_id(&self) -> &str {
        self.hash.get(..16).unwrap_or_default()
    }
}

/// The secret has 256 random bits: nothing slower than one round of SHA-256 is needed to keep it.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

impl FromStr for UserTag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let good = text.len() == TAG_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| Self(text.into())).ok_or(())
    }
}

impl FromStr for SessionRef {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (user, hash) = text.split_once('/').ok_or(())?;
        let good = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then_some(()).ok_or(())?;
        Ok(Self { user: user.parse()?, hash: hash.into() })
    }
}

impl fmt::Display for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user.0, self.hash)
    }
}

impl fmt::Debug for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.public_id())
    }
}

impl fmt::Debug for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_leads_to_its_session_and_the_session_not_to_the_cookie() {
        let user: UserId = "ada".parse().unwrap();
        let (session, cookie) = SessionRef::new(&user);
        assert_eq!(SessionRef::of_cookie(&cookie), Some(session.clone()));
        assert_eq!(session.to_string().parse(), Ok(session.clone()));
        assert_eq!(session.user, UserTag::of(&user));
        let secret = cookie.split_once('.').unwrap().1;
        assert!(!format!("{session} {session:?}").contains(secret));
        assert_ne!(SessionRef::new(&user).1, cookie);
        for bad in ["", ".", "x.y", &format!("{}.", "g".repeat(32)), secret] {
            assert_eq!(SessionRef::of_cookie(bad), None, "{bad}");
        }
    }
}
