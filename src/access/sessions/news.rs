//! What the instances tell each other of sessions and roles, and what each does on hearing it.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{RolesChanged, SessionRef, Sessions, UserTag};
use crate::{
    bus::{BusDelivery, Channel},
    ids::{ProjectId, UserId},
    vital::vital,
};

/// The hub's topic for it.
pub(super) const TOPIC: Channel = Channel::Hub("access");
/// Sessions that are looked up at once after the bus was away.
const LOOKS_AT_ONCE: usize = 100;
/// When Redis does not answer yet, it is asked again after it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A piece of news.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum News {
    /// A session is over.
    SessionEnded(String),
    /// All sessions of a user are over.
    SessionsEnded(String),
    /// A user's role in a project is another one, or none.
    RoleChanged(UserId, ProjectId),
}

impl News {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // texts alone: cannot fail
    }
}

/// Listens until the hub ends.
pub(super) fn listen(sessions: &Arc<Sessions>) {
    let (inbox, mut deliveries) = mpsc::unbounded_channel();
    sessions.bus.subscribe(TOPIC, inbox.into());
    let sessions = Arc::clone(sessions);
    actix_web::rt::spawn(vital("news of sessions", async move {
        while let Some(delivery) = deliveries.recv().await {
            match delivery {
                BusDelivery::Event(text) => match serde_json::from_str(&text) {
                    Ok(news) => hear(&sessions, news).await,
                    Err(error) => tracing::warn!(%error, "news of sessions that this version does not understand"),
                },
                BusDelivery::Restored => {
                    sessions.forget_known().await;
                    // A task of its own: what is heard meanwhile is not held up.
                    actix_web::rt::spawn(compare(Arc::clone(&sessions)));
                }
            }
        }
    }));
}

pub(super) async fn hear(sessions: &Sessions, news: News) {
    match news {
        News::SessionEnded(session) => {
            if let Ok(session) = session.parse::<SessionRef>() {
                sessions.ended(&session).await;
            }
        }
        News::SessionsEnded(user) => {
            if let Ok(user) = user.parse::<UserTag>() {
                sessions.all_ended(&user).await;
            }
        }
        News::RoleChanged(user, project) => {
            sessions.sockets.tell_roles_changed(Some(&user), &RolesChanged { project: Some(project) });
        }
    }
}

/// The bus was away, and news may be lost: every open socket's session is looked up, every role asked for again.
async fn compare(sessions: Arc<Sessions>) {
    sessions.sockets.tell_roles_changed(None, &RolesChanged { project: None });
    let mut open = sessions.sockets.sessions();
    while !open.is_empty() && sessions.bus.is_up(&TOPIC) {
        let looks = stream::iter(open).map(async |session| match sessions.is_there(&session).await {
            Ok(true) => None,
            Ok(false) => {
                sessions.ended(&session).await;
                None
            }
            Err(_) => Some(session),
        });
        open = looks.buffer_unordered(LOOKS_AT_ONCE).filter_map(std::future::ready).collect().await;
        if !open.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
