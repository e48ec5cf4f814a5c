//! The way to Redis: names, connections, certificates. By hand, so that each step has its own finding.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::{HANGS, failed_for};
use crate::{
    config::{RedisConfig, RedisForm, RedisHost},
    doctor::examination::{Examination, Verdict},
    redis::{Fault, shake_hands},
};

/// A certificate that ends sooner is told of: whoever renews it should have done so.
const DAYS_FEW: u64 = 14;

/// Whether there is a way.
pub(super) async fn examine(config: &RedisConfig, examination: &mut Examination) -> bool {
    let (hosts, limit) = (hosts(&config.address.form), examination.check_limit());
    if let RedisForm::Socket(path) = &config.address.form {
        examination.skip(&["redis.resolve"], "a socket file has no host name");
        let there = examination.check("redis.connect", HANGS, open_socket(path)).await;
        examination.skip(&["redis.tls"], "a socket file needs no TLS");
        return there;
    }
    let mut found = Vec::new();
    let remedy = "check the host in REDIS_URL and the resolver of this machine";
    if !examination.check("redis.resolve", remedy, resolve(hosts, &mut found)).await {
        examination.skip(&["redis.connect", "redis.tls"], "no host name could be resolved");
        return false;
    }
    let mut reached = Vec::new();
    // A little less than the check has, for an end with words of its own.
    let patience = config.connect_timeout.min(limit * 3 / 4);
    if !examination.check("redis.connect", HANGS, connect(found, patience, &mut reached)).await {
        examination.skip(&["redis.tls"], "there is no connection");
        return false;
    }
    if !config.address.tls {
        examination.note("redis.tls", unencrypted(&reached));
        return true;
    }
    examination.check("redis.tls", HANGS, handshakes(config, reached, patience / 2)).await
}

fn hosts(form: &RedisForm) -> &[RedisHost] {
    match form {
        RedisForm::Server(host) => std::slice::from_ref(host),
        RedisForm::Cluster(hosts) | RedisForm::Sentinel { hosts, .. } => hosts,
        RedisForm::Socket(_) => &[],
    }
}

fn shown(host: &RedisHost) -> String {
    let brackets = host.name.contains(':');
    if brackets { format!("[{}]:{}", host.name, host.port) } else { format!("{}:{}", host.name, host.port) }
}

/// Of several hosts (of a cluster, or Sentinels) one is enough to begin with.
fn judge(good: &[String], bad: &[String], remedy: &str) -> Verdict {
    match (good.is_empty(), bad.is_empty()) {
        (_, true) => Verdict::passed(good.join("; ")),
        (false, false) => Verdict::warned(format!("{}; but {}", good.join("; "), bad.join("; ")), remedy),
        (true, false) => Verdict::failed(bad.join("; "), remedy),
    }
}

async fn resolve(hosts: &[RedisHost], found: &mut Vec<(RedisHost, Vec<SocketAddr>)>) -> Verdict {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let lookups = hosts.iter().map(async |host| (host, lookup_host((host.name.as_str(), host.port)).await));
    for (host, addresses) in join_all(lookups).await {
        let addresses: Vec<_> = addresses.map(Iterator::collect).unwrap_or_default();
        if addresses.is_empty() {
            bad.push(format!("the host name {} cannot be resolved", host.name));
            continue;
        }
        let mut ips: Vec<_> = addresses.iter().map(|address: &SocketAddr| address.ip().to_string()).collect();
        ips.dedup();
        let is_address = host.name.parse::<IpAddr>().is_ok();
        good.push(if is_address {
            format!("{} is an address", host.name)
        } else {
            format!("{} is {}", host.name, ips.join(", "))
        });
        found.push((host.clone(), addresses));
    }
    judge(&good, &bad, "check the host in REDIS_URL (or REDIS_HOST) and the resolver of this machine")
}

