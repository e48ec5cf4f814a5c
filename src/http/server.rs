//! The HTTP server: connections, their timeouts, and the handover of those that become WebSockets.
//!
//! It is put together as actix-web's `HttpServer` does it, but for requests that ask for another protocol. The same app
//! answers them; where it says 101, the socket leaves the server, and with it go the server's buffers.

use std::{fmt, future::poll_fn, io, net::TcpListener, pin::pin, rc::Rc, time::Duration};

use actix_codec::{Encoder as _, Framed};
use actix_http::{
    ConnectionType, HttpMessage as _, HttpService, KeepAlive, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    error::DispatchError,
    h1::{Codec, Message},
};
use actix_server::{Server, ServerHandle};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config};
use actix_web::{Error as WebError, dev::AppConfig};
use bytes::Bytes;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::session::{Admitted, HandsOver, linger};

/// Connections that the kernel may hold until a worker takes them.
const BACKLOG: u32 = 4_096;
/// More than an instance can have.
const CONNECTIONS_PER_WORKER_MAX: usize = 1_000_000;
/// A client that has not sent its request's head by then is refused with 408.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle HTTP connection is closed; longer than load balancers keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a closed connection may linger for the peer's own close. Not under 500 ms: actix-http counts it from a clock
/// that ticks so often, and a timer that is past when it is set never fires: the connection would stay open for ever.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(600);
/// How long a client that asked for another protocol may take to read the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What is copied per connection before it is written; bounds the memory of slow readers.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// The kernel gives up on a peer that acknowledges nothing for so long: the net under our own heartbeat.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel may hold for a peer that does not read; left to itself it grows to megabytes per connection.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Serves what comes in on `listener`. `app` is called on each worker thread, and gives what makes its apps.
///
/// # Errors
/// The listener cannot be used.
pub fn serve<F, A, S, B>(listener: TcpListener, workers: usize, app: F) -> io::Result<ServerHandle>
where
    F: Fn() -> A + Send + Clone + 'static,
    A: Fn() -> S + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<WebError>,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let connections = move || {
        let app = app();
        let apart = Rc::new(app());
        let upgrades = fn_factory(move || {
            let apart = Rc::clone(&apart);
            async move {
                let app = Rc::new(apart.new_service(AppConfig::default()).await?);
                Ok::<_, S::InitError>(fn_service(move |(request, connection)| {
                    let app = Rc::clone(&app);
                    async move {
                        answer_upgrade(&*app, request, connection).await;
                        Ok::<_, WebError>(())
                    }
                }))
            }
        });
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(REQUEST_HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .h1_write_buffer_size(WRITE_BUFFER_BYTES)
            .upgrade(upgrades)
            .h1(map_config(app(), |()| AppConfig::default()).map_err(|error| error.into().error_response()));
        let accept = |socket: TcpStream| async move {
            set_options(&socket);
            let peer = socket.peer_addr().ok();
            Ok::<_, DispatchError>((socket, peer))
        };
        fn_service(accept).and_then(http)
    };
    let server = Server::build()
        .workers(workers)
        .backlog(BACKLOG)
        .max_concurrent_connections(CONNECTIONS_PER_WORKER_MAX)
        .disable_signals()
        .listen("http", listener, connections)?
        .run();
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the server ended");
        }
    });
    Ok(handle)
}

/// None of them is needed for correctness, so a kernel that refuses one is no reason to refuse the client.
fn set_options(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    drop(socket.set_tcp_nodelay(true));
    drop(socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
    drop(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
}

/// Answers a request that asks for another protocol: the client is admitted and goes on in its conversation, or it is told
/// why not and that was all.
async fn answer_upgrade<A, B>(app: &A, request: Request, connection: Framed<TcpStream, Codec>)
where
    A: Service<Request>,
    A::Response: Into<Response<B>>,
    A::Error: Into<WebError>,
    B: MessageBody + 'static,
{
    request.extensions_mut().insert(HandsOver);
    let mut response = match app.call(request).await {
        Ok(response) => response.into().map_body(|_, body| body.boxed()),
        Err(error) => error.into().error_response().into(),
    };
    let admitted = response.extensions_mut().remove::<Admitted>();
    if admitted.is_none() {
        response.head_mut().set_connection_type(ConnectionType::Close);
        response.head_mut().no_chunking(true); // its end is the connection's
    }
    match (timeout(ANSWER_TIMEOUT, say(connection, response)).await, admitted) {
        // A task of its own, so that nothing of the server's stays with it.
        (Ok(Ok((socket, early))), Some(admitted)) => drop(actix_web::rt::spawn(admitted.converse(socket, early))),
        (Ok(Ok((socket, _))), None) => linger(&socket).await,
        (Ok(Err(error)), _) => tracing::debug!(%error, "a client was gone before it had its answer"),
        (Err(_), _) => tracing::debug!("a client did not read its answer"),
    }
}

/// Writes a response, after what the server had not written yet. Gives the socket back, and what came in early.
async fn say(connection: Framed<TcpStream, Codec>, response: Response<BoxBody>) -> io::Result<(TcpStream, Bytes)> {
    let parts = connection.into_parts();
    let (mut socket, mut codec, mut bytes) = (parts.io, parts.codec, parts.write_buf);
    let (head, body) = response.into_parts();
    let size = body.size();
    codec.encode(Message::Item((head, size)), &mut bytes)?;
    if !matches!(size, BodySize::None) {
        let mut body = pin!(body);
        while let Some(chunk) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            let chunk = chunk.map_err(|fault| io::Error::other(fault.to_string()))?;
            codec.encode(Message::Chunk(Some(chunk)), &mut bytes)?;
            socket.write_all_buf(&mut bytes).await?;
        }
        codec.encode(Message::Chunk(None), &mut bytes)?;
    }
    socket.write_all_buf(&mut bytes).await?;
    Ok((socket, Bytes::copy_from_slice(&parts.read_buf)))
}
