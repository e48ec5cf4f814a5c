//! Mail: login codes and invitations, sent in the background by an SMTP server. The one place that speaks to it.
//!
//! Who asks for a mail does not wait for it: how long the server takes, or whether it takes the address, is nothing that the
//! asker may learn. What waits is bounded.

use std::{sync::Arc, time::Duration};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp,
};
use tokio::sync::Semaphore;

use crate::config::MailConfig;

/// Mails on their way at once, waiting ones included.
const UNDER_WAY_MAX: usize = 200;
/// Connections to the server at once.
const CONNECTIONS_MAX: usize = 8;
/// How long the server may take for each step.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends mail.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    under_way: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Why a mail is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailFault {
    /// Too many are on their way.
    #[error("too many mails are waiting to be sent")]
    Busy,
    /// The text cannot be a mail.
    #[error("the mail cannot be written")]
    Unwritable,
}

impl Mailer {
    /// Does not connect yet.
    ///
    /// # Errors
    /// The address cannot be used; the text does not repeat it.
    pub fn new(config: &MailConfig) -> Result<Self, String> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.url.expose()).map_err(|_| {
            "SMTP_URL: the address cannot be used, or the system's certificates cannot be read".to_owned()
        })?;
        let from = config.from.parse().map_err(|_| "MAIL_FROM: no address".to_owned())?;
        Ok(Self {
            transport: transport.timeout(Some(PATIENCE)).build(),
            from,
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Begins to send a mail, on the caller's thread. That it could not be sent is logged, without address and text.
    ///
    /// # Errors
    /// It is not even tried.
    pub fn send(&self, to: Address, subject: &str, text: String) -> Result<(), MailFault> {
        let place = Arc::clone(&self.under_way).try_acquire_owned().map_err(|_| MailFault::Busy)?;
        let mail = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|_| MailFault::Unwritable)?;
        let (transport, connections) = (self.transport.clone(), Arc::clone(&self.connections));
        actix_web::rt::spawn(async move {
            let _place = place;
            let Ok(_connection) = connections.acquire().await else { return };
            match transport.send(mail).await {
                Ok(_) => tracing::debug!("a mail was sent"),
                Err(error) => tracing::warn!("a mail was not sent: {}", in_words(&error)),
            }
        });
        Ok(())
    }
}

/// An address as it is kept: lower case, since nobody has two that differ in case alone.
pub fn checked_address(text: &str) -> Option<Address> {
    let text = text.trim().to_lowercase();
    // Longer ones cannot be delivered to (RFC 5321, 4.5.3.1.3).
    (text.len() <= 254 && text.is_ascii()).then(|| text.parse().ok()).flatten()
}

/// Not the server's words: they repeat the address.
fn in_words(error: &smtp::Error) -> String {
    let cause = if error.is_tls() {
        "TLS to the mail server failed: check SMTP_URL and its certificate"
    } else if error.is_timeout() {
        "the mail server does not answer in time: check host and port in SMTP_URL"
    } else if error.is_permanent() {
        "the mail server refused it: check the credentials in SMTP_URL and MAIL_FROM"
    } else if error.is_transient() {
        "the mail server refused it for now"
    } else {
        "the mail server cannot be reached or understood: check SMTP_URL"
    };
    error.status().map_or_else(|| cause.to_owned(), |code| format!("{cause} (SMTP {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        assert_eq!(checked_address(" Ada@Example.COM ").unwrap().to_string(), "ada@example.com");
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in ["", "ada", "@", "a@", "a b@c.d", "a@b\r\nBcc: x@y.z", "ada@exämple.com", "<a@b.c>", &long] {
            assert!(checked_address(bad).is_none(), "{bad:?}");
        }
    }
}
