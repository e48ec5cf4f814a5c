//! Members: shown to members, changed by owners, never without an owner.

use serde_json::json;

use super::support::{hub, token};
use crate::store::Role;

#[actix_web::test]
async fn owners_set_roles_and_members_see_them() {
    let hub = hub().await;
    let (ada, bob, eve) = (token("ada", &[]), token("auth0|bob/1", &[]), token("eve", &[]));
    hub.ask("POST", "/api/projects").by(&ada).body(r#"{"id":"p"}"#).send().await.assert_ok(201);
    let bobs = "/api/projects/p/members/auth0%7Cbob%2F1";
    let put = |who: &str, uri: &str, body: &str| hub.ask("PUT", uri).by(who).body(body).send();

    put(&bob, bobs, r#"{"role":"owner"}"#).await.assert_problem(404, "not_found");
    let set = put(&ada, bobs, r#"{"role":"viewer"}"#).await.assert_ok(200);
    assert_eq!(set, json!({"user_id": "auth0|bob/1", "role": "viewer"}));
    put(&bob, bobs, r#"{"role":"owner"}"#).await.assert_problem(403, "forbidden");
    put(&ada, bobs, r#"{"role":"king"}"#).await.assert_problem(400, "king");
    let guest = "/api/projects/p/members/guest-0190a6b2-7c1e-7000-8000-000000000001";
    put(&ada, guest, r#"{"role":"editor"}"#).await.assert_problem(400, "guest");

    let list = hub.ask("GET", "/api/projects/p/members").by(&bob).send().await.assert_ok(200);
    let expected = json!([{"user_id": "ada", "role": "owner"}, {"user_id": "auth0|bob/1", "role": "viewer"}]);
    assert_eq!(list, json!({"items": expected, "next": null}));
    let page = hub.ask("GET", "/api/projects/p/members?limit=1").by(&bob).send().await.assert_ok(200);
    let rest = format!("/api/projects/p/members?limit=1&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(hub.ask("GET", &rest).by(&bob).send().await.assert_ok(200)["items"][0], expected[1]);
    assert_eq!(hub.ask("GET", bobs).by(&ada).send().await.assert_ok(200)["role"], "viewer");
    hub.ask("GET", "/api/projects/p/members").by(&eve).send().await.assert_problem(404, "not_found");
    hub.ask("GET", "/api/projects/p/members/eve").by(&ada).send().await.assert_problem(404, "no member");

    assert_eq!(hub.ask("DELETE", bobs).by(&bob).send().await.status.as_u16(), 204, "members may leave");
    hub.ask("GET", "/api/projects/p").by(&bob).send().await.assert_problem(404, "not_found");
    hub.ask("DELETE", bobs).by(&ada).send().await.assert_problem(404, "no member");
}

#[actix_web::test]
async fn members_of_a_public_project_are_not_public() {
    let hub = hub().await;
    let ada = token("ada", &[]);
    hub.ask("POST", "/api/projects").by(&ada).body(r#"{"id":"p","visibility":"public"}"#).send().await.assert_ok(201);
    hub.get("/api/projects/p/members?name=Eve").await.assert_problem(403, "members");
    hub.get("/api/projects/p/members").await.assert_problem(403, "members");
    let claiming = token("bob", &[("p", Role::Viewer)]);
    hub.ask("GET", "/api/projects/p/members").by(&claiming).send().await.assert_ok(200);
}

#[actix_web::test]
async fn the_last_owner_stays() {
    let hub = hub().await;
    let ada = token("ada", &[]);
    hub.ask("POST", "/api/projects").by(&ada).body(r#"{"id":"p"}"#).send().await.assert_ok(201);
    let demote = |uri: &'static str, who: &str| hub.ask("PUT", uri).by(who).body(r#"{"role":"editor"}"#).send();
    let adas = "/api/projects/p/members/ada";
    hub.ask("DELETE", adas).by(&ada).send().await.assert_problem(409, "last owner");
    demote(adas, &ada).await.assert_problem(409, "last owner");
    let zoe = "/api/projects/p/members/zoe";
    hub.ask("PUT", zoe).by(&ada).body(r#"{"role":"owner"}"#).send().await.assert_ok(200);
    demote(adas, &ada).await.assert_ok(200);
    demote(zoe, &token("zoe", &[])).await.assert_problem(409, "last owner");
    demote(zoe, &token("app", &[("p", Role::Owner)])).await.assert_ok(200);
}
