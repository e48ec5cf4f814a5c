//! Frames that are too large, broken, or not understood.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    RawClient, TestClient, TestHub, eventually,
    figures::eventually_figures,
    hub::UNHURRIED,
    raw::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, header},
};

const MIB: usize = 1024 * 1024;

/// A frame of so many bytes that is understood.
fn heartbeat_of(bytes: usize) -> String {
    let frame = |padding| format!(r#"{{"type":"heartbeat","padding":"{}"}}"#, "x".repeat(padding));
    frame(bytes - frame(0).len())
}

#[tokio::test]
async fn a_frame_may_be_as_large_as_welcome_says_and_no_larger() {
    let mut hub = TestHub::start().await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    let most = usize::try_from(ada.welcome["max_frame_bytes"].as_u64().expect("a number")).expect("a size");
    assert_eq!(most, 65_536);
    ada.raw(Message::text(heartbeat_of(most)));
    ada.next_of("heartbeat").await;
    ada.raw(Message::text(heartbeat_of(most + 1)));
    assert_eq!(ada.closed_with().await, 1009);
    hub.stop().await;
}

#[tokio::test]
async fn a_terabyte_that_is_announced_is_not_waited_for() {
    let hub = TestHub::start().await;
    let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
    let before = hub.resident_bytes();
    eve.write(&header(FIN | TEXT, 1 << 40)).await;
    let chunk = vec![b'x'; MIB];
    for _ in 0..64 {
        eve.write(&chunk).await;
    }
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "the hub grew by {grown} bytes");
    let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
    eve.write(&header(FIN | TEXT, 1 << 40)).await;
    assert_eq!(eve.closed_with().await, 1009);
    let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
    eve.write(&header(FIN | TEXT, u64::MAX)).await;
    assert_eq!(eve.closed_with().await, 1009, "a length with the highest bit is none, however it is called");
}

