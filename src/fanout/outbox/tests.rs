//! The outbox by itself, and against a real socket that is full now and then.

use std::{future::poll_fn, net::Ipv4Addr};

use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What may happen on a connection, in any order; frames have so many bytes.
#[derive(Debug, Clone)]
enum Event {
    Push(usize),
    Send(usize),
    SendParts(usize, usize, usize),
    Flush,
    Read(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1..3_000usize).prop_map(Event::Push),
        6 => (1..60_000usize).prop_map(Event::Send),
        3 => (0..200usize, 1..40_000usize, 1..40_000usize).prop_map(|(a, b, c)| Event::SendParts(a, b, c)),
        4 => Just(Event::Flush),
        3 => (1..200_000usize).prop_map(Event::Read),
    ]
}

/// Bytes of any number, each row its own: one out of place is seen.
fn row(number: usize, bytes: usize) -> Bytes {
    (0..bytes).map(|at| (number * 31 + at / 7) as u8).collect()
}

/// An outbox before a socket that is soon full, and its peer.
async fn pair() -> (Outbox, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    stream.writable().await.unwrap();
    SockRef::from(&stream).set_send_buffer_size(20_000).unwrap();
    let (_, write) = stream.into_split();
    (Outbox::new(usize::MAX, Some(write)), peer)
}

/// Reads what is there: how much, 0 at the end of it all.
fn read(peer: &TcpStream, bytes_max: usize, heard: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = vec![0; bytes_max];
    let read = peer.try_read(&mut buffer)?;
    heard.extend_from_slice(&buffer[..read]);
    Ok(read)
}

/// Lets a conversation go its way; gives each frame that was said, and what was heard.
async fn play(outbox: &Outbox, peer: &TcpStream, events: Vec<Event>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    for (number, event) in events.into_iter().enumerate() {
        match event {
            Event::Push(bytes) => {
                said.push(row(number, bytes).to_vec());
                outbox.push(&row(number, bytes));
            }
            Event::Send(bytes) => {
                said.push(row(number, bytes).to_vec());
                outbox.send(&row(number, bytes));
            }
            Event::SendParts(start, middle, end) => {
                let frame = SharedTail::text(&"x".repeat(start), row(number, middle), row(number + 1, end));
                said.push(frame.parts().concat());
                outbox.send_parts(&frame);
            }
            Event::Flush => {
                let flushed = poll_fn(|cx| Poll::Ready(outbox.poll_flush(cx))).await;
                assert!(!matches!(flushed, Poll::Ready(Err(_))), "the peer is there");
            }
            Event::Read(bytes) => drop(read(peer, bytes, &mut heard)),
        }
        tokio::task::yield_now().await;
    }
    (said, heard)
}

/// Writes all that is left, and hears it.
async fn finish(outbox: Outbox, peer: TcpStream, mut heard: Vec<u8>) -> Vec<u8> {
    let flush = async {
        poll_fn(|cx| outbox.poll_flush(cx)).await.unwrap();
        assert_eq!(outbox.waiting_bytes(), 0);
        drop(outbox); // and the socket
    };
    let hear = async {
        loop {
            peer.readable().await.unwrap();
            if matches!(read(&peer, 200_000, &mut heard), Ok(0)) {
                return heard;
            }
        }
    };
    tokio::join!(flush, hear).1
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// However much the kernel takes at a time: the peer gets every byte once and in order.
    #[test]
    fn nothing_is_ever_out_of_place(events in prop::collection::vec(event(), 1..80)) {
        let (said, heard) = block_on(async {
            let (outbox, peer) = pair().await;
            let (said, heard) = play(&outbox, &peer, events).await;
            (said.concat(), finish(outbox, peer, heard).await)
        });
        prop_assert!(heard == said, "first wrong at {:?}", heard.iter().zip(&said).position(|(a, b)| a != b));
    }

    /// Whoever is closed for being slow gets whole frames, and then the close frame.
    #[test]
    fn a_slow_consumer_is_not_left_in_the_middle_of_a_frame(events in prop::collection::vec(event(), 1..40)) {
        let (said, heard) = block_on(async {
            let (outbox, peer) = pair().await;
            let (said, heard) = play(&outbox, &peer, events).await;
            outbox.close(CloseCode::SlowConsumer);
            (said, finish(outbox, peer, heard).await)
        });
        let close = Frame::close(CloseCode::SlowConsumer);
        let frames = heard.strip_suffix(&close.bytes()[..]).expect("the close frame comes last");
        let ends: Vec<usize> = said.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
        prop_assert!(frames.is_empty() || ends.contains(&frames.len()), "{} bytes are not whole frames", frames.len());
        prop_assert!(said.concat().starts_with(frames));
    }
}

