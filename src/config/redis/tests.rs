//! Every form of an address, as people and providers write it.

use proptest::prelude::*;

use super::*;
use crate::config::tests::config;

fn parsed(url: &str) -> RedisAddress {
    RedisAddress::parse(url).unwrap_or_else(|fault| panic!("{url}: {fault}"))
}

fn server(url: &str) -> (String, bool, Option<String>, Option<String>, u8) {
    let address = parsed(url);
    let RedisForm::Server(host) = address.form else { panic!("{url} is no server") };
    let password = address.password.map(|password| password.expose().to_owned());
    (host.to_string(), address.tls, address.username, password, address.database)
}

/// host, TLS, user, password, database
type Expected<'a> = (&'a str, bool, Option<&'a str>, Option<&'a str>, u8);

#[test]
fn what_providers_hand_out_is_understood() {
    let cases: &[(&str, &str, Expected)] = &[
        ("a local server", "redis://localhost", ("localhost:6379", false, None, None, 0)),
        ("with a slash", "redis://localhost:6379/", ("localhost:6379", false, None, None, 0)),
        ("a database", "redis://localhost:6379/3", ("localhost:6379", false, None, None, 3)),
        (
            "DigitalOcean",
            "rediss://default:AVNS_pw@db-redis-do-user-1-0.b.db.ondigitalocean.com:25061",
            ("db-redis-do-user-1-0.b.db.ondigitalocean.com:25061", true, Some("default"), Some("AVNS_pw"), 0),
        ),
        (
            "Upstash",
            "rediss://default:AX0xASQ@gusc1-apt-cat-30000.upstash.io:6379",
            ("gusc1-apt-cat-30000.upstash.io:6379", true, Some("default"), Some("AX0xASQ"), 0),
        ),
        (
            "Heroku",
            "rediss://:p1234abcd@ec2-3-1-2-3.compute-1.amazonaws.com:6380",
            ("ec2-3-1-2-3.compute-1.amazonaws.com:6380", true, None, Some("p1234abcd"), 0),
        ),
        (
            "Azure, as it is",
            "rediss://:aB+c/dEf1234=@name.redis.cache.windows.net:6380",
            ("name.redis.cache.windows.net:6380", true, None, Some("aB+c/dEf1234="), 0),
        ),
        (
            "Azure, percent-encoded",
            "rediss://:aB%2Bc%2FdEf1234%3D@name.redis.cache.windows.net:6380/0",
            ("name.redis.cache.windows.net:6380", true, None, Some("aB+c/dEf1234="), 0),
        ),
        (
            "Redis Cloud",
            "redis://default:pw@redis-12345.c1.us-east-1-2.ec2.redns.redis-cloud.com:12345",
            ("redis-12345.c1.us-east-1-2.ec2.redns.redis-cloud.com:12345", false, Some("default"), Some("pw"), 0),
        ),
        (
            "Aiven",
            "valkeys://default:AVNS_pw@valkey-x.aivencloud.com:12345",
            ("valkey-x.aivencloud.com:12345", true, Some("default"), Some("AVNS_pw"), 0),
        ),
        ("Render", "redis://red-cabc123:6379", ("red-cabc123:6379", false, None, None, 0)),
        (
            "Railway",
            "redis://default:pw@redis.railway.internal:6379",
            ("redis.railway.internal:6379", false, Some("default"), Some("pw"), 0),
        ),
        (
            "Fly",
            "redis://default:pw@fly-name.upstash.io:6379?family=6",
            ("fly-name.upstash.io:6379", false, Some("default"), Some("pw"), 0),
        ),
        (
            "ElastiCache with TLS and a user",
            "rediss://app:pw@master.name.abc123.use1.cache.amazonaws.com:6379",
            ("master.name.abc123.use1.cache.amazonaws.com:6379", true, Some("app"), Some("pw"), 0),
        ),
        ("an address", "redis://10.0.0.5:6380/1", ("10.0.0.5:6380", false, None, None, 1)),
        ("a container", "redis://my_redis", ("my_redis:6379", false, None, None, 0)),
        ("IPv6", "redis://:pw@[::1]:6380", ("[::1]:6380", false, None, Some("pw"), 0)),
        ("IPv6 without a port", "redis://[fe80::1]", ("[fe80::1]:6379", false, None, None, 0)),
        ("an @ in a password", "redis://u:a@b:c@h", ("h:6379", false, Some("u"), Some("a@b:c"), 0)),
        ("a percent sign as it is", "redis://:100%@h", ("h:6379", false, None, Some("100%"), 0)),
        ("ioredis' database", "redis://h?db=4", ("h:6379", false, None, None, 4)),
        ("capitals", "REDIS://h", ("h:6379", false, None, None, 0)),
    ];
    for (who, url, (host, tls, username, password, database)) in cases {
        let expected = ((*host).to_owned(), *tls, username.map(str::to_owned), password.map(str::to_owned), *database);
        assert_eq!(server(url), expected, "{who}");
    }
}

