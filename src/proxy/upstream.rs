//! Towards the service: a pool per worker over hyper's connection API.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::body::{Payload, RequestBody};
use super::connect::{self, Names, Trouble};
use super::sips::Sips;
use super::sweep::Sweep;
use super::tls;
use crate::plan::tls::ServiceTls;
use crate::plan::{Safety, Service, ServiceId};

/// Idle connections are left after this long: below the keep-alive of common servers (Node's is
/// 5 s), so that a request seldom meets a connection the server is closing.
const IDLE: Duration = Duration::from_secs(4);
/// A connection is not asked again when it is older: where a service's name has come to stand for
/// other addresses, its old ones would be asked for as long as they answer.
const LIFE: Duration = Duration::from_secs(30);
/// Idle connections kept per service and worker.
const KEPT: usize = 1024;
/// Streams on one HTTP/2 connection before another is opened.
const STREAMS: usize = 100;
/// Read from a service ahead of what its caller has taken.
const BUFFERED: usize = 64 * 1024;
/// The same for one HTTP/2 stream. All of a connection's have room at once, so that slow callers do
/// not take it from the others.
const WINDOW: u32 = 64 * 1024;

#[derive(Debug)]
pub struct Pool {
    sweep: Rc<Sweep>,
    /// Addresses this process listens on.
    own: Box<[SocketAddr]>,
    names: Names,
    tls: tls::Services,
    /// By service; the URL tells when a reload gave the id to another.
    services: RefCell<Vec<Idlers>>,
}

/// A service's URL.
type Owner = Rc<str>;

#[derive(Debug)]
struct Idlers {
    /// Whose connections these are: another `Rc` with every service that has had the id.
    owner: Owner,
    idle: Vec<Idle>,
    shared: Vec<Multiplexed>,
}

impl Idlers {
    fn nobodys() -> Self {
        Self { owner: "".into(), idle: Vec::new(), shared: Vec::new() }
    }
}

/// The task that drives a connection. Dropping this ends the connection at once: hyper would go on
/// sending the request of somebody who has left.
#[derive(Debug)]
struct Line(tokio::task::AbortHandle);

impl Line {
    fn open(connection: impl Future<Output = hyper::Result<()>> + 'static) -> Self {
        let task = tokio::task::spawn_local(async move {
            // What goes wrong here reaches the request that uses the connection.
            let _ = connection.await;
        });
        Self(task.abort_handle())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
struct Alone {
    sender: http1::SendRequest<RequestBody>,
    opened: Instant,
    _line: Line,
}

#[derive(Debug)]
struct Idle {
    alone: Alone,
    peer: IpAddr,
    since: Instant,
}

/// An HTTP/2 connection, used by many at once.
#[derive(Debug, Clone)]
struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    peer: IpAddr,
    streams: Rc<Cell<usize>>,
    opened: Instant,
    since: Instant,
    line: Rc<Line>,
}

/// A connection in use; given back when the answer has ended.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    service: ServiceId,
    peer: IpAddr,
    owner: Owner,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Alone(Alone),
    /// The connection lives for as long as any of its streams.
    Stream {
        _stream: Stream,
        _line: Rc<Line>,
    },
}

/// One stream of a shared connection, counted until dropped.
#[derive(Debug)]
struct Stream(Rc<Cell<usize>>);

