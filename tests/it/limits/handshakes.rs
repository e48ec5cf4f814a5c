//! Requests that are no handshakes, or too many of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Door, RawClient, TestClient, TestHub, eventually,
    raw::{FIN, TEXT, frame, handshake},
};

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let mut hub = TestHub::with(&[("MAX_CONNECTIONS_PER_IP", "3")]).await;
    let mut clients = Vec::new();
    for n in 0..3 {
        clients.push(TestClient::connect(&hub, &format!("guest {n}")).await);
    }
    let refused = Door::of(&hub).name("one more").refused().await;
    assert_eq!((refused.status, &refused.body["status"]), (429, &429.into()), "{refused:?}");
    let mut raw = RawClient::connect(hub.address()).await;
    raw.write(handshake("/ws?name=one-more").as_bytes()).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 429 ") && head.contains("retry-after:"), "{head}");
    // A refused one holds no place, and a place is free again when its holder is gone, however it went.
    clients.pop().expect("a client").close(1000).await;
    clients.pop().expect("a client").vanish();
    for _ in 0..2 {
        let client = eventually("a place is free", async || Door::of(&hub).name("next").knock().await.ok()).await;
        clients.push(client);
    }
    assert_eq!(Door::of(&hub).name("one more").refused().await.status, 429);
    hub.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let hub = TestHub::with(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let _tabs = [TestClient::connect(&hub, "Ada").await, TestClient::connect(&hub, "Ada").await];
    assert_eq!(Door::of(&hub).name("Ada").refused().await.status, 429);
    TestClient::connect(&hub, "Bob").await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_counts_and_a_made_up_one_does_not() {
    let hub = TestHub::with(&[("MAX_CONNECTIONS_PER_IP", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let from = |address: &str| Door::of(&hub).name("Ada").header("X-Forwarded-For", address);
    let _one = from("203.0.113.1").enter().await;
    let _two = from("203.0.113.2").enter().await;
    assert_eq!(from("203.0.113.1").refused().await.status, 429);
    assert_eq!(from("198.51.100.9, 203.0.113.1").refused().await.status, 429, "what the client wrote is not believed");

    let hub = TestHub::with(&[("MAX_CONNECTIONS_PER_IP", "1")]).await;
    let from = |address: &str| Door::of(&hub).name("Ada").header("X-Forwarded-For", address);
    let _one = from("203.0.113.1").enter().await;
    assert_eq!(from("203.0.113.2").refused().await.status, 429, "nobody is trusted by default");
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let hub = TestHub::start().await;
    let good = handshake("/ws?name=Ada");
    for (what, request, status) in [
        ("no upgrade", good.replace("Upgrade: websocket\r\n", ""), 400),
        ("another upgrade", good.replace("Upgrade: websocket", "Upgrade: h2c"), 400),
        ("another one beside it", good.replace("Upgrade: websocket", "Upgrade: websocket, foo"), 400),
        ("a body", good.replace("Upgrade: websocket", "Upgrade: websocket\r\nTransfer-Encoding: chunked"), 400),
        ("an old HTTP", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("no connection header", good.replace("Connection: Upgrade\r\n", ""), 400),
        ("no key", good.replace("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""), 400),
        ("another version", good.replace("Version: 13", "Version: 9"), 400),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", ""), 400),
        ("a POST", good.replace("GET", "POST"), 405),
        ("nobody", handshake("/ws"), 401),
        ("an empty name", handshake("/ws?name="), 400),
        ("a long name", handshake(&format!("/ws?name={}", "x".repeat(65))), 400),
        ("a control character", handshake("/ws?name=a%07b"), 400),
        ("a bad guest id", handshake("/ws?name=Ada&guest_id=1"), 400),
        ("no HTTP", "HELLO\r\n\r\n".to_owned(), 400),
        ("no address", "GET\r\n\r\n".to_owned(), 400),
        ("another place", handshake("/wss?name=Ada"), 404),
    ] {
        let mut raw = RawClient::connect(hub.address()).await;
        raw.write(request.as_bytes()).await;
        let head = raw.head().await;
        assert_eq!(head.split(' ').nth(1), Some(&*status.to_string()), "{what}: {head}");
    }
    let mut raw = RawClient::connect(hub.address()).await;
    let endless = format!("GET /ws?name=Ada HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "x".repeat(1024 * 1024));
    raw.write(endless.as_bytes()).await;
    let answer = raw.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    TestClient::joined(&hub, "Ada", "p/r").await;
}

/// The hub takes the socket over from the HTTP server: nothing gets lost on the way, and who is not admitted gets all of
/// the answer.
#[tokio::test]
async fn what_comes_before_and_with_a_handshake_is_heard() {
    let hub = TestHub::start().await;
    let mut ada = RawClient::connect(hub.address()).await;
    let page = "GET / HTTP/1.1\r\nHost: hub.test\r\n\r\n";
    let join = frame(FIN | TEXT, br#"{"type":"join","room":"p/r"}"#);
    ada.write(&[page.as_bytes(), handshake("/ws?name=Ada").as_bytes(), &join, &join[..9]].concat()).await;
    let page = ada.head().await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    let switching = ada.head().await;
    assert!(switching.contains("HTTP/1.1 101 "), "{switching}");
    assert_eq!(ada.json_of("joined").await["room"], "p/r");
    ada.write(&join[9..]).await;
    ada.json_of("joined").await;

    let body = reqwest::get(format!("http://{}/", hub.address())).await.expect("an answer").text().await.expect("text");
    for path in ["/", "/nowhere"] {
        let mut raw = RawClient::connect(hub.address()).await;
        raw.write(handshake(path).as_bytes()).await;
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.contains("connection: close") && !head.contains("101"), "{head}");
        let rest = raw.rest().await;
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a length");
        assert_eq!(rest.len(), length.parse::<usize>().expect("a number"), "{head}");
        assert!(path != "/" || rest == body);
    }
}

/// With the real patience, of ten seconds.
#[tokio::test]
async fn who_does_not_finish_a_request_is_let_go() {
    let mut hub = TestHub::start().await;
    let begun = Instant::now();
    let mut nothing = RawClient::connect(hub.address()).await;
    let mut half = RawClient::connect(hub.address()).await;
    half.write(b"GET /ws?name=slow HTTP/1.1\r\nHost: x\r\n").await;
    let mut dripping = RawClient::connect(hub.address()).await;
    dripping.write(b"GET /ws?name=slow HTTP/1.1\r\nX: ").await;
    let drip = async {
        let mut dripped = 0;
        let gone = eventually("a dripping client is let go", async || {
            dripped += dripping.write_now(b"x");
            (begun.elapsed() > Duration::from_secs(9)).then_some(())
        });
        gone.await;
        dripping.rest().await
    };
    let (nothing, half, dripping) = tokio::join!(nothing.rest(), half.rest(), drip);
    for (what, answer) in [("nothing", nothing), ("half", half), ("dripping", dripping)] {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{what}: {answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(14), "it took {:?}", begun.elapsed());
    TestClient::joined(&hub, "Ada", "p/r").await;
    hub.stop().await;
}
