//! What search promises: the same words are found in every database.

use chrono::TimeDelta;
use futures_util::future::join_all;
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::block_in_place};

use super::{Ground, a_message, a_room};
use crate::store::{NewMessage, RoomKey, Search, SearchHit, SearchPlace, Store};

fn saying(room: RoomKey, body: &Value) -> NewMessage {
    NewMessage { body: body.to_string(), ..a_message(room) }
}

/// Appends messages with these bodies, a millisecond after one another.
async fn append(store: &dyn Store, room: RoomKey, bodies: &[Value]) {
    let mut batch: Vec<_> = bodies.iter().map(|body| saying(room, body)).collect();
    for (message, nth) in batch.iter_mut().zip(0..) {
        message.sent_at += TimeDelta::milliseconds(nth);
    }
    store.append(&batch).await.unwrap();
}

fn search(project: &str, query: &str) -> Search {
    Search {
        project: project.parse().unwrap(),
        room: None,
        query: query.parse().unwrap(),
        before: SearchPlace::END,
        limit: 1000,
    }
}

/// Room and seq of what is found.
async fn found(store: &dyn Store, search: &Search) -> Vec<(String, u64)> {
    let hits = store.search(search).await.unwrap();
    assert!(hits.iter().map(|hit| hit.place).rev().is_sorted_by(|a, b| a < b), "newest first");
    hits.into_iter().map(|hit| (hit.room.as_str().to_owned(), hit.message.seq)).collect()
}

pub(in crate::store) async fn messages_are_found_by_their_words(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let bodies = [
        json!({"text": "The quick brown fox"}),
        json!({"text": "ein Café in der Straße", "color": "#ff0000"}),
        json!(["deep", {"er": ["QUICK", 5, null, "brown"]}]),
        json!("foo-bar, it's x@example.com"),
        json!({"quick": 1, "\u{0}": "nul \u{0} byte"}),
        json!("日本語のテキスト"),
        json!("Ελληνικά Русский العَرَبِيَّة"),
    ];
    append(&*store, room, &bodies).await;
    for (query, expected) in [
        ("quick", vec![3, 1]),
        ("QUICK brown", vec![3, 1]),
        ("brown quick", vec![3, 1]),
        ("qui", vec![3, 1]),
        ("qui ", vec![]),
        ("qu brown", vec![]),
        ("\"quick brown\"", vec![1]),
        ("\"brown quick\"", vec![]),
        ("\"quick brown\" fox", vec![1]),
        ("nothing", vec![]),
        ("quick nothing", vec![]),
        ("cafe", vec![2]),
        ("CAFÉ strasse", vec![2]),
        ("ff0000", vec![2]),
        ("color", vec![]),
        ("5", vec![]),
        ("foo-bar", vec![4]),
        ("bar-foo", vec![]),
        ("it's", vec![4]),
        ("x@example.com", vec![4]),
        ("example", vec![4]),
        ("nul byte", vec![5]),
        ("日本", vec![6]),
        ("本日", vec![]),
        ("テキスト", vec![6]),
        ("ελληνικα", vec![7]),
        ("РУССКИЙ", vec![7]),
        ("العربية", vec![7]),
        // What has a meaning for one of the databases has none here.
        ("NOT quick", vec![]),
        ("quick*", vec![3, 1]),
        ("words:quick", vec![]),
        ("^the", vec![1]),
        ("p/p", vec![]),
        ("r/1", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|seq| ("p/r".to_owned(), seq)).collect();
        assert_eq!(found(&*store, &search("p", query)).await, expected, "{query}");
    }
    let hit: SearchHit = store.search(&search("p", "fox")).await.unwrap().remove(0);
    assert_eq!(hit.message, store.messages_after(room, 0, 1).await.unwrap()[0]);
}

