//! A client that speaks the protocol's verbs over a real WebSocket. Each verb waits for its reply; when that does not
//! come, the test fails with the frames seen so far. Frames are kept until a verb asks for them, in their order.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::{
    TestHub,
    door::Door,
    frames::{Ack, Change, Cursor, Joined, Message, User},
    poll::PATIENCE,
    pump::{Incoming, NO_CLOSE_FRAME, Socket, WsMessage, pump},
};

/// A connection to the hub. Dropped, its TCP connection ends without a close frame.
pub struct TestClient {
    /// The `welcome` frame.
    pub welcome: Value,
    pub user: User,
    pub connection_id: String,
    /// The subprotocol that the hub chose.
    pub subprotocol: Option<String>,
    room: String,
    next_ref: i64,
    to_socket: mpsc::UnboundedSender<WsMessage>,
    from_socket: mpsc::UnboundedReceiver<Incoming>,
    kept: VecDeque<Value>,
    changes: HashMap<String, VecDeque<Change>>,
    seen: Vec<String>,
    closed: Option<u16>,
    pump: JoinHandle<()>,
}

impl TestClient {
    /// A guest.
    pub async fn connect(hub: &TestHub, name: &str) -> Self {
        Door::of(hub).name(name).enter().await
    }

    /// A guest who is in a room already.
    pub async fn joined(hub: &TestHub, name: &str, room: &str) -> Self {
        let mut client = Self::connect(hub, name).await;
        client.join(room).await;
        client
    }

    /// Takes over a socket after its handshake.
    pub async fn on(socket: Socket, subprotocol: Option<String>) -> Self {
        let (to_socket, outgoing) = mpsc::unbounded_channel();
        let (incoming, from_socket) = mpsc::unbounded_channel();
        let mut client = Self {
            welcome: Value::Null,
            user: User { user_id: String::new(), name: String::new(), color: String::new() },
            connection_id: String::new(),
            subprotocol,
            room: String::new(),
            next_ref: 0,
            to_socket,
            from_socket,
            kept: VecDeque::new(),
            changes: HashMap::new(),
            seen: Vec::new(),
            closed: None,
            pump: tokio::spawn(pump(socket, outgoing, incoming)),
        };
        let welcome = client.next_of("welcome").await;
        client.user = User::deserialize(&welcome["user"]).expect("a user");
        client.connection_id = welcome["connection_id"].as_str().expect("an id").to_owned();
        client.welcome = welcome;
        client
    }

    // --- verbs ---

    /// Joins and makes it the room that the other verbs are about.
    pub async fn join(&mut self, room: &str) -> Joined {
        self.join_with(room, json!({})).await
    }

    /// Joins with more fields: `presence`, `since`, `history`.
    pub async fn join_with(&mut self, room: &str, more: Value) -> Joined {
        let reference = self.ask_to_join(room, more);
        let joined = self.reply(reference, "joined").await;
        self.room = room.to_owned();
        Joined::deserialize(&joined).expect("a joined frame")
    }

    /// Sends a `join` without waiting for the answer; gives its `ref`.
    pub fn ask_to_join(&mut self, room: &str, more: Value) -> i64 {
        let mut frame = json!({"type": "join", "room": room});
        frame.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        self.ask(frame)
    }

    pub async fn leave(&mut self) {
        let reference = self.ask(json!({"type": "leave", "room": self.room}));
        self.reply(reference, "left").await;
    }

    /// Sends a message and waits until it is durable; gives its place.
    pub async fn send(&mut self, body: impl Into<Value>) -> u64 {
        let id = uuid::Uuid::new_v4().to_string();
        let ack = self.send_as(&id, body).await;
        assert!(!ack.duplicate, "a fresh id was a duplicate");
        ack.seq
    }

    /// As [`send`](Self::send); `None` when the hub closes before it acknowledges.
    pub async fn try_send(&mut self, body: impl Into<Value>) -> Option<u64> {
        let reference = self.post(&uuid::Uuid::new_v4().to_string(), body);
        let reply = self.try_wait_for("ack", |frame| frame["ref"] == reference).await?;
        assert_eq!(reply["type"], "ack", "{reply}");
        reply["seq"].as_u64()
    }

