//! `/api/projects/{project}/rooms/{room}/messages`: history page by page, and publishing from a server or script.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Answer, HttpState, Problem,
    json_body::JsonBody,
    paging::{self, History, Page},
    parameters::{Query, RoomPath},
};
use crate::{
    access::{IdentifyError, Need},
    cache::{Class, HistoryKey, Loaded, Page as CachedPage, Span},
    ids::{MessageId, RoomId, Seq},
    protocol::outbound::{From, MessageFields},
    store::{StoreError, StoredMessage},
};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// `GET …/messages?before=&after=&limit=&cursor=`: newest first, or with `after` oldest first.
pub(super) async fn history(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<RoomPath>) -> Answer {
    let who = state.reader(&request)?;
    let room = path.id()?;
    let query = Query::of(&request);
    let (limit, wanted) = (paging::limit(&query)?, History::of(&query)?);
    let key = state.access.authorize(&who, &room, Need::Read).await?.room;
    let project = room.project();
    let page = match wanted {
        // The newest page changes with every message, the page before a known head never.
        History::Before(None) if !state.catalogue.cache().is_fresh() => {
            let load = async {
                let messages = state.store.messages_before(key, None, limit + 1).await?;
                Ok(CachedPage(rendered(messages, limit, Span::Before(0))?.into()))
            };
            Arc::new(state.catalogue.cache().bypass(Class::History, load).await?)
        }
        History::Before(None) => {
            let head = state.catalogue.head(key).await?;
            kept_page(&state, HistoryKey { project, room: key, span: Span::Before(head + 1), limit, newest: true })
                .await?
        }
        History::Before(Some(before)) => {
            kept_page(&state, HistoryKey { project, room: key, span: Span::Before(before), limit, newest: false })
                .await?
        }
        History::After(after) => {
            kept_page(&state, HistoryKey { project, room: key, span: Span::After(after), limit, newest: false }).await?
        }
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(page.0.clone()))
}

/// A page as it is sent, kept if no message can ever be put into it.
async fn kept_page(state: &HttpState, key: HistoryKey) -> Result<Arc<CachedPage>, Problem> {
    let HistoryKey { room, span, limit, newest, .. } = key;
    let load = async {
        let messages = match span {
            Span::Before(before) => state.store.messages_before(room, Some(before), limit + 1).await?,
            Span::After(after) => state.store.messages_after(room, after, limit + 1).await?,
        };
        let more = messages.len() > limit as usize;
        let complete = match span {
            Span::Before(before) => newest || messages.first().is_some_and(|first| first.seq + 1 == before),
            Span::After(_) => more,
        };
        let page = CachedPage(rendered(messages, limit, span)?.into());
        Ok(if complete { Loaded::Keep(page) } else { Loaded::Pass(page) })
    };
    Ok(state.catalogue.cache().get_or_load(&key, load).await?)
}

/// A page of what was read with `limit + 1`.
fn rendered(mut messages: Vec<StoredMessage>, limit: u32, span: Span) -> Result<String, StoreError> {
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let next = messages.last().filter(|_| more).map(|last| History::next(span, last.seq));
    let parts = messages.into_iter().map(Parts::try_from).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string(&Page::new(parts.iter().map(Parts::fields).collect(), next))
        .map_err(|_| StoreError::Broken("a page of messages cannot be written".into()))
}

/// A stored message in the parts that the wire's form borrows.
pub(super) struct Parts {
    message: StoredMessage,
    from: From,
    body: Box<RawValue>,
}

impl TryFrom<StoredMessage> for Parts {
    type Error = StoreError;

    fn try_from(mut message: StoredMessage) -> Result<Self, StoreError> {
        let body = RawValue::from_string(std::mem::take(&mut message.body))
            .map_err(|_| StoreError::Broken("a stored body is not JSON".into()))?;
        let author = message.author.clone();
        let from = From { user_id: author.user_id, name: author.name, connection_id: author.connection_id };
        Ok(Self { message, from, body })
    }
}

impl Parts {
    pub(super) fn fields(&self) -> MessageFields<'_> {
        let StoredMessage { seq, id, sent_at, .. } = self.message;
        MessageFields { seq, id, from: &self.from, body: &self.body, sent_at }
    }
}

#[derive(Deserialize)]
struct NewMessage<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Serialize)]
struct Published<'a> {
    room: &'a RoomId,
    id: MessageId,
    seq: Seq,
    duplicate: bool,
}

/// `POST …/messages`: 201 once the message is durable, 200 when one of its id was there before.
pub(super) async fn publish(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<RoomPath>,
    body: JsonBody,
) -> Answer {
    let who = state.person(&request)?;
    let author = who.author().ok_or(IdentifyError::Missing("a message has an author"))?;
    let room = path.id()?;
    let id = message_id(&request)?;
    let NewMessage { body } = body.parse()?;
    // Not more than over a WebSocket: every member gets it in one frame.
    let bytes_max = state.config.limits.frame_bytes_max;
    if body.get().len() > bytes_max {
        return Err(Problem::too_large("a message", bytes_max));
    }
    let key = state.access.authorize(&who, &room, Need::Send).await?.room;
    let stored = state.rooms.publish(&room, key, author, id, body.get().to_owned()).await?;
    let mut answer = if stored.duplicate { HttpResponse::Ok() } else { HttpResponse::Created() };
    Ok(answer.json(Published { room: &room, id, seq: stored.seq, duplicate: stored.duplicate }))
}

/// The header's UUID, in quotes or not, or a fresh one.
fn message_id(request: &HttpRequest) -> Result<MessageId, Problem> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(Uuid::now_v7()) };
    let id = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    id.ok_or_else(|| Problem::bad_parameter(IDEMPOTENCY_KEY, "must be a UUID: it becomes the message's id"))
}
