//! `/api/projects/{project}/search`: messages by their words, newest first.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{
    Answer, HttpState, Problem,
    messages::Parts,
    paging::{self, Page},
    parameters::{ProjectPath, Query},
};
use crate::{
    access::Need,
    cache::{Class, Loaded, Page as CachedPage, SearchKey},
    ids::RoomId,
    protocol::outbound::MessageFields,
    store::{Search, SearchHit, SearchPlace, SearchQuery, StoreError},
};

#[derive(Serialize)]
struct HitItem<'a> {
    room: &'a RoomId,
    #[serde(flatten)]
    message: MessageFields<'a>,
}

/// `GET …/search?q=&room=&before=&limit=&cursor=`
pub(super) async fn find(state: web::Data<HttpState>, request: HttpRequest, path: web::Path<ProjectPath>) -> Answer {
    let who = state.reader(&request)?;
    let project = path.id()?;
    let query = Query::of(&request);
    let words: SearchQuery = query.get("q").unwrap_or_default().parse().map_err(|error| bad("q", error))?;
    let (limit, before) = (paging::limit(&query)?, before(&query)?);
    let room = match query.get("room") {
        Some(name) => {
            let room = RoomId::new(&project, name).map_err(|error| bad("room", error))?;
            Some(state.access.authorize(&who, &room, Need::Read).await?.room)
        }
        None => {
            state.access.project(&who, &project, Need::Read).await?;
            None
        }
    };
    let cache = state.catalogue.cache();
    let load = async {
        let search = Search { project: project.clone(), room, query: words, before, limit: limit + 1 };
        Ok(CachedPage(rendered(state.store.search(&search).await?, limit)?.into()))
    };
    let page = if cache.is_fresh() {
        let extent = state.catalogue.extent(&project, room).await?;
        let words = query.get("q").unwrap_or_default().to_owned();
        let key = SearchKey { project: project.clone(), room, extent, words, before, limit };
        cache.get_or_load(&key, async { load.await.map(Loaded::Keep) }).await?
    } else {
        Arc::new(cache.bypass(Class::Search, load).await?)
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(page.0.clone()))
}

/// A page of what was found with `limit + 1`.
fn rendered(mut hits: Vec<SearchHit>, limit: u32) -> Result<String, StoreError> {
    let more = hits.len() > limit as usize;
    hits.truncate(limit as usize);
    let next = hits.last().filter(|_| more).map(|last| format!("s.{}", last.place.number()));
    let hits = hits.into_iter().map(|SearchHit { room, message, .. }| Ok((room, Parts::try_from(message)?)));
    let hits = hits.collect::<Result<Vec<_>, StoreError>>()?;
    let items = hits.iter().map(|(room, parts)| HitItem { room, message: parts.fields() }).collect();
    serde_json::to_string(&Page::new(items, next))
        .map_err(|_| StoreError::Broken("a page of messages cannot be written".into()))
}

/// The place before which is looked: the end of the page before, or a time.
fn before(query: &Query) -> Result<SearchPlace, Problem> {
    let cursor = query.get("cursor").map(|cursor| {
        let number = cursor.strip_prefix("s.").and_then(|number| number.parse().ok());
        number.map(SearchPlace::of_number).ok_or_else(|| bad("cursor", paging::CURSOR_RULE))
    });
    let time = query.get("before").map(|text| {
        let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| bad("before", TIME_RULE));
        time.map(|time| SearchPlace::before_time(time.timestamp_millis()))
    });
    let (cursor, time) = (cursor.transpose()?, time.transpose()?);
    Ok(cursor.into_iter().chain(time).min().unwrap_or(SearchPlace::END))
}

const TIME_RULE: &str = "must be a time like 2026-01-01T00:00:00Z (a + in an address is %2B)";

fn bad(parameter: &'static str, rule: impl std::fmt::Display) -> Problem {
    Problem::bad_parameter(parameter, rule)
}
