//! The open WebSockets, by who is on them: whom to close when a session ends, whom to tell when a role changes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix::{Message, Recipient};

use super::{SessionRef, UserTag};
use crate::{
    ids::{ConnectionId, ProjectId, UserId},
    protocol::CloseCode,
};

/// To the fan-out, which is polled whatever a peer does: close this connection. At most once per connection and verdict.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseConnection {
    /// Which.
    pub connection: ConnectionId,
    /// Why.
    pub code: CloseCode,
}

/// To a session: ask again what its user may in the rooms it is in.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RolesChanged {
    /// In which project; `None` for all of them.
    pub project: Option<ProjectId>,
}

/// How to reach an open WebSocket.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Which.
    pub connection: ConnectionId,
    /// Its fan-out.
    pub fanout: Recipient<CloseConnection>,
    /// Its session.
    pub session: Recipient<RolesChanged>,
}

/// All open WebSockets of this instance whose users proved something.
#[derive(Debug, Default)]
pub struct Sockets {
    by_session: Mutex<HashMap<UserTag, Vec<(SessionRef, Socket)>>>,
    by_user: Mutex<HashMap<UserId, Vec<((), Socket)>>>,
}

/// A registered socket; taken out when dropped.
#[derive(Debug)]
pub struct Registered {
    sockets: Arc<Sockets>,
    connection: ConnectionId,
    session: Option<UserTag>,
    user: Option<UserId>,
}

impl Sockets {
    /// Registers a socket by its cookie session and by its user, where those are proven.
    pub fn register(
        self: &Arc<Self>,
        socket: &Socket,
        session: Option<&SessionRef>,
        user: Option<&UserId>,
    ) -> Registered {
        if let Some(session) = session {
            let entry = (session.clone(), socket.clone());
            locked(&self.by_session).entry(session.user.clone()).or_default().push(entry);
        }
        if let Some(user) = user {
            locked(&self.by_user).entry(user.clone()).or_default().push(((), socket.clone()));
        }
        Registered {
            sockets: Arc::clone(self),
            connection: socket.connection,
            session: session.map(|session| session.user.clone()),
            user: user.cloned(),
        }
    }

    /// Closes the sockets of a session with 4401.
    pub(super) fn close_session(&self, ended: &SessionRef) {
        for (session, socket) in locked(&self.by_session).get(&ended.user).into_iter().flatten() {
            if session == ended {
                unauthorize(socket);
            }
        }
    }

    /// Closes the sockets of all sessions of a user with 4401.
    pub(super) fn close_user(&self, user: &UserTag) {
        locked(&self.by_session).get(user).into_iter().flatten().for_each(|(_, socket)| unauthorize(socket));
    }

    /// Lets the sockets of a user, or of all, ask for their roles again.
    pub(super) fn tell_roles_changed(&self, user: Option<&UserId>, changed: &RolesChanged) {
        let by_user = locked(&self.by_user);
        let told = by_user.iter().filter(|(id, _)| user.is_none_or(|user| user == *id));
        // Once per change and socket; the session takes several in one look.
        told.flat_map(|(_, sockets)| sockets).for_each(|(_, socket)| socket.session.do_send(changed.clone()));
    }

    /// The sessions that somebody is connected by.
    pub(super) fn sessions(&self) -> Vec<SessionRef> {
        let by_session = locked(&self.by_session);
        let mut sessions: Vec<_> = by_session.values().flatten().map(|(session, _)| session.clone()).collect();
        sessions.sort_unstable_by(|one, other| one.hash.cmp(&other.hash));
        sessions.dedup();
        sessions
    }
}

fn unauthorize(socket: &Socket) {
    socket.fanout.do_send(CloseConnection { connection: socket.connection, code: CloseCode::Unauthorized });
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            remove(&mut locked(&self.sockets.by_session), session, self.connection);
        }
        if let Some(user) = &self.user {
            remove(&mut locked(&self.sockets.by_user), user, self.connection);
        }
    }
}

fn remove<K: Eq + Hash, T>(map: &mut HashMap<K, Vec<(T, Socket)>>, key: &K, connection: ConnectionId) {
    if let Some(sockets) = map.get_mut(key) {
        sockets.retain(|(_, socket)| socket.connection != connection);
        if sockets.is_empty() {
            map.remove(key);
        }
    }
}

/// Changed in single steps, so whole even if a holder panicked.
fn locked<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