async fn connect(
    found: Vec<(RedisHost, Vec<SocketAddr>)>,
    patience: Duration,
    reached: &mut Vec<(RedisHost, SocketAddr)>,
) -> Verdict {
    let (mut good, mut bad, mut remedy) = (Vec::new(), Vec::new(), String::new());
    let tries = found.into_iter().map(async |(host, addresses)| {
        let begun = Instant::now();
        // All addresses of a name at once, as each may be a black hole.
        let each = addresses.into_iter().map(async |address| {
            let connected = tokio::time::timeout(patience, TcpStream::connect(address)).await;
            (address, connected.map(|connected| connected.map(drop)))
        });
        let tried = join_all(each).await;
        let first = tried.iter().find_map(|(address, connected)| matches!(connected, Ok(Ok(()))).then_some(*address));
        let fault = tried.into_iter().find_map(|(_, connected)| match connected {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(fault_of(&error)),
            Err(_) => Some(Fault::NoAnswer),
        });
        (host, first, fault.unwrap_or(Fault::Unreachable), begun.elapsed())
    });
    for (host, first, fault, took) in join_all(tries).await {
        match first {
            Some(address) => {
                good.push(format!("{} in {:.1} ms", shown(&host), took.as_secs_f64() * 1e3));
                reached.push((host, address));
            }
            None => {
                let Verdict::Failed(text, what_to_do) = failed_for(&fault.to_string()) else { continue };
                bad.push(format!("{}: {text}", shown(&host)));
                remedy = what_to_do;
            }
        }
    }
    judge(&good, &bad, &remedy)
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Refused,
        io::ErrorKind::TimedOut => Fault::NoAnswer,
        _ => Fault::Unreachable,
    }
}

async fn open_socket(path: &Path) -> Verdict {
    match UnixStream::connect(path).await {
        Ok(_) => Verdict::passed(format!("the socket file {}", path.display())),
        Err(error) => {
            let Verdict::Failed(text, remedy) = failed_for(&Fault::NoSocket.to_string()) else {
                return Verdict::failed(error.to_string(), "check REDIS_URL");
            };
            Verdict::failed(format!("{text} ({})", error.kind()), remedy)
        }
    }
}

async fn handshakes(config: &RedisConfig, reached: Vec<(RedisHost, SocketAddr)>, patience: Duration) -> Verdict {
    let (mut good, mut bad, mut remedy, mut fewest) = (Vec::new(), Vec::new(), String::new(), u64::MAX);
    let each = reached.into_iter().map(async |(host, address)| {
        let (name, trust) = (host.name.clone(), config.trust.clone());
        let shaken = tokio::task::spawn_blocking(move || shake_hands(address, &name, &trust, patience)).await;
        (host, shaken.unwrap_or(Err(Fault::Tls)))
    });
    for (host, shaken) in join_all(each).await {
        match shaken {
            Ok(handshake) => {
                fewest = fewest.min(handshake.days_left.unwrap_or(u64::MAX));
                let left = match (handshake.verified, handshake.days_left) {
                    (false, _) => "a certificate that is not checked (REDIS_TLS_VERIFY=false)".to_owned(),
                    (true, None) => "a certificate that is good for 30 days and more".to_owned(),
                    (true, Some(days)) => format!("a certificate that is good for {days} more day(s)"),
                };
                good.push(format!("{} has {left}", shown(&host)));
            }
            Err(fault) => {
                let Verdict::Failed(text, what_to_do) = failed_for(&fault.to_string()) else { continue };
                bad.push(format!("{}: {text}", shown(&host)));
                remedy = what_to_do;
            }
        }
    }
    if bad.is_empty() && fewest < DAYS_FEW {
        return Verdict::warned(
            good.join("; "),
            "renew the certificate of Redis, and its authority's if it ends sooner",
        );
    }
    // Each node speaks TLS or the hub will lose the ones that do not: a part is no success here.
    if bad.is_empty() { Verdict::passed(good.join("; ")) } else { Verdict::failed(bad.join("; "), remedy) }
}

fn unencrypted(reached: &[(RedisHost, SocketAddr)]) -> Verdict {
    match reached.iter().find(|(_, address)| is_public(address.ip())) {
        Some((host, _)) => Verdict::warned(
            format!("password and messages travel unencrypted to the public address of {}", host.name),
            "write rediss:// in REDIS_URL (or REDIS_TLS_ENABLED=true) and use the server's TLS port",
        ),
        None => Verdict::skipped("REDIS_URL does not ask for TLS; the address is not a public one"),
    }
}

/// Not of this machine and not of a private network.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let carrier_grade = a == 100 && (64..128).contains(&b);
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || carrier_grade)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(v4.into()),
            None => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_told_from_the_rest() {
        for private in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.31.0.1", "100.100.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn one_host_of_several_is_enough_to_begin_with() {
        let (good, bad) = ([String::from("a")], [String::from("b is gone")]);
        assert_eq!(judge(&good, &[], "x"), Verdict::passed("a"));
        assert_eq!(judge(&good, &bad, "x"), Verdict::warned("a; but b is gone", "x"));
        assert_eq!(judge(&[], &bad, "x"), Verdict::failed("b is gone", "x"));
    }
}