#[test]
fn clusters_sentinels_and_sockets_are_understood() {
    let hosts = |hosts: &[(&str, u16)]| -> Vec<RedisHost> {
        hosts.iter().map(|(name, port)| RedisHost { name: (*name).into(), port: *port }).collect()
    };
    let elasticache = parsed("rediss-cluster://clustercfg.name.abc123.use1.cache.amazonaws.com:6379");
    let host = [("clustercfg.name.abc123.use1.cache.amazonaws.com", 6379)];
    assert_eq!((elasticache.form, elasticache.tls), (RedisForm::Cluster(hosts(&host)), true));
    for url in ["redis-cluster://u:pw@a:1?node=b:2&node=c", "valkey-cluster://u:pw@a:1,b:2,c"] {
        let address = parsed(url);
        assert_eq!(address.form, RedisForm::Cluster(hosts(&[("a", 1), ("b", 2), ("c", 6379)])), "{url}");
        assert_eq!(address.username.as_deref(), Some("u"));
    }
    let sentinel = parsed(
        "redis-sentinel://u:pw@a:1,b/2?sentinelServiceName=mymaster&sentinelUsername=watch&sentinelPassword=s%3Fp",
    );
    assert_eq!(
        sentinel.form,
        RedisForm::Sentinel {
            hosts: hosts(&[("a", 1), ("b", 26379)]),
            service: "mymaster".into(),
            username: Some("watch".into()),
            password: Some(Secret("s?p".into())),
        }
    );
    assert_eq!((sentinel.database, sentinel.tls), (2, false));
    assert!(parsed("valkeys-sentinel://a?sentinelServiceName=m").tls);
    for url in ["redis+unix:///run/redis.sock", "valkey+unix:///run/redis.sock", "unix:///run/redis.sock"] {
        assert_eq!(parsed(url).form, RedisForm::Socket("/run/redis.sock".into()), "{url}");
    }
    let socket = parsed("redis+unix://:pw@/run/my%20redis.sock?db=3");
    assert_eq!((socket.form, socket.database), (RedisForm::Socket("/run/my redis.sock".into()), 3));
    assert_eq!(socket.password, Some(Secret("pw".into())));
}

#[test]
fn what_is_wrong_is_refused_with_a_word_on_how_to_write_it() {
    for (url, word) in [
        ("host:6379", "redis://user:password@host:6379"),
        ("http://host", "must start with"),
        ("redissentinel://host", "must start with"),
        ("rediss+unix:///x", "must start with"),
        ("redis://", "names no host"),
        ("redis://:pw@", "names no host"),
        ("redis://h:port", "host:port"),
        ("redis://h:0", "host:port"),
        ("redis://h:70000", "host:port"),
        ("redis://h o", "host:port"),
        ("redis://h/one", "database number"),
        ("redis://h/256", "database number"),
        ("redis://user@h", "without a password"),
        ("redis://a,b", "redis-cluster://"),
        ("redis://:pa?ss@h", "%3F"),
        ("redis-cluster://h/1", "only database 0"),
        ("redis-sentinel://h", "sentinelServiceName"),
        ("redis+unix://", "names no file"),
        ("name.redis.cache.windows.net:6380,password=KEY=,ssl=True,abortConnect=False", "rediss://:KEY@"),
    ] {
        let fault = RedisAddress::parse(url).expect_err(url);
        assert!(fault.contains(word), "{url}: {fault}");
    }
}

