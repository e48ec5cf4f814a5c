//! The edge: projects, members, rooms, history, search, publishing, health, the demo page, and the door to the sessions.
//!
//! `app` gives [`configure`] to the server once per worker thread. A handler says who is asking (`access`), reads its
//! parameters, asks the store or a room, and answers; every refusal, whoever makes it, leaves as a problem document
//! ([`Problem`]). Handlers keep nothing between requests.

mod admin;
mod assets;
mod cached;
mod cookies;
mod health;
mod invitations;
mod json_body;
mod login_codes;
mod measured;
mod members;
mod messages;
mod metrics;
mod origins;
mod paging;
mod parameters;
mod problem;
mod projects;
mod rate;
mod rooms;
mod search;
mod server;
mod sessions;
mod translation;
mod users;
mod websocket;

pub use measured::measure;
pub use metrics::Instruments;
pub use problem::Problem;
pub use server::serve;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    middleware::{DefaultHeaders, from_fn},
    web,
};

use self::{cached::cached, problem::finish_problems};
use crate::{
    access::{
        Access, IdentifyError, Identity, Keys, Operator, Sessions, limits::Limits, secrets::Secrets,
        sessions::session_middleware,
    },
    cache::Catalogue,
    config::Config,
    health::Health,
    mail::Mailer,
    room::Directory,
    store::Store,
};

/// What the handlers share; one for the whole hub.
pub struct HttpState {
    /// The settings.
    pub config: Arc<Config>,
    /// Projects, rooms, history, as they are now.
    pub store: Arc<dyn Store>,
    /// The same, through the cache; changes go through it, too.
    pub catalogue: Arc<Catalogue>,
    /// Who runs the hub.
    pub operator: Operator,
    /// Who may.
    pub access: Arc<Access>,
    /// The rooms that are running, for publishing and presence.
    pub rooms: Arc<Directory>,
    /// The flags of the health routes.
    pub health: Arc<Health>,
    /// The figures.
    pub instruments: Instruments,
    /// The keys of cookies.
    pub keys: Keys,
    /// Cookie sessions.
    pub sessions: Arc<Sessions>,
    /// One-time secrets.
    pub secrets: Secrets,
    /// How often somebody may ask.
    pub limits: Arc<Limits>,
    /// Sends login codes and invitations; `None` where no mail is sent.
    pub mailer: Option<Mailer>,
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
            .service(web::resource("/projects").get(projects::list).post(projects::create).wrap(from_fn(cached)))
            .service(
                web::resource("/projects/{project}")
                    .get(projects::show)
                    .patch(projects::change)
                    .delete(projects::remove)
                    .wrap(from_fn(cached)),
            )
            .service(web::resource("/projects/{project}/members").get(members::list))
            .service(
                web::resource("/projects/{project}/members/{user}")
                    .get(members::show)
                    .put(members::put)
                    .delete(members::remove),
            )
            .service(web::resource("/projects/{project}/search").get(search::find).wrap(from_fn(cached)))
            .service(
                web::resource("/projects/{project}/rooms").get(rooms::list).post(rooms::create).wrap(from_fn(cached)),
            )
            .service(
                web::resource("/projects/{project}/rooms/{room}/messages")
                    .get(messages::history)
                    .post(messages::publish)
                    .wrap(from_fn(cached)),
            )
            .service(web::resource("/projects/{project}/rooms/{room}/presence").get(rooms::presence))
            .service(web::resource("/projects/{project}/invitations").post(invitations::create))
            .service(web::resource("/invitations/accept").post(invitations::accept))
            .service(
                web::resource("/sessions")
                    .get(sessions::list)
                    .post(sessions::log_in)
                    .delete(sessions::log_out_everywhere),
            )
            .service(web::resource("/sessions/current").get(sessions::current).delete(sessions::log_out))
            .service(web::resource("/sessions/{session}").delete(sessions::log_out_there))
            .service(web::resource("/login-codes").post(login_codes::send))
            .service(web::resource("/users/{user}").get(users::show).patch(users::change).wrap(from_fn(cached)))
            .service(web::resource("/admin/users/{user}/sessions").delete(sessions::end_all_of))
            .service(web::resource("/health").get(health::api).head(health::api))
            .service(web::resource("/admin/cache").delete(admin::clear))
            .service(web::resource("/admin/cache/breaker/reset").post(admin::reset_breaker))
            // The last is the outermost.
            .wrap(from_fn(rate::by_user))
            .wrap(from_fn(cookies::inside))
            .wrap(session_middleware(&state.sessions, &state.keys))
            .wrap(from_fn(cookies::outside))
            .wrap(from_fn(rate::by_address))
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

        let metrics =
            web::resource("/metrics").get(metrics::show).wrap(answers_are_private()).wrap(from_fn(finish_problems));

        let sockets = web::resource("/ws")
            .get(websocket::open)
            .wrap(session_middleware(&state.sessions, &state.keys))
            .wrap(from_fn(cookies::outside))
            .wrap(from_fn(finish_problems));

        let demo = ["/", "/app.css", "/favicon.svg", "/js/{file:.*}"];
        let demo = web::resource(demo).get(assets::file).head(assets::file).wrap(from_fn(finish_problems));

        app.app_data(web::PayloadConfig::new(state.config.limits.body_bytes_max))
            .app_data(state)
            .service(api)
            .service(health)
            .service(metrics)
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
