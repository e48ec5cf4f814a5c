//! A Redis Cluster of real servers.

use super::{RedisServer, eventually, ports::free_port, resp::Reply};

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// Three primaries with a third of the slots each, and replicas of the first ones.
pub struct RedisCluster {
    /// The primaries at the start, then the replicas: the n-th replica is of the n-th primary.
    pub nodes: Vec<RedisServer>,
    ids: Vec<String>,
}

const PRIMARIES: usize = 3;

impl RedisCluster {
    pub async fn start(replicas: usize) -> Self {
        Self::with_settings(replicas, &[], Vec::new()).await
    }

    /// With more settings for all nodes, and a TLS port for each.
    pub async fn with_settings(replicas: usize, settings: &[[&str; 2]], tls_ports: Vec<u16>) -> Self {
        let (mut nodes, mut bus_ports) = (Vec::new(), Vec::new());
        for n in 0..PRIMARIES + replicas {
            let bus_port = free_port().to_string();
            let tls_port = tls_ports.get(n).map(u16::to_string);
            let tls_port: Vec<_> = tls_port.iter().map(|port| ["tls-port", port]).collect();
            let own = [
                ["cluster-enabled", "yes"],
                ["cluster-port", &bus_port],
                ["cluster-node-timeout", "1000"],
                ["cluster-replica-validity-factor", "0"],
                ["cluster-allow-replica-migration", "no"],
                ["repl-diskless-sync-delay", "0"],
            ];
            nodes.push(RedisServer::with_settings(&[&own, settings, &tls_port].concat()).await);
            bus_ports.push(bus_port);
        }
        for (n, node) in nodes.iter().enumerate().take(PRIMARIES) {
            let range = [third(n), third(n + 1) - 1].map(|slot| slot.to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await;
        }
        for n in 1..nodes.len() {
            let port = nodes[n].port().to_string();
            nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_ports[n]]).await;
        }
        let mut ids = Vec::new();
        for node in &nodes {
            ids.push(node.ask(&["CLUSTER", "MYID"]).await.concat());
        }
        let this = Self { nodes, ids };
        for node in &this.nodes {
            eventually("a node knows all others", async || {
                (node.ask(&["CLUSTER", "NODES"]).await.concat().lines().count() == this.nodes.len()).then_some(())
            })
            .await;
        }
        for n in 0..replicas {
            let replica = &this.nodes[PRIMARIES + n];
            eventually("a replica was accepted", async || {
                matches!(replica.command(&["CLUSTER", "REPLICATE", &this.ids[n]]).await, Reply::Text(_)).then_some(())
            })
            .await;
            eventually("a replica is in step", async || {
                let info = replica.ask(&["INFO", "replication"]).await.concat();
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        this.is_well().await;
        this
    }

    /// Waits until all that run say that the cluster is whole.
    pub async fn is_well(&self) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            eventually("the cluster is well", async || {
                node.ask(&["CLUSTER", "INFO"]).await.concat().contains("cluster_state:ok").then_some(())
            })
            .await;
        }
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// Which of the nodes has the slot of a key or channel, by its own account.
    pub async fn owner_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key]).await.concat().parse::<u16>().expect("a slot");
        (1..PRIMARIES).filter(|n| slot >= third(*n)).count()
    }

    /// A room whose channel is on this primary.
    pub async fn room_on(&self, node: usize) -> String {
        for n in 0.. {
            let room = format!("p/r{n}");
            if self.owner_of(&format!("hubbub:room:{room}")).await == node {
                return room;
            }
        }
        unreachable!("some room is on each node")
    }

    /// Moves the (empty) slot of a key or channel to another primary, as resharding does.
    pub async fn move_slot(&self, key: &str, from: usize, to: usize) {
        let slot = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key]).await.concat();
        self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]).await;
        self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]).await;
        for node in [to, from] {
            self.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]).await;
        }
    }

    /// How many listen to a channel on a node.
    pub async fn listeners(&self, node: usize, channel: &str) -> u64 {
        let counted = self.nodes[node].ask(&["PUBSUB", "SHARDNUMSUB", channel]).await;
        counted.get(1).map_or(0, |count| count.parse().expect("a number"))
    }
}

fn third(n: usize) -> u16 {
    // As redis-cli deals them out: 0-5460, 5461-10922, 10923-16383.
    [0, 5_461, 10_923, SLOTS][n]
}
