//! `REDIS_URL` in the forms that people and providers write:
//!
//! | | |
//! | --- | --- |
//! | `redis://` `valkey://` | one server |
//! | `rediss://` `valkeys://` | the same by TLS |
//! | `…-cluster://h1:p1,h2:p2` or `…-cluster://h1:p1?node=h2:p2` | a cluster, by any of its nodes |
//! | `…-sentinel://h1:p1,h2:p2/db?sentinelServiceName=name` | the primary that Sentinels name |
//! | `redis+unix:///path` | a socket file |
//!
//! `user:password@` comes before the hosts, percent-encoded where needed; a password that is not (`=`, `/`, `@`, `+`) is
//! understood, too, up to a `?` or `#`. A number in the path is the database.

use std::{borrow::Cow, fmt, path::PathBuf};

use percent_encoding::percent_decode_str;

use crate::config::Secret;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// How it is found.
    pub form: RedisForm,
    /// Whether it is spoken to by TLS.
    pub tls: bool,
    /// The ACL user; `None` for the default one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The number of the database; channels are the same in all of them.
    pub database: u8,
}

/// How Redis is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisForm {
    /// One server.
    Server(RedisHost),
    /// A cluster, by some of its nodes.
    Cluster(Vec<RedisHost>),
    /// The primary that Sentinels name.
    Sentinel {
        /// Some of the Sentinels.
        hosts: Vec<RedisHost>,
        /// What they call it.
        service: String,
        /// The user at the Sentinels.
        username: Option<String>,
        /// The password at the Sentinels.
        password: Option<Secret>,
    },
    /// A socket file.
    Socket(PathBuf),
}

/// A host name or address (IPv6 without brackets) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisHost {
    /// The name.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl RedisHost {
    /// `None` when it is neither a name nor an address.
    pub(super) fn new(name: &str, port: u16) -> Option<Self> {
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let in_url = if bare.contains(':') { Cow::Owned(format!("[{bare}]")) } else { Cow::Borrowed(bare) };
        url::Host::parse(&in_url).ok()?;
        Some(Self { name: bare.to_owned(), port })
    }

    fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        let fault = "holds something that is not host:port; write redis://user:password@host:6379";
        // A colon within brackets or without them in an IPv6 address is none before a port.
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') && (!name.contains(':') || name.ends_with(']')) => {
                (name, port.parse().ok().filter(|port| *port > 0).ok_or(fault)?)
            }
            _ => (text, default_port),
        };
        if name.is_empty() {
            return Err("names no host; write redis://host:6379");
        }
        Self::new(name, port).ok_or(fault)
    }
}

impl fmt::Display for RedisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl RedisAddress {
    /// Understands an address.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.to_ascii_lowercase().contains("password=") {
                true => "is a connection string; write rediss://:KEY@NAME.redis.cache.windows.net:6380",
                false => "is not an address; write redis://user:password@host:6379",
            });
        };
        let (form, tls) = form_of(&scheme.to_ascii_lowercase())?;
        let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (userinfo, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let query = Query::parse(query)?;
        let username = Some(decode(username)?).filter(|name| !name.is_empty());
        let password = Some(decode(password)?).filter(|password| !password.is_empty()).map(Secret);
        if username.is_some() && password.is_none() {
            return Err("names a user without a password; a password alone is written redis://:password@host");
        }
        if form == Form::Socket {
            let database = query.one("db").map_or(Ok(0), |text| parse_database(&text))?;
            let path = decode(rest)?;
            if !path.starts_with('/') {
                return Err("names no file; write redis+unix:///path/to/redis.sock");
            }
            return Ok(Self { form: RedisForm::Socket(path.into()), tls, username, password, database });
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if form == Form::Sentinel { DEFAULT_SENTINEL_PORT } else { DEFAULT_PORT };
        let hosts: Vec<RedisHost> = hosts
            .split(',')
            .map(str::trim)
            .chain(query.all("node"))
            .map(|host| RedisHost::parse(host, default_port))
            .collect::<Result<_, _>>()?;
        let database = match path.trim_end_matches('/') {
            "" => query.one("db").map_or(Ok(0), |text| parse_database(&text))?,
            path => parse_database(path)?,
        };
        let form = match form {
            Form::Server | Form::Socket => match <[RedisHost; 1]>::try_from(hosts) {
                Ok([host]) => RedisForm::Server(host),
                Err(_) => return Err("names several hosts: write redis-cluster:// or redis-sentinel:// for those"),
            },
            Form::Cluster if database > 0 => return Err("names a database, and a cluster has only database 0"),
            Form::Cluster => RedisForm::Cluster(hosts),
            Form::Sentinel => RedisForm::Sentinel {
                hosts,
                service: query
                    .one("sentinelServiceName")
                    .filter(|name| !name.is_empty())
                    .ok_or("names no service of the Sentinels; add ?sentinelServiceName=mymaster")?,
                username: query.one("sentinelUsername"),
                password: query.one("sentinelPassword").map(Secret),
            },
        };
        Ok(Self { form, tls, username, password, database })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Server,
    Cluster,
    Sentinel,
    Socket,
}

/// The form that a scheme stands for, and whether it is by TLS.
fn form_of(scheme: &str) -> Result<(Form, bool), &'static str> {
    let (form, server) = [("-cluster", Form::Cluster), ("-sentinel", Form::Sentinel), ("+unix", Form::Socket)]
        .into_iter()
        .find_map(|(suffix, form)| Some((form, scheme.strip_suffix(suffix)?)))
        .unwrap_or((Form::Server, scheme));
    match (server, form) {
        ("unix", Form::Server) => Ok((Form::Socket, false)),
        ("redis" | "valkey", form) => Ok((form, false)),
        ("rediss" | "valkeys", form) if form != Form::Socket => Ok((form, true)),
        _ => Err(
            "must start with redis://, rediss://, redis-cluster://, redis-sentinel:// or redis+unix:// (or valkey…)",
        ),
    }
}

fn parse_database(text: &str) -> Result<u8, &'static str> {
    text.parse().map_err(|_| "has a path that is no database number; write redis://host:6379/0")
}

fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| "has a user or password that is not UTF-8 when percent-decoded")
}

/// What follows the `?`.
struct Query(Vec<(String, String)>);

impl Query {
    const KNOWN: [&str; 5] = ["node", "db", "sentinelServiceName", "sentinelUsername", "sentinelPassword"];

    /// What is not known is refused rather than ignored: it was meant to do something. Some providers and client
    /// libraries add what needs nothing from us.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const HARMLESS: [&str; 3] = ["family", "protocol", "ssl_cert_reqs"];
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let pairs: Vec<(String, String)> = pairs.collect::<Result<_, &'static str>>()?;
        let known = |name: &str| Self::KNOWN.contains(&name) || HARMLESS.contains(&name);
        if pairs.iter().any(|(name, _)| !known(name)) {
            return Err("has something after the `?` that is not understood; a `?` within a password is written %3F. \
                        Understood are node, db, sentinelServiceName, sentinelUsername and sentinelPassword");
        }
        Ok(Self(pairs))
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }
}
