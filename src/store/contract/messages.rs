//! What the durable order promises.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::future::join_all;
use proptest::{
    collection::vec,
    test_runner::{Config, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};

use super::{Ground, a_message, a_message_with, a_project, a_room};
use crate::{
    ids::{MessageId, Seq},
    store::{Appended, Author, BATCH_ROWS_MAX, NewMessage, RoomKey, Store, StoreError},
};

/// No implementation has given out this key.
const NO_SUCH_ROOM: RoomKey = RoomKey(i64::MAX);

fn new(seq: Seq) -> Option<Appended> {
    Some(Appended { seq, duplicate: false })
}

fn old(seq: Seq) -> Option<Appended> {
    Some(Appended { seq, duplicate: true })
}

/// Place and id of all messages of the room.
async fn contents(store: &dyn Store, room: RoomKey) -> Vec<(Seq, MessageId)> {
    let messages = store.messages_after(room, 0, u32::MAX).await.unwrap();
    messages.iter().map(|message| (message.seq, message.id)).collect()
}

fn assert_without_holes(contents: &[(Seq, MessageId)]) {
    let seqs: Vec<Seq> = contents.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=contents.len() as Seq).collect::<Vec<_>>());
}

pub(in crate::store) async fn seqs_start_at_one_and_follow_the_batch(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    assert_eq!(store.head(room).await.unwrap(), 0);
    assert_eq!(store.append(&[]).await.unwrap(), []);

    // The order of the batch, not of the ids.
    let mut batch: Vec<_> = (0..5).map(|_| a_message(room)).collect();
    batch.reverse();
    assert_eq!(store.append(&batch).await.unwrap(), (1..=5).map(new).collect::<Vec<_>>());
    assert_eq!(store.append(&[a_message(room)]).await.unwrap(), [new(6)]);
    assert_eq!(store.head(room).await.unwrap(), 6);
    let ids: Vec<_> = contents(&*store, room).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids[..5], batch.iter().map(|message| message.id).collect::<Vec<_>>());
}

pub(in crate::store) async fn rooms_count_by_themselves(ground: &dyn Ground) {
    let store = ground.store().await;
    let (r, s) = (a_room(&*store, "p/r").await, a_room(&*store, "p/s").await);
    let batch = [r, s, r, r, s].map(a_message);
    assert_eq!(store.append(&batch).await.unwrap(), [new(1), new(1), new(2), new(3), new(2)]);
    assert_eq!(store.append(&[s, r].map(a_message)).await.unwrap(), [new(3), new(4)]);
}

pub(in crate::store) async fn a_repeated_id_is_answered_with_its_old_place(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let room = a_room(&*store, "p/r").await;
    let [a, b, c, d] = [room; 4].map(a_message);

    // Inside a batch, in a later one, and on another store; among new ones and alone.
    let batch = [a.clone(), b.clone(), a.clone(), a.clone()];
    assert_eq!(store.append(&batch).await.unwrap(), [new(1), new(2), old(1), old(1)]);
    let batch = [c.clone(), b.clone(), d.clone(), d.clone(), a.clone()];
    assert_eq!(other.append(&batch).await.unwrap(), [new(3), old(2), new(4), old(4), old(1)]);
    for (message, seq) in [(&a, 1), (&b, 2), (&c, 3), (&d, 4)] {
        assert_eq!(store.append(std::slice::from_ref(message)).await.unwrap(), [old(seq)]);
    }
    assert_eq!(store.append(&[d, c, b, a]).await.unwrap(), [old(4), old(3), old(2), old(1)]);
    assert_eq!(store.append(&[a_message(room)]).await.unwrap(), [new(5)]);
    assert_without_holes(&contents(&*store, room).await);
}

pub(in crate::store) async fn the_same_id_in_two_rooms_is_two_messages(ground: &dyn Ground) {
    let store = ground.store().await;
    let (r, s) = (a_room(&*store, "p/r").await, a_room(&*store, "p/s").await);
    let id = MessageId::now_v7();
    assert_eq!(store.append(&[a_message_with(r, id)]).await.unwrap(), [new(1)]);
    let batch = [a_message_with(s, id), a_message_with(r, id)];
    assert_eq!(store.append(&batch).await.unwrap(), [new(1), old(1)]);
}

