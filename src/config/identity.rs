//! The settings of sessions, rate limits, mail and the operator, checked.

use std::time::Duration;

use super::{AccessConfig, CookieSecure, Faults, MailConfig, RateLimit, RateLimits, Secret, SessionsConfig, Settings};

/// As long as the hash that keys are derived by.
const SECRET_BYTES_MIN: usize = 32;
/// The general-purpose limit that may be asked for by name.
const GENERAL: RateLimit = RateLimit { count: 150, window: Duration::from_secs(15 * 60) };
/// The longest time a setting may name: a year.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// More than any hub answers; keeps the arithmetic of limits far from its bounds.
const COUNT_MAX: u32 = 1_000_000;

pub(super) fn sessions(settings: &Settings, access: &AccessConfig, faults: &mut Faults) -> SessionsConfig {
    let own = secret("SESSION_SECRET", &settings.session_secret, faults);
    let ttl = time(&settings.session_ttl).unwrap_or_else(|| {
        let text = &settings.session_ttl;
        faults.add("SESSION_TTL", format_args!("`{text}` is not a time from 1s to 365d, as in 24h, 30m or 90s"));
        Duration::from_secs(1)
    });
    let cookie_secure = match settings.session_cookie_secure.trim().to_ascii_lowercase().as_str() {
        "auto" => CookieSecure::Auto,
        "true" => CookieSecure::Always,
        "false" => CookieSecure::Never,
        text => {
            faults.add("SESSION_COOKIE_SECURE", format_args!("`{text}` is none of auto, true and false"));
            CookieSecure::Auto
        }
    };
    SessionsConfig { secret: own.or_else(|| access.jwt_secret.clone()), ttl, cookie_secure }
}

fn secret(variable: &str, value: &Option<String>, faults: &mut Faults) -> Option<Secret> {
    let secret = value.clone().filter(|secret| !secret.is_empty())?;
    if secret.len() < SECRET_BYTES_MIN {
        faults.add(
            variable,
            format_args!("is shorter than {SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes a good one"),
        );
    }
    Some(Secret(secret))
}

pub(super) fn rate_limits(settings: &Settings, faults: &mut Faults) -> RateLimits {
    let mut limit = |variable, text: &str| match rate_limit(text) {
        Some(limit) => limit,
        None => {
            faults.add(
                variable,
                format_args!(
                    "`{text}` is not count/time (100/60s, 3/15m; at most {COUNT_MAX} in 365d), nor `general` (150/15m) \
                     nor `off`"
                ),
            );
            None
        }
    };
    RateLimits {
        api: limit("RATE_LIMIT_API", &settings.rate_limit_api),
        login: limit("RATE_LIMIT_LOGIN", &settings.rate_limit_login),
        user: limit("RATE_LIMIT_USER", &settings.rate_limit_user),
    }
}

/// `Some(None)` for no limit, `None` for what is not understood.
fn rate_limit(text: &str) -> Option<Option<RateLimit>> {
    match text.trim() {
        "off" => Some(None),
        "general" => Some(Some(GENERAL)),
        text => {
            let (count, window) = text.split_once('/')?;
            let count = count.trim().parse().ok().filter(|count| (1..=COUNT_MAX).contains(count))?;
            Some(Some(RateLimit { count, window: time(window)? }))
        }
    }
}

/// A whole number with its unit: `90s`, `15m`, `24h`, `7d`.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let time = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?);
    (Duration::from_secs(1)..=TIME_MAX).contains(&time).then_some(time)
}

pub(super) fn mail(settings: &Settings, faults: &mut Faults) -> Option<MailConfig> {
    let given = |value: &Option<String>| value.clone().filter(|text| !text.trim().is_empty());
    let url = given(&settings.smtp_url)?;
    if let Err(fault) = check_smtp_url(&url) {
        faults.add("SMTP_URL", fault);
    }
    let from = given(&settings.mail_from).unwrap_or_default();
    if from.parse::<lettre::message::Mailbox>().is_err() {
        faults.add("MAIL_FROM", "must be the sender of the hub's mails, as in Hubbub <hub@example.com>");
    }
    Some(MailConfig { url: Secret(url), from })
}

/// Says what is wrong with an address without repeating it: it may hold a password.
fn check_smtp_url(text: &str) -> Result<(), &'static str> {
    let url = url::Url::parse(text)
        .map_err(|_| "is not an address; write smtps://user:password@host:465 (percent-encode special characters)")?;
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err("names no host; write smtps://host:465");
    };
    let tls = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    let is_local =
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match (url.scheme(), tls.as_deref()) {
        ("smtps", _) | ("smtp", Some("required")) => Ok(()),
        ("smtp", None | Some("opportunistic")) if is_local || url.password().is_none() => Ok(()),
        ("smtp", None | Some("opportunistic")) => {
            Err("would send the password in the clear; write smtps://, or ?tls=required at the end for STARTTLS")
        }
        ("smtp", Some(_)) => Err("says tls= something else than required or opportunistic"),
        _ => Err("must start with smtps:// or smtp://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_times_are_read_with_their_units() {
        let limit = |count, seconds| Some(Some(RateLimit { count, window: Duration::from_secs(seconds) }));
        assert_eq!(rate_limit("100/60s"), limit(100, 60));
        assert_eq!(rate_limit(" 3/15m "), limit(3, 900));
        assert_eq!(rate_limit("general"), limit(150, 900));
        assert_eq!(rate_limit("off"), Some(None));
        for bad in ["", "100", "0/1s", "x/1s", "1/0s", "1/1", "1/1w", "1/366d", "9999999/1s", "-1/1s", "1/ä"] {
            assert_eq!(rate_limit(bad), None, "{bad}");
        }
        assert_eq!(time("24h"), Some(Duration::from_secs(86_400)));
        for bad in ["h", "", "1.5h", "99999999999999999999s", "18446744073709551615d", "1 h", "ms"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mail_server_never_gets_a_password_in_the_clear() {
        for good in [
            "smtps://u:p@mail.example",
            "smtp://u:p@mail.example:587?tls=required",
            "smtp://relay.internal:25",
            "smtp://u:p@127.0.0.1:2525",
            "smtp://u:p@[::1]:25",
        ] {
            assert_eq!(check_smtp_url(good), Ok(()), "{good}");
        }
        for bad in [
            "smtp://u:p@mail.example",
            "smtp://u:p@mail.example?tls=opportunistic",
            "http://x",
            "x",
            "smtp:",
            "smtp://h?tls=no",
        ] {
            assert!(check_smtp_url(bad).is_err(), "{bad}");
        }
    }
}
