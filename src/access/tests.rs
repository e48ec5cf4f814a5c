//! Who is identified by what, and who may do what where: against the real store.

use actix_web::test::TestRequest;
use clap::{Args as _, Command, FromArgMatches as _};
use tempfile::TempDir;

use super::*;
use crate::{
    bus::LocalBus,
    cache::{Cache, Catalogue},
    clock::{Duration, now_utc},
    config::{Config, Settings},
    ids::{InstanceId, ProjectId, RoomId, UserId},
    store::{CountedStore, Project, Role, SqliteStore, Store, Visibility},
};

const SECRET: &str = "a secret of at least thirty-two bytes";

struct Hub {
    access: Access,
    catalogue: Arc<Catalogue>,
    store: Arc<dyn Store>,
    _folder: TempDir,
}

async fn hub(flags: &[&str]) -> Hub {
    let command = Settings::augment_args(Command::new("hubbub")).mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["hubbub", "--jwt-secret", SECRET].iter().chain(flags)).unwrap();
    let config = Config::from_settings(&Settings::from_arg_matches(&matches).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("hub.db"), Duration::from_secs(5), 2).await.unwrap();
    let store = Arc::new(CountedStore::new(Arc::new(store)));
    let bus = Arc::new(LocalBus::default());
    let cache = Cache::start(&config.cache, InstanceId::random(), store.clone(), bus, None);
    let catalogue = Arc::new(Catalogue::new(store.clone(), cache));
    Hub {
        access: Access::new(&config.access, config.listen.trusted_proxies, catalogue.clone()),
        catalogue,
        store,
        _folder: folder,
    }
}

const GUESTS: [&str; 2] = ["--allow-guests", "true"];
const NO_GUESTS: [&str; 2] = ["--allow-guests", "false"];

fn token(sub: &str, projects: &[(&str, Role)]) -> String {
    let projects: Vec<_> = projects.iter().map(|(project, role)| (project.parse().unwrap(), *role)).collect();
    mint_token(SECRET, &sub.parse().unwrap(), Some("Ada"), &projects, Duration::from_secs(60)).unwrap()
}

impl Hub {
    fn by_query(&self, query: &str) -> Result<Identity, IdentifyError> {
        self.access.identify(&TestRequest::get().uri(&format!("/ws?{query}")).to_http_request())
    }

    fn by_token(&self, sub: &str, projects: &[(&str, Role)]) -> Identity {
        self.access.verify_token(&token(sub, projects)).unwrap()
    }

    /// `Ok(role)`, or the error's name.
    async fn may(&self, who: &Identity, room: &str, need: Need) -> Result<Role, &'static str> {
        let room: RoomId = room.parse().unwrap();
        self.access.authorize(who, &room, need).await.map(|grant| grant.role).map_err(|error| match error {
            AccessError::Forbidden => "forbidden",
            AccessError::NotFound => "not_found",
            AccessError::Unavailable(_) => "unavailable",
        })
    }

    async fn project(&self, id: &str, visibility: Visibility, members: &[(&str, Role)]) {
        let id: ProjectId = id.parse().unwrap();
        let project = Project { name: id.as_str().into(), id: id.clone(), visibility, created_at: now_utc() };
        assert!(self.catalogue.create_project(&project, None).await.unwrap());
        for (user, role) in members {
            self.catalogue.put_member(&id, &user.parse::<UserId>().unwrap(), *role).await.unwrap();
        }
        self.store.ensure_room(&RoomId::new(&id, "r").unwrap()).await.unwrap();
    }
}

