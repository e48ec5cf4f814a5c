//! A hub without sockets: the routes over a SQLite file of their own.

use std::sync::Arc;

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{Service, ServiceResponse},
    http::{Method, StatusCode, header},
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use clap::{Args as _, Command, FromArgMatches as _};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    access::{Access, Keys, Operator, Sessions, limits::Limits, mint_token, secrets::Secrets},
    bus::LocalBus,
    cache::{Cache, Catalogue},
    clock::Duration,
    config::{Config, Settings},
    health::{Health, Link, Links},
    http::{HttpState, Instruments, configure},
    ids::InstanceId,
    redis::RedisFigures,
    room::Directory,
    store::{CountedStore, GroupCommit, GroupCommitLimits, Role, SqliteStore, Store},
    telemetry::Recorder,
};

pub(super) const SECRET: &str = "a secret of at least thirty-two bytes";

pub(super) struct Hub {
    pub(super) state: web::Data<HttpState>,
    _folder: TempDir,
}

/// A hub that takes guests and tokens.
pub(super) async fn hub() -> Hub {
    hub_with(&["--allow-guests", "true"]).await
}

pub(super) async fn hub_with(flags: &[&str]) -> Hub {
    let command = Settings::augment_args(Command::new("hubbub")).mut_args(|arg| arg.env(None::<&str>));
    let matches = command
        .try_get_matches_from(["hubbub", "--jwt-secret", SECRET, "--rate-limit-api", "off"].iter().chain(flags))
        .unwrap();
    let config = Config::from_settings(&Settings::from_arg_matches(&matches).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("hub.db"), Duration::from_secs(5), 2).await.unwrap();
    let counted = Arc::new(CountedStore::new(Arc::new(store)));
    let store: Arc<dyn Store> = counted.clone();
    let instruments = Instruments {
        recorder: Recorder::install(),
        fanouts: Arc::default(),
        group_commit: GroupCommit::start(store.clone(), GroupCommitLimits::default()),
        redis: RedisFigures::watch(None),
    };
    let bus = Arc::new(LocalBus::default());
    let cache = Cache::start(&config.cache, InstanceId::random(), store.clone(), bus, None);
    let catalogue = Arc::new(Catalogue::new(counted, cache));
    let keys = Keys::derive(None);
    let state = web::Data::new(HttpState {
        instruments,
        sessions: Sessions::start(None, Arc::new(LocalBus::default()), config.sessions.ttl),
        secrets: Secrets::new(None, &keys),
        limits: Limits::new(config.rate_limits, None, &keys),
        mailer: None,
        keys,
        access: Arc::new(Access::new(&config.access, config.listen.trusted_proxies.clone(), catalogue.clone())),
        catalogue,
        operator: Operator::new(&config.access),
        rooms: rooms(&config, &store),
        store,
        health: Arc::new(Health::new(Links { database: Link::Connected, redis: Link::NotConfigured })),
        config: Arc::new(config),
    });
    Hub { state, _folder: folder }
}

fn rooms(config: &Config, store: &Arc<dyn Store>) -> Arc<Directory> {
    let group_commit = GroupCommit::start(store.clone(), GroupCommitLimits::default());
    Directory::new(
        InstanceId::random(),
        config.room.clone(),
        store.clone(),
        group_commit,
        Arc::new(LocalBus::default()),
    )
}

pub(super) fn token(sub: &str, projects: &[(&str, Role)]) -> String {
    let projects: Vec<_> = projects.iter().map(|(project, role)| (project.parse().unwrap(), *role)).collect();
    mint_token(SECRET, &sub.parse().unwrap(), None, &projects, Duration::from_secs(60)).unwrap()
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: header::HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a whole problem document of this status.
    #[track_caller]
    pub(super) fn assert_problem(&self, status: u16, word: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail", "instance"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {}", self.text);
        }
        assert!(self.text.contains(word), "{word} in {}", self.text);
    }

    #[track_caller]
    pub(super) fn assert_ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }
}

/// A request being put together.
pub(super) struct Ask<'h> {
    hub: &'h Hub,
    request: TestRequest,
}

impl Hub {
    pub(super) fn ask(&self, method: &str, uri: &str) -> Ask<'_> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = TestRequest::with_uri(uri).method(method).insert_header(("Host", "hub.example"));
        Ask { hub: self, request }
    }

    pub(super) async fn get(&self, uri: &str) -> Reply {
        self.ask("GET", uri).send().await
    }
}

impl Ask<'_> {
    pub(super) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.insert_header((name, value)), ..self }
    }

    pub(super) fn by(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(super) fn body(self, text: impl Into<String>) -> Self {
        let asked = self.header("Content-Type", "application/json");
        Self { request: asked.request.set_payload(text.into()), ..asked }
    }

    pub(super) async fn send(self) -> Reply {
        let app = init_service(App::new().configure(configure(self.hub.state.clone()))).await;
        reply(&app, self.request).await
    }
}

async fn reply<S, B>(app: &S, request: TestRequest) -> Reply
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let response = call_service(app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
    Reply { status, headers, text }
}
