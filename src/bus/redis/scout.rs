//! Finds out who has which slots of a cluster.
//!
//! Nodes may differ, and one that was cut off goes on believing what was: the one with the highest epoch is believed.

use fred::{
    error::Error,
    interfaces::{ClientLike as _, ClusterInterface as _, EventInterface as _},
    prelude::Client,
    types::{Value, cluster::ClusterRouting, config::Server},
};
use futures_util::future::{join_all, select_ok};

use crate::redis::{Clients, Fault};

/// What the cluster looks like.
pub(super) struct View {
    /// Grows with every change.
    pub(super) epoch: u64,
    /// `None` when nothing changed since the epoch that was asked about.
    pub(super) routing: Option<ClusterRouting>,
}

/// Asks all of these nodes; if none answers, all seeds, and believes the first that does.
///
/// # Errors
/// Why one of the seeds could not be asked.
pub(super) async fn look(
    nodes: Vec<(Server, Client)>,
    seeds: Vec<Server>,
    clients: Clients,
    by_tls: bool,
    known: Option<u64>,
) -> Result<View, Fault> {
    let epochs = join_all(nodes.iter().map(|(_, client)| epoch_of(client))).await;
    let answers = epochs.into_iter().zip(nodes).filter_map(|(epoch, node)| Some((epoch.ok()?, node)));
    if let Some((epoch, (server, client))) = answers.max_by_key(|(epoch, _)| *epoch)
        && let Ok(view) = view_of(&client, &server, epoch, known).await
    {
        return Ok(view);
    }
    let asked = seeds.into_iter().map(|seed| Box::pin(ask_seed(seed, &clients, by_tls)));
    select_ok(asked).await.map(|(view, _)| view)
}

/// One try: fred would go on for ever.
async fn ask_seed(seed: Server, clients: &Clients, by_tls: bool) -> Result<View, Fault> {
    let clients = clients.of_node(&seed);
    let connection = clients.connect(clients.client().map_err(|_| Fault::Other)?);
    let mut errors = connection.error_rx();
    let asked = async {
        connection.wait_for_connect().await?;
        let epoch = epoch_of(&connection).await?;
        view_of(&connection, &seed, epoch, None).await
    };
    tokio::select! {
        view = asked => view.map_err(|error| Fault::of_connecting(&error, by_tls)),
        Ok((error, _)) = errors.recv() => Err(Fault::of_connecting(&error, by_tls)),
    }
}

async fn epoch_of(client: &Client) -> Result<u64, Error> {
    let info: String = client.cluster_info().await?;
    Ok(epoch_in(&info).unwrap_or(0))
}

fn epoch_in(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"))?.trim().parse().ok()
}

async fn view_of(client: &Client, server: &Server, epoch: u64, known: Option<u64>) -> Result<View, Error> {
    if known == Some(epoch) {
        return Ok(View { epoch, routing: None });
    }
    let slots: Value = client.cluster_slots().await?;
    Ok(View { epoch, routing: Some(ClusterRouting::from_cluster_slots(slots, server.host.clone())?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_found() {
        let info = "cluster_enabled:1\r\ncluster_current_epoch:17\r\ncluster_my_epoch:3\r\n";
        assert_eq!(epoch_in(info), Some(17));
        assert_eq!(epoch_in(""), None);
    }
}
