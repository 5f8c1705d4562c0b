//! A connection of which something has been read already: whoever reads next reads it first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::through::{Reading, Through};

pub type Rewound<I> = Through<I, Early>;

/// What has been read already.
#[derive(Debug)]
pub struct Early(Bytes);

impl<I> Rewound<I> {
    pub fn new(early: Bytes, io: I) -> Self {
        Self { io, reading: Early(early) }
    }

    /// The same, with something more to be read first.
    #[must_use]
    pub fn again(self, early: Bytes) -> Self {
        debug_assert!(self.reading.0.is_empty(), "whoever has read more has read that");
        Self { reading: Early(early), ..self }
    }
}

impl Reading for Early {
    fn poll_read<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(early) = self;
        if early.is_empty() {
            return Pin::new(io).poll_read(context, buffer);
        }
        let taken = early.len().min(buffer.remaining());
        buffer.put_slice(&early[..taken]);
        early.advance(taken);
        // And what has come since, in one piece: after a short read hyper would double its buffer.
        if buffer.remaining() > 0
            && let Poll::Ready(read) = Pin::new(io).poll_read(context, buffer)
        {
            return Poll::Ready(read);
        }
        Poll::Ready(Ok(()))
    }
}
