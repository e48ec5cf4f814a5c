//! One-time secrets in Redis, as the primitive that codes and invitations stand on: two instances, one secret.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hubbub::access::{
    Keys,
    secrets::{Purpose, Secrets, TRIES},
};
use tokio::sync::Barrier;

use crate::support::{
    RedisServer,
    library::{in_system, redis_commands},
};

const SECRET: &str = "what-all-instances-have-in-common-32";

async fn instance(redis: &RedisServer, secret: &str) -> Arc<Secrets> {
    Arc::new(Secrets::new(Some(redis_commands(redis).await), &Keys::derive(Some(secret))))
}

#[test]
fn of_many_on_two_instances_one_takes_a_secret() {
    in_system(async {
        let redis = RedisServer::start().await;
        let (a, b) = (instance(&redis, SECRET).await, instance(&redis, SECRET).await);
        for _ in 0..20 {
            let token = a.issue_token(Purpose::Reset, "memo").await.expect("a token");
            // All of them stand at the line before the first one runs.
            let line = Arc::new(Barrier::new(8));
            let runners = (0..8).map(|n| {
                let (secrets, token, line) = ([&a, &b][n % 2].clone(), token.clone(), line.clone());
                async move {
                    line.wait().await;
                    secrets.redeem_token(Purpose::Reset, &token).await.expect("an answer")
                }
            });
            let took: Vec<_> = join_all(runners).await.into_iter().flatten().collect();
            assert_eq!(took, ["memo"]);
        }
    });
}

#[test]
fn purposes_subjects_tries_and_times_hold_in_redis() {
    in_system(async {
        let redis = RedisServer::start().await;
        let (a, b) = (instance(&redis, SECRET).await, instance(&redis, SECRET).await);
        for purpose in [Purpose::LoginCode, Purpose::Reset, Purpose::Verification, Purpose::Invitation] {
            redis.command(&["FLUSHALL"]).await;
            let code = a.issue_code(purpose, "ada", "a memo\nof two lines").await.expect("a code");
            let keys = redis.command(&["KEYS", "*"]).await.texts();
            let crate::support::resp::Reply::Number(left) = redis.command(&["PTTL", &keys[0]]).await else {
                panic!("no lifetime")
            };
            let left = Duration::from_millis(left.unsigned_abs());
            assert!(left <= purpose.lifetime() && left + Duration::from_secs(5) > purpose.lifetime(), "{left:?}");
            for other in [Purpose::LoginCode, Purpose::Reset, Purpose::Verification, Purpose::Invitation] {
                if other != purpose {
                    assert_eq!(b.redeem_code(other, "ada", &code).await, Ok(None));
                }
            }
            assert_eq!(b.redeem_code(purpose, "bob", &code).await, Ok(None));
            for _ in 1..TRIES {
                assert_eq!(b.redeem_code(purpose, "ada", "x").await, Ok(None));
            }
            assert_eq!(redis.command(&["EXISTS", &keys[0]]).await, crate::support::resp::Reply::Number(1));
            assert_eq!(b.redeem_code(purpose, "ada", &code).await, Ok(Some("a memo\nof two lines".into())));
            assert_eq!(a.redeem_code(purpose, "ada", &code).await, Ok(None));

            let burnt = a.issue_code(purpose, "ada", "").await.expect("a code");
            for _ in 0..TRIES {
                assert_eq!(b.redeem_code(purpose, "ada", "x").await, Ok(None));
            }
            assert_eq!(a.redeem_code(purpose, "ada", &burnt).await, Ok(None));
        }
        // Who reads all of Redis cannot show what is kept there, nor make a secret without the key.
        let token = a.issue_token(Purpose::Reset, "").await.expect("a token");
        let other = instance(&redis, "another-secret-of-another-hub-32-by").await;
        assert_eq!(other.redeem_token(Purpose::Reset, &token).await, Ok(None));
        assert!(a.redeem_token(Purpose::Reset, &token).await.expect("an answer").is_some());
    });
}