    /// Sends a message under an id.
    pub async fn send_as(&mut self, id: &str, body: impl Into<Value>) -> Ack {
        let reference = self.post(id, body);
        self.ack(reference).await
    }

    /// Sends a message without waiting; gives its `ref`.
    pub fn post(&mut self, id: &str, body: impl Into<Value>) -> i64 {
        self.ask(json!({"type": "message", "room": self.room, "id": id, "body": body.into()}))
    }

    pub async fn ack(&mut self, reference: i64) -> Ack {
        let ack = self.reply(reference, "ack").await;
        assert_eq!(ack["room"], self.room.as_str());
        Ack::deserialize(&ack).expect("an ack")
    }

    /// Sends so many messages at once, their numbers as bodies; waits until all are durable and gives their places.
    pub async fn send_many(&mut self, bodies: std::ops::Range<u64>) -> Vec<u64> {
        let references: Vec<_> = bodies.map(|body| self.post(&uuid::Uuid::new_v4().to_string(), body)).collect();
        let mut seqs = Vec::with_capacity(references.len());
        for reference in references {
            seqs.push(self.ack(reference).await.seq);
        }
        seqs
    }

    pub fn update(&mut self, state: Value) {
        self.say(json!({"type": "presence", "room": self.room, "state": state}));
    }

    pub fn move_cursor(&mut self, position: Value) {
        self.say(json!({"type": "cursor", "room": self.room, "position": position}));
    }

    pub fn broadcast(&mut self, event: &str, data: Value) {
        self.say(json!({"type": "broadcast", "room": self.room, "event": event, "data": data}));
    }

    pub fn mark_read(&mut self, seq: u64) {
        self.say(json!({"type": "read", "room": self.room, "seq": seq}));
    }

    /// Asks for a sign of life: what this connection said before has been taken, what was sent to it has come.
    pub async fn heartbeat(&mut self) {
        self.say(json!({"type": "heartbeat"}));
        self.next_of("heartbeat").await;
    }

    // --- what comes ---

    /// The next message of the current room.
    pub async fn next_message(&mut self) -> Message {
        self.next_in_room("message").await
    }

    /// The next messages of the current room up to one with this body, which is the last of them.
    pub async fn messages_until(&mut self, body: impl Into<Value>) -> Vec<Message> {
        let (last, mut messages) = (body.into(), Vec::new());
        loop {
            let message = self.next_message().await;
            let done = message.body == last;
            messages.push(message);
            if done {
                return messages;
            }
        }
    }

    /// The next entry of a presence frame of the current room.
    pub async fn next_change(&mut self) -> Change {
        let room = self.room.clone();
        loop {
            if let Some(change) = self.changes.get_mut(&room).and_then(VecDeque::pop_front) {
                return change;
            }
            let frame = self.next_of("presence").await;
            let of_room = frame["room"].as_str().expect("a room").to_owned();
            self.changes.entry(of_room).or_default().extend(Change::of_frame(&frame));
        }
    }

