//! The data path. One exclusive listener an address and one acceptor ([`listen`]); sockets go to
//! single-threaded workers ([`worker`]); a request's way from top to bottom is [`request`].

pub mod act;
pub mod body;
pub mod conn;
pub mod exchange;
pub mod headers;
pub mod listen;
pub mod request;
pub mod timer;
pub mod upstream;
pub mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::drill::Stage;
use crate::drill::control::Release;

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
    pub load: Box<[AtomicUsize]>,
    /// By service: it was reached at an address inside `[safety] never`.
    pub never: Box<[AtomicBool]>,
    /// Second zero of the one-second cells.
    pub epoch: Instant,
}
