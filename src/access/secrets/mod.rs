//! One-time secrets: codes to log in, tokens to reset, verify and invite.
//!
//! One primitive: a secret is issued for a purpose and a subject, with something to remember; whoever shows it in time gets
//! that, once. Of several who show it at the same moment, on whatever instances, one does. A wrong one costs a try, and
//! after [`TRIES`] of them the secret is burnt. A new one takes the place of the old. What is kept is a keyed hash: a code
//! has so few digits that anybody could try all of them against a plain one. Hashes are compared, in Redis by its own `==`:
//! how many of their first bytes agree says nothing of the code to somebody without the key; here in constant time.
//!
//! Codes are short, for people to type, and have a subject that is known (an address). Tokens are long, for links, and
//! carry their subject, which is random.

mod memory;
mod redis;

use std::time::Duration;

use rand::Rng as _;

use self::memory::Memory;
use super::{
    Keys, Unavailable,
    keys::{CodeKey, hex, random_hex},
};
use crate::redis::Commands;

/// Wrong secrets after which the right one is burnt.
pub const TRIES: u32 = 5;
/// Digits of a code: with [`TRIES`] for each, one code in twenty million is guessed.
const CODE_DIGITS: u32 = 8;

/// What a secret is good for; one for one purpose is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To log in by e-mail: a code, 5 minutes.
    LoginCode,
    /// To take an account back: a token, 1 hour.
    Reset,
    /// To show that an address is one's own: a token, 24 hours.
    Verification,
    /// To become a member of a project: a token, 24 hours.
    Invitation,
}

impl Purpose {
    /// How long its secrets are good.
    pub fn lifetime(self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self {
            Self::LoginCode => 5 * MINUTE,
            Self::Reset => 60 * MINUTE,
            Self::Verification | Self::Invitation => 24 * 60 * MINUTE,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::LoginCode => "login-code",
            Self::Reset => "reset",
            Self::Verification => "verification",
            Self::Invitation => "invitation",
        }
    }
}

/// The one-time secrets of the hub.
pub struct Secrets {
    kept: Kept,
    key: CodeKey,
}

enum Kept {
    Redis(Commands),
    Memory(Memory),
}

/// Where a secret is kept, and its hash.
struct Place {
    name: String,
    hash: [u8; 32],
}

impl Secrets {
    /// Secrets in Redis, or in memory without it.
    pub fn new(redis: Option<Commands>, keys: &Keys) -> Self {
        let kept = redis.map_or_else(|| Kept::Memory(Memory::new()), Kept::Redis);
        Self { kept, key: keys.codes.clone() }
    }

