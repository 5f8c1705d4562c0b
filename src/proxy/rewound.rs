//! A connection of which something has been read already: whoever reads next reads it first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub struct Rewound<I> {
    early: Bytes,
    io: I,
}

impl<I> Rewound<I> {
    pub fn new(early: Bytes, io: I) -> Self {
        Self { early, io }
    }

    /// The same, with something more to be read first.
    #[must_use]
    pub fn again(self, early: Bytes) -> Self {
        debug_assert!(self.early.is_empty(), "whoever has read more has read that");
        Self { early, ..self }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.early.is_empty() {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let taken = this.early.len().min(buffer.remaining());
        buffer.put_slice(&this.early[..taken]);
        this.early.advance(taken);
        // And what has come since, in one piece: after a short read hyper would double its buffer.
        if buffer.remaining() > 0
            && let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(context, buffer)
        {
            return Poll::Ready(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
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
