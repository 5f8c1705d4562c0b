//! The handle that acts on the drill and publishes what follows from it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Stage;

/// Order to the workers: let every held request go, at this many a second over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Release {
    /// Grows with each order; 0: none yet.
    pub epoch: u64,
    pub per_second: f64,
}

#[derive(Debug)]
pub struct Control {
    pub stage: Arc<ArcSwap<Stage>>,
    pub release: watch::Sender<Release>,
}