pub(in crate::store) async fn a_search_looks_where_it_is_told_to(ground: &dyn Ground) {
    let store = ground.store().await;
    let (r, s) = (a_room(&*store, "p/r").await, a_room(&*store, "p/s").await);
    let other = a_room(&*store, "q/r").await;
    for room in [r, s, other] {
        append(&*store, room, &[json!("hello")]).await;
    }
    let in_room = |room| Search { room: Some(room), ..search("p", "hello") };
    assert_eq!(found(&*store, &in_room(r)).await, [("p/r".into(), 1)]);
    assert_eq!(found(&*store, &in_room(s)).await, [("p/s".into(), 1)]);
    assert_eq!(found(&*store, &in_room(other)).await, [], "a room of another project");
    assert_eq!(found(&*store, &in_room(RoomKey(i64::MAX))).await, []);
    assert_eq!(found(&*store, &search("p", "hello")).await.len(), 2);
    assert_eq!(found(&*store, &search("q", "hello")).await, [("q/r".into(), 1)]);
    assert_eq!(found(&*store, &search("none", "hello")).await, []);
}

/// Many messages of the same millisecond, in two rooms.
pub(in crate::store) async fn what_is_found_is_paged_without_gaps(ground: &dyn Ground) {
    let store = ground.store().await;
    let rooms = [a_room(&*store, "p/r").await, a_room(&*store, "p/s").await];
    let first = a_message(rooms[0]);
    for step in 0..4 {
        let batch: Vec<_> = (0..40)
            .map(|nth| {
                let sent_at = first.sent_at + TimeDelta::milliseconds(step);
                NewMessage { sent_at, ..saying(rooms[nth % 2], &json!("again and again")) }
            })
            .collect();
        store.append(&batch).await.unwrap();
        if step % 2 == 0 {
            store.update_search_index().await.unwrap();
        }
    }
    let all = found(&*store, &search("p", "again")).await;
    assert_eq!(all.len(), 160);
    for limit in [1, 7, 50, 159, 160] {
        let (mut paged, mut before) = (Vec::new(), SearchPlace::END);
        loop {
            let page = store.search(&Search { before, limit, ..search("p", "again") }).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            before = SearchPlace::of_number(last.place.number());
            paged.extend(page.into_iter().map(|hit| (hit.room.as_str().to_owned(), hit.message.seq)));
        }
        assert_eq!(paged, all, "in pages of {limit}");
    }
    let millis = first.sent_at.timestamp_millis();
    for (before, expected) in [(0, 0), (millis, 0), (millis + 1, 40), (millis + 2, 80), (i64::MAX, 160)] {
        let search = Search { before: SearchPlace::before_time(before), ..search("p", "again") };
        assert_eq!(found(&*store, &search).await.len(), expected);
    }
}