#[test]
fn parts_do_as_well_as_an_address() {
    let address = |flags: &[&str]| config(flags).map(|config| config.redis.expect("Redis").address);
    let parts = ["--redis-host", "h", "--redis-port", "7", "--redis-username", "u", "--redis-password", "p@ss/w %41"];
    let from_parts = address(&parts).unwrap();
    assert_eq!(from_parts, parsed("redis://u:p%40ss%2Fw%20%2541@h:7"));
    assert_eq!(address(&["--redis-host", "::1", "--redis-tls-enabled", "true"]).unwrap(), parsed("rediss://[::1]"));
    assert!(address(&["--redis-host", "no host"]).unwrap_err().contains("REDIS_HOST"));
    assert!(config(&["--redis-url", "redis://h", "--use-redis", "false"]).unwrap().redis.is_none());
    let both = address(&["--redis-url", "redis://one", "--redis-host", "two"]).unwrap();
    assert_eq!(both, parsed("redis://one"), "the address comes first");
}

#[test]
fn a_hash_tag_would_put_a_cluster_on_one_node() {
    let tagged = |url| config(&["--redis-url", url, "--redis-key-prefix", "{app}:"]);
    assert!(tagged("redis-cluster://h").unwrap_err().contains("REDIS_KEY_PREFIX"));
    assert!(tagged("redis://h").is_ok());
}

#[test]
fn a_file_of_authorities_is_looked_at_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let trust = |url: &str, path: &str| config(&["--redis-url", url, "--redis-tls-ca-file", path]);
    let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert;
    let good = file("good.pem", &format!("a comment\n{}{}", authority.pem(), authority.pem()));
    let RedisTrust::Roots(roots) = trust("rediss://h", &good).unwrap().redis.unwrap().trust else { panic!("no roots") };
    assert_eq!(roots, [authority.der().clone(), authority.der().clone()]);
    let nonsense = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n";
    for (path, word) in [
        (folder.path().join("missing.pem").to_str().unwrap(), "cannot be read"),
        (folder.path().to_str().unwrap(), "cannot be read"),
        (&file("empty.pem", "nothing here"), "no certificate inside"),
        (&file("nonsense.pem", nonsense), "that is none"),
        (&file("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), "damaged"),
    ] {
        let faults = trust("rediss://h", path).unwrap_err();
        assert!(faults.contains("REDIS_TLS_CA_FILE") && faults.contains(path) && faults.contains(word), "{faults}");
    }
    assert!(trust("redis://h", &good).unwrap_err().contains("without TLS"));
}

#[test]
fn certificates_are_verified_unless_it_is_switched_off() {
    let trust =
        |flags: &[&str]| config(&[&["--redis-url", "rediss://h"], flags].concat()).map(|c| c.redis.unwrap().trust);
    assert_eq!(trust(&[]).unwrap(), RedisTrust::System);
    assert_eq!(trust(&["--redis-tls-verify", "false"]).unwrap(), RedisTrust::Anybody);
    assert!(
        trust(&["--redis-tls-verify", "false", "--redis-tls-ca-file", "x"]).unwrap_err().contains("REDIS_TLS_VERIFY")
    );
}

proptest! {
    /// Whatever a password is made of: percent-encoded it comes out as it went in.
    #[test]
    fn every_password_can_be_written(password in "\\PC{1,40}", username in "[^:@/]{1,10}") {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let url = format!("rediss://{}:{}@host:1/2", encode(&username), encode(&password));
        prop_assert_eq!(server(&url), ("host:1".into(), true, Some(username), Some(password), 2));
    }

    #[test]
    fn nothing_panics_and_no_fault_shows_a_password(
        scheme in "(|http|redis(s|)(-cluster|-sentinel|\\+unix|))", before in "\\PC{0,20}", after in "\\PC{0,20}"
    ) {
        for url in [format!("{scheme}://{before}hunter2{after}"), format!("{before}hunter2{after}"), before] {
            if let Err(fault) = RedisAddress::parse(&url) {
                prop_assert!(!fault.contains("hunter2"));
            }
        }
    }

    /// A password as a provider shows it, pasted in as it is.
    #[test]
    fn base64_needs_no_encoding(password in "[A-Za-z0-9+/]{20,43}={0,2}") {
        prop_assert_eq!(server(&format!("rediss://:{password}@h:6380")).3, Some(password));
    }
}