/// They come faster than they can be handled: the rest waits with their sender.
#[tokio::test]
async fn a_flood_of_small_frames_is_not_piled_up() {
    let hub = TestHub::start().await;
    let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
    let before = hub.resident_bytes();
    let pong = frame(FIN | PONG, &[b'x'; 100]);
    let flood = pong.repeat(MIB / pong.len());
    let mut most = before;
    for _ in 0..48 {
        eve.write(&flood).await;
        most = most.max(hub.resident_bytes());
    }
    eve.say(r#"{"type":"heartbeat"}"#).await;
    eve.json_of("heartbeat").await;
    let grown = most.saturating_sub(before);
    assert!(grown < 8 * MIB, "the hub grew by {grown} bytes");
}

/// The session ends at once, what was said to its client does not.
#[tokio::test]
async fn who_breaks_the_protocol_and_reads_slowly_is_told_so() {
    let hub = TestHub::start().await;
    let mut eve = RawClient::connect_with_small_buffer(hub.address()).await;
    eve.upgrade("Eve").await;
    let pings = 7_000;
    eve.write(&frame(FIN | PING, &[b'x'; 120]).repeat(pings)).await;
    eve.write(&[FIN | TEXT, 1, b'x']).await; // not masked
    eventually_figures(&hub, "the session has ended", |figures| {
        figures.value(r#"hubbub_connections_closed_total{code="1002"}"#) == 1.0
    })
    .await;
    let ended = Instant::now();
    eventually("a second has passed", async || (ended.elapsed() > Duration::from_secs(1)).then_some(())).await;
    for _ in 0..pings {
        assert_eq!(eve.next_frame().await.expect("a pong").first, FIN | PONG);
    }
    assert_eq!(eve.closed_with().await, 1002);
}

#[tokio::test]
async fn fragments_are_put_together_within_the_limit_of_one_frame() {
    let hub = TestHub::start().await;
    let mut ada = RawClient::upgraded(hub.address(), "Ada").await;
    let text = r#"{"type":"join","ref":1,"room":"p/r","presence":{"name":"Ünï"}}"#.as_bytes();
    let inside_a_character = text.iter().position(|byte| *byte >= 0x80).expect("a letter") + 1;
    ada.write(&frame(TEXT, &text[..inside_a_character])).await;
    ada.write(&frame(FIN | PING, b"between")).await;
    ada.write(&frame(CONTINUATION, b"")).await;
    ada.write(&frame(FIN | CONTINUATION, &text[inside_a_character..])).await;
    let pong = ada.next_frame().await.expect("a pong");
    assert_eq!((pong.first, pong.payload.as_slice()), (FIN | PONG, &b"between"[..]));
    let joined = ada.json_of("joined").await;
    assert_eq!(joined["members"][0]["connections"][0]["state"], json!({"name": "Ünï"}));

    let before = hub.resident_bytes();
    let piece = frame(CONTINUATION, &[b'x'; 16 * 1024]);
    ada.write(&frame(TEXT, b"{")).await;
    for _ in 0..1_000 {
        ada.write(&piece).await;
    }
    assert_eq!(ada.closed_with().await, 1009);
    assert!(hub.resident_bytes().saturating_sub(before) < 8 * MIB);
}

#[tokio::test]
async fn what_breaks_the_websocket_protocol_is_closed_with_its_code() {
    let mut hub = TestHub::start().await;
    let mut unmasked = frame(FIN | TEXT, b"{}");
    unmasked[1] &= 0x7F;
    for (what, bytes, code) in [
        ("text that is not UTF-8", frame(FIN | TEXT, b"{\"type\":\"\xff\"}"), 1007),
        ("half a character", frame(FIN | TEXT, b"\"\xc3"), 1007),
        (
            "fragments that are not UTF-8",
            [frame(TEXT, b"{\"type\":\"\xff"), frame(FIN | CONTINUATION, b"\"}")].concat(),
            1007,
        ),
        ("a frame without a mask", unmasked, 1002),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("a reserved opcode", frame(FIN | 0x3, b"{}"), 1002),
        ("a reserved control opcode", frame(FIN | 0xB, b""), 1002),
        ("a ping of 126 bytes", frame(FIN | PING, &[0; 126]), 1009),
        ("a fragmented ping", frame(PING, b""), 1002),
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"{}"), 1002),
        ("a message within another", [frame(TEXT, b"{"), frame(FIN | TEXT, b"{}")].concat(), 1002),
    ] {
        let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
        eve.write(&bytes).await;
        assert_eq!(eve.closed_with().await, code, "{what}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn odd_closes_are_closes() {
    let mut hub = TestHub::start().await;
    for payload in [&b""[..], b"\x03", b"\x03\xe8", b"\x03\xed", b"\x00\x00", b"\x03\xe8\xff\xfe", &[0x0f; 125]] {
        let mut eve = RawClient::joined(hub.address(), "Eve", "p/r").await;
        eve.write(&frame(FIN | CLOSE, payload)).await;
        eve.write(&frame(FIN | TEXT, br#"{"type":"heartbeat"}"#)).await; // nothing follows a close
        let closed = Instant::now();
        eve.closed_with().await; // and the connection ends soon: before that no browser says that it closed
        assert!(closed.elapsed() < Duration::from_secs(2), "it took {:?}", closed.elapsed());
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_half_closed_connection_ends() {
    let mut hub = TestHub::start().await;
    let mut half = RawClient::joined(hub.address(), "half", "p/r").await;
    half.half_close().await;
    half.rest().await;
    let mut amid = RawClient::joined(hub.address(), "amid", "p/r").await;
    amid.write(&header(FIN | TEXT, 1_000)).await;
    amid.half_close().await;
    amid.rest().await;
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_names_its_fault() {
    let hub = TestHub::with(UNHURRIED).await;
    let id = "0190a6b2-7c1e-7000-8000-000000000001";
    let deep = format!(r#"{{"type":"heartbeat","x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let name = "x".repeat(65);
    let (wide, wider) = ("y".repeat(1_100), "y".repeat(5_000));
    for (text, code, word) in [
        ("", "bad_frame", "object"),
        ("x", "bad_frame", "object"),
        ("[]", "bad_frame", "object"),
        ("null", "bad_frame", "object"),
        ("{", "bad_frame", "JSON"),
        ("{\"type\":\"heartbeat\"} {}", "bad_frame", "JSON"),
        (deep.as_str(), "bad_frame", "nested"),
        (r#"{"room":"p/r"}"#, "bad_frame", "`type`"),
        (r#"{"type":7}"#, "bad_frame", "`type`"),
        (r#"{"type":"dance"}"#, "unknown_type", "dance"),
        (r#"{"type":"heartbeat","ref":"1"}"#, "bad_frame", "`ref`"),
        (r#"{"type":"heartbeat","ref":99999999999999999999}"#, "bad_frame", "`ref`"),
        (r#"{"type":"join"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":["p/r"]}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"p"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"p/"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"p/r/x"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"P/r"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"p/../r"}"#, "bad_frame", "`room`"),
        (r#"{"type":"join","room":"-p/r"}"#, "bad_frame", "`room`"),
        (&format!(r#"{{"type":"join","room":"p/{name}"}}"#), "bad_frame", "`room`"),
        (r#"{"type":"join","room":"p/r","since":-1}"#, "bad_frame", "`since`"),
        (r#"{"type":"join","room":"p/r","since":1e30}"#, "bad_frame", "`since`"),
        (r#"{"type":"join","room":"p/r","history":201}"#, "bad_frame", "`history`"),
        (r#"{"type":"join","room":"p/r","presence":[]}"#, "bad_frame", "`presence`"),
        (&format!(r#"{{"type":"join","room":"p/r","presence":{{"x":"{wider}"}}}}"#), "too_large", "`presence`"),
        (&format!(r#"{{"type":"presence","room":"p/r","state":{{"x":"{wider}"}}}}"#), "too_large", "`state`"),
        (r#"{"type":"presence","room":"p/r"}"#, "bad_frame", "`state`"),
        (r#"{"type":"presence","room":"p/r","state":null}"#, "bad_frame", "`state`"),
        (&format!(r#"{{"type":"cursor","room":"p/r","position":{{"x":"{wide}"}}}}"#), "too_large", "`position`"),
        (r#"{"type":"cursor","room":"p/r","position":5}"#, "bad_frame", "`position`"),
        (r#"{"type":"message","room":"p/r","body":1}"#, "bad_frame", "`id`"),
        (r#"{"type":"message","room":"p/r","id":"1","body":1}"#, "bad_frame", "`id`"),
        (&format!(r#"{{"type":"message","room":"p/r","id":"{id}"}}"#), "bad_frame", "`body`"),
        (&format!(r#"{{"type":"broadcast","room":"p/r","event":"{name}"}}"#), "bad_frame", "`event`"),
        (r#"{"type":"broadcast","room":"p/r","event":""}"#, "bad_frame", "`event`"),
        (r#"{"type":"read","room":"p/r","seq":"1"}"#, "bad_frame", "`seq`"),
        (r#"{"type":"auth"}"#, "bad_frame", "`token`"),
        (r#"{"type":"leave","room":"p/never"}"#, "not_joined", "p/never"),
    ] {
        // A client each: many bad frames in a row end a connection.
        let mut eve = TestClient::connect(&hub, "Eve").await;
        eve.raw(Message::text(text));
        let error = eve.expect_error(code).await;
        assert!(error["message"].as_str().is_some_and(|message| message.contains(word)), "{text}: {error}");
        eve.heartbeat().await;
    }
    let mut eve = TestClient::connect(&hub, "Eve").await;
    eve.raw(Message::binary(b"{}".to_vec()));
    eve.expect_error("bad_frame").await;
    let reference = eve.ask(json!({"type": "join", "room": "nothing"}));
    eve.refusal(reference, "bad_frame").await;
    eve.join("p/r").await;
    assert_eq!(hub.http().get("/api/projects").await.json()["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn fields_that_nobody_knows_are_ignored() {
    let hub = TestHub::start().await;
    let mut ada = TestClient::connect(&hub, "Ada").await;
    ada.join_with("p/r", json!({"from_the_future": {"a": [1]}, "since": null, "presence": null})).await;
    ada.say(json!({"type": "heartbeat", "room": 5, "seq": "x", "body": {"type": "join"}}));
    ada.next_of("heartbeat").await;
}

/// Browsers take half of a surrogate pair, stricter readers of JSON fail on all of a frame or page that holds one.
#[tokio::test]
async fn what_stricter_readers_cannot_read_is_let_in_nowhere() {
    let hub = TestHub::start().await;
    let mut eve = TestClient::joined(&hub, "Eve", "p/r").await;
    let id = uuid::Uuid::new_v4();
    for text in [
        format!(r#"{{"type":"message","room":"p/r","id":"{id}","body":"\ud800"}}"#),
        r#"{"type":"presence","room":"p/r","state":{"x":"\udc00\ud800"}}"#.into(),
        r#"{"type":"cursor","room":"p/r","position":{"\uDBFF":1}}"#.into(),
        r#"{"type":"broadcast","room":"p/r","event":"e","data":["\ud83d"]}"#.into(),
    ] {
        eve.raw(Message::text(text));
        eve.expect_error("bad_frame").await;
    }
    let request = hub.http().request(reqwest::Method::POST, "/api/projects/p/rooms/r/messages?name=Eve");
    let request = request.header("Content-Type", "application/json").body(r#"{"body":"\ud800"}"#);
    crate::support::http::Answer::to(request).await.problem(400, "bad_request");
    assert_eq!(eve.send("\u{1F600} as it should be").await, 1);
    let late = TestClient::connect(&hub, "late").await.join("p/r").await;
    assert_eq!(late.messages, hub.http().whole_history("p/r").await);
}

#[tokio::test]
async fn repeated_bad_frames_end_the_connection() {
    let hub = TestHub::with(UNHURRIED).await;
    for bad in [Message::text("no JSON"), Message::text(r#"{"type":"dance"}"#), Message::binary(vec![1])] {
        let mut eve = TestClient::connect(&hub, "Eve").await;
        for _ in 0..50 {
            eve.raw(bad.clone());
        }
        assert_eq!(eve.closed_with().await, 4400);
        let answered = eve.leftover("error").len();
        assert!((5..50).contains(&answered), "a few are forgiven, {answered} were");
    }
}

#[tokio::test]
async fn ten_thousand_joins_cost_little() {
    const MOST: usize = 100;
    let mut hub = TestHub::with(&[UNHURRIED, &[("ROOM_IDLE_MS", "200")]].concat()).await;
    let mut ada = TestClient::joined(&hub, "Ada", "p/calm").await;
    let before = hub.resident_bytes();
    let mut eve = TestClient::connect(&hub, "Eve").await;
    let references: Vec<_> = (0..10_000).map(|n| eve.ask_to_join(&format!("p/r{n}"), json!({}))).collect();
    ada.send("meanwhile").await;
    assert_eq!(ada.next_message().await.body, "meanwhile");
    for (n, reference) in references.iter().enumerate() {
        if n < MOST {
            eve.reply(*reference, "joined").await;
        } else {
            eve.refusal(*reference, "forbidden").await;
        }
    }
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "the hub grew by {grown} bytes");
    eve.close(1000).await;
    let http = hub.http();
    eventually("nobody is online in what was joined", async || {
        let rooms = http.get("/api/projects/p/rooms?limit=200").await.json();
        let online = rooms["items"].as_array()?.iter().filter_map(|room: &Value| room["online"].as_u64()).sum::<u64>();
        (online == 1).then_some(())
    })
    .await;
    hub.stop().await;
}
