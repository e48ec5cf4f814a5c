//! What `INFO` says, read without a connection.

use std::collections::HashMap;

/// The fields of one server's `INFO`. What a server does not tell (another version, a provider's proxy) is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info(HashMap<String, String>);

impl Info {
    /// Reads the text: lines of `name:value`, and headings, which are left out.
    pub fn parse(text: &str) -> Self {
        let fields =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.trim_end().split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field as it stands.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that counts something.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// The version of Redis whose commands the server speaks; Valkey says it, too.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.text("redis_version")?.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

/// The figures of one server, or of all primaries of a cluster together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// `maxmemory`; 0 when a server has no limit.
    pub memory_max_bytes: u64,
    /// Used by limit on the fullest server, 0 to 1; `None` without a limit.
    pub memory_used_ratio: Option<f64>,
    /// Keys evicted since the servers started.
    pub evicted_keys: u64,
    /// Commands processed since then.
    pub commands: u64,
    /// Keys found since then.
    pub keyspace_hits: u64,
    /// Keys not found since then.
    pub keyspace_misses: u64,
    /// Commands per second, as the servers count them.
    pub commands_per_second: u64,
    /// Connections of all clients.
    pub connected_clients: u64,
}

impl Figures {
    /// Adds up what the servers say. What a server does not tell counts as 0.
    pub fn of(servers: &[Info]) -> Self {
        let sum = |name: &str| servers.iter().filter_map(|info| info.number(name)).fold(0u64, u64::saturating_add);
        let limit = |info: &Info| info.number("maxmemory").filter(|limit| *limit > 0);
        let ratio = |info: &Info| Some(info.number("used_memory")? as f64 / limit(info)? as f64);
        let limited = servers.iter().all(|info| limit(info).is_some());
        Self {
            memory_used_bytes: sum("used_memory"),
            memory_max_bytes: if limited { sum("maxmemory") } else { 0 },
            memory_used_ratio: servers.iter().filter_map(ratio).reduce(f64::max),
            evicted_keys: sum("evicted_keys"),
            commands: sum("total_commands_processed"),
            keyspace_hits: sum("keyspace_hits"),
            keyspace_misses: sum("keyspace_misses"),
            commands_per_second: sum("instantaneous_ops_per_sec"),
            connected_clients: sum("connected_clients"),
        }
    }

    /// Keys found of those asked for, in percent; `None` when none was.
    pub fn hit_rate_percent(&self) -> Option<f64> {
        let asked = self.keyspace_hits.saturating_add(self.keyspace_misses);
        (asked > 0).then(|| self.keyspace_hits as f64 / asked as f64 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nused_memory:800\r\nmaxmemory:1000\r\n\
                        maxmemory_policy:allkeys-lru\r\n# Stats\r\nevicted_keys:3\r\nkeyspace_hits:9\r\n\
                        keyspace_misses:1\r\ninstantaneous_ops_per_sec:5\r\nconnected_clients:12\r\n\
                        total_commands_processed:99\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n";

    #[test]
    fn fields_are_found_by_name() {
        let info = Info::parse(TEXT);
        assert_eq!(info.version(), Some((7, 0)));
        assert_eq!(info.text("maxmemory_policy"), Some("allkeys-lru"));
        assert_eq!(info.number("used_memory"), Some(800));
        assert_eq!(info.text("db0"), Some("keys=1,expires=0,avg_ttl=0"));
        assert_eq!(info.number("maxmemory_policy"), None);
        assert_eq!(Info::parse("redis_version:unknown").version(), None);
    }

    #[test]
    fn servers_are_added_up_and_the_fullest_counts() {
        let one = Info::parse(TEXT);
        let figures = Figures::of(&[one.clone(), Info::parse("used_memory:100\nmaxmemory:1000\nkeyspace_misses:90")]);
        assert_eq!((figures.memory_used_bytes, figures.memory_max_bytes), (900, 2_000));
        assert_eq!(figures.memory_used_ratio, Some(0.8));
        assert_eq!(figures.hit_rate_percent(), Some(9.0));
        assert_eq!((figures.commands, figures.connected_clients, figures.commands_per_second), (99, 12, 5));
        let unlimited = Figures::of(&[one, Info::parse("used_memory:5\nmaxmemory:0")]);
        assert_eq!(unlimited.memory_max_bytes, 0, "one without a limit: there is none in all");
        assert_eq!(unlimited.memory_used_ratio, Some(0.8), "but one may be full");
        let nothing = Figures::of(&[]);
        assert_eq!((nothing.memory_used_ratio, nothing.hit_rate_percent()), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read(texts in prop::collection::vec("(\\PC|[:\r\n#]){0,200}", 0..4), number in any::<u64>()) {
            let mut servers: Vec<Info> = texts.iter().map(|text| Info::parse(text)).collect();
            servers.push(Info::parse(&format!("used_memory:{number}\nmaxmemory:{number}\nkeyspace_hits:{number}")));
            let figures = Figures::of(&servers);
            prop_assert!(figures.memory_used_ratio.is_none_or(f64::is_finite));
            prop_assert!(figures.hit_rate_percent().is_none_or(|rate| (0.0..=100.0).contains(&rate)));
        }
    }
}
