//! TLS to PostgreSQL, by the names that libpq has for its modes.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::Row as _;
use tempfile::TempDir;

use crate::support::{PostgresServer, TestClient, TestHub, eventually, hub::run, postgres::DATABASE_PASSWORD};

/// A server with a certificate for `localhost` from an authority of its own, and a database there.
struct Secured {
    server: PostgresServer,
    database: String,
    files: TempDir,
}

impl Secured {
    async fn start() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = certificate.signed_by(&key, &issuer).expect("a certificate");
        let files = TempDir::new().expect("a folder");
        fs::write(files.path().join("ca.pem"), issuer.pem()).expect("a file");
        let server = PostgresServer::with(
            &["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"],
            &[("server.crt", &certificate.pem()), ("server.key", &key.serialize_pem())],
        );
        let database = server.database().await;
        Self { server, database, files }
    }

    /// The address, by this host and with these parameters; `CA` stands for the authority's file.
    fn url(&self, host: &str, parameters: &str) -> String {
        let ca = self.files.path().join("ca.pem");
        let parameters = parameters.replace("CA", ca.to_str().expect("a path"));
        format!("{}?{parameters}", self.server.url(&self.database).replace("127.0.0.1", host))
    }

    /// From now on lets hubs in by this kind of connection alone: `hostssl` or `hostnossl`.
    async fn only(&self, kind: &str) {
        let rule = |kind: &str, database: &str| format!("{kind} {database} all 127.0.0.1/32 scram-sha-256\n");
        self.server.change("pg_hba.conf", &[rule(kind, &self.database), rule("host", "postgres")].concat()).await;
        // The server reads it in its own time.
        eventually("the rules are in force", async || {
            let mut connection = self.server.connect("postgres").await;
            let rules = "SELECT bool_and(error IS NULL) AND count(*) = 2 FROM pg_hba_file_rules";
            let current = sqlx::query(rules).fetch_one(&mut connection).await.expect("rules").get::<bool, _>(0);
            let loaded = "SELECT pg_conf_load_time() > (pg_stat_file('pg_hba.conf')).modification";
            let loaded = sqlx::query(loaded).fetch_one(&mut connection).await.expect("a time").get::<bool, _>(0);
            (current && loaded).then_some(())
        })
        .await;
    }

    /// A hub comes up and stores; answers whether it speaks TLS with the server.
    async fn works(&self, parameters: &str) -> bool {
        let hub = TestHub::with(&[("DATABASE_URL", &self.url("localhost", parameters))]).await;
        TestClient::joined(&hub, "Ada", "p/r").await.send("hi").await;
        let mut connection = self.server.connect("postgres").await;
        let all = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = $1";
        let row = sqlx::query(all).bind(&self.database).fetch_one(&mut connection).await.expect("a row");
        row.get(0)
    }

    async fn refuses(&self, host: &str, parameters: &str, words: &str) {
        let home = TempDir::new().expect("a folder");
        let url = self.url(host, parameters);
        let settings = [("PORT", "0"), ("DATABASE_URL", url.as_str()), ("DATABASE_CONNECT_TIMEOUT_MS", "3000")];
        let ended = run(home.path(), &settings, &[]).await;
        assert!(!ended.success && ended.err.contains(words), "{parameters}: {ended:?}");
        assert!(!ended.err.contains(DATABASE_PASSWORD), "{}", ended.err);
    }
}

#[tokio::test]
async fn a_server_that_wants_tls() {
    let server = Secured::start().await;
    server.only("hostssl").await;
    for parameters in ["", "sslmode=allow", "sslmode=prefer", "sslmode=require", "sslmode=require&sslrootcert=CA"] {
        assert!(server.works(parameters).await, "{parameters}");
    }
    for parameters in ["sslmode=verify-ca&sslrootcert=CA", "sslmode=verify-full&sslrootcert=CA"] {
        assert!(server.works(parameters).await, "{parameters}");
    }
    server.refuses("localhost", "sslmode=disable", "pg_hba.conf").await;
}

#[tokio::test]
async fn a_certificate_is_looked_at_as_closely_as_was_asked_for() {
    let server = Secured::start().await;
    for parameters in ["sslmode=verify-ca", "sslmode=verify-full", "sslrootcert=system"] {
        server.refuses("localhost", parameters, "no TLS to the server").await;
    }
    server.refuses("127.0.0.1", "sslmode=verify-full&sslrootcert=CA", "no TLS to the server").await;
    let other = Secured::start().await;
    let stranger = format!("sslmode=require&sslrootcert={}", other.files.path().join("ca.pem").display());
    server.refuses("localhost", &stranger, "no TLS to the server").await;
}

#[tokio::test]
async fn a_server_that_wants_no_tls() {
    let server = Secured::start().await;
    server.only("hostnossl").await;
    for parameters in ["", "sslmode=prefer", "sslmode=allow", "sslmode=disable"] {
        assert!(!server.works(parameters).await, "{parameters}");
    }
    server.refuses("localhost", "sslmode=require", "pg_hba.conf").await;
}

#[tokio::test]
async fn a_server_that_knows_no_tls() {
    let home = TempDir::new().expect("a folder");
    let server = PostgresServer::shared();
    let url = format!("{}?sslmode=require", server.url(&server.database().await));
    let ended = run(home.path(), &[("PORT", "0"), ("DATABASE_URL", &url)], &[]).await;
    assert!(ended.err.contains("server does not support TLS") && ended.err.contains("sslmode"), "{ended:?}");
}
