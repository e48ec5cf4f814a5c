//! One client as a task: a socket that is lost and made again, and the book that says what to do on it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message as WsMessage,
        client::IntoClientRequest as _,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    book::{Book, Todo},
    transcript::{Side, What},
};
use crate::support::pump::NO_CLOSE_FRAME;

/// From opening a socket to `welcome`.
const WELCOME_PATIENCE: Duration = Duration::from_secs(2);
/// The wait before another try doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// How often the book is asked what time brings.
const TICK: Duration = Duration::from_millis(50);

type Socket = WebSocketStream<TcpStream>;

/// Where a client may connect, and to which side that leads.
pub type Doors = Vec<(Option<Side>, SocketAddr)>;

/// What the fleet wants of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Do things.
    Talk,
    /// Finish what was begun and stay.
    Quiet,
    /// Close and end.
    End,
}

/// A client.
pub struct Person {
    pub name: String,
    pub doors: Doors,
    pub book: Arc<Mutex<Book>>,
    pub mode: watch::Receiver<Mode>,
    /// The mean time between two things it does.
    pub pace: Duration,
    pub heartbeat: Duration,
}

/// Why a connection is over.
enum End {
    /// Try again after the backoff.
    Retry,
    /// Try again at once.
    Return,
    /// That was all.
    Over,
}

pub fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Person {
    /// Lives until the fleet ends.
    pub async fn live(mut self) {
        let (mut door, mut wait) = (0, BACKOFF.0);
        loop {
            let (side, address) = self.doors[door % self.doors.len()];
            door += 1; // who may use both takes the other next time
            if *self.mode.borrow() == Mode::End {
                return;
            }
            match timeout(WELCOME_PATIENCE, self.connect(address)).await {
                Ok(Some((socket, welcome))) => {
                    wait = BACKOFF.0;
                    let todo = open(&self.book).connected(&welcome, side, Instant::now());
                    match self.talk(socket, todo).await {
                        End::Over => return,
                        End::Return => {}
                        End::Retry => self.back_off(wait).await,
                    }
                }
                Ok(None) | Err(_) => {
                    open(&self.book).shut_out(Instant::now());
                    self.back_off(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// A client's own wait before it tries again, not a test's for a condition.
    async fn back_off(&self, wait: Duration) {
        let part = open(&self.book).part_of(wait);
        sleep(part).await;
    }

    async fn connect(&self, address: SocketAddr) -> Option<(Socket, Value)> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let url = format!("ws://{address}/ws?name={}", self.name);
        let request = url.into_client_request().expect("a request");
        let (mut socket, _) = client_async(request, stream).await.ok()?;
        loop {
            if let WsMessage::Text(text) = socket.next().await?.ok()? {
                let frame: Value = serde_json::from_str(&text).expect("the hub speaks JSON");
                return (frame["type"] == "welcome").then_some((socket, frame));
            }
        }
    }

    /// Uses a connection until it ends.
    async fn talk(&mut self, mut socket: Socket, first: Todo) -> End {
        if let Some(end) = self.carry_out(first, &mut socket).await {
            return end;
        }
        let silence_max = self.heartbeat * 3 + Duration::from_millis(500);
        let mut last_heard = Instant::now();
        let mut beat = interval(self.heartbeat);
        let mut tick = interval(TICK);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_act = Instant::now() + open(&self.book).pause(self.pace);
        loop {
            let mode = *self.mode.borrow();
            let todo = tokio::select! {
                frame = socket.next() => {
                    last_heard = Instant::now();
                    match frame {
                        Some(Ok(WsMessage::Text(text))) => {
                            let frame: Value = serde_json::from_str(&text).expect("the hub speaks JSON");
                            open(&self.book).heard(&frame, Instant::now())
                        }
                        Some(Ok(WsMessage::Close(frame))) => {
                            let code = frame.map_or(1005, |frame| frame.code.into());
                            return self.lost(What::Lost { code });
                        }
                        Some(Ok(_)) => Todo::default(),
                        Some(Err(_)) | None => return self.lost(What::Lost { code: NO_CLOSE_FRAME }),
                    }
                }
                _ = tick.tick() => open(&self.book).tick(Instant::now()),
                _ = beat.tick() => {
                    if last_heard.elapsed() > silence_max {
                        return self.lost(What::Lost { code: NO_CLOSE_FRAME });
                    }
                    Todo { say: vec![json!({"type": "heartbeat"})], hang_up: None }
                }
                () = tokio::time::sleep_until(next_act.into()), if mode == Mode::Talk => {
                    let mut book = open(&self.book);
                    next_act = Instant::now() + book.pause(self.pace);
                    book.act(Instant::now())
                }
                changed = self.mode.changed() => {
                    match *self.mode.borrow() {
                        _ if changed.is_err() => Todo { hang_up: Some(None), ..Todo::default() },
                        Mode::End => Todo { hang_up: Some(Some(1000)), ..Todo::default() },
                        Mode::Quiet => { open(&self.book).come_home(Instant::now()); Todo::default() }
                        Mode::Talk => Todo::default(),
                    }
                }
            };
            if let Some(end) = self.carry_out(todo, &mut socket).await {
                return end;
            }
        }
    }

    async fn carry_out(&mut self, todo: Todo, socket: &mut Socket) -> Option<End> {
        for frame in todo.say {
            let sent = timeout(WELCOME_PATIENCE, socket.send(WsMessage::text(frame.to_string()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Some(self.lost(What::Lost { code: NO_CLOSE_FRAME }));
            }
        }
        let code = todo.hang_up?;
        open(&self.book).disconnected(What::HungUp { code }, Instant::now());
        if let Some(code) = code {
            let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
            // Until the hub has answered or let go: dropped before, the frame might not be read.
            let goodbye = async {
                socket.send(WsMessage::Close(Some(frame))).await.ok();
                while let Some(Ok(_)) = socket.next().await {}
            };
            timeout(WELCOME_PATIENCE, goodbye).await.ok();
        }
        Some(if *self.mode.borrow() == Mode::End { End::Over } else { End::Return })
    }

    fn lost(&self, how: What) -> End {
        let mut book = open(&self.book);
        book.disconnected(how, Instant::now());
        // Sent away with a time of its own: comes back without a further wait.
        if book.drain.take().is_some() { End::Return } else { End::Retry }
    }
}
