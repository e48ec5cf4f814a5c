//! For `hubbub doctor`: one TLS handshake, to see the server's certificate closer than a client does.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Fault, diagnosis, tls::roots};
use crate::config::RedisTrust;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far ahead is looked.
const DAYS_MAX: u64 = 30;

/// What a handshake showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// How many whole days the certificate is still good for; `None` for 30 and more, or when nobody checks it.
    pub days_left: Option<u64>,
    /// Whether the certificate is checked at all.
    pub verified: bool,
}

/// Shakes hands with a server. Blocks; each step on the network takes at most `patience`.
///
/// # Errors
/// What stands in the way.
pub fn shake_hands(
    address: SocketAddr,
    name: &str,
    trust: &RedisTrust,
    patience: Duration,
) -> Result<Handshake, Fault> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match trust {
        RedisTrust::Anybody => None,
        trust => {
            let roots = Arc::new(roots(trust).map_err(|_| Fault::UnknownAuthority)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(verifier.map_err(|_| Fault::UnknownAuthority)?)
        }
    };
    let witness = Arc::new(Witness { verifier, provider: Arc::clone(&provider), days_left: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.map_err(|_| Fault::Tls)?.dangerous().with_custom_certificate_verifier(Arc::clone(&witness) as _);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| Fault::WrongName)?;
    let mut connection = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).map_err(|_| Fault::Tls)?;
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(|error| of_io(&error))?;
    let patient = stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)));
    patient.map_err(|error| of_io(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| of_io(&error))?;
    }
    let days_left = *witness.days_left.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Handshake { days_left, verified: witness.verifier.is_some() })
}

fn of_io(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Fault::NoAnswerByTls,
        io::ErrorKind::ConnectionRefused => Fault::Refused,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Fault::NotTls,
        // How rustls wraps its own.
        _ => diagnosis::of_tls(&format!("{error:?}")).unwrap_or(Fault::Tls),
    }
}

/// Judges a certificate as the hub's connections do, and finds out how long the judgement will stay the same.
#[derive(Debug)]
struct Witness {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    days_left: Mutex<Option<u64>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(verifier) = &self.verifier else { return Ok(ServerCertVerified::assertion()) };
        let verified = verifier.verify_server_cert(certificate, chain, name, ocsp, now)?;
        let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_good_after = |days: u64| {
            let later = UnixTime::since_unix_epoch(today + DAY * u32::try_from(days).unwrap_or(u32::MAX));
            verifier.verify_server_cert(certificate, chain, name, ocsp, later).is_ok()
        };
        let days_left = (1..=DAYS_MAX).find(|days| !is_good_after(*days)).map(|days| days - 1);
        *self.days_left.lock().unwrap_or_else(PoisonError::into_inner) = days_left;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
