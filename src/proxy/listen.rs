//! Listening: exclusive sockets, and the acceptor that hands connections to the least loaded
//! worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::worker::{Accepted, Counted};
use super::{OwnPort, Shared};

/// Connections the kernel queues for us.
const BACKLOG: u32 = 4096;

/// Binds an address that nobody else listens on. No SO_REUSEPORT: with it, a second instance would
/// silently take half of the connections.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart need not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until draining begins, then empties the kernel's queue and closes the listener, so that
/// every connection the kernel had accepted is served.
pub async fn accept(
    listener: TcpListener,
    port: Option<OwnPort>,
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Accepted>>,
    room: Arc<Semaphore>,
) {
    let mut draining = shared.draining.clone();
    loop {
        // Beyond the limit, callers wait in the kernel's queue instead of failing later for want
        // of a descriptor.
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((stream.into_std()?, permit))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        match accepted {
            Ok((stream, permit)) => {
                if hand_over(stream, port, permit, &shared, &workers).await.is_none() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors or memory: wait for some to come back rather than spin.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // The kernel's queue, as far as there is room; by the system call itself, since what the
    // runtime knows of readiness may be older than the last arrival.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { return };
        let Ok((stream, _)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        if hand_over(stream, port, permit, &shared, &workers).await.is_none() {
            return;
        }
    }
}

/// Gives a socket to the least loaded worker; `None`: there is none any more.
async fn hand_over(
    stream: std::net::TcpStream,
    port: Option<OwnPort>,
    permit: OwnedSemaphorePermit,
    shared: &Arc<Shared>,
    workers: &[mpsc::Sender<Accepted>],
) -> Option<()> {
    let loads = shared.load.iter().map(|load| load.load(Ordering::Relaxed));
    let (worker, _) = loads.enumerate().min_by_key(|(_, load)| *load)?;
    let counted = Counted::on(shared, worker);
    workers.get(worker)?.send(Accepted { stream, port, permit, counted }).await.ok()
}
