//! TLS to Redis: whose certificates are believed, and for which names.

use std::{net::IpAddr, sync::Arc};

use fred::types::config::{HostMapping, TlsConfig, TlsConnector, TlsHostMapping};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::{RedisAddress, RedisForm, RedisTrust};

/// What connections by TLS need; `None` for an address without.
///
/// # Errors
/// The system has no usable authorities.
pub(super) fn tls(address: &RedisAddress, trust: &RedisTrust) -> Result<Option<TlsConfig>, String> {
    if !address.tls {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS to Redis: {error}"))?;
    let config = match trust {
        RedisTrust::Anybody => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        }
        trust => builder.with_root_certificates(roots(trust)?).with_no_client_auth(),
    };
    let hostnames = match name_of_all(address) {
        Some(name) => TlsHostMapping::Custom(Arc::new(OneName(name))),
        None => TlsHostMapping::None,
    };
    Ok(Some(TlsConfig { connector: TlsConnector::from(config), hostnames }))
}

/// The name that the certificates of a cluster's nodes are for where the nodes call themselves by address: that of the
/// endpoint. `None` when the endpoint is an address itself.
pub(super) fn name_of_all(address: &RedisAddress) -> Option<String> {
    let RedisForm::Cluster(hosts) = &address.form else { return None };
    hosts.iter().map(|host| &host.name).find(|name| name.parse::<IpAddr>().is_err()).cloned()
}

/// The authorities that are believed; none for `Anybody`.
///
/// # Errors
/// The system has no usable ones.
pub(super) fn roots(trust: &RedisTrust) -> Result<RootCertStore, String> {
    match trust {
        RedisTrust::System => system_roots(),
        RedisTrust::Roots(roots) => {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned()); // each was tried when the settings were read
            Ok(store)
        }
        RedisTrust::Anybody => Ok(RootCertStore::empty()),
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    // One that cannot be read does no harm to the others.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err("REDIS_URL asks for TLS, and this machine trusts no authority: install its ca-certificates, \
                    or set REDIS_TLS_CA_FILE"
            .into());
    }
    Ok(store)
}

#[derive(Debug)]
struct OneName(String);

impl HostMapping for OneName {
    fn map(&self, _address: &IpAddr, _default_host: &str) -> Option<String> {
        Some(self.0.clone())
    }
}

/// Believes that anybody is who they say; what they sign they must still have signed.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
