//! Redis faults in plain words that name the setting to look at, and never the password.

use fred::error::{Error, ErrorKind};

/// What is wrong and where to look.
pub fn plain_words(error: &Error) -> &'static str {
    let details = error.details();
    match error.kind() {
        ErrorKind::Auth => "Redis refused the user or password: check the credentials in REDIS_URL (or REDIS_PASSWORD)",
        ErrorKind::Tls => {
            "TLS to Redis failed: check that REDIS_URL says rediss:// exactly when the server speaks TLS, and its certificate"
        }
        ErrorKind::Timeout => {
            "Redis does not answer in time: check host and port in REDIS_URL and firewalls on the way (REDIS_CONNECT_TIMEOUT)"
        }
        _ if details.contains("NOAUTH") || details.contains("WRONGPASS") => {
            "Redis refused the user or password: check the credentials in REDIS_URL (or REDIS_PASSWORD)"
        }
        _ if details.contains("OOM") => "Redis is out of memory: raise its maxmemory or set an eviction policy",
        ErrorKind::IO if details.contains("refused") => {
            "nothing listens at the Redis address: check host and port in REDIS_URL and that the server runs"
        }
        ErrorKind::IO if details.contains("lookup") || details.contains("resolve") => {
            "the Redis host name cannot be resolved: check the host in REDIS_URL"
        }
        ErrorKind::IO => "the connection to Redis broke",
        ErrorKind::Sentinel | ErrorKind::Cluster => {
            "Redis Sentinel or Cluster could not say which server to use: check the addresses in REDIS_URL"
        }
        _ => "Redis answered with an error: check that REDIS_URL points to a Redis or Valkey server",
    }
}