    /// Makes a code for a subject; `memo` comes back to whoever shows it.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn issue_code(&self, purpose: Purpose, subject: &str, memo: &str) -> Result<String, Unavailable> {
        let code = rand::rng().random_range(0..10_u64.pow(CODE_DIGITS));
        let code = format!("{code:0width$}", width = CODE_DIGITS as usize);
        self.keep(purpose, subject, &code, memo, purpose.lifetime()).await?;
        Ok(code)
    }

    /// Shows a code: its memo if it is right, and then never again. Spaces and dashes do not count.
    ///
    /// # Errors
    /// Redis is away. Its answer may have been lost: then the code is used up.
    pub async fn redeem_code(
        &self,
        purpose: Purpose,
        subject: &str,
        code: &str,
    ) -> Result<Option<String>, Unavailable> {
        let digits: String = code.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        self.take(purpose, subject, &digits).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn issue_token(&self, purpose: Purpose, memo: &str) -> Result<String, Unavailable> {
        let (subject, secret) = (random_hex::<8>(), random_hex::<32>());
        self.keep(purpose, &subject, &secret, memo, purpose.lifetime()).await?;
        Ok(format!("{subject}.{secret}"))
    }

    /// Shows a token: its memo if it is right, and then never again.
    ///
    /// # Errors
    /// As [`redeem_code`](Self::redeem_code).
    pub async fn redeem_token(&self, purpose: Purpose, token: &str) -> Result<Option<String>, Unavailable> {
        let Some((subject, secret)) = token.trim().split_once('.') else { return Ok(None) };
        self.take(purpose, subject, secret).await
    }

    /// Makes a token good again that was shown for something that then could not be done.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn put_back_token(
        &self,
        purpose: Purpose,
        token: &str,
        memo: &str,
        lifetime: Duration,
    ) -> Result<(), Unavailable> {
        let Some((subject, secret)) = token.trim().split_once('.') else { return Ok(()) };
        self.keep(purpose, subject, secret, memo, lifetime).await
    }

    async fn keep(
        &self,
        purpose: Purpose,
        subject: &str,
        secret: &str,
        memo: &str,
        lifetime: Duration,
    ) -> Result<(), Unavailable> {
        let place = self.place(purpose, subject, secret);
        match &self.kept {
            Kept::Redis(redis) => redis::keep(redis, &place, memo, lifetime).await?,
            Kept::Memory(memory) => memory.keep(place, memo, lifetime).await,
        }
        Ok(())
    }

    async fn take(&self, purpose: Purpose, subject: &str, secret: &str) -> Result<Option<String>, Unavailable> {
        let place = self.place(purpose, subject, secret);
        Ok(match &self.kept {
            Kept::Redis(redis) => redis::take(redis, &place).await?,
            Kept::Memory(memory) => memory.take(&place).await,
        })
    }

    fn place(&self, purpose: Purpose, subject: &str, secret: &str) -> Place {
        let name = hex(&self.key.hash(&[purpose.name(), subject])[..16]);
        let hash = self.key.hash(&[purpose.name(), subject, secret]);
        Place { name: format!("secret:{}:{name}", purpose.name()), hash }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(None, &Keys::derive(None))
    }

    #[tokio::test]
    async fn a_code_is_good_once_for_its_purpose_and_subject() {
        let secrets = secrets();
        let code = secrets.issue_code(Purpose::LoginCode, "ada", "memo").await.unwrap();
        assert_eq!((code.len(), code.bytes().all(|digit| digit.is_ascii_digit())), (8, true));
        assert_eq!(secrets.redeem_code(Purpose::Reset, "ada", &code).await, Ok(None));
        assert_eq!(secrets.redeem_code(Purpose::LoginCode, "bob", &code).await, Ok(None));
        let typed = format!(" {}-{} ", &code[..4], &code[4..]);
        assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &typed).await, Ok(Some("memo".into())));
        assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &code).await, Ok(None));
    }

    #[tokio::test]
    async fn a_new_code_replaces_the_old_and_wrong_ones_burn_it() {
        let secrets = secrets();
        let old = secrets.issue_code(Purpose::LoginCode, "ada", "").await.unwrap();
        let wrong = |code: &str| format!("{:08}", (code.parse::<u64>().unwrap() + 1) % 100_000_000);
        for _ in 1..TRIES {
            assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &wrong(&old)).await, Ok(None));
        }
        let new = secrets.issue_code(Purpose::LoginCode, "ada", "").await.unwrap();
        assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &wrong(&new)).await, Ok(None));
        for _ in 1..TRIES {
            assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &wrong(&new)).await, Ok(None));
        }
        assert_eq!(secrets.redeem_code(Purpose::LoginCode, "ada", &new).await, Ok(None), "burnt");
    }

    #[tokio::test]
    async fn of_many_at_once_one_gets_it() {
        let secrets = secrets();
        let token = secrets.issue_token(Purpose::Invitation, "memo").await.unwrap();
        let shown = join_all((0..20).map(|_| secrets.redeem_token(Purpose::Invitation, &token))).await;
        assert_eq!(shown.into_iter().flatten().flatten().collect::<Vec<_>>(), ["memo"]);
        secrets.put_back_token(Purpose::Invitation, &token, "memo", Duration::from_secs(60)).await.unwrap();
        assert!(secrets.redeem_token(Purpose::Invitation, &token).await.unwrap().is_some());
        for bad in ["", ".", "x", &token[..20], &format!("{token}x")] {
            assert_eq!(secrets.redeem_token(Purpose::Invitation, bad).await, Ok(None), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_secret_has_its_time() {
        let secrets = secrets();
        let place = secrets.place(Purpose::Reset, "s", "x");
        let Kept::Memory(memory) = &secrets.kept else { panic!("in memory") };
        memory.keep(place, "", Duration::ZERO).await;
        assert_eq!(secrets.take(Purpose::Reset, "s", "x").await, Ok(None));
        let minutes = [Purpose::LoginCode, Purpose::Reset, Purpose::Verification, Purpose::Invitation]
            .map(|purpose| purpose.lifetime().as_secs() / 60);
        assert_eq!(minutes, [5, 60, 1440, 1440]);
    }
}
