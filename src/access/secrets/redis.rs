//! Secrets in Redis: one key each, `tries hash memo`, gone with its time.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use super::{Place, TRIES};
use crate::{
    access::keys::hex,
    redis::{Commands, Fault, Script, When},
};

/// hash → memo, when it is the right one. One script, so that of several who show it one gets it.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local v = redis.call('GET', KEYS[1])
        if not v then return nil end
        local tries, hash, memo = v:match('^(%d+) (%x+) (.*)$')
        if hash == ARGV[1] then redis.call('UNLINK', KEYS[1]) return memo end
        if tonumber(tries) <= 1 then redis.call('UNLINK', KEYS[1]) else
            redis.call('SET', KEYS[1], string.format('%d %s %s', tries - 1, hash, memo), 'KEEPTTL')
        end
        return nil",
    )
});

pub(super) async fn keep(redis: &Commands, place: &Place, memo: &str, lifetime: Duration) -> Result<(), Fault> {
    let value = format!("{TRIES} {} {memo}", hex(&place.hash));
    redis.set(&place.name, value.into(), lifetime, When::Always).await.map(drop)
}

pub(super) async fn take(redis: &Commands, place: &Place) -> Result<Option<String>, Fault> {
    redis.eval(&TAKE, &[&place.name], vec![Bytes::from(hex(&place.hash))]).await
}
