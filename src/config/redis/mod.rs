//! Where Redis is and how it is spoken to: from `REDIS_URL` in any of its forms, or from the parts.

mod address;
mod roots;
#[cfg(test)]
mod tests;

pub use address::{RedisAddress, RedisForm, RedisHost};

use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::{Faults, Secret, Settings};

/// How instances reach each other.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Where it is, with credentials.
    pub address: RedisAddress,
    /// Whose certificates are believed.
    pub trust: RedisTrust,
    /// Put before every key and channel.
    pub key_prefix: String,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a command.
    pub command_timeout: Duration,
    /// Connections for commands besides the bus.
    pub pool_size: usize,
    /// How often a command that may be repeated is tried.
    pub tries_max: u32,
}

/// Whose certificates are believed when Redis is spoken to by TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTrust {
    /// Those the machine trusts.
    System,
    /// Those of these authorities, and no other.
    Roots(Vec<CertificateDer<'static>>),
    /// Anybody's: for providers with self-signed certificates.
    Anybody,
}

/// Checks all that concerns Redis; `None` when it is not wanted.
pub(super) fn check(settings: &Settings, faults: &mut Faults) -> Option<RedisConfig> {
    let wanted = faults.flag("USE_REDIS", &settings.use_redis);
    let address = address(settings, faults);
    let tls = address.as_ref().is_some_and(|address| address.tls);
    let trust = trust(settings, tls, faults);
    let key_prefix = settings.redis_key_prefix.clone();
    let clustered = address.as_ref().is_some_and(|address| matches!(address.form, RedisForm::Cluster(_)));
    if clustered && key_prefix.contains('{') {
        faults.add(
            "REDIS_KEY_PREFIX",
            "holds a `{`, which begins a hash tag: everything would be on one node of the cluster. Leave it out",
        );
    }
    let connect_timeout = faults.millis("REDIS_CONNECT_TIMEOUT", &settings.redis_connect_timeout, 1, 600_000);
    let command_timeout = faults.millis("REDIS_COMMAND_TIMEOUT", &settings.redis_command_timeout, 1, 600_000);
    let pool_size = faults.number("REDIS_POOL_SIZE", &settings.redis_pool_size, 1, 1_000);
    let tries_max = faults.number("REDIS_MAX_RETRIES", &settings.redis_max_retries, 1, 100);
    let address = address.filter(|_| wanted)?;
    Some(RedisConfig { address, trust, key_prefix, connect_timeout, command_timeout, pool_size, tries_max })
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn address(settings: &Settings, faults: &mut Faults) -> Option<RedisAddress> {
    let tls = faults.flag("REDIS_TLS_ENABLED", &settings.redis_tls_enabled);
    let port = faults.parse("REDIS_PORT", &settings.redis_port, "a port, 0 to 65535");
    if let Some(url) = given(&settings.redis_url) {
        // The text of a fault never repeats the address: it may hold a password.
        return RedisAddress::parse(url).map_err(|fault| faults.add("REDIS_URL", fault)).ok();
    }
    let name = given(&settings.redis_host)?;
    let Some(host) = RedisHost::new(name, port) else {
        faults.add("REDIS_HOST", format_args!("`{name}` is not a host name"));
        return None;
    };
    Some(RedisAddress {
        form: RedisForm::Server(host),
        tls,
        username: given(&settings.redis_username).map(str::to_owned),
        password: settings.redis_password.clone().filter(|password| !password.is_empty()).map(Secret),
        database: 0,
    })
}

fn trust(settings: &Settings, tls: bool, faults: &mut Faults) -> RedisTrust {
    let verify = faults.flag("REDIS_TLS_VERIFY", &settings.redis_tls_verify);
    let Some(file) = given(&settings.redis_tls_ca_file) else {
        return if verify { RedisTrust::System } else { RedisTrust::Anybody };
    };
    if !tls && (given(&settings.redis_url).is_some() || given(&settings.redis_host).is_some()) {
        faults.add(
            "REDIS_TLS_CA_FILE",
            "is of no use without TLS: write rediss:// in REDIS_URL, or REDIS_TLS_ENABLED=true",
        );
    }
    if !verify {
        faults.add("REDIS_TLS_VERIFY", "false would ignore REDIS_TLS_CA_FILE: leave one of the two out");
    }
    roots::read(file).map(RedisTrust::Roots).unwrap_or_else(|fault| {
        faults.add("REDIS_TLS_CA_FILE", fault);
        RedisTrust::System
    })
}
