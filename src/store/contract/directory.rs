//! What projects, members, rooms and read markers promise.

use futures_util::future::join_all;

use super::{Ground, a_message, a_project, a_room, user};
use crate::{
    ids::{ProjectId, RoomId, Seq, UserId},
    store::{Project, ProjectFilter, ProjectMember, Role, RoomRow, StoreError, Visibility},
};

fn project_id(id: &str) -> ProjectId {
    id.parse().unwrap()
}

pub(in crate::store) async fn a_project_is_made_once_and_changed(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let (p, q) = (a_project("p"), Project { visibility: Visibility::Private, ..a_project("q") });
    assert_eq!(store.project(&p.id).await.unwrap(), None);
    assert!(store.create_project(&p, None).await.unwrap());
    assert!(store.create_project(&q, Some(&user("ada"))).await.unwrap());
    assert_eq!(other.project(&p.id).await.unwrap(), Some(p.clone()));
    assert_eq!(other.project(&q.id).await.unwrap(), Some(q.clone()));

    // An id that is taken changes nothing, not even the owner.
    let taken = Project { name: "Mine".into(), ..p.clone() };
    assert!(!other.create_project(&taken, Some(&user("eve"))).await.unwrap());
    assert_eq!(store.project(&p.id).await.unwrap(), Some(p.clone()));
    assert_eq!(store.role(&p.id, &user("eve")).await.unwrap(), None);
    assert_eq!(store.role(&q.id, &user("ada")).await.unwrap(), Some(Role::Owner));

    let renamed = Project { name: "New".into(), ..p.clone() };
    assert_eq!(store.update_project(&p.id, Some("New"), None).await.unwrap(), Some(renamed.clone()));
    let hidden = Project { visibility: Visibility::Private, ..renamed };
    assert_eq!(store.update_project(&p.id, None, Some(Visibility::Private)).await.unwrap(), Some(hidden.clone()));
    assert_eq!(store.update_project(&p.id, None, None).await.unwrap(), Some(hidden.clone()));
    assert_eq!(store.update_project(&project_id("none"), Some("x"), None).await.unwrap(), None);
    assert_eq!(other.project(&p.id).await.unwrap(), Some(hidden));
    assert_eq!(other.project(&q.id).await.unwrap(), Some(q));
}

