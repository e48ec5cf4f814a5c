//! From what the server, the system and the libraries say to a [`Fault`].

use fred::error::{Error, ErrorKind};

use super::Fault;

/// Commands that the hub uses; a refusal names one of them.
const COMMANDS: [&str; 30] = [
    "subscribe",
    "unsubscribe",
    "publish",
    "ssubscribe",
    "sunsubscribe",
    "spublish",
    "get",
    "mget",
    "hello",
    "set",
    "getdel",
    "hget",
    "hset",
    "hdel",
    "hgetall",
    "pttl",
    "pexpire",
    "unlink",
    "scan",
    "eval",
    "evalsha",
    "time",
    "info",
    "ping",
    "cluster|slots",
    "cluster|info",
    "client|id",
    "select",
    "role",
    "quit",
];

impl Fault {
    /// What an answer of the server, or none, means for a command.
    pub(crate) fn of_command(error: &Error) -> Self {
        let details = error.details();
        match error.kind() {
            ErrorKind::Auth => Self::Credentials,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Canceled => Self::Disconnected,
            ErrorKind::IO => Self::Broken,
            _ => Self::of_text(details).unwrap_or(Self::Other),
        }
    }

    /// What stands in the way of a connection.
    pub(crate) fn of_connecting(error: &Error, by_tls: bool) -> Self {
        let details = error.details();
        if let Some(fault) = Self::of_text(details).or_else(|| of_tls(details)).or_else(|| of_network(details)) {
            return fault;
        }
        match error.kind() {
            ErrorKind::Auth => Self::Credentials,
            ErrorKind::Tls => Self::Tls,
            ErrorKind::Timeout if by_tls => Self::NoAnswerByTls,
            ErrorKind::Timeout => Self::NoAnswer,
            ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Protocol if !details.contains("cluster state") => {
                Self::ClosedAtOnce
            }
            ErrorKind::Cluster | ErrorKind::Protocol => Self::ClusterDown,
            ErrorKind::Sentinel if details.contains("all sentinel nodes") => Self::NoSentinel,
            ErrorKind::Sentinel => Self::NoPrimary,
            _ => Self::Other,
        }
    }

    /// By the first word of what the server says; fred files some of it under other kinds.
    fn of_text(details: &str) -> Option<Self> {
        let known = |known: &[&str]| known.iter().any(|word| details.starts_with(word));
        Some(match details {
            _ if known(&["NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH"]) => Self::Credentials,
            _ if known(&["NOPERM"]) => forbidden(details),
            _ if known(&["OOM"]) => Self::OutOfMemory,
            _ if known(&["READONLY"]) => Self::ReadOnly,
            _ if known(&["LOADING"]) => Self::Loading,
            _ if known(&["MISCONF"]) => Self::CannotSave,
            _ if known(&["CLUSTERDOWN"]) => Self::ClusterDown,
            _ if known(&["MOVED", "ASK ", "CROSSSLOT"]) => Self::IsCluster,
            _ if known(&["ERR max number of clients"]) => Self::TooManyClients,
            _ if details.contains("cluster support disabled") => Self::NoCluster,
            _ if details.contains("unknown command") && details.to_ascii_uppercase().contains("SENTINEL") => {
                Self::NoSentinel
            }
            _ => return None,
        })
    }
}

/// `NOPERM` names the command, or says that it was about a key or a channel.
fn forbidden(details: &str) -> Fault {
    let details = details.to_ascii_lowercase();
    let named = |command: &&&str| details.contains(&format!("'{command}'"));
    match COMMANDS.iter().find(named) {
        Some(command) => Fault::ForbiddenCommand(command),
        None if details.contains("channel") => Fault::ForbiddenChannel,
        None if details.contains("key") => Fault::ForbiddenKey,
        None => Fault::Forbidden,
    }
}

/// By the words of rustls.
pub(super) fn of_tls(details: &str) -> Option<Fault> {
    let has = |word| details.contains(word);
    Some(match details {
        _ if has("UnknownIssuer") || has("CaUsedAsEndEntity") || has("BadSignature") => Fault::UnknownAuthority,
        _ if has("NotValidForName") => Fault::WrongName,
        _ if has("Expired") || has("NotValidYet") => Fault::Expired,
        _ if has("CertificateRequired") || has("BadCertificate") => Fault::ClientCertificate,
        _ if has("InvalidContentType") || has("InvalidMessage") => Fault::NotTls,
        _ if has("InvalidCertificate")
            || has("AlertReceived")
            || has("HandshakeFailure")
            || has("PeerIncompatible") =>
        {
            Fault::Tls
        }
        _ => return None,
    })
}

/// By the words of the system.
fn of_network(details: &str) -> Option<Fault> {
    let has = |word| details.contains(word);
    Some(match details {
        _ if has("ConnectionRefused") => Fault::Refused,
        _ if has("HostUnreachable") || has("NetworkUnreachable") || has("NetworkDown") => Fault::Unreachable,
        _ if has("lookup address") => Fault::UnknownHost,
        _ if has("NotFound") || has("PermissionDenied") => Fault::NoSocket,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ErrorKind, details: &'static str) -> [Fault; 2] {
        let error = Error::new(kind, details);
        [Fault::of_command(&error), Fault::of_connecting(&error, false)]
    }

    #[test]
    fn what_the_server_says_is_told_apart() {
        for (details, fault) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", Fault::OutOfMemory),
            ("READONLY You can't write against a read only replica.", Fault::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", Fault::Loading),
            ("MISCONF Redis is configured to save RDB snapshots", Fault::CannotSave),
            ("NOPERM this user has no permissions to run the 'set' command", Fault::ForbiddenCommand("set")),
            (
                "NOPERM User app has no permissions to run the 'cluster|slots' command",
                Fault::ForbiddenCommand("cluster|slots"),
            ),
            (
                "NOPERM this user has no permissions to access one of the channels used as arguments",
                Fault::ForbiddenChannel,
            ),
            ("NOPERM No permissions to access a key", Fault::ForbiddenKey),
            ("ERR max number of clients reached", Fault::TooManyClients),
        ] {
            assert_eq!(of(ErrorKind::Unknown, details), [fault; 2], "{details}");
        }
        assert_eq!(of(ErrorKind::Sentinel, "WRONGPASS invalid username-password pair")[1], Fault::Credentials);
        assert_eq!(of(ErrorKind::Cluster, "CLUSTERDOWN The cluster is down")[0], Fault::ClusterDown);
        assert_eq!(of(ErrorKind::Cluster, "MOVED 1 127.0.0.1:7000")[0], Fault::IsCluster);
        assert_eq!(of(ErrorKind::Config, "ERR This instance has cluster support disabled")[1], Fault::NoCluster);
    }

    #[test]
    fn the_words_name_the_hubs_own_keys_and_channels() {
        assert!(Fault::ForbiddenChannel.words("hubbub:").contains("`&hubbub:*`"));
        assert!(Fault::ForbiddenKey.words("app:").contains("`~app:*`"));
        assert!(Fault::ForbiddenCommand("scan").words("x:").contains("`+scan`"));
    }
}
