//! Sessions in Redis: one hash per user, a field per session.
//!
//! One key for all sessions of a user makes each question and each revocation one script on one node. And when Redis
//! evicts it (any key may vanish), the sessions are over: there is no index that could be lost while what it leads to
//! lives on.
//!
//! A field's name is the session's hash; its value is `expires_at_ms end_ms created_at_ms owner`, all times by Redis' clock,
//! `end_ms` 0 where nothing but disuse ends the session.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use super::{
    SessionRef, UserTag,
    record::{Found, Listed},
};
use crate::{
    clock::Timestamp,
    redis::{Commands, Fault, Script},
};

/// Sessions of one user; the one that would end first gives way to a new one.
const PER_USER_MAX: usize = 100;

const NOW: &str = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) \
    local function parse(v) local e, c, m, o = v:match('^(%d+) (%d+) (%d+) (.*)$') return tonumber(e), tonumber(c), m, o end \
    local function keep(ms) if redis.call('PTTL', KEYS[1]) < ms then redis.call('PEXPIRE', KEYS[1], ms) end end ";

/// hash, lifetime, least move of the end → end, whether it was moved, owner.
static LOOK: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local v = redis.call('HGET', KEYS[1], ARGV[1])
        if not v then return nil end
        local expires, last, made, owner = parse(v)
        if expires <= now then redis.call('HDEL', KEYS[1], ARGV[1]) return nil end
        local to, moved = now + ARGV[2], 0
        if last > 0 and to > last then to = last end
        if to - expires >= tonumber(ARGV[3]) then
            moved, expires = 1, to
            redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %s %s', to, last, made, owner))
            keep(to - now)
        end
        return string.format('%.0f %d %s', expires, moved, owner)",
    )
});

/// hash, lifetime, end, owner, most sessions.
static SAVE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local all, count, first, least = redis.call('HGETALL', KEYS[1]), 0, nil, nil
        for i = 1, #all, 2 do
            local expires = parse(all[i + 1])
            if expires <= now then redis.call('HDEL', KEYS[1], all[i]) else
                count = count + 1
                if not least or expires < least then first, least = all[i], expires end
            end
        end
        if first and count >= tonumber(ARGV[5]) then redis.call('HDEL', KEYS[1], first) end
        local to, last = now + ARGV[2], tonumber(ARGV[3])
        if last > 0 and to > last then to = last end
        if to <= now then return 0 end
        redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %.0f %s', to, last, now, ARGV[4]))
        keep(to - now)
        return 1",
    )
});

/// hash, owner.
static CHANGE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local v = redis.call('HGET', KEYS[1], ARGV[1])
        if not v then return 0 end
        local expires, last, made = parse(v)
        redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %s %s', expires, last, made, ARGV[2]))
        return 1",
    )
});

/// → `hash expires_at_ms created_at_ms`, one text for each session.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local all, found = redis.call('HGETALL', KEYS[1]), {}
        for i = 1, #all, 2 do
            local expires, last, made = parse(all[i + 1])
            if expires > now then found[#found + 1] = string.format('%s %.0f %s', all[i], expires, made) end
        end
        return found",
    )
});

static END: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('HDEL', KEYS[1], ARGV[1])"));

fn script(text: &str) -> Script {
    // Scripts live as long as the process: each is made once.
    Script::new(Box::leak(format!("{NOW}{text}").into_boxed_str()))
}

fn key(user: &UserTag) -> String {
    format!("session:{}", user.as_str())
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn number(number: i64) -> Bytes {
    number.to_string().into()
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Finds a session, and moves its end if that is worth it.
pub(super) async fn look(
    redis: &Commands,
    session: &SessionRef,
    ttl: Duration,
    step: Duration,
) -> Result<Option<Found>, Fault> {
    let args = vec![text(&session.hash), number(millis(ttl)), number(millis(step))];
    let found: Option<String> = redis.eval(&LOOK, &[&key(&session.user)], args).await?;
    Ok(found.and_then(|line| {
        let mut parts = line.splitn(3, ' ');
        let (expires_at_ms, extended) = (parts.next()?.parse().ok()?, parts.next()? == "1");
        Some(Found { expires_at_ms, extended, owner: parts.next()?.to_owned() })
    }))
}

/// Keeps a new session. `false` when its end is past.
pub(super) async fn save(
    redis: &Commands,
    session: &SessionRef,
    ttl: Duration,
    ends_at_ms: Option<i64>,
    owner: &str,
) -> Result<bool, Fault> {
    let args = vec![
        text(&session.hash),
        number(millis(ttl)),
        number(ends_at_ms.unwrap_or(0)),
        text(owner),
        number(PER_USER_MAX as i64),
    ];
    Ok(redis.eval::<i64>(&SAVE, &[&key(&session.user)], args).await? == 1)
}

/// Writes another owner's card into a session, if it is still there.
pub(super) async fn change(redis: &Commands, session: &SessionRef, owner: &str) -> Result<bool, Fault> {
    let args = vec![text(&session.hash), text(owner)];
    Ok(redis.eval::<i64>(&CHANGE, &[&key(&session.user)], args).await? == 1)
}

/// Ends a session; whether it was there.
pub(super) async fn end(redis: &Commands, session: &SessionRef) -> Result<bool, Fault> {
    Ok(redis.eval::<i64>(&END, &[&key(&session.user)], vec![text(&session.hash)]).await? == 1)
}

/// Ends all sessions of a user; whether there were any.
pub(super) async fn end_all(redis: &Commands, user: &UserTag) -> Result<bool, Fault> {
    Ok(redis.unlink(&[key(user)]).await? > 0)
}

/// The sessions of a user.
pub(super) async fn list(redis: &Commands, user: &UserTag) -> Result<Vec<Listed>, Fault> {
    let lines: Vec<String> = redis.eval(&LIST, &[&key(user)], Vec::new()).await?;
    let listed = |line: String| {
        let mut parts = line.split(' ');
        let session = SessionRef { user: user.clone(), hash: parts.next()?.to_owned() };
        let expires_at = Timestamp::from_timestamp_millis(parts.next()?.parse().ok()?)?;
        let created_at = Timestamp::from_timestamp_millis(parts.next()?.parse().ok()?)?;
        Some(Listed { session, created_at, expires_at })
    };
    Ok(lines.into_iter().filter_map(listed).collect())
}