#[test]
fn over_the_bound_the_memory_is_freed_and_the_verdict_is_slow_consumer() {
    let outbox = Outbox::detached(1000);
    outbox.push(&Bytes::from_static(&[0; 1000]));
    outbox.push(&Bytes::from_static(&[0; 5000]));
    assert!(outbox.verdict().is_none(), "a large piece alone is no sign of slowness");
    outbox.push(&Bytes::from_static(&[0; 1]));
    assert_eq!(outbox.verdict().unwrap().0, CloseCode::SlowConsumer);
    assert_eq!(outbox.pop(usize::MAX).unwrap(), *Frame::close(CloseCode::SlowConsumer).bytes());
    assert!(outbox.pop(usize::MAX).is_none() && outbox.is_finished());
    outbox.push(&Bytes::from_static(b"late"));
    assert!(outbox.pop(usize::MAX).is_none(), "nothing follows a close frame");
}

#[test]
fn a_frame_in_parts_that_was_begun_is_ended_before_the_close_frame() {
    let split = || SharedTail::text("{", Bytes::from_static(b"1234567890"), Bytes::from_static(b"}"));
    for taken in 0..=3 {
        let outbox = Outbox::detached(1000);
        outbox.send_parts(&split());
        outbox.send_parts(&split());
        let begun: Vec<u8> = (0..taken).filter_map(|_| outbox.pop(usize::MAX)).flatten().collect();
        outbox.close(CloseCode::SlowConsumer);
        let rest: Vec<u8> = std::iter::from_fn(|| outbox.pop(usize::MAX)).flatten().collect();
        let whole = if taken == 0 { Vec::new() } else { split().parts().concat() };
        assert_eq!([begun, rest].concat(), [whole, Frame::close(CloseCode::SlowConsumer).bytes().to_vec()].concat());
        assert_eq!(outbox.bytes.get(), 0);
    }
}

#[test]
fn an_orderly_close_lets_what_waits_go_first() {
    let outbox = Outbox::detached(1000);
    outbox.push(&Bytes::from_static(b"ack"));
    outbox.close(CloseCode::Restart);
    outbox.close(CloseCode::SlowConsumer);
    assert_eq!(outbox.verdict().unwrap().0, CloseCode::Restart, "the first verdict stands");
    assert_eq!(outbox.pop(usize::MAX).unwrap(), "ack");
    assert!(!outbox.is_finished());
    outbox.pop(usize::MAX);
    assert!(outbox.is_finished());
}

#[test]
fn the_silent_are_pinged_once_per_interval_and_the_stuck_are_seen() {
    let outbox = Outbox::detached(1000);
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    assert!(!outbox.ping_due(now, 10 * second));
    assert!(outbox.ping_due(now + 11 * second, 10 * second));
    assert!(!outbox.ping_due(now + 12 * second, 10 * second));
    assert!(outbox.silence(now + 11 * second) > 10 * second);
    assert_eq!(outbox.look_if_stuck(now), Duration::ZERO);
    outbox.push(&Bytes::from_static(b"x"));
    outbox.push(&Bytes::from_static(b"y"));
    assert_eq!(outbox.look_if_stuck(now), Duration::ZERO);
    assert_eq!(outbox.look_if_stuck(now + 11 * second), 11 * second);
    outbox.pop(usize::MAX);
    assert_eq!(outbox.look_if_stuck(now + 12 * second), Duration::ZERO, "a slow reader is not a stuck one");
}