pub(in crate::store) async fn batches_of_every_size_are_taken(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let mut head = 0;
    for size in [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, BATCH_ROWS_MAX] {
        let batch: Vec<_> = (0..size).map(|_| a_message(room)).collect();
        let expected: Vec<_> = (head + 1..=head + size as Seq).map(new).collect();
        assert_eq!(store.append(&batch).await.unwrap(), expected);
        head += size as Seq;

        // And again, with one new message in the middle.
        let mut again = batch;
        again[size / 2] = a_message(room);
        let mut expected: Vec<_> = expected.into_iter().flatten().map(|place| old(place.seq)).collect();
        head += 1;
        expected[size / 2] = new(head);
        assert_eq!(store.append(&again).await.unwrap(), expected);
    }
    assert_without_holes(&contents(&*store, room).await);
}

pub(in crate::store) async fn a_batch_that_is_too_large_is_refused_whole(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let batch: Vec<_> = (0..=BATCH_ROWS_MAX).map(|_| a_message(room)).collect();
    assert!(matches!(store.append(&batch).await, Err(StoreError::Broken(_))));
    assert_eq!(store.head(room).await.unwrap(), 0);
}

pub(in crate::store) async fn a_room_that_does_not_exist_holds_up_nobody(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let batch = [room, NO_SUCH_ROOM, room].map(a_message);
    assert_eq!(store.append(&batch).await.unwrap(), [new(1), None, new(2)]);
    assert_eq!(store.append(&[a_message(NO_SUCH_ROOM)]).await.unwrap(), [None]);
    assert_eq!(store.head(NO_SUCH_ROOM).await.unwrap(), 0);
    assert_eq!(store.messages_after(NO_SUCH_ROOM, 0, 10).await.unwrap(), []);
}

pub(in crate::store) async fn many_writers_on_two_stores_leave_no_holes(ground: &dyn Ground) {
    const WRITERS: usize = 8;
    const BATCHES: usize = 15;
    let stores = [ground.store().await, ground.store().await];
    let mut rooms = Vec::new();
    for name in ["p/r", "p/s", "p/t"] {
        rooms.push(a_room(&*stores[0], name).await);
    }
    let writers = (0..WRITERS).map(|writer| {
        let (store, rooms) = (stores[writer % 2].clone(), rooms.clone());
        tokio::spawn(async move {
            let mut answered = Vec::new();
            for nth in 0..BATCHES {
                let size = 1 + (writer * 7 + nth * 5) % 20;
                let batch: Vec<_> = (0..size).map(|at| a_message(rooms[(writer + at) % rooms.len()])).collect();
                let places = store.append(&batch).await.unwrap();
                assert_eq!(places.len(), batch.len());
                let mut last = HashMap::new();
                for (message, place) in batch.iter().zip(places) {
                    let place = place.unwrap();
                    assert!(!place.duplicate);
                    // Nobody else's message stands between two of the same batch and room.
                    assert!(last.insert(message.room, place.seq).is_none_or(|seq| place.seq == seq + 1));
                    answered.push((message.room, place.seq, message.id));
                }
            }
            answered
        })
    });
    let answered: HashSet<_> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();

    let mut stored = HashSet::new();
    for room in rooms {
        let contents = contents(&*stores[1], room).await;
        assert_without_holes(&contents);
        stored.extend(contents.into_iter().map(|(seq, id)| (room, seq, id)));
    }
    assert_eq!(stored, answered);
}

pub(in crate::store) async fn racing_writers_of_the_same_ids_agree(ground: &dyn Ground) {
    let stores = [ground.store().await, ground.store().await];
    let room = a_room(&*stores[0], "p/r").await;
    for size in [1, 1, 1, 3, 10, 40] {
        let batch: Vec<_> = (0..size).map(|_| a_message(room)).collect();
        let racers = (0..4).map(|racer| {
            let (store, mut batch) = (stores[racer % 2].clone(), batch.clone());
            batch.rotate_left(racer % size);
            tokio::spawn(async move {
                let places = store.append(&batch).await.unwrap();
                batch.iter().map(|message| message.id).zip(places).collect::<HashMap<_, _>>()
            })
        });
        let answers: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
        for message in &batch {
            let places: Vec<Appended> = answers.iter().map(|answer| answer[&message.id].unwrap()).collect();
            assert!(places.iter().all(|place| place.seq == places[0].seq), "{places:?}");
            assert_eq!(places.iter().filter(|place| !place.duplicate).count(), 1, "{places:?}");
        }
    }
    assert_without_holes(&contents(&*stores[0], room).await);
}

