//! Towards the service: a keep-alive pool per worker over hyper's connection API.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;
use crate::plan::{Safety, Service, ServiceId};

/// Idle connections are left after this long: below the keep-alive of common servers (Node's is
/// 5 s), so that a request seldom meets a connection the server is closing.
const IDLE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections kept per service and worker.
const KEPT: usize = 1024;

#[derive(Debug, Default)]
pub struct Pool {
    /// By service; the authority tells when a reload gave the id to another.
    services: RefCell<Vec<Idlers>>,
}

#[derive(Debug, Default)]
struct Idlers {
    authority: String,
    /// Grows when the authority changes.
    generation: u64,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    peer: Option<IpAddr>,
    since: Instant,
}

/// A connection in use; given back when the answer has ended.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    service: ServiceId,
    sender: SendRequest<RequestBody>,
    peer: Option<IpAddr>,
    generation: u64,
}

/// Why there is no answer from the service.
#[derive(Debug)]
pub enum Trouble {
    /// No connection: refused, unreachable, no such host.
    Connect(std::io::Error),
    ConnectTimeout,
    /// The connection broke before the head of an answer.
    Exchange(hyper::Error),
}

/// A request without an answer; `unsent`: the service saw nothing of it.
#[derive(Debug)]
pub struct Unanswered {
    pub trouble: Trouble,
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, unsent: None }
    }
}

impl Trouble {
    /// As counted and as told in `x-backburn-error`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect(error) => match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection_refused",
                std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::NotFound => "no_address",
                _ => "connect_failed",
            },
            Self::ConnectTimeout => "connect_timeout",
            Self::Exchange(error) if error.is_parse() => "bad_answer",
            Self::Exchange(error) if error.is_incomplete_message() => "closed_early",
            Self::Exchange(_) => "connection_reset",
        }
    }
}

impl Lease {
    /// The address it is connected to lies in a network that must never be faulted.
    pub fn reached_never(&self, safety: &Safety) -> bool {
        self.peer.is_some_and(|peer| safety.is_never(peer))
    }

    pub fn give_back(self) {
        if !self.sender.is_closed() {
            let now = crate::clock::now();
            let mut services = self.pool.services.borrow_mut();
            if let Some(idlers) = services.get_mut(usize::from(self.service))
                // A reload may have given the id to another service.
                && idlers.generation == self.generation
                && idlers.idle.len() < KEPT
            {
                idlers.idle.push(Idle { sender: self.sender, peer: self.peer, since: now });
            }
        }
    }
}

impl Pool {
    /// Sends a request on an idle connection or a new one. A request that an idle connection took
    /// but never began to send is sent again; nothing else is.
    pub async fn send(
        self: &Rc<Self>,
        id: ServiceId,
        service: &Service,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        // Known before anything is awaited: a reload may give the id to another service meanwhile,
        // and this connection must not become one of its own.
        let mut generation = self.generation(id, service);
        while let Some(Idle { mut sender, peer, .. }) = self.take_idle(id) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.lease(id, generation, sender, peer))),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Trouble::Exchange(failed.into_error()).into()),
                },
            }
            generation = self.generation(id, service);
        }
        let (mut sender, peer) = match connect(service).await {
            Ok(connected) => connected,
            Err(trouble) => return Err(Unanswered { trouble, unsent: Some(Box::new(request)) }),
        };
        let response = sender.send_request(request).await.map_err(Trouble::Exchange)?;
        Ok((response, self.lease(id, generation, sender, peer)))
    }

    fn lease(
        self: &Rc<Self>,
        service: ServiceId,
        generation: u64,
        sender: SendRequest<RequestBody>,
        peer: Option<IpAddr>,
    ) -> Lease {
        Lease { pool: Rc::clone(self), service, sender, peer, generation }
    }

    /// Makes the id this service's; how often it has changed hands.
    fn generation(&self, id: ServiceId, service: &Service) -> u64 {
        let mut services = self.services.borrow_mut();
        if services.len() <= usize::from(id) {
            services.resize_with(usize::from(id) + 1, Idlers::default);
        }
        let idlers = &mut services[usize::from(id)];
        if idlers.authority != service.authority {
            service.authority.clone_into(&mut idlers.authority);
            idlers.generation += 1;
            idlers.idle.clear();
        }
        idlers.generation
    }

    /// The idle connection used last that is fit for use.
    fn take_idle(&self, id: ServiceId) -> Option<Idle> {
        let now = crate::clock::now();
        let mut services = self.services.borrow_mut();
        let idlers = services.get_mut(usize::from(id))?;
        let mut at = idlers.idle.len();
        while at > 0 {
            at -= 1;
            let Idle { sender, since, .. } = &idlers.idle[at];
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
    }
}

async fn connect(service: &Service) -> Result<(SendRequest<RequestBody>, Option<IpAddr>), Trouble> {
    let stream =
        tokio::time::timeout(CONNECT, TcpStream::connect((service.host.as_str(), service.port)))
            .await
            .map_err(|_| Trouble::ConnectTimeout)?
            .map_err(Trouble::Connect)?;
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    // Without it, small writes wait for the peer's delayed acknowledgement (40 ms).
    let _ = stream.set_nodelay(true);
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Trouble::Exchange)?;
    tokio::task::spawn_local(async move {
        // What goes wrong here reaches the request that uses the connection.
        let _ = connection.await;
    });
    Ok((sender, peer))
}
