//! Two instances: what one has answered a write for, the other never answers from before it.

use reqwest::Method;
use serde_json::json;

use super::{User, comes_from, messages, took, warm};
use crate::support::{
    PostgresServer, RedisServer, TestCluster, cluster::instances, eventually, resp::Reply, tokens::SECRET,
};

async fn cluster() -> TestCluster {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET)]).await;
    warm(&cluster.a).await;
    warm(&cluster.b).await;
    cluster
}

#[tokio::test]
async fn a_change_is_seen_on_the_other_instance_at_once() {
    let cluster = cluster().await;
    changes_are_seen([User::of(&cluster.a, "ada"), User::of(&cluster.b, "ada")]).await;
}

#[tokio::test]
async fn a_change_is_seen_at_once_on_postgresql_too() {
    let redis = RedisServer::start().await;
    let server = PostgresServer::shared();
    let (url, database) = (redis.url(), server.url(&server.database().await));
    let settings = [("REDIS_URL", url.as_str()), ("DATABASE_URL", &database), ("JWT_SECRET", SECRET)];
    let [a, b] = instances(&settings).await;
    warm(&a).await;
    warm(&b).await;
    changes_are_seen([User::of(&a, "ada"), User::of(&b, "ada")]).await;
}

async fn changes_are_seen(ada: [User; 2]) {
    ada[0].make("p").await;
    ada[0].make("q").await;
    let names = async |user: &User| {
        let list = user.get("/api/projects").await.json();
        list["items"].as_array().expect("items").iter().map(|item| item["name"].clone()).collect::<Vec<_>>()
    };
    let mut slowest = std::time::Duration::ZERO;
    for n in 0..50 {
        let (writer, reader) = (&ada[n % 2], &ada[1 - n % 2]);
        let name = format!("name {n}");
        let ((), time) = took(writer.rename("p", &name)).await;
        slowest = slowest.max(time);
        assert_eq!((reader.name("p").await, writer.name("p").await), (name.clone(), name.clone()));
        assert_eq!(names(reader).await, [json!(name), json!("first")]);
        assert_eq!(names(writer).await, [json!(name), json!("first")]);
    }
    assert!(slowest < std::time::Duration::from_secs(1), "a write took {slowest:?}");
    for user in &ada {
        comes_from("l1", user, "/api/projects/p").await;
        comes_from("l1", user, "/api/projects").await;
    }

    // Roles and visibility: who may, and who does not any more.
    let bob = |at: usize| User { http: ada[at].http.clone(), token: crate::support::tokens::token("bob", json!({})) };
    let bobs = [bob(0), bob(1)];
    let member = "/api/projects/p/members/bob";
    for n in 0..10 {
        let (writer, reader) = (&ada[n % 2], &bobs[1 - n % 2]);
        let put = async |role: &str| {
            assert_eq!(writer.ask(Method::PUT, member, Some(json!({"role": role}))).await.status, 200);
        };
        let hide = async |visibility: &str| {
            let body = json!({"visibility": visibility});
            assert_eq!(writer.ask(Method::PATCH, "/api/projects/p", Some(body)).await.status, 200);
        };
        let role = async || reader.get("/api/projects/p").await.json()["role"].clone();
        assert_eq!(role().await, "editor");
        put("viewer").await;
        assert_eq!(role().await, "viewer");
        hide("private").await;
        assert_eq!(names(reader).await.len(), 2);
        assert_eq!(writer.ask(Method::DELETE, member, None).await.status, 204);
        reader.get("/api/projects/p").await.problem(404, "not_found");
        assert_eq!(names(reader).await, [json!("first")]);
        hide("public").await;
        assert_eq!(names(reader).await.len(), 2);
    }

    // A profile, which nobody has until it is written.
    for n in 0..10 {
        let (writer, reader) = (&ada[n % 2], &ada[1 - n % 2]);
        let seen = async |user: &User| user.get("/api/users/ada").await.json()["name"].clone();
        seen(reader).await;
        let name = format!("Ada {n}");
        let changed = writer.ask(Method::PATCH, "/api/users/ada", Some(json!({"name": name}))).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!((seen(reader).await, seen(writer).await), (json!(name), json!(name)));
        comes_from("l1", reader, "/api/users/ada").await;
    }

    // All below a project goes with it.
    super::make_rooms(&ada[0], "p", &["r"]).await;
    ada[0].say("p/r", "hello").await;
    let paths = ["/api/projects/p".to_owned(), "/api/projects/p/rooms".into(), messages("p/r")];
    for user in ada.iter().chain(&bobs) {
        for path in &paths {
            comes_from("l1", user, path).await;
        }
    }
    assert_eq!(ada[1].ask(Method::DELETE, "/api/projects/p", None).await.status, 204);
    for user in ada.iter().chain(&bobs) {
        for path in &paths {
            user.get(path).await.problem(404, "not_found");
        }
        assert_eq!(names(user).await, [json!("first")]);
    }
}

/// The subscription of each instance is cut again and again while the other writes: what the bus lost in between is seen.
#[tokio::test]
async fn a_bus_that_breaks_all_the_time_hides_no_change() {
    let cluster = cluster().await;
    let ada = [User::of(&cluster.a, "ada"), User::of(&cluster.b, "ada")];
    ada[0].make("p").await;
    for n in 0..20 {
        let (writer, reader) = (&ada[n % 2], &ada[1 - n % 2]);
        reader.name("p").await;
        cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        let name = format!("name {n}");
        let ((), time) = took(writer.rename("p", &name)).await;
        assert!(time < std::time::Duration::from_millis(2_500), "a write took {time:?}");
        assert_eq!(reader.name("p").await, name);
    }
}

#[tokio::test]
async fn what_one_instance_loaded_the_other_finds_in_redis() {
    let cluster = cluster().await;
    let (ada, there) = (User::of(&cluster.a, "ada"), User::of(&cluster.b, "ada"));
    ada.make("p").await;
    for path in ["/api/projects/p", "/api/projects"] {
        comes_from("l1", &ada, path).await;
    }
    eventually("it is in Redis", async || {
        let there = cluster.redis.command(&["EXISTS", "hubbub:cache:p:project", "hubbub:cache:p:role:ada"]).await;
        (there == Reply::Number(2)).then_some(())
    })
    .await;
    assert_eq!(there.get("/api/projects/p").await.header("x-cache"), "l2");
}