/// Batches of (room, id) on one of two stores, from so few ids that many repeat, against a list for each room.
pub(in crate::store) async fn any_sequence_of_batches_does_what_the_model_says(ground: &dyn Ground) {
    const ROOMS: usize = 3;
    let stores = [ground.store().await, ground.store().await];
    let cases = AtomicUsize::new(0);
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let batches = vec((0..2_usize, vec((0..=ROOMS, 0..12_u128), 0..9)), 1..8);
    let case = |batches: Vec<(usize, Vec<(usize, u128)>)>| async {
        let nth = cases.fetch_add(1, Relaxed);
        let mut keys = Vec::new();
        for room in 0..ROOMS {
            keys.push(a_room(&*stores[0], &format!("case{nth}/r{room}")).await);
        }
        keys.push(NO_SUCH_ROOM);
        let mut model: Vec<Vec<u128>> = vec![Vec::new(); ROOMS];
        for (store, batch) in batches {
            let messages: Vec<NewMessage> =
                batch.iter().map(|(room, id)| a_message_with(keys[*room], MessageId::from_u128(*id))).collect();
            let expected: Vec<_> = batch
                .iter()
                .map(|(room, id)| {
                    let room = model.get_mut(*room)?;
                    if let Some(at) = room.iter().position(|there| there == id) {
                        return old(at as Seq + 1);
                    }
                    room.push(*id);
                    new(room.len() as Seq)
                })
                .collect();
            assert_eq!(stores[store].append(&messages).await.unwrap(), expected);
        }
        for (room, ids) in model.into_iter().enumerate() {
            let expected: Vec<_> = (1..).zip(ids.into_iter().map(MessageId::from_u128)).collect();
            assert_eq!(contents(&*stores[0], keys[room]).await, expected);
        }
    };
    let run = runner.run(&batches, |batches| {
        block_in_place(|| Handle::current().block_on(case(batches)));
        Ok(())
    });
    run.unwrap();
}

pub(in crate::store) async fn ranges_are_read_from_both_ends(ground: &dyn Ground) {
    let store = ground.store().await;
    let (room, other) = (a_room(&*store, "p/r").await, a_room(&*store, "p/s").await);
    let batch: Vec<_> = (0..10).flat_map(|_| [room, other]).map(a_message).collect();
    store.append(&batch).await.unwrap();

    let seqs = |messages: Vec<crate::store::StoredMessage>| messages.iter().map(|m| m.seq).collect::<Vec<_>>();
    for (after, limit, expected) in
        [(0, 3, vec![1, 2, 3]), (7, 100, vec![8, 9, 10]), (10, 5, vec![]), (Seq::MAX, 5, vec![]), (0, 0, vec![])]
    {
        assert_eq!(seqs(store.messages_after(room, after, limit).await.unwrap()), expected, "after {after}");
    }
    for (before, limit, expected) in [
        (None, 3, vec![10, 9, 8]),
        (Some(3), 100, vec![2, 1]),
        (Some(1), 5, vec![]),
        (Some(0), 5, vec![]),
        (Some(Seq::MAX), 1, vec![10]),
        (None, 0, vec![]),
    ] {
        assert_eq!(seqs(store.messages_before(room, before, limit).await.unwrap()), expected, "before {before:?}");
    }
}

pub(in crate::store) async fn messages_come_back_as_they_were_written(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let bodies =
        ["null".to_owned(), r#""\u0000 ' -- ; \" ?1 💬""#.to_owned(), format!("[\"{}\"]", "ä".repeat(100_000))];
    let batch: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(nth, body)| {
            let connection_id = (nth != 1).then(|| format!("{nth:016x}"));
            let author = Author { user_id: "Zoë 'z'@x".parse().unwrap(), name: String::new(), connection_id };
            NewMessage { author, body, ..a_message_with(room, MessageId::from_u128(nth as u128)) }
        })
        .collect();
    store.append(&batch).await.unwrap();
    let stored = store.messages_after(room, 0, 10).await.unwrap();
    assert_eq!(stored.len(), batch.len());
    for (sent, stored) in batch.iter().zip(stored) {
        assert_eq!((stored.id, stored.author, stored.body), (sent.id, sent.author.clone(), sent.body.clone()));
        assert_eq!(stored.sent_at, sent.sent_at);
    }
}

pub(in crate::store) async fn a_reopened_store_finds_everything(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let first = a_message(room);
    store.append(std::slice::from_ref(&first)).await.unwrap();
    store.close().await;

    let store = ground.store().await;
    assert!(!store.create_project(&a_project("p"), None).await.unwrap());
    assert_eq!(a_room(&*store, "p/r").await, room);
    assert_eq!(store.append(&[first, a_message(room)]).await.unwrap(), [old(1), new(2)]);
}
