//! The data path. One exclusive listener an address and one acceptor ([`listen`]); sockets go to
//! single-threaded workers ([`worker`]); a request's way from top to bottom is [`request`].

pub mod act;
pub mod admit;
pub mod body;
pub mod conn;
pub mod connect;
pub mod content;
pub mod copies;
pub mod cut;
pub mod exchange;
pub mod flow;
pub mod forwarded;
pub mod headers;
pub mod heads;
pub mod inflow;
pub mod linger;
pub mod listen;
pub mod open;
pub mod own;
pub mod piped;
pub mod prescription;
pub mod request;
pub mod rewound;
pub mod serve;
pub mod shape;
pub mod sips;
pub mod sweep;
pub mod through;
pub mod timer;
pub mod tls;
pub mod treatment;
pub mod tunnel;
pub mod upgrade;
pub mod upstream;
pub mod websocket;
pub mod worker;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;

use open::Open;

use crate::drill::Stage;
use crate::drill::control::Release;
use crate::plan::Service;

/// Index into [`Shared::own_ports`].
pub type OwnPort = u16;

/// Services that were reached at an address inside `[safety] never`, by their authority: a reload
/// that gives a service another address asks anew.
#[derive(Debug, Default)]
pub struct Never(Mutex<HashMap<String, Arc<AtomicBool>>>);

impl Never {
    /// The mark of one service. Looked up once a stage and worker, not by requests.
    pub fn of(&self, service: &Service) -> Arc<AtomicBool> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = known.entry(service.authority.clone()).or_default();
        if service.never {
            mark.store(true, Ordering::Relaxed);
        }
        Arc::clone(mark)
    }
}

/// What all workers share. Written by the control plane, or once per connection or held request.
#[derive(Debug)]
pub struct Shared {
    pub stage: Arc<ArcSwap<Stage>>,
    pub release: watch::Receiver<Release>,
    /// True: close idle connections, finish what runs, take nothing new.
    pub draining: watch::Receiver<bool>,
    /// Requests that faults hold, over all workers.
    pub held: Arc<AtomicUsize>,
    /// Connections open, by worker.
    pub load: Arc<[Open]>,
    /// The services that have ports of their own, by name: bound at the start.
    pub own_ports: Box<[Arc<str>]>,
    pub never: Never,
    /// Second zero of the one-second cells.
    pub epoch: Instant,
    /// Tells this process from other backburns on a request's way.
    pub instance: u64,
    /// Addresses this process listens on.
    pub own: Box<[SocketAddr]>,
    /// What callers are served with; `None`: plain HTTP.
    pub tls: Option<ArcSwap<ServerConfig>>,
}
