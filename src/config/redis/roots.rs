//! The authorities in `REDIS_TLS_CA_FILE`.

use rustls_pki_types::{
    CertificateDer,
    pem::{Error, PemObject as _},
};

/// All certificates of a PEM file.
pub(super) fn read(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(file).map_err(|error| format!("`{file}` cannot be read: {error}"))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, Error>>()
        .map_err(|error| format!("`{file}` is damaged: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("`{file}` has no certificate inside (-----BEGIN CERTIFICATE-----)"));
    }
    // What is no certificate in spite of its frame is found now, not at the first connection.
    let mut store = rustls::RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| format!("`{file}` has a certificate that is none: {error}"))?;
    }
    Ok(certificates)
}
