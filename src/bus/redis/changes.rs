//! A cluster changes: nodes come and go, slots move.

use std::{
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
    time::{Duration, Instant},
};

use fred::{types::cluster::ClusterRouting, util::redis_keyslot};
use tokio::sync::mpsc;

use super::{
    link::Link,
    scout::{self, View},
    shards::Shards,
    thread::BusThread,
};
use crate::redis::Fault;

/// How often the slots are read although the cluster says that nothing changed.
const LOOK_ANYWAY_INTERVAL: Duration = Duration::from_secs(10);

impl BusThread {
    /// Asks the nodes what the cluster looks like.
    pub(super) fn look(&self, seen: mpsc::UnboundedSender<Result<View, Fault>>) {
        let links = self.shards.links();
        let up = links.iter().filter(|link| link.is_up());
        let nodes: Vec<_> = up.filter_map(|link| Some((link.node()?.clone(), link.publisher()))).collect();
        let mut seeds = self.seeds.clone();
        seeds.extend(links.iter().filter_map(|link| link.node().cloned()));
        seeds.dedup();
        let known = self.epoch.filter(|_| self.last_read.elapsed() < LOOK_ANYWAY_INTERVAL);
        let (clients, by_tls) = (self.shared.clients.clone(), self.shared.by_tls);
        actix::spawn(async move { drop(seen.send(scout::look(nodes, seeds, clients, by_tls, known).await)) });
    }

    /// Follows what changed.
    pub(super) fn take_view(&mut self, view: View) {
        let Some(routing) = view.routing else { return };
        let changed = self.epoch.replace(view.epoch) != Some(view.epoch);
        self.last_read = Instant::now();
        let Shards::Many { routing: old_routing, links } = &mut self.shards else { return };
        let before = std::mem::replace(old_routing, routing.clone());
        let nodes = routing.unique_primary_nodes();
        links.retain(|node, link| {
            let stays = nodes.contains(node);
            if !stays {
                tracing::info!(%node, "a node of the Redis Cluster is no primary any more");
                link.close();
            }
            stays
        });
        for node in nodes {
            if let Entry::Vacant(place) = links.entry(node) {
                match Link::open(&self.shared, Some(place.key().clone())) {
                    Ok(link) => drop(place.insert(link)),
                    Err(fault) => tracing::error!("{fault}"),
                }
            }
        }
        let all = self.shards.links();
        all.iter().for_each(|link| link.set_slots(&self.shards.slots_of(link)));
        self.reach.replace(all.iter().filter(|link| link.is_up()).flat_map(|link| self.shards.slots_of(link)));
        self.distribute(&before, changed);
        self.judge();
    }

    /// Every channel to the link that has its slot. What was another's is subscribed to anew, and told of it.
    fn distribute(&self, before: &ClusterRouting, changed: bool) {
        let names: Vec<String> = self.shared.inboxes.borrow().channels().cloned().collect();
        let owner_before = |name: &str| before.get_server(redis_keyslot(name.as_bytes()));
        let mut moved: HashMap<*const Link, (Rc<Link>, Vec<String>)> = HashMap::new();
        for name in names {
            let Some(link) = self.shards.link_of(&name) else { continue };
            if owner_before(&name) != link.node() {
                moved.entry(Rc::as_ptr(link)).or_insert_with(|| (Rc::clone(link), Vec::new())).1.push(name);
            }
        }
        for link in self.shards.links() {
            link.hand_over(|name| !self.shards.link_of(name).is_some_and(|owner| Rc::ptr_eq(owner, &link)));
            if changed {
                link.listen_again(); // a slot may have gone and come back since the last look
            }
        }
        for (link, names) in moved.into_values() {
            tracing::debug!(channels = names.len(), node = ?link.node(), "channels moved within the Redis Cluster");
            link.take_over(names);
        }
    }
}