pub(in crate::store) async fn what_was_appended_anywhere_is_found_at_once(ground: &dyn Ground) {
    let stores = [ground.store().await, ground.store().await];
    let rooms = [a_room(&*stores[0], "p/r").await, a_room(&*stores[0], "p/s").await];
    let writers = (0..6).map(|writer| {
        let (store, other) = (stores[writer % 2].clone(), stores[(writer + 1) % 2].clone());
        tokio::spawn(async move {
            for nth in 0..15 {
                let word = format!("word{writer}x{nth}");
                let batch: Vec<_> =
                    rooms.iter().flat_map(|room| [saying(*room, &json!(word)), a_message(*room)]).collect();
                store.append(&batch).await.unwrap();
                if nth % 3 == writer % 3 {
                    store.update_search_index().await.unwrap();
                }
                let searcher = if nth % 2 == 0 { &store } else { &other };
                assert_eq!(found(&**searcher, &search("p", &word)).await.len(), 2, "{word}");
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let all = found(&*stores[0], &search("p", "wor")).await;
    assert_eq!(all.len(), 6 * 15 * 2, "each once");
}

pub(in crate::store) async fn a_large_backlog_is_brought_in(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let room = a_room(&*store, "p/r").await;
    for _ in 0..5 {
        let batch: Vec<_> = (0..200).map(|_| saying(room, &json!("many"))).collect();
        store.append(&batch).await.unwrap();
    }
    // The other store has appended nothing, and does not know yet what is missing.
    other.update_search_index().await.unwrap();
    assert_eq!(found(&*store, &search("p", "many")).await.len(), 1000);
    let long = ["x".repeat(100_000), "ab ".repeat(60_000), format!("{} ", "y".repeat(3_000)).repeat(300)];
    append(&*store, room, &long.map(Value::String)).await;
    assert_eq!(found(&*store, &search("p", "xxxxx")).await.len(), 1);
    assert_eq!(found(&*store, &search("p", &"y".repeat(900))).await.len(), 1);
    assert_eq!(found(&*store, &search("p", "\"ab ab ab\"")).await.len(), 1);
}

pub(in crate::store) async fn what_was_deleted_is_not_found(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let (gone, kept) = (a_room(&*store, "p/r").await, a_room(&*store, "q/r").await);
    for room in [gone, kept] {
        let batch: Vec<_> = (0..200).map(|_| saying(room, &json!("old news"))).collect();
        store.append(&batch).await.unwrap();
    }
    assert_eq!(found(&*store, &search("p", "news")).await.len(), 200);
    assert!(other.delete_project(&"p".parse().unwrap()).await.unwrap());
    assert_eq!(found(&*store, &search("p", "news")).await, []);
    let again = a_room(&*store, "p/r").await;
    append(&*store, again, &[json!("good news")]).await;
    assert_eq!(found(&*store, &search("p", "news")).await, [("p/r".into(), 1)]);
    assert_eq!(found(&*store, &search("q", "news")).await.len(), 200);
}

/// Texts and queries of a few short words, against a look at every word.
pub(in crate::store) async fn any_query_finds_what_the_model_says(ground: &dyn Ground) {
    let store = ground.store().await;
    let room = a_room(&*store, "p/r").await;
    let word = || prop::sample::select(vec!["a", "ab", "abc", "b", "ba", "É", "日", "本"]);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let texts: Vec<Vec<Vec<&str>>> =
        (0..300).map(|_| vec(vec(word(), 0..5), 1..3).new_tree(&mut runner).unwrap().current()).collect();
    let bodies: Vec<_> =
        texts.iter().map(|text| json!(text.iter().map(|string| string.join(" ")).collect::<Vec<_>>())).collect();
    for bodies in bodies.chunks(100) {
        append(&*store, room, bodies).await;
    }
    let queries = (vec((vec(word(), 1..4), any::<bool>()), 1..4), any::<bool>());
    let run = runner.run(&queries, |(phrases, ended)| {
        let said = |(words, quoted): &(Vec<&str>, bool)| {
            if *quoted { format!("\"{}\"", words.join(" ")) } else { words.join("-") }
        };
        let mut query = phrases.iter().map(said).collect::<Vec<_>>().join(" ");
        if ended {
            query.push(' ');
        }
        let open = !query.ends_with(['"', ' ']);
        let holds = |text: &Vec<Vec<&str>>| {
            phrases.iter().enumerate().all(|(nth, (words, _))| {
                let open = open && nth + 1 == phrases.len() && words.last().is_some_and(|last| last.len() > 1);
                let (last, before) = words.split_last().unwrap();
                let fits = |last_there: &str| {
                    // A letter that is a word by itself begins no longer one.
                    if open && last.is_ascii() { last_there.starts_with(last) } else { last_there == *last }
                };
                text.iter().any(|string| {
                    string
                        .windows(words.len())
                        .any(|there| there[..before.len()] == *before && fits(there[before.len()]))
                })
            })
        };
        let expected: Vec<_> =
            (1..).zip(&texts).filter(|(_, text)| holds(text)).map(|(seq, _)| seq).collect::<Vec<u64>>();
        let mut seqs: Vec<u64> = block_in_place(|| Handle::current().block_on(found(&*store, &search("p", &query))))
            .into_iter()
            .map(|(_, seq)| seq)
            .collect();
        seqs.sort_unstable();
        prop_assert_eq!(seqs, expected, "{}", query);
        Ok(())
    });
    run.unwrap();
}
