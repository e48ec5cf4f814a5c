//! The demo page and the client library: compiled into the binary, in a debug build read from disk at each request.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CacheControl, CacheDirective, ETag, EntityTag, Header as _, IfNoneMatch},
};
use rust_embed::RustEmbed;

use super::{Answer, Problem};

#[derive(RustEmbed)]
#[folder = "web"]
#[exclude = "test/*"]
#[exclude = "*.md"]
#[exclude = "package.json"]
struct Web;

/// The page runs its own scripts and styles only, talks to hubs only, and is put into no other page's frame. Pictures come
/// from anywhere, since tokens name them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' https: data:; \
     style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Bytes of the content's hash in an ETag.
const TAG_BYTES: usize = 8;

/// `GET /`, `/app.css`, `/favicon.svg`, `/js/…`
pub(super) async fn file(request: HttpRequest) -> Answer {
    let path = match request.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let file = Web::get(path).ok_or_else(|| Problem::not_found("there is no such file"))?;
    let hash = file.metadata.sha256_hash();
    let tag = EntityTag::new_strong(hash.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect());
    let known = is_known(&request, &tag);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(ETag(tag))
        // Asks again each time, so that page and hub are of one version; the answer is nearly always a 304.
        .insert_header(CacheControl(vec![CacheDirective::NoCache]))
        .insert_header(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
        // The client library may be imported by pages of any origin: it is public code.
        .insert_header(("Access-Control-Allow-Origin", "*"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Referrer-Policy", "no-referrer")); // the address may hold a token
    if known {
        return Ok(answer.finish());
    }
    answer.content_type(content_type(path));
    Ok(match file.data {
        Cow::Borrowed(bytes) => answer.body(bytes),
        Cow::Owned(bytes) => answer.body(bytes),
    })
}

fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

fn content_type(path: &str) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}
