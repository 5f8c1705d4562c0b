//! One client connection, shared by the IO side (hyper reads and writes through it) and the
//! requests on it, which need to know whether the client is still there and how to cut it off.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

#[derive(Debug)]
pub struct Conn {
    /// Kept for its reference to the socket; always there until the drop.
    socket: Option<OwnedWriteHalf>,
    pub peer: Option<SocketAddr>,
    reset: Cell<bool>,
    begun: Cell<bool>,
}

/// What hyper reads from and writes to.
#[derive(Debug)]
pub struct Socket {
    read: OwnedReadHalf,
    conn: Rc<Conn>,
}

impl Conn {
    pub fn open(stream: TcpStream) -> (Rc<Self>, Socket) {
        let peer = stream.peer_addr().ok();
        let (read, write) = stream.into_split();
        let conn = Rc::new(Self {
            socket: Some(write),
            peer,
            reset: Cell::new(false),
            begun: Cell::new(false),
        });
        (Rc::clone(&conn), Socket { read, conn })
    }

    /// Returns when the client has closed its side; reads nothing. A client that half-closes and
    /// still waits for an answer is taken for gone, as nginx and HAProxy do.
    pub async fn client_gone(&self) {
        match &self.socket {
            Some(socket) => crate::os::peer_closed(socket.as_ref()).await,
            None => std::future::pending().await,
        }
    }

    /// A request has arrived on it.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// From now on, closing this connection sends RST instead of FIN.
    pub fn reset_on_close(&self) {
        self.reset.set(true);
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            if self.reset.get() {
                // Fails only when the socket is dead already.
                let _ = socket.as_ref().set_zero_linger();
            }
            // The half's own drop would send FIN first; closing the descriptor is enough.
            socket.forget();
        }
    }
}

impl Socket {
    fn stream(&self) -> &TcpStream {
        self.read.as_ref()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream().poll_write_ready(context))?;
            match self.stream().try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream().poll_write_ready(context))?;
            match self.stream().try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn.reset.get() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(socket2::SockRef::from(self.stream()).shutdown(std::net::Shutdown::Write))
    }
}
