//! What the log of changes promises, and what validates what is cached.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Ground, a_message, a_project, a_room, user};
use crate::{
    clock::Duration,
    ids::{InstanceId, RoomId},
    store::{Change, ChangeNo, ProjectExtent, Reader, Role, RoomHead, Store, Visibility},
};

async fn changes(store: &dyn Store, after: ChangeNo) -> Vec<Change> {
    store.changes_after(after).await.unwrap().entries.into_iter().map(|(_, change)| change).collect()
}

async fn last(store: &dyn Store) -> ChangeNo {
    store.changes_after(0).await.unwrap().last
}

pub(in crate::store) async fn what_changed_is_logged_in_order_and_seen_by_all(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let (p, q) = (a_project("p"), a_project("q"));
    let hidden = crate::store::Project { visibility: Visibility::Private, ..q.clone() };
    let (of_p, of_q) = (Change::Project(p.id.clone()), Change::Project(q.id.clone()));
    let ada = |project: &crate::store::Project| Change::Member(project.id.clone(), user("ada"));
    assert_eq!(last(&*store).await, 0);

    store.create_project(&p, None).await.unwrap();
    assert_eq!(changes(&*other, 0).await, [of_p.clone(), Change::Listing]);
    other.create_project(&hidden, Some(&user("ada"))).await.unwrap();
    let mut made = changes(&*store, 2).await;
    made.sort_by_key(|change| matches!(change, Change::Member(..)));
    assert_eq!(made, [of_q.clone(), ada(&q)], "a private project is in no public list");

    // In order, numbered without holes, from wherever one asks.
    store.update_project(&p.id, Some("New"), None).await.unwrap();
    store.update_project(&q.id, None, Some(Visibility::Public)).await.unwrap();
    other.put_member(&p.id, &user("ada"), Role::Viewer).await.unwrap();
    other.put_member(&p.id, &user("ada"), Role::Editor).await.unwrap();
    other.remove_member(&p.id, &user("ada")).await.unwrap();
    store.change_everything().await.unwrap();
    let expected = [of_p, of_q, Change::Listing, ada(&p), ada(&p), ada(&p), Change::Everything];
    assert_eq!(changes(&*store, 4).await, expected);
    assert_eq!(changes(&*other, 9).await, expected[5..]);
    let all = other.changes_after(0).await.unwrap();
    assert_eq!(all.entries.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    assert_eq!((all.last, all.log), (11, store.changes_after(11).await.unwrap().log));
    assert!(changes(&*store, 11).await.is_empty() && changes(&*store, 99).await.is_empty());

    // What changed nothing is no change, and neither is a message or a room.
    store.create_project(&p, None).await.unwrap();
    store.remove_member(&p.id, &user("bob")).await.unwrap();
    let room = a_room(&*store, "p/r").await;
    store.append(&[a_message(room)]).await.unwrap();
    store.mark_read(&[(room, user("ada"), 1)]).await.unwrap();
    assert_eq!(last(&*store).await, 11);
}

pub(in crate::store) async fn a_deleted_project_is_one_change(ground: &dyn Ground) {
    let store = ground.store().await;
    let p = a_project("p");
    store.create_project(&p, Some(&user("ada"))).await.unwrap();
    for n in 0..20 {
        store.put_member(&p.id, &user(&format!("u{n}")), Role::Viewer).await.unwrap();
    }
    a_room(&*store, "p/r").await;
    let before = last(&*store).await;
    store.delete_project(&p.id).await.unwrap();
    assert_eq!(changes(&*store, before).await, [Change::Project(p.id.clone()), Change::Listing]);
    store.delete_project(&p.id).await.unwrap();
    assert_eq!(last(&*store).await, before + 2);
}

/// A reader that asks again and again, from where it was, misses nothing that writers of two processes commit meanwhile.
pub(in crate::store) async fn racing_changes_are_numbered_without_holes(ground: &dyn Ground) {
    let stores = [ground.store().await, ground.store().await];
    let projects: Vec<_> = (0..4).map(|n| a_project(&format!("p{n}"))).collect();
    for project in &projects {
        stores[0].create_project(project, None).await.unwrap();
    }
    let begin = last(&*stores[0]).await;
    let writers = (0..8usize).map(|writer| {
        let (store, project) = (Arc::clone(&stores[writer % 2]), projects[writer / 2].id.clone());
        tokio::spawn(async move {
            for n in 0..10 {
                if n % 2 == 0 {
                    store.update_project(&project, Some(&format!("{writer} {n}")), None).await.unwrap();
                } else {
                    store.put_member(&project, &user(&format!("u{writer}")), Role::Viewer).await.unwrap();
                }
            }
        })
    });
    let mut writing = Box::pin(join_all(writers));
    let reader = ground.store().await;
    let (mut seen, mut done) = (Vec::new(), false);
    while !done {
        done = futures_util::poll!(&mut writing).is_ready();
        let after = begin + seen.len() as u64;
        let read = reader.changes_after(after).await.unwrap();
        for (index, (number, change)) in read.entries.into_iter().enumerate() {
            assert_eq!(number, after + 1 + index as u64);
            seen.push(change);
        }
        assert_eq!(read.last, begin + seen.len() as u64);
    }
    assert_eq!(seen.len(), 80);
}

pub(in crate::store) async fn readers_of_caches_are_listed_until_their_time_is_over(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let (a, b) = (InstanceId::random(), InstanceId::random());
    let readers = async || {
        let mut readers = other.changes_after(0).await.unwrap().readers;
        readers.sort_by_key(|reader| reader.instance != a);
        readers.into_iter().map(|Reader { instance, ending }| (instance, ending)).collect::<Vec<_>>()
    };
    assert_eq!(readers().await, []);
    store.enter_readers(a).await.unwrap();
    store.enter_readers(b).await.unwrap();
    store.enter_readers(b).await.unwrap();
    assert_eq!(readers().await, [(a, false), (b, false)]);
    store.leave_readers(b).await.unwrap();
    assert_eq!(readers().await, [(a, false)]);

    // Told to stop it is listed for its time, counted from the first time; it may enter again.
    other.end_readers(&[a, b], Duration::from_secs(3600)).await.unwrap();
    other.end_readers(&[a], Duration::ZERO).await.unwrap();
    assert_eq!(readers().await, [(a, true)]);
    store.enter_readers(a).await.unwrap();
    assert_eq!(readers().await, [(a, false)]);
    other.end_readers(&[a], Duration::ZERO).await.unwrap();
    while !readers().await.is_empty() {} // the clock ticks in milliseconds
}

pub(in crate::store) async fn heads_and_extents_grow_with_the_messages(ground: &dyn Ground) {
    let store = ground.store().await;
    let p = a_project("p").id;
    let extent = async || store.project_extent(&p).await.unwrap();
    assert_eq!(extent().await, ProjectExtent { rooms: 0, messages: 0 });
    let (a, b) = (a_room(&*store, "p/a").await, a_room(&*store, "p/b").await);
    assert_eq!(extent().await, ProjectExtent { rooms: 2, messages: 0 });
    store.append(&[a_message(a), a_message(a), a_message(b)]).await.unwrap();
    store.mark_read(&[(a, user("ada"), 1)]).await.unwrap();
    assert_eq!(extent().await, ProjectExtent { rooms: 2, messages: 3 });

    let ada = user("ada");
    let heads = store.room_heads(&p, Some(&ada), None, 10).await.unwrap();
    let (of_a, of_b) = (RoomHead { key: a, last_seq: 2, read_seq: 1 }, RoomHead { key: b, last_seq: 1, read_seq: 0 });
    assert_eq!(heads, [of_a, of_b]);
    assert_eq!(store.room_heads(&p, None, Some("a"), 10).await.unwrap(), [of_b]);
    assert_eq!(store.room_heads(&p, None, None, 1).await.unwrap(), [RoomHead { read_seq: 0, ..of_a }]);
    let rows = store.rooms(&p, Some(&ada), None, 10).await.unwrap();
    let same = rows.iter().map(|row| RoomHead { key: row.key, last_seq: row.last_seq, read_seq: row.read_seq });
    assert_eq!(same.collect::<Vec<_>>(), heads);
    assert_eq!(rows[0].id, "p/a".parse::<RoomId>().unwrap());
}
