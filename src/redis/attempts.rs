//! How often, for how long and by which connection something is asked.

use fred::{clients::WithOptions, error::Error, prelude::Client, types::config::Server};

use super::{Commands, Fault, Part};

impl Commands {
    /// Asks once.
    pub(super) async fn once<T, F>(
        &self,
        commands: usize,
        part: Part,
        ask: impl Fn(WithOptions<Client>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(commands, 1, part, None, ask).await
    }

    /// Asks again when a connection breaks.
    pub(super) async fn repeat<T, F>(
        &self,
        commands: usize,
        part: Part,
        ask: impl Fn(WithOptions<Client>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(commands, self.tries_max, part, None, ask).await
    }

    /// Asks one node of a cluster, and again when a connection breaks.
    pub(super) async fn on_node<T, F>(
        &self,
        node: &Option<Server>,
        ask: impl Fn(WithOptions<Client>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(1, self.tries_max, Part::Reads, node.as_ref(), ask).await
    }

    async fn ask<T, F>(
        &self,
        commands: usize,
        tries_max: u32,
        part: Part,
        node: Option<&Server>,
        ask: impl Fn(WithOptions<Client>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        // Checked before the leave is asked for: without a connection nobody waits.
        if !self.pool.is_up() {
            return Err(Fault::Disconnected);
        }
        let asked = async {
            let _permits = self.pool.permits(commands).await?;
            let mut tries = 1;
            loop {
                match ask(self.pool.next(node)?).await.map_err(|error| Fault::of_command(&error)) {
                    Err(fault) if fault.is_of_connection() && tries < tries_max => tries += 1,
                    answer => return answer,
                }
            }
        };
        let answer = tokio::time::timeout(self.timeout, asked).await.unwrap_or(Err(Fault::Timeout));
        match &answer {
            Ok(_) => self.pool.faults().clear(part),
            Err(fault) if fault.is_for_operators() => self.pool.faults().report(part, *fault),
            Err(_) => {}
        }
        answer
    }
}