#[actix_web::test]
async fn the_first_match_decides_good_or_bad() {
    let hub = hub(&GUESTS).await;
    let request = |bearer: &str, query: &str| {
        let request = TestRequest::get().uri(&format!("/ws?{query}"));
        hub.access.identify(&request.insert_header(("Authorization", bearer)).to_http_request())
    };
    let (ada, bob) = (token("ada", &[]), token("bob", &[]));
    let id = |identity: Result<Identity, IdentifyError>| identity.unwrap().user.user_id.as_str().to_owned();
    assert_eq!(id(request(&format!("Bearer {ada}"), &format!("token={bob}&name=Carol"))), "ada");
    assert_eq!(id(request(&format!("bearer  {ada}"), "")), "ada");
    assert_eq!(id(request("Basic YTpi", &format!("name=Carol&token={bob}"))), "bob");
    assert!(id(request("Basic YTpi", "token=&name=Carol")).starts_with("guest-"));
    assert!(matches!(request("Bearer x", "name=Carol"), Err(IdentifyError::Token(TokenError::Malformed))));
    assert!(matches!(hub.by_query("token=x&name=Carol"), Err(IdentifyError::Token(_))));
}

#[actix_web::test]
async fn names_count_only_where_guests_are_allowed() {
    let open = hub(&GUESTS).await;
    assert_eq!(open.by_query("name=A%20da").unwrap().user.name, "A da");
    assert_eq!(open.by_query("name=%20").unwrap_err(), IdentifyError::Name);
    assert_eq!(open.by_query("name=Ada&guest_id=7").unwrap_err(), IdentifyError::GuestId);
    assert!(matches!(open.by_query(""), Err(IdentifyError::Missing(_))));
    let nobody = TestRequest::get().uri("/api/projects").to_http_request();
    assert_eq!(open.access.identify_reader(&nobody).unwrap().kind, IdentityKind::Anonymous);

    let closed = hub(&NO_GUESTS).await;
    assert!(matches!(closed.by_query("name=Ada"), Err(IdentifyError::Missing(_))));
    assert!(matches!(closed.access.identify_reader(&nobody), Err(IdentifyError::Missing(_))));
}

#[actix_web::test]
async fn without_a_secret_no_token_counts() {
    let mut hub = hub(&GUESTS).await;
    hub.access.tokens = None;
    let token = token("ada", &[]);
    assert_eq!(hub.by_query(&format!("token={token}")).unwrap_err(), TokenError::NotAccepted.into());
}

