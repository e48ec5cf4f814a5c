//! `/api/projects/{project}/rooms`: the rooms with what the asker has not read, making one, and who is in one.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Serialize};

use super::{
    Answer, HttpState, Problem,
    json_body::JsonBody,
    paging::{self, Page},
    parameters::{ProjectPath, Query, RoomPath},
};
use crate::{
    access::{AccessError, Need},
    clock::{Timestamp, wire_time},
    ids::{RoomId, Seq},
    store::RoomRow,
};

#[derive(Serialize)]
struct RoomItem {
    room: RoomId,
    name: String,
    /// The `seq` of its latest message.
    last_seq: Seq,
    /// Messages after the asker's read marker.
    unread: u64,
    /// People in it now, on all instances.
    online: usize,
    #[serde(with = "wire_time")]
    created_at: Timestamp,
}

impl RoomItem {
    fn new(row: RoomRow, online: usize) -> Self {
        let RoomRow { id, last_seq, read_seq, created_at, .. } = row;
        let unread = last_seq.saturating_sub(read_seq);
        Self { name: id.room().into(), room: id, last_seq, unread, online, created_at }
    }
}

/// `GET /api/projects/{project}/rooms?limit=&cursor=`
pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<ProjectPath>) -> Answer {
    let who = state.reader(&request)?;
    let project = path.id()?;
    let query = Query::of(&request);
    let limit = paging::limit(&query)?;
    let after = paging::after_key(&query, |key| RoomId::new(&project, key).ok())?;
    state.access.project(&who, &project, Need::Read).await?;
    let after = after.as_ref().map(RoomId::room);
    let mut rows = state.catalogue.rooms(&project, Some(&who.user.user_id), after, limit + 1).await?;
    let next = paging::cut(&mut rows, limit, |last| last.id.room().into());
    let item = |row: RoomRow| {
        let online = state.rooms.online(&row.id);
        RoomItem::new(row, online)
    };
    Ok(HttpResponse::Ok().json(Page::new(rows.into_iter().map(item).collect(), next)))
}

#[derive(Deserialize)]
struct NewRoom {
    name: String,
}

/// `POST /api/projects/{project}/rooms`: 201 for a new room, 200 for one that is there already.
pub(super) async fn create(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<ProjectPath>,
    body: JsonBody,
) -> Answer {
    let who = state.person(&request)?;
    let project = path.id()?;
    state.access.project(&who, &project, Need::Send).await?;
    let NewRoom { name } = body.parse()?;
    let room = RoomId::new(&project, &name).map_err(|error| Problem::bad_parameter("name", error))?;
    let reader = Some(&who.user.user_id);
    if let Some(row) = state.store.room(&room, reader).await? {
        let online = state.rooms.online(&room);
        return Ok(HttpResponse::Ok().json(RoomItem::new(row, online)));
    }
    state.store.ensure_room(&room).await?;
    let row = state.store.room(&room, reader).await?.ok_or(AccessError::NotFound)?;
    let location = format!("/api/projects/{}/rooms/{}/messages", project.as_str(), room.room());
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(RoomItem::new(row, 0)))
}

/// `GET /api/projects/{project}/rooms/{room}/presence`: as in `joined`.
pub(super) async fn presence(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<RoomPath>) -> Answer {
    let who = state.reader(&request)?;
    let room = path.id()?;
    let grant = state.access.authorize(&who, &room, Need::Read).await?;
    let members = state.rooms.presence(&room, grant.room).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(members))
}
