//! Projects: who makes, sees and changes them.

use serde_json::json;

use super::support::{hub, hub_with, token};
use crate::store::Role;

#[actix_web::test]
async fn a_token_makes_a_project_of_its_own() {
    let hub = hub().await;
    let (ada, bob) = (token("ada", &[]), token("bob", &[]));
    let made = hub.ask("POST", "/api/projects").by(&ada).body(r#"{"id":"p","name":" Plan "}"#).send().await;
    let item = made.assert_ok(201);
    assert_eq!(made.header("location"), "/api/projects/p");
    assert_eq!(item["created_at"].as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
    let expected = json!({"id": "p", "name": "Plan", "visibility": "private", "role": "owner",
        "created_at": item["created_at"]});
    assert_eq!(item, expected);
    assert_eq!(hub.ask("GET", "/api/projects/p").by(&ada).send().await.assert_ok(200), expected);
    hub.ask("POST", "/api/projects").by(&bob).body(r#"{"id":"p"}"#).send().await.assert_problem(409, "exists");

    hub.ask("GET", "/api/projects/p").by(&bob).send().await.assert_problem(404, "not_found");
    hub.ask("PATCH", "/api/projects/p").by(&bob).body("{}").send().await.assert_problem(404, "not_found");
    hub.ask("DELETE", "/api/projects/p").by(&bob).send().await.assert_problem(404, "not_found");
    assert_eq!(hub.ask("GET", "/api/projects").by(&bob).send().await.assert_ok(200)["items"], json!([]));

    let change = hub.ask("PATCH", "/api/projects/p").by(&ada).body(r#"{"visibility":"public"}"#).send().await;
    let changed = change.assert_ok(200);
    assert_eq!(
        (&changed["visibility"], &changed["name"], &changed["role"]),
        (&json!("public"), &json!("Plan"), &json!("owner"))
    );
    assert_eq!(hub.ask("GET", "/api/projects/p").by(&bob).send().await.assert_ok(200)["role"], "editor");
    hub.ask("PATCH", "/api/projects/p").by(&bob).body("{}").send().await.assert_problem(403, "forbidden");
    assert_eq!(hub.ask("DELETE", "/api/projects/p").by(&ada).send().await.status.as_u16(), 204);
    hub.ask("GET", "/api/projects/p").by(&ada).send().await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn guests_make_public_ones_that_nobody_owns() {
    let hub = hub().await;
    hub.ask("POST", "/api/projects").body(r#"{"id":"p"}"#).send().await.assert_problem(401, "`name`");
    let post = |body: &str| hub.ask("POST", "/api/projects?name=Ada").body(body).send();
    post(r#"{"id":"p","visibility":"private"}"#).await.assert_problem(403, "guest");
    let made = post(r#"{"id":"p"}"#).await.assert_ok(201);
    assert_eq!((&made["visibility"], &made["role"]), (&json!("public"), &json!("editor")));
    hub.ask("DELETE", "/api/projects/p?name=Ada").send().await.assert_problem(403, "forbidden");
    let list = hub.get("/api/projects").await.assert_ok(200);
    assert_eq!((&list["items"][0]["role"], &list["next"]), (&json!("viewer"), &json!(null)));
}

#[actix_web::test]
async fn a_claim_for_the_new_project_decides() {
    let hub = hub_with(&["--allow-guests", "false"]).await;
    for (project, claim, status) in [("a", Role::Viewer, 403), ("b", Role::Editor, 201), ("c", Role::Owner, 201)] {
        let ada = token("ada", &[(project, claim)]);
        let made = hub.ask("POST", "/api/projects").by(&ada).body(format!(r#"{{"id":"{project}"}}"#)).send().await;
        assert_eq!(made.status.as_u16(), status, "{project}");
        if status == 201 {
            assert_eq!(made.json()["role"], json!(claim));
        }
    }
    let without_claims = hub.ask("GET", "/api/projects").by(&token("ada", &[])).send().await.assert_ok(200);
    assert_eq!(without_claims["items"].as_array().unwrap().len(), 1, "only the one whose owner was stored");
    assert_eq!(without_claims["items"][0]["id"], "c");
}

#[actix_web::test]
async fn lists_come_in_pages() {
    let hub = hub().await;
    for id in ["c", "a", "e", "b", "d"] {
        hub.ask("POST", "/api/projects?name=Ada").body(format!(r#"{{"id":"{id}"}}"#)).send().await.assert_ok(201);
    }
    let (mut seen, mut uri) = (Vec::new(), "/api/projects?limit=2".to_owned());
    loop {
        let page = hub.get(&uri).await.assert_ok(200);
        let ids = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        uri = format!("/api/projects?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}
