//! Reading from a service: in large pieces, as long as few callers are slow. A piece that was read
//! lies in memory until its caller has taken it, two or three to a caller; so where many are slow, services
//! are read in small pieces, and hyper makes its buffers smaller with them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::sweep::Sweep;

/// So many slow callers of a worker may have large pieces: 256 times three of 64 KiB are 48 MiB.
const MANY: usize = 256;
/// What hyper begins with, and never goes below.
const SMALL: u64 = 8 * 1024;

#[derive(Debug)]
pub struct Sips<I> {
    io: I,
    /// Slow callers of this worker. Atomic since hyper wants what it reads from to be `Send`.
    slow: Arc<AtomicUsize>,
}

impl<I> Sips<I> {
    pub fn of(io: I, sweep: &Sweep) -> Self {
        Self { io, slow: Arc::clone(sweep.blocked()) }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Sips<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let many = self.slow.load(Ordering::Relaxed) > MANY;
        let io = &mut self.io;
        if many {
            Pin::new(&mut io.take(SMALL)).poll_read(context, buffer)
        } else {
            Pin::new(io).poll_read(context, buffer)
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Sips<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
