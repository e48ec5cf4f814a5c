//! Who is in a room as one client sees it: what `joined` said, and each change since.

use std::collections::BTreeMap;

use super::transcript::Seen;
use crate::support::frames::Change;

/// Members by connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View(pub BTreeMap<String, Seen>);

/// What a change got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A join of who is here, a leave or update of who is not.
    Incoherent,
    /// `first` or `last` is not what the view says.
    FirstOrLast,
}

impl View {
    pub fn of(members: impl IntoIterator<Item = (String, Seen)>) -> Self {
        Self(members.into_iter().collect())
    }

    /// Takes a change, says what is wrong with it.
    pub fn apply(&mut self, change: &Change) -> Option<Fault> {
        match change {
            Change::Join { user_id, connection_id, state, first, .. } => {
                let was_here = self.has_user(user_id);
                let seen = Seen { user_id: user_id.clone(), state: state.clone() };
                let twice = self.0.insert(connection_id.clone(), seen).is_some();
                if twice {
                    return Some(Fault::Incoherent);
                }
                (*first == was_here).then_some(Fault::FirstOrLast)
            }
            Change::Leave { user_id, connection_id, last, .. } => {
                if self.0.remove(connection_id).is_none() {
                    return Some(Fault::Incoherent);
                }
                (*last == self.has_user(user_id)).then_some(Fault::FirstOrLast)
            }
            Change::Update { connection_id, state, .. } => match self.0.get_mut(connection_id) {
                Some(seen) => {
                    seen.state = state.clone();
                    None
                }
                None => Some(Fault::Incoherent),
            },
        }
    }

    fn has_user(&self, user_id: &str) -> bool {
        self.0.values().any(|seen| seen.user_id == user_id)
    }
}
