//! One client connection, shared by the IO side (hyper reads and writes through it) and the
//! requests on it, which need to know whether the client is still there and how to cut it off.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::fault::How;

#[derive(Debug)]
pub struct Conn {
    /// Kept for its reference to the socket; always there until the drop.
    socket: Option<OwnedWriteHalf>,
    pub peer: Option<SocketAddr>,
    begun: Cell<bool>,
    /// From now on closing sends RST instead of FIN.
    reset: Cell<bool>,
    /// From now on closing sends bytes first that are no HTTP.
    garbage: Cell<bool>,
    /// How often everything written so far had reached the kernel while somebody waited for it.
    flushes: Cell<u64>,
    flushing: RefCell<Vec<Waker>>,
}

/// No HTTP of any version, on purpose.
const GARBAGE: &[u8] = b"\x00\xff\xfebackburn garbage\x00\xff\xfe\r\n\r\n";

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
            begun: Cell::new(false),
            reset: Cell::new(false),
            garbage: Cell::new(false),
            flushes: Cell::new(0),
            flushing: RefCell::default(),
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

    /// How the connection is closed, whenever that is.
    pub fn close_with(&self, how: How) {
        match how {
            How::Reset => self.reset.set(true),
            How::Garbage => self.garbage.set(true),
            How::Close | How::Hang { .. } => {}
        }
    }

    /// Ready when all that was handed to hyper before the first call has reached the kernel: an
    /// error from a body makes hyper drop what it still holds.
    pub fn poll_flushed(&self, ticket: &mut Option<u64>, context: &mut Context<'_>) -> Poll<()> {
        let flushes = self.flushes.get();
        if ticket.is_some_and(|ticket| ticket < flushes) {
            return Poll::Ready(());
        }
        *ticket = Some(flushes);
        let mut waiting = self.flushing.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn flushed(&self) {
        let waiting = self.flushing.take();
        if !waiting.is_empty() {
            self.flushes.set(self.flushes.get() + 1);
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            if self.reset.get() {
                // Fails only when the socket is dead already.
                let _ = socket.as_ref().set_zero_linger();
            }
            if self.garbage.get() {
                let _ = socket.as_ref().try_write(GARBAGE);
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
        self.conn.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The drop does it.
        if self.conn.reset.get() || self.conn.garbage.get() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(socket2::SockRef::from(self.stream()).shutdown(std::net::Shutdown::Write))
    }
}
