//! Listening: exclusive sockets, and the acceptor that hands connections to the least loaded
//! worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use super::worker::Accepted;
use crate::plan::ServiceId;

/// Binds an address that nobody else listens on. No SO_REUSEPORT: with it, a second instance would
/// silently take half of the connections.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart need not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

/// Accepts until draining begins, then empties the kernel's queue and closes the listener, so that
/// every connection the kernel had accepted is served.
pub async fn accept(
    listener: TcpListener,
    only: Option<ServiceId>,
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Accepted>>,
    room: Arc<Semaphore>,
) {
    let mut draining = shared.draining.clone();
    loop {
        // Beyond the limit, callers wait in the kernel's queue instead of failing later for want
        // of a descriptor.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors or memory: wait for some to come back rather than spin.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let least = shared
            .load
            .iter()
            .map(|load| load.load(Ordering::Relaxed))
            .enumerate()
            .min_by_key(|(_, load)| *load);
        let Some((worker, _)) = least else { return };
        if workers[worker].send(Accepted { stream, only, permit }).await.is_err() {
            return;
        }
    }
}
