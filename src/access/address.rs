//! Whose address a request comes from when load balancers stand in between; counted by the limits per address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

/// The peer, unless it is a trusted proxy: then what it wrote into `X-Forwarded-For`, read from the right as far as those
/// who wrote are trusted. What stands further left was written by the client and may be anything.
pub(super) fn client_ip<'a>(
    peer: Option<IpAddr>,
    forwarded: impl Iterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lines: Vec<&str> = forwarded.collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // Past an entry that is no address nothing can be believed: the last proxy stands for all behind it.
        let Some(ip) = address(entry.trim()) else { break };
        client = ip;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address, with or without a port, as proxies write it.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
        client_ip(Some(peer.parse().unwrap()), forwarded.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        assert_eq!(client("203.0.113.9", &["1.1.1.1"]), "203.0.113.9", "a stranger's header");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1", "a proxy that says nothing");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.2.2.2"]), "198.51.100.7", "the client made one up");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.7", "10.2.2.2"]), "198.51.100.7", "over several lines");
        assert_eq!(client("10.0.0.1", &["10.3.3.3,10.2.2.2"]), "10.3.3.3", "all trusted: the farthest");
    }

    #[test]
    fn odd_entries_end_the_walk() {
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1,,"]), "10.0.0.1");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(client("10.0.0.1", &["198.51.100.7:5000"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]:5000"]), "2001:db8::7");
        assert_eq!(client("fd00::1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }
}
