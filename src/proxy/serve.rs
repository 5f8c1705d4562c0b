//! One client connection from its first byte to its last: what is spoken, and hyper in between.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::OwnPort;
use super::admit::Refusal;
use super::conn::{Conn, Order};
use super::flow::Streams;
use super::linger::{LINGER, Rest, linger};
use super::open::Spoken;
use super::request;
use super::rewound::Rewound;
use super::tls;
use super::tunnel::{self, Tunnel};
use super::worker::{Accepted, Counted, Worker};

/// Read ahead of a service that takes an upload, and written ahead of a caller that reads.
const BUFFERED: usize = 64 * 1024;
/// How many fields hyper takes unless told otherwise.
const HYPERS_HEADERS: u16 = 100;
/// Where requests come in: what those of one connection have in common.
#[derive(Debug, Clone)]
pub struct Entrance {
    pub conn: Rc<Conn>,
    /// The service whose own port it came in by.
    pub port: Option<OwnPort>,
    /// Left here by the request that switched protocols. Not in [`Conn`], which it holds.
    pub tunnel: Rc<RefCell<Option<Tunnel>>>,
}

impl Entrance {
    fn new(conn: &Rc<Conn>, port: Option<OwnPort>) -> Self {
        Self { conn: Rc::clone(conn), port, tunnel: Rc::default() }
    }
}

/// Serves a connection until it ends or the sweep cuts it.
pub async fn connection(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, port, permit: _permit, counted } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    crate::os::hold_little_unsent(&stream);
    let (conn, socket) = Conn::open(stream, &worker.sweep);
    let _listed = worker.sweep.list(&conn);
    let mut speaking =
        Box::pin(speak(Rc::clone(&worker), Rc::clone(&conn), socket, port, &counted));
    let cut = poll_fn(|context| {
        if let Order::Cut(reason) = conn.ordered(context) {
            return Poll::Ready(Some(reason));
        }
        speaking.as_mut().poll(context).map(|()| None)
    });
    if let Some(reason) = cut.await {
        worker.cut(reason, || drop(speaking));
    }
}

/// Every way on is boxed: thousands of idle connections would each carry the room for all of them.
async fn speak(
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    mut socket: super::conn::Socket,
    port: Option<OwnPort>,
    counted: &Counted,
) {
    if let Some(tls) = &worker.shared.tls {
        conn.secured();
        return match Box::pin(tls::accept(tls.load_full(), socket)).await {
            Ok((stream, true)) => Box::pin(h2(worker, conn, stream, port, counted)).await,
            Ok((stream, false)) => {
                let io = Rewound::new(Bytes::new(), stream);
                Box::pin(h1(worker, conn, io, port, counted)).await;
            }
            Err(_) => worker.stage().books.refused(worker.id, "tls"),
        };
    }
    // Gone before it said anything, otherwise.
    if let Ok((is_h2, early)) = socket.is_h2().await {
        let io = Rewound::new(early, socket);
        if is_h2 {
            Box::pin(h2(worker, conn, io, port, counted)).await;
        } else {
            Box::pin(h1(worker, conn, io, port, counted)).await;
        }
    }
}

async fn h1<I>(
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    io: Rewound<I>,
    port: Option<OwnPort>,
    counted: &Counted,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    counted.speaks(Spoken::Http1);
    let mut io = io.of(&conn);
    let entrance = Entrance::new(&conn, port);
    // Boxed, so that a connection at rest is rid of it, with hyper's buffers in it.
    while let Some(resting) = Box::pin(until_quiet(&worker, &entrance, counted, io)).await {
        io = resting;
        if !conn.stirs().await {
            let _ = io.shutdown().await;
            return;
        }
        conn.rouse();
    }
}

