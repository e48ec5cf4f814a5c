//! An authority of the tests' own, and certificates that it signed.

use std::path::{Path, PathBuf};

use chrono::Datelike as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// The authority; its files are gone when it is dropped.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    home: TempDir,
}

/// A certificate in files.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let this = Self { issuer, home: TempDir::new().expect("a folder") };
        std::fs::write(this.path("ca.pem"), this.issuer.pem()).expect("a file");
        this
    }

    /// For `REDIS_TLS_CA_FILE`.
    pub fn file(&self) -> String {
        text(&self.path("ca.pem"))
    }

    /// A certificate for these host names and addresses.
    pub fn sign(&self, names: &[&str]) -> Certificate {
        self.sign_with(names, |_| {})
    }

    /// The same, which ends so many days from now.
    pub fn sign_for_days(&self, names: &[&str], days: i64) -> Certificate {
        let end = chrono::Utc::now() + chrono::TimeDelta::days(days);
        let day = |of: chrono::DateTime<chrono::Utc>| {
            let number = |number: u32| u8::try_from(number).expect("a month or day");
            rcgen::date_time_ymd(of.year(), number(of.month()), number(of.day()))
        };
        self.sign_with(names, |params| {
            (params.not_before, params.not_after) = (day(end - chrono::TimeDelta::days(90)), day(end));
        })
    }

    fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (certificate, key) = (self.path(&format!("{}.pem", names[0])), self.path(&format!("{}.key", names[0])));
        let pair = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let signed = params.signed_by(&pair, &self.issuer).expect("signed");
        std::fs::write(&certificate, signed.pem()).expect("a file");
        std::fs::write(&key, pair.serialize_pem()).expect("a file");
        Certificate { certificate: text(&certificate), key: text(&key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}
