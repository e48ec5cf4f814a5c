//! The edge: projects, members, rooms, history, publishing, health, the demo page, and the door to the sessions.
//!
//! `app` gives [`configure`] to the server once per worker thread. A handler says who is asking (`access`), reads its
//! parameters, asks the store or a room, and answers; every refusal, whoever makes it, leaves as a problem document
//! ([`Problem`]). Handlers keep nothing between requests.

mod assets;
mod health;
mod json_body;
mod members;
mod messages;
mod origins;
mod paging;
mod parameters;
mod problem;
mod projects;
mod rooms;
mod translation;
mod websocket;

pub use problem::Problem;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    middleware::{DefaultHeaders, from_fn},
    web,
};

use self::problem::finish_problems;
use crate::{
    access::{Access, IdentifyError, Identity},
    config::Config,
    health::Health,
    room::Directory,
    store::Store,
};

/// What the handlers share; one for the whole hub.
pub struct HttpState {
    /// The settings.
    pub config: Arc<Config>,
    /// Projects, rooms, history.
    pub store: Arc<dyn Store>,
    /// Who may.
    pub access: Arc<Access>,
    /// The rooms that are running, for publishing and presence.
    pub rooms: Arc<Directory>,
    /// The flags of the health routes.
    pub health: Arc<Health>,
}

impl HttpState {
    /// Who asks, for routes that only read.
    fn reader(&self, request: &HttpRequest) -> Result<Identity, IdentifyError> {
        self.access.identify_reader(request)
    }

    /// Who asks, for routes that change something.
    fn person(&self, request: &HttpRequest) -> Result<Identity, IdentifyError> {
        self.access.identify(request)
    }
}

/// What a handler answers.
type Answer = Result<HttpResponse, Problem>;

/// Adds the routes: `App::new().configure(http::configure(state.clone()))`. What none of them matches is answered here, too.
pub fn configure(state: web::Data<HttpState>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |app| {
        let api = web::scope("/api")
            .service(web::resource("/projects").get(projects::list).post(projects::create))
            .service(
                web::resource("/projects/{project}")
                    .get(projects::show)
                    .patch(projects::change)
                    .delete(projects::remove),
            )
            .service(web::resource("/projects/{project}/members").get(members::list))
            .service(
                web::resource("/projects/{project}/members/{user}")
                    .get(members::show)
                    .put(members::put)
                    .delete(members::remove),
            )
            .service(web::resource("/projects/{project}/rooms").get(rooms::list).post(rooms::create))
            .service(
                web::resource("/projects/{project}/rooms/{room}/messages")
                    .get(messages::history)
                    .post(messages::publish),
            )
            .service(web::resource("/projects/{project}/rooms/{room}/presence").get(rooms::presence))
            .service(web::resource("/health").get(health::api).head(health::api))
            // The last is the outermost.
            .wrap(from_fn(origins::guard))
            .wrap(origins::cors(&state.config.access.allowed_origins))
            .wrap(answers_are_private())
            .wrap(from_fn(finish_problems));

        let health = web::scope("/health")
            .service(web::resource("").get(health::summary).head(health::summary))
            .service(web::resource("/live").get(health::live).head(health::live))
            .service(web::resource("/ready").get(health::ready).head(health::ready))
            .service(web::resource("/cache").get(health::cache).head(health::cache))
            .wrap(answers_are_private())
            .wrap(from_fn(finish_problems));

        let sockets = web::resource("/ws").get(websocket::open).wrap(from_fn(finish_problems));

        let demo = ["/", "/app.css", "/favicon.svg", "/js/{file:.*}"];
        let demo = web::resource(demo).get(assets::file).head(assets::file).wrap(from_fn(finish_problems));

        app.app_data(web::PayloadConfig::new(state.config.limits.body_bytes_max))
            .app_data(state)
            .service(api)
            .service(health)
            .service(sockets)
            .service(demo)
            .default_service(web::to(no_route));
    }
}

/// No cache between hub and client may keep an answer that depends on who asked.
fn answers_are_private() -> DefaultHeaders {
    DefaultHeaders::new().add(("Cache-Control", "no-store")).add(("X-Content-Type-Options", "nosniff"))
}

async fn no_route(request: HttpRequest) -> Answer {
    Err(Problem::not_found("there is nothing at this address").at(request.path()))
}

#[cfg(test)]
mod tests;