pub(in crate::store) async fn projects_are_listed_for_those_who_may_see_them(ground: &dyn Ground) {
    let store = ground.store().await;
    for id in ["pub-a", "pub-b", "pub-c"] {
        store.create_project(&a_project(id), None).await.unwrap();
    }
    for (id, owner) in [("ada-1", "ada"), ("ada-2", "ada"), ("bob-1", "bob"), ("zed", "bob")] {
        let project = Project { visibility: Visibility::Private, ..a_project(id) };
        store.create_project(&project, Some(&user(owner))).await.unwrap();
    }
    store.put_member(&project_id("pub-b"), &user("ada"), Role::Viewer).await.unwrap();

    let list = async |member: Option<&str>, named: &[&str], public: bool, after: Option<&str>, limit: u32| {
        let named = named.iter().copied().map(project_id).collect();
        let filter = ProjectFilter { member: member.map(user), named, public };
        let found = store.projects(&filter, after.map(project_id).as_ref(), limit).await.unwrap();
        found.into_iter().map(|project| project.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert!(list(None, &[], false, None, 10).await.is_empty());
    assert_eq!(list(Some("ada"), &[], false, None, 10).await, ["ada-1", "ada-2", "pub-b"]);
    assert_eq!(list(Some("nobody"), &["zed", "missing"], false, None, 10).await, ["zed"]);
    assert_eq!(list(None, &[], true, None, 10).await, ["pub-a", "pub-b", "pub-c"]);
    let all = ["ada-1", "ada-2", "pub-a", "pub-b", "pub-c", "zed"];
    assert_eq!(list(Some("ada"), &["zed"], true, None, 10).await, all);
    // In pages, of every size.
    for limit in 1..=all.len() {
        let mut paged = Vec::new();
        loop {
            let page = list(Some("ada"), &["zed"], true, paged.last().map(String::as_str), limit as u32).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}

pub(in crate::store) async fn members_have_roles(ground: &dyn Ground) {
    let store = ground.store().await;
    let (p, q) = (project_id("p"), project_id("q"));
    assert!(!store.put_member(&p, &user("ada"), Role::Owner).await.unwrap());
    assert!(store.create_project(&a_project("p"), Some(&user("ada"))).await.unwrap());
    assert!(store.create_project(&a_project("q"), Some(&user("ada"))).await.unwrap());

    for role in [Role::Viewer, Role::Owner, Role::Editor] {
        assert!(store.put_member(&p, &user("bob"), role).await.unwrap());
        assert_eq!(store.role(&p, &user("bob")).await.unwrap(), Some(role));
    }
    assert_eq!(store.role(&q, &user("bob")).await.unwrap(), None);

    // Ordered byte by byte, upper case first.
    for id in ["Zed", "Ärger", "carl"] {
        assert!(store.put_member(&p, &user(id), Role::Viewer).await.unwrap());
    }
    let members = store.members(&p, None, 10).await.unwrap();
    let ids: Vec<_> = members.iter().map(|member| member.user_id.as_str()).collect();
    assert_eq!(ids, ["Zed", "ada", "bob", "carl", "Ärger"]);
    assert_eq!(members[2], ProjectMember { user_id: user("bob"), role: Role::Editor });
    let page = store.members(&p, Some(&user("ada")), 2).await.unwrap();
    assert_eq!(page, members[2..4]);

    assert!(store.remove_member(&p, &user("bob")).await.unwrap());
    assert!(!store.remove_member(&p, &user("bob")).await.unwrap());
    assert_eq!(store.role(&p, &user("bob")).await.unwrap(), None);

    let roles = async |user_id: &str, projects: &[&str]| {
        let projects: Vec<_> = projects.iter().copied().map(project_id).collect();
        store.roles(&user(user_id), &projects).await.unwrap()
    };
    for id in ["roles-a", "roles-b", "roles-c"] {
        store.create_project(&a_project(id), None).await.unwrap();
    }
    store.put_member(&project_id("roles-a"), &user("rita"), Role::Viewer).await.unwrap();
    store.put_member(&project_id("roles-c"), &user("rita"), Role::Owner).await.unwrap();
    let expected = [Some(Role::Owner), None, Some(Role::Viewer), None];
    assert_eq!(roles("rita", &["roles-c", "roles-b", "roles-a", "missing"]).await, expected);
    assert_eq!(roles("nobody", &["roles-a"]).await, [None]);
    assert_eq!(roles("rita", &[]).await, []);
}

pub(in crate::store) async fn a_room_is_made_once_by_whoever_comes_first(ground: &dyn Ground) {
    let stores = [ground.store().await, ground.store().await];
    let id: RoomId = "p/r".parse().unwrap();
    assert_eq!(stores[0].ensure_room(&id).await.unwrap(), None);
    assert_eq!(stores[0].room(&id, None).await.unwrap(), None);
    stores[0].create_project(&a_project("p"), None).await.unwrap();

    let makers = (0..8).map(|maker| {
        let (store, id) = (stores[maker % 2].clone(), id.clone());
        tokio::spawn(async move { store.ensure_room(&id).await.unwrap().unwrap() })
    });
    let keys: Vec<_> = join_all(makers).await.into_iter().map(Result::unwrap).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(stores[1].room(&id, None).await.unwrap().unwrap().key, keys[0]);
}

pub(in crate::store) async fn rooms_are_listed_with_heads_and_markers(ground: &dyn Ground) {
    let store = ground.store().await;
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        keys.push(a_room(&*store, &format!("p/{name}")).await);
    }
    a_room(&*store, "q/elsewhere").await;
    let [a, b, _] = keys[..] else { panic!("three rooms") };
    store.append(&[a, a, b].map(a_message)).await.unwrap();
    store.mark_read(&[(a, user("ada"), 1), (b, user("bob"), 1)]).await.unwrap();

    let rooms = store.rooms(&project_id("p"), Some(&user("ada")), None, 10).await.unwrap();
    let seen = |room: &RoomRow| (room.id.as_str().to_owned(), room.key, room.last_seq, room.read_seq);
    let expected = [("p/a".into(), keys[0], 2, 1), ("p/b".into(), keys[1], 1, 0), ("p/c".into(), keys[2], 0, 0)];
    assert_eq!(rooms.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!(store.rooms(&project_id("p"), Some(&user("ada")), Some("a"), 1).await.unwrap(), rooms[1..2]);
    assert!(store.rooms(&project_id("p"), None, None, 10).await.unwrap().iter().all(|room| room.read_seq == 0));
    assert!(store.rooms(&project_id("none"), None, None, 10).await.unwrap().is_empty());
    for room in &rooms {
        assert_eq!(store.room(&room.id, Some(&user("ada"))).await.unwrap().as_ref(), Some(room));
    }
    assert_eq!(store.room(&"p/none".parse().unwrap(), None).await.unwrap(), None);
}

pub(in crate::store) async fn read_markers_only_move_forward(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let (a, b) = (a_room(&*store, "p/a").await, a_room(&*store, "p/b").await);
    let read = async |room: &str, reader: &str| {
        let row = store.room(&room.parse().unwrap(), Some(&user(reader))).await.unwrap();
        row.unwrap().read_seq
    };
    store.mark_read(&[]).await.unwrap();
    // The furthest of a batch counts, whatever its order.
    let marks: Vec<(_, UserId, Seq)> =
        vec![(a, user("ada"), 3), (a, user("ada"), 5), (a, user("ada"), 4), (b, user("bob"), 1)];
    store.mark_read(&marks).await.unwrap();
    assert_eq!((read("p/a", "ada").await, read("p/b", "bob").await, read("p/b", "ada").await), (5, 1, 0));

    other.mark_read(&[(a, user("ada"), 2), (b, user("bob"), 7)]).await.unwrap();
    assert_eq!((read("p/a", "ada").await, read("p/b", "bob").await), (5, 7));

    // A room that is gone holds up nobody's marker, and a user id is not a piece of the statement.
    let odd = "x\"],[1,'\\u{9}";
    let odd: String = odd.chars().filter(|c| !c.is_control()).collect();
    store.mark_read(&[(crate::store::RoomKey(i64::MAX), user("ada"), 9), (a, user(&odd), 8)]).await.unwrap();
    assert_eq!(read("p/a", &odd).await, 8);
}

pub(in crate::store) async fn a_deleted_project_takes_everything_with_it(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let p = project_id("p");
    assert!(!store.delete_project(&p).await.unwrap());
    let (gone, kept) = (a_room(&*store, "p/r").await, a_room(&*store, "q/r").await);
    let empty = a_room(&*store, "p/empty").await;
    store.put_member(&p, &user("ada"), Role::Owner).await.unwrap();
    let repeated = a_message(gone);
    for _ in 0..10 {
        let batch: Vec<_> = (0..120).flat_map(|_| [gone, kept]).map(a_message).collect();
        store.append(&batch).await.unwrap();
    }
    store.append(std::slice::from_ref(&repeated)).await.unwrap();
    store.mark_read(&[(gone, user("ada"), 7), (kept, user("ada"), 7)]).await.unwrap();

    assert!(other.delete_project(&p).await.unwrap());
    assert!(!store.delete_project(&p).await.unwrap());
    assert_eq!(store.project(&p).await.unwrap(), None);
    assert_eq!(store.role(&p, &user("ada")).await.unwrap(), None);
    assert_eq!(store.room(&"p/r".parse().unwrap(), None).await.unwrap(), None);
    assert_eq!(store.head(gone).await.unwrap(), 0);
    assert!(store.messages_after(gone, 0, 10).await.unwrap().is_empty());
    // The other project stays as it was.
    assert_eq!(store.head(kept).await.unwrap(), 1200);
    let row = store.room(&"q/r".parse().unwrap(), Some(&user("ada"))).await.unwrap().unwrap();
    assert_eq!((row.last_seq, row.read_seq), (1200, 7));

    // Made again, it is another one: whoever kept the old key cannot write into it.
    let again = a_room(&*store, "p/r").await;
    assert!(![gone, kept, empty].contains(&again));
    let places = store.append(&[repeated.clone(), a_message(again)]).await.unwrap();
    assert!(places[0].is_none());
    assert_eq!(places[1].map(|place| place.seq), Some(1));
    assert_eq!(store.append(&[repeated]).await.unwrap(), [None]);
    let row = store.room(&"p/r".parse().unwrap(), Some(&user("ada"))).await.unwrap().unwrap();
    assert_eq!((row.last_seq, row.read_seq), (1, 0));
    assert!(store.members(&p, None, 10).await.unwrap().is_empty());
}

pub(in crate::store) async fn a_closed_store_is_unavailable(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let room = a_room(&*store, "p/r").await;
    store.ping().await.unwrap();
    store.close().await;
    store.close().await;
    let is_unavailable = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(store.ping().await.is_err_and(is_unavailable));
    assert!(store.append(&[a_message(room)]).await.is_err_and(is_unavailable));
    assert!(store.head(room).await.is_err_and(is_unavailable));
    other.append(&[a_message(room)]).await.unwrap();
}