#[actix_web::test]
async fn guests_make_what_is_missing_and_it_is_public() {
    let hub = hub(&GUESTS).await;
    let guest = hub.by_query("name=Ada").unwrap();
    for need in [Need::Read, Need::Send] {
        assert_eq!(hub.may(&guest, "p/r", need).await, Err("not_found"), "only a join makes");
    }
    assert_eq!(hub.may(&guest, "p/r", Need::Join).await, Ok(Role::Editor));
    assert_eq!(hub.may(&guest, "p/r", Need::Send).await, Ok(Role::Editor));
    assert_eq!(hub.may(&guest, "p/r", Need::Manage).await, Err("forbidden"));
    let made = hub.store.project(&"p".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(made.visibility, Visibility::Public);
    let anonymous = Identity::anonymous();
    assert_eq!(hub.may(&anonymous, "p/r", Need::Read).await, Ok(Role::Viewer));
    assert_eq!(hub.may(&anonymous, "p/r", Need::Send).await, Err("forbidden"));
    assert_eq!(hub.may(&anonymous, "p/new", Need::Join).await, Err("not_found"));
}

#[actix_web::test]
async fn a_private_project_looks_like_none_to_strangers() {
    let hub = hub(&NO_GUESTS).await;
    hub.project("hidden", Visibility::Private, &[("ada", Role::Viewer)]).await;
    let stranger = hub.by_token("bob", &[]);
    for need in [Need::Read, Need::Join, Need::Send, Need::Manage] {
        for room in ["hidden/r", "hidden/none", "missing/r"] {
            assert_eq!(hub.may(&stranger, room, need).await, Err("not_found"), "{room} {need:?}");
        }
    }
    let viewer = hub.by_token("ada", &[]);
    assert_eq!(hub.may(&viewer, "hidden/r", Need::Join).await, Ok(Role::Viewer));
    assert_eq!(hub.may(&viewer, "hidden/r", Need::Send).await, Err("forbidden"));
    assert_eq!(hub.may(&viewer, "hidden/none", Need::Join).await, Err("not_found"), "viewers make no rooms");
}

#[actix_web::test]
async fn the_higher_of_claim_and_membership_counts_and_decides_downwards_too() {
    let hub = hub(&GUESTS).await;
    let members = [("viewer", Role::Viewer), ("owner", Role::Owner)];
    for (project, visibility) in [("public", Visibility::Public), ("private", Visibility::Private)] {
        hub.project(project, visibility, &members).await;
        let room = format!("{project}/r");
        for (user, claimed, expected) in [
            ("viewer", None, Some(Role::Viewer)),
            ("viewer", Some(Role::Editor), Some(Role::Editor)),
            ("owner", Some(Role::Viewer), Some(Role::Owner)),
            ("other", Some(Role::Viewer), Some(Role::Viewer)),
            ("other", Some(Role::Owner), Some(Role::Owner)),
            ("other", None, (visibility == Visibility::Public).then_some(Role::Editor)),
        ] {
            let claims: Vec<_> = claimed.iter().map(|role| (project, *role)).collect();
            let role = hub.may(&hub.by_token(user, &claims), &room, Need::Join).await;
            assert_eq!(role.ok(), expected, "{user} claiming {claimed:?} in {project}");
        }
    }
}

#[actix_web::test]
async fn a_stored_role_does_not_count_for_a_guest() {
    let hub = hub(&GUESTS).await;
    let guest = hub.by_query("name=Ada").unwrap();
    hub.project("private", Visibility::Private, &[(guest.user.user_id.as_str(), Role::Owner)]).await;
    assert_eq!(hub.may(&guest, "private/r", Need::Read).await, Err("not_found"));
}

#[actix_web::test]
async fn without_guests_a_claim_makes_the_project_and_it_is_private() {
    let hub = hub(&NO_GUESTS).await;
    assert_eq!(hub.may(&hub.by_token("ada", &[("p", Role::Viewer)]), "p/r", Need::Join).await, Err("not_found"));
    assert_eq!(hub.may(&hub.by_token("ada", &[("q", Role::Owner)]), "p/r", Need::Join).await, Err("not_found"));
    assert!(hub.store.project(&"p".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(hub.may(&hub.by_token("ada", &[("p", Role::Editor)]), "p/r", Need::Join).await, Ok(Role::Editor));
    let made = hub.store.project(&"p".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(made.visibility, Visibility::Private);
    assert_eq!(hub.may(&hub.by_token("bob", &[]), "p/r", Need::Join).await, Err("not_found"));
}

#[actix_web::test]
async fn a_closed_store_is_unavailable() {
    let hub = hub(&GUESTS).await;
    hub.store.close().await;
    assert_eq!(hub.may(&hub.by_query("name=Ada").unwrap(), "p/r", Need::Join).await, Err("unavailable"));
}

#[actix_web::test]
async fn origin_and_address_are_read_from_the_request() {
    let hub =
        hub(&["--allow-guests", "true", "--trusted-proxies", "10.0.0.1", "--allowed-origins", "https://app.example"])
            .await;
    let request = |origin: &'static str| {
        TestRequest::get()
            .insert_header(("Origin", origin))
            .insert_header(("Host", "hub.example:8080"))
            .insert_header(("X-Forwarded-For", "198.51.100.7"))
            .peer_addr("10.0.0.1:5000".parse().unwrap())
            .to_http_request()
    };
    assert!(hub.access.check_origin(&request("http://hub.example:8080")).is_ok());
    assert!(hub.access.check_origin(&request("https://app.example")).is_ok());
    assert!(hub.access.check_origin(&request("https://evil.example")).is_err());
    assert_eq!(hub.access.client_ip(&request("null")).to_string(), "198.51.100.7");
}
