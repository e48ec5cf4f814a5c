//! Walks over keys in steps, so that neither the server nor the hub is busy with all of them at once.

use fred::{clients::WithOptions, interfaces::KeysInterface as _, prelude::Client, types::config::Server};

use super::{Commands, Fault};

/// Keys the server looks at in one step.
const STEP: u32 = 500;

/// A walk over all keys with a prefix, on every node of a cluster.
pub struct Scan {
    commands: Commands,
    pattern: String,
    /// Still to be walked over; the last one is being walked over.
    nodes: Vec<Option<Server>>,
    cursor: String,
}

impl Scan {
    pub(super) fn new(commands: Commands, pattern: String) -> Self {
        let nodes = commands.pool.nodes();
        Self { commands, pattern, nodes, cursor: "0".into() }
    }

    /// The keys of the next step, without the hub's prefix; possibly none. `None` at the end. A key that was there all
    /// the time comes at least once, and may come twice.
    ///
    /// # Errors
    /// Redis' fault. The same step may be tried again.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, Fault> {
        let Some(node) = self.nodes.last() else { return Ok(None) };
        let step = |client: WithOptions<Client>| {
            let (cursor, pattern) = (self.cursor.clone(), self.pattern.clone());
            async move { client.scan_page::<(String, Vec<String>), _, _>(cursor, pattern, Some(STEP), None).await }
        };
        let (cursor, keys) = self.commands.on_node(node, step).await?;
        if cursor == "0" {
            self.nodes.pop();
        }
        self.cursor = cursor;
        let prefix = self.commands.prefix.len();
        Ok(Some(keys.into_iter().filter_map(|key| key.get(prefix..).map(str::to_owned)).collect()))
    }
}