    /// The next entries up to one that `is_last`, which is the last of them.
    pub async fn changes_until(&mut self, is_last: impl Fn(&Change) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            let change = self.next_change().await;
            let done = is_last(&change);
            changes.push(change);
            if done {
                return changes;
            }
        }
    }

    /// The cursors of the next cursor frame of the current room.
    pub async fn next_cursors(&mut self) -> Vec<Cursor> {
        let room = self.room.clone();
        let frame =
            self.wait_for("cursors", |frame| frame["type"] == "cursors" && frame["room"] == room.as_str()).await;
        Vec::deserialize(&frame["cursors"]).expect("cursors")
    }

    /// The next frame of a type.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        self.wait_for(kind, |frame| frame["type"] == kind).await
    }

    /// Waits for the `status` frame of a state and gives it. One that came before is skipped: the hub tells everybody of
    /// a change, also who came in the same moment and knew already.
    pub async fn until_status(&mut self, state: &str) -> Value {
        loop {
            let status = self.next_of("status").await;
            if status["state"] == state {
                return status;
            }
        }
    }

    /// Whether a `status` came that nobody has taken and that says degraded.
    pub fn was_degraded(&mut self) -> bool {
        self.leftover("status").iter().any(|status| status["state"] == "degraded")
    }

    /// The next error, which must have this code.
    pub async fn expect_error(&mut self, code: &str) -> Value {
        let error = self.next_of("error").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// The code that the hub closes with.
    pub async fn closed_with(&mut self) -> u16 {
        self.closed_within(PATIENCE).await
    }

    /// As [`closed_with`](Self::closed_with), with another patience.
    pub async fn closed_within(&mut self, patience: Duration) -> u16 {
        let deadline = Instant::now() + patience;
        while self.closed.is_none() {
            self.receive("the connection to close", deadline).await;
        }
        self.closed.expect("closed")
    }

    /// The frames of a type that came and that no verb has taken.
    pub fn leftover(&mut self, kind: &str) -> Vec<Value> {
        while let Ok(incoming) = self.from_socket.try_recv() {
            self.keep(incoming);
        }
        self.kept.iter().filter(|frame| frame["type"] == kind).cloned().collect()
    }

    /// Waits for the reply to a frame; an error is a failure.
    pub async fn reply(&mut self, reference: i64, kind: &str) -> Value {
        let reply = self.wait_for(kind, |frame| frame["ref"] == reference).await;
        assert_eq!(reply["type"], kind, "{reply}");
        reply
    }

    /// Waits for the answer to a frame, whatever it says.
    pub async fn answer(&mut self, reference: i64) -> Value {
        self.wait_for("an answer", |frame| frame["ref"] == reference).await
    }

    /// Waits for the refusal of a frame.
    pub async fn refusal(&mut self, reference: i64, code: &str) -> Value {
        let error = self.reply(reference, "error").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    // --- the socket ---

    /// Sends a frame under a `ref`.
    pub fn ask(&mut self, mut frame: Value) -> i64 {
        self.next_ref += 1;
        frame["ref"] = self.next_ref.into();
        self.say(frame);
        self.next_ref
    }

    pub fn say(&mut self, frame: Value) {
        self.raw(WsMessage::text(frame.to_string()));
    }

    /// Sends anything. A connection that is gone takes it silently: tests see its close.
    pub fn raw(&mut self, message: WsMessage) {
        drop(self.to_socket.send(message));
    }

    /// Closes with a code and waits for the hub's answer.
    pub async fn close(mut self, code: u16) {
        self.raw(WsMessage::Close(Some(CloseFrame { code: CloseCode::from(code), reason: "".into() })));
        self.closed_with().await;
    }

    /// Ends the TCP connection without a word.
    pub fn vanish(self) {
        drop(self);
    }

    async fn next_in_room<T: DeserializeOwned>(&mut self, kind: &str) -> T {
        let room = self.room.clone();
        let frame = self.wait_for(kind, |frame| frame["type"] == kind && frame["room"] == room.as_str()).await;
        T::deserialize(&frame).unwrap_or_else(|error| panic!("{error}: {frame}"))
    }

    async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let frame = self.try_wait_for(what, wanted).await;
        frame.unwrap_or_else(|| panic!("closed with {:?} instead of `{what}`{}", self.closed, self.story()))
    }

    /// Waits for a frame; `None` when the connection ends before it comes.
    async fn try_wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut looked_at = 0;
        loop {
            while let Some(frame) = self.kept.get(looked_at) {
                if wanted(frame) {
                    return self.kept.remove(looked_at);
                }
                looked_at += 1;
            }
            if self.closed.is_some() {
                return None;
            }
            self.receive(what, deadline).await;
        }
    }

    async fn receive(&mut self, what: &str, deadline: Instant) {
        match timeout_at(deadline, self.from_socket.recv()).await {
            Ok(Some(incoming)) => self.keep(incoming),
            Ok(None) => self.closed = self.closed.or(Some(NO_CLOSE_FRAME)),
            Err(_) => panic!("no `{what}` in time{}", self.story()),
        }
    }

    fn keep(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Frame(frame) => {
                self.seen.push(frame.to_string().chars().take(200).collect());
                self.kept.push_back(frame);
            }
            Incoming::Closed(code) => self.closed = self.closed.or(Some(code)),
        }
    }

    fn story(&self) -> String {
        let from = self.seen.len().saturating_sub(20);
        format!("; {} saw {} frames, at last:\n  {}", self.user.name, self.seen.len(), self.seen[from..].join("\n  "))
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.pump.abort();
    }
}
