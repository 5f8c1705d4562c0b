//! Listening: exclusive sockets, and the acceptor that hands connections to the least loaded
//! worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::open::Open;
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
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                    turn_away(stream, &shared, &turned_away);
                    continue;
                };
                let Ok(stream) = stream.into_std() else { continue };
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

/// Beyond the limit on connections: says so, and closes. The answer lies in the kernel's buffer, and
/// is lost if the request is left unread; so a few are read for a moment, and the rest only closed.
fn turn_away(stream: tokio::net::TcpStream, shared: &Arc<Shared>, room: &Arc<Semaphore>) {
    shared.stage.load().books.turned_away();
    let Ok(permit) = Arc::clone(room).try_acquire_owned() else { return };
    let _ = stream.try_write(FULL);
    let read = async move {
        let _permit = permit;
        let mut stream = stream;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        let mut piece = [0; 1024];
        while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut piece).await {}
    };
    tokio::spawn(tokio::time::timeout(Duration::from_millis(500), read));
}

/// Those turned away that are told why at any one time, out of the descriptors kept back.
const TURNED_AWAY: usize = 16;
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nx-backburn-error: connections\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// Gives a socket to the least loaded worker; `None`: there is none any more.
async fn hand_over(
    stream: std::net::TcpStream,
    port: Option<OwnPort>,
    permit: OwnedSemaphorePermit,
    shared: &Arc<Shared>,
    workers: &[mpsc::Sender<Accepted>],
) -> Option<()> {
    let loads = shared.load.iter().map(Open::all);
    let (worker, _) = loads.enumerate().min_by_key(|(_, load)| *load)?;
    let counted = Counted::on(shared, worker);
    workers.get(worker)?.send(Accepted { stream, port, permit, counted }).await.ok()
}

/// Whether an address is one of those this process itself listens on.
pub fn is_own(own: &[SocketAddr], address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    own.iter().any(|bound| {
        let bound_ip = bound.ip().to_canonical();
        bound.port() == address.port()
            && (bound_ip == ip
                || ip.is_unspecified()
                || (bound_ip.is_unspecified() && ip.is_loopback()))
    })
}
