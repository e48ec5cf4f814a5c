//! The task under a client that reads its socket all the time, as a browser does, and so answers pings while the test does
//! other things.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

pub type WsMessage = tungstenite::Message;
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a socket that ended without a close frame is said to have closed with.
pub const NO_CLOSE_FRAME: u16 = 1006;

/// What came.
pub enum Incoming {
    Frame(Value),
    Closed(u16),
}

/// Carries frames between the socket and the client until either ends.
pub async fn pump(
    socket: Socket,
    mut outgoing: mpsc::UnboundedReceiver<WsMessage>,
    incoming: mpsc::UnboundedSender<Incoming>,
) {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                // What cannot be sent any more shows as the end of the stream.
                Some(message) => drop(sink.send(message).await),
                None => return,
            },
            message = stream.next() => match message {
                Some(Ok(WsMessage::Text(text))) => {
                    let frame = serde_json::from_str(&text).expect("the hub speaks JSON");
                    drop(incoming.send(Incoming::Frame(frame)));
                }
                // Told at once: the TCP connection lives on for a moment.
                Some(Ok(WsMessage::Close(frame))) => {
                    drop(incoming.send(Incoming::Closed(frame.map_or(1005, |frame| frame.code.into()))));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    drop(incoming.send(Incoming::Closed(NO_CLOSE_FRAME))); // the first code stands
}