impl Stream {
    fn of(streams: &Rc<Cell<usize>>) -> Self {
        streams.set(streams.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A request without an answer; `unsent`: the service saw nothing of it.
#[derive(Debug)]
pub struct Unanswered {
    pub trouble: Trouble,
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl Unanswered {
    fn unsent(trouble: Trouble, request: Request<RequestBody>) -> Self {
        Self { trouble, unsent: Some(Box::new(request)) }
    }
}

impl From<hyper::Error> for Unanswered {
    fn from(error: hyper::Error) -> Self {
        Self { trouble: Trouble::Exchange(error), unsent: None }
    }
}

impl Lease {
    /// The address it is connected to lies in a network that must never be faulted.
    pub fn reached_never(&self, safety: &Safety) -> bool {
        safety.is_never(self.peer)
    }

    pub fn give_back(self) {
        let Kind::Alone(alone) = self.kind else { return };
        if alone.sender.is_closed() {
            return;
        }
        let now = crate::clock::now();
        if now.saturating_duration_since(alone.opened) > LIFE {
            return;
        }
        let mut services = self.pool.services.borrow_mut();
        if let Some(idlers) = services.get_mut(usize::from(self.service))
            // A reload may have given the id to another service.
            && Rc::ptr_eq(&idlers.owner, &self.owner)
            && idlers.idle.len() < KEPT
        {
            idlers.idle.push(Idle { alone, peer: self.peer, since: now });
        }
    }
}

/// What a request asks of its way to the service.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub connect: Duration,
    pub h2: bool,
}

impl Pool {
    pub fn new(sweep: &Rc<Sweep>, own: &[SocketAddr]) -> Self {
        Self {
            sweep: Rc::clone(sweep),
            own: own.into(),
            names: Names::default(),
            tls: tls::Services::default(),
            services: RefCell::default(),
        }
    }

    /// Sends a request on a pooled connection or a new one. What a connection took but never began
    /// to send is sent again; and so is, once and on a new connection, what may be repeated without
    /// harm when a pooled connection turns out to have been closed (RFC 9110 9.2.2, 9112 9.3.1).
    pub async fn send(
        self: &Rc<Self>,
        (id, service): (ServiceId, &Service),
        way: Way,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        // What is rare is boxed, here and below: the future of every request is moved about, and
        // would carry the room for it.
        if way.h2 {
            return Box::pin(self.send_shared((id, service), way, request)).await;
        }
        // Known before anything is awaited: a reload may give the id to another service meanwhile,
        // and this connection must not become one of its own.
        let (mut owner, mut idle) = self.take_idle(id, service);
        while let Some(Idle { mut alone, peer, .. }) = idle {
            let spare = spare(&request);
            let mut failed = match alone.sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok((response, self.lease(id, owner, peer, Kind::Alone(alone))));
                }
                Err(failed) => failed,
            };
            match (failed.take_message(), spare) {
                (Some(unsent), _) => {
                    request = unsent;
                    (owner, idle) = self.take_idle(id, service);
                }
                (None, Some(spare)) if is_stale(failed.error()) => {
                    request = spare;
                    break;
                }
                (None, _) => return Err(failed.into_error().into()),
            }
        }
        let (mut alone, peer) = match Box::pin(self.open(id, service, way)).await {
            Ok(opened) => opened,
            Err(trouble) => return Err(Unanswered::unsent(trouble, request)),
        };
        let response = alone.sender.send_request(request).await?;
        Ok((response, self.lease(id, owner, peer, Kind::Alone(alone))))
    }

    async fn send_shared(
        self: &Rc<Self>,
        (id, service): (ServiceId, &Service),
        way: Way,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        let owner = self.owner(id, service);
        while let Some(mut known) = self.take_shared(id, service) {
            let stream = Stream::of(&known.streams);
            let spare = spare(&request);
            let mut failed = match known.sender.try_send_request(request).await {
                Ok(response) => {
                    let kind = Kind::Stream { _stream: stream, _line: known.line };
                    return Ok((response, self.lease(id, owner, known.peer, kind)));
                }
                Err(failed) => failed,
            };
            match (failed.take_message(), spare) {
                (Some(unsent), _) => request = unsent,
                (None, Some(spare)) if is_refused_stream(failed.error()) => request = spare,
                (None, _) => return Err(failed.into_error().into()),
            }
            self.forget(id, &known);
        }
        let mut opened = match Box::pin(self.open_shared(id, service, way)).await {
            Ok(opened) => opened,
            Err(trouble) => return Err(Unanswered::unsent(trouble, request)),
        };
        let stream = Stream::of(&opened.streams);
        let response = opened.sender.send_request(request).await?;
        let kind = Kind::Stream { _stream: stream, _line: opened.line };
        Ok((response, self.lease(id, owner, opened.peer, kind)))
    }

    /// Leaves the connections that have idled for too long, whoever's they were.
    pub fn look(&self) {
        let now = crate::clock::now();
        let old = |since: Instant| now.saturating_duration_since(since) > IDLE;
        for idlers in self.services.borrow_mut().iter_mut() {
            // The longest idle come first.
            let keep = idlers.idle.iter().position(|idle| !old(idle.since));
            idlers.idle.drain(..keep.unwrap_or(idlers.idle.len()));
            idlers.shared.retain(|known| known.streams.get() > 0 || !old(known.since));
        }
    }

    fn lease(self: &Rc<Self>, service: ServiceId, owner: Owner, peer: IpAddr, kind: Kind) -> Lease {
        Lease { pool: Rc::clone(self), service, peer, owner, kind }
    }

    fn owner(&self, id: ServiceId, service: &Service) -> Owner {
        self.with(id, service, |idlers| Rc::clone(&idlers.owner))
    }

    /// What is kept for a service; nothing, where a reload gave the id to another.
    fn with<T>(&self, id: ServiceId, service: &Service, see: impl FnOnce(&mut Idlers) -> T) -> T {
        let mut services = self.services.borrow_mut();
        if services.len() <= usize::from(id) {
            services.resize_with(usize::from(id) + 1, Idlers::nobodys);
        }
        let idlers = &mut services[usize::from(id)];
        if *idlers.owner != *service.url {
            *idlers = Idlers { owner: service.url.as_str().into(), ..Idlers::nobodys() };
        }
        see(idlers)
    }

    /// Whose connections they are, and the idle one used last that is fit for use.
    fn take_idle(&self, id: ServiceId, service: &Service) -> (Owner, Option<Idle>) {
        let now = crate::clock::now();
        let idle = |idlers: &mut Idlers| {
            let mut at = idlers.idle.len();
            while at > 0 {
                at -= 1;
                let Idle { alone: Alone { sender, .. }, since, .. } = &idlers.idle[at];
                if now.saturating_duration_since(*since) > IDLE {
                    // All below have idled longer still.
                    idlers.idle.drain(..=at);
                    return None;
                }
                if sender.is_closed() {
                    idlers.idle.remove(at);
                } else if sender.is_ready() {
                    return Some(idlers.idle.remove(at));
                }
            }
            None
        };
        self.with(id, service, |idlers| (Rc::clone(&idlers.owner), idle(idlers)))
    }

    /// The oldest shared connection with room; those that nobody needs any more are left.
    fn take_shared(&self, id: ServiceId, service: &Service) -> Option<Multiplexed> {
        let now = crate::clock::now();
        self.with(id, service, |idlers| {
            idlers.shared.retain(|known| {
                let idle =
                    known.streams.get() == 0 && now.saturating_duration_since(known.since) > IDLE;
                !idle && !known.sender.is_closed()
            });
            let found = idlers.shared.iter_mut().find(|known| {
                known.streams.get() < STREAMS
                    && now.saturating_duration_since(known.opened) <= LIFE
                    && known.sender.is_ready()
            })?;
            found.since = now;
            Some(found.clone())
        })
    }

    fn forget(&self, id: ServiceId, gone: &Multiplexed) {
        if let Some(idlers) = self.services.borrow_mut().get_mut(usize::from(id)) {
            idlers.shared.retain(|known| !Rc::ptr_eq(&known.streams, &gone.streams));
        }
    }

    /// TLS on top, in what is left of the time to connect.
    async fn secure(
        &self,
        id: usize,
        tls: &Arc<ServiceTls>,
        way: Way,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let watch = self.sweep.watch(way.connect);
        tokio::select! {
            biased;
            secured = self.tls.secure(id, tls, way.h2, stream) => secured,
            () = watch.over() => Err(Trouble::ConnectTimeout),
        }
    }

    async fn open(
        &self,
        id: ServiceId,
        service: &Service,
        way: Way,
    ) -> Result<(Alone, IpAddr), Trouble> {
        let at = (usize::from(id), service);
        let (stream, address) =
            connect::connect(&self.names, &self.sweep, &self.own, at, way.connect).await?;
        let alone = match &service.tls {
            None => alone(&self.sweep, stream).await?,
            Some(tls) => {
                let stream = self.secure(at.0, tls, way, stream).await?;
                alone(&self.sweep, stream).await?
            }
        };
        Ok((alone, address.ip()))
    }

    async fn open_shared(
        &self,
        id: ServiceId,
        service: &Service,
        way: Way,
    ) -> Result<Multiplexed, Trouble> {
        let at = (usize::from(id), service);
        let (stream, address) =
            connect::connect(&self.names, &self.sweep, &self.own, at, way.connect).await?;
        let (sender, line) = match &service.tls {
            None => multiplexed(stream).await?,
            Some(tls) => multiplexed(self.secure(at.0, tls, way, stream).await?).await?,
        };
        let now = crate::clock::now();
        let opened = Multiplexed {
            sender,
            peer: address.ip(),
            streams: Rc::default(),
            opened: now,
            since: now,
            line: Rc::new(line),
        };
        self.with(id, service, |idlers| idlers.shared.push(opened.clone()));
        Ok(opened)
    }
}

async fn alone<I>(sweep: &Sweep, io: I) -> Result<Alone, Trouble>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFERED)
        .handshake(TokioIo::new(Sips::of(io, sweep)))
        .await
        .map_err(Trouble::Exchange)?;
    let opened = crate::clock::now();
    Ok(Alone { sender, opened, _line: Line::open(connection.with_upgrades()) })
}

async fn multiplexed<I>(io: I) -> Result<(http2::SendRequest<RequestBody>, Line), Trouble>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(Local)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * STREAMS as u32)
        .max_send_buf_size(BUFFERED)
        .handshake(TokioIo::new(io))
        .await
        .map_err(Trouble::Exchange)?;
    Ok((sender, Line::open(connection)))
}

/// A copy of a request that may be repeated without harm and has no body.
fn spare(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let harmless = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    if !harmless || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::new(Payload::Empty, None, None));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The connection had ended before an answer began.
fn is_stale(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || connect::is_reset(error)
}

/// The peer says it did nothing with the request (RFC 9113 8.7), or had gone away.
fn is_refused_stream(error: &hyper::Error) -> bool {
    use std::error::Error;
    let reason = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    reason.is_some_and(|error| {
        error.is_go_away() || error.is_io() || error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// Runs HTTP/2's own tasks on this worker.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
