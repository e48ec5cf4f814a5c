//! What stands at the door: who may, sessions, one-time secrets, limits, mail.

use std::sync::Arc;

use crate::{
    access::{Access, Keys, Operator, Sessions, limits::Limits, secrets::Secrets},
    bus::Bus,
    cache::Catalogue,
    config::{Config, Secret},
    mail::Mailer,
    redis::Commands,
};

pub(super) struct Door {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) access: Arc<Access>,
    pub(super) operator: Operator,
    pub(super) keys: Keys,
    pub(super) sessions: Arc<Sessions>,
    pub(super) secrets: Secrets,
    pub(super) limits: Arc<Limits>,
    pub(super) mailer: Option<Mailer>,
}

impl Door {
    /// # Errors
    /// The mail server's address cannot be used.
    pub(super) fn new(
        config: &Config,
        redis: Option<Commands>,
        bus: &Arc<dyn Bus>,
        catalogue: &Arc<Catalogue>,
    ) -> Result<Self, String> {
        let secret = config.sessions.secret.as_ref().map(Secret::expose);
        match (secret, &redis) {
            (Some(_), _) => {}
            (None, Some(_)) => tracing::warn!(
                "SESSION_SECRET is not set: cookie sessions and login codes do not survive a restart, and count on one \
                 instance only; give all instances the same one (`openssl rand -hex 32`)"
            ),
            (None, None) => tracing::info!("SESSION_SECRET is not set: cookie sessions do not survive a restart"),
        }
        let keys = Keys::derive(secret);
        let trusted_proxies = config.listen.trusted_proxies.clone();
        Ok(Self {
            catalogue: Arc::clone(catalogue),
            access: Arc::new(Access::new(&config.access, trusted_proxies, Arc::clone(catalogue))),
            operator: Operator::new(&config.access),
            sessions: Sessions::start(redis.clone(), Arc::clone(bus), config.sessions.ttl),
            secrets: Secrets::new(redis.clone(), &keys),
            limits: Limits::new(config.rate_limits, redis, &keys),
            mailer: config.mail.as_ref().map(Mailer::new).transpose()?,
            keys,
        })
    }
}