/// Serves a connection until it is over, or has nothing to do for a while: it is returned then.
async fn until_quiet<I>(
    worker: &Rc<Worker>,
    entrance: &Entrance,
    counted: &Counted,
    io: Rewound<I>,
) -> Option<Rewound<I>>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let conn = &entrance.conn;
    let limits = worker.stage().plan.proxy.limits;
    let service =
        service_fn(|request| request::handle(Rc::clone(worker), entrance.clone(), request));
    let mut builder = http1::Builder::new();
    // Saying the default outright would cost every request a vector.
    if limits.headers != HYPERS_HEADERS {
        builder.max_headers(usize::from(limits.headers));
    }
    let mut http = builder
        // A client that closes its side is gone; see `Conn::client_gone`.
        .half_close(false)
        .header_read_timeout(None)
        .max_buf_size(BUFFERED.max(limits.header_bytes as usize))
        .max_header_size(limits.header_bytes as usize)
        .serve_connection(TokioIo::new(io), service);
    let (mut finishing, mut resting) = (false, false);
    let ended = poll_fn(|context| {
        match conn.ordered(context) {
            Order::Finish if !finishing => {
                (finishing, resting) = (true, false);
                Pin::new(&mut http).graceful_shutdown();
            }
            // Idle as it is, it ends at once, and without a word.
            Order::Rest if conn.is_at_rest() && !resting => {
                resting = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            Order::Rest => conn.rouse(),
            _ => {}
        }
        http.poll_without_shutdown(context)
    });
    let ended = ended.await;
    let malformed = ended.as_ref().is_err_and(hyper::Error::is_parse);
    if malformed {
        worker.stage().books.refused(worker.id, "malformed");
    }
    let refused = conn.refused();
    if ended.is_err() && !malformed && refused.is_none() {
        return None;
    }
    let parts = http.into_parts();
    let mut io = parts.io.into_inner();
    let tunnel = entrance.tunnel.borrow_mut().take();
    if let Some(tunnel) = tunnel {
        counted.speaks(Spoken::Tunnel);
        Box::pin(tunnel::run(worker, conn, io, parts.read_buf, tunnel)).await;
        return None;
    }
    if resting && !malformed && !conn.lingers() {
        return Some(io.again(parts.read_buf));
    }
    if let Some(refusal) = refused {
        worker.stage().books.refused(worker.id, refusal.reason);
        say(worker, &mut io, refusal).await;
    }
    let _ = io.shutdown().await;
    if malformed || refused.is_some() || conn.lingers() {
        Box::pin(linger(worker, io)).await;
    }
    None
}

/// Says why a head that hyper did not get to see goes no further.
async fn say(worker: &Worker, io: &mut (impl AsyncWrite + Unpin), refusal: Refusal) {
    let Refusal { status, reason } = refusal;
    let text = format!(
        "HTTP/1.1 {status}\r\nx-backburn-error: {reason}\r\nconnection: close\r\n\
         content-length: 0\r\n\r\n"
    );
    let watch = worker.sweep.watch(LINGER);
    tokio::select! {
        _ = io.write_all(text.as_bytes()) => {}
        () = watch.over() => {}
    }
}

async fn h2<I>(worker: Rc<Worker>, conn: Rc<Conn>, io: I, port: Option<OwnPort>, counted: &Counted)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    /// Of one stream, and of all together: slow streams must not take the room of the others.
    const WINDOW: u32 = 64 * 1024;
    const WINDOWS: u32 = 1024 * 1024;
    conn.multiplexed();
    counted.speaks(Spoken::H2);
    let limits = worker.stage().plan.proxy.limits;
    let streams = Streams::of(&worker, &conn);
    let entrance = Entrance::new(&conn, port);
    let service = service_fn(|request| {
        let flow = streams.open();
        let answer = request::handle(Rc::clone(&worker), entrance.clone(), request);
        async move {
            let reset = |code: u32| h2::Error::from(h2::Reason::from(code));
            let response = answer.await.map_err(|severed| reset(severed.code))?;
            let broken = move |broken: super::body::Broken| reset(broken.code());
            Ok::<_, h2::Error>(response.map(|body| body.on(flow).map_err(broken)))
        }
    });
    let mut http = Box::pin(
        http2::Builder::new(streams.clone())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_send_buf_size(BUFFERED)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(1024)
            .serve_connection(TokioIo::new(io), service),
    );
    let mut finishing = false;
    let ended = poll_fn(|context| {
        if !finishing && conn.ordered(context) == Order::Finish {
            finishing = true;
            http.as_mut().graceful_shutdown();
        }
        http.as_mut().poll(context)
    });
    let abuse = ended.await.is_err_and(|error| is_abuse(&error));
    drop(http);
    if abuse {
        worker.stage().books.refused(worker.id, "malformed");
    }
    if abuse || conn.lingers() {
        Box::pin(linger(&worker, Rest::of(&conn))).await;
    }
}

/// The peer broke the protocol, or asked for too much: the connection was ended on it.
fn is_abuse(error: &hyper::Error) -> bool {
    use std::error::Error;
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(h2::Error::is_library)
}
