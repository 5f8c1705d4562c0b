//! A connection of which something has been read already: whoever reads next reads it first.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::conn::Conn;
use super::through::{Reading, Through};

pub type Rewound<I> = Through<I, Early>;

/// What has been read already, and the HTTP/1 connection whose heads are looked at.
#[derive(Debug)]
pub struct Early {
    bytes: Bytes,
    heads_of: Option<Rc<Conn>>,
}

impl<I> Rewound<I> {
    pub fn new(bytes: Bytes, io: I) -> Self {
        Self { io, reading: Early { bytes, heads_of: None } }
    }

    /// For hyper, which is about to read requests of HTTP/1 from it.
    #[must_use]
    pub fn of(self, conn: &Rc<Conn>) -> Self {
        // Too few to be refused for what they are.
        conn.sees(&self.reading.bytes);
        Self { reading: Early { heads_of: Some(Rc::clone(conn)), ..self.reading }, ..self }
    }

    /// The same, with something more to be read first.
    #[must_use]
    pub fn again(self, bytes: Bytes) -> Self {
        debug_assert!(self.reading.bytes.is_empty(), "whoever has read more has read that");
        Self { reading: Early { bytes, ..self.reading }, ..self }
    }
}

impl Early {
    fn read<I: AsyncRead + Unpin>(
        &self,
        io: &mut I,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        from: usize,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(io).poll_read(context, buffer))?;
        if let Some(conn) = &self.heads_of
            && !conn.sees(&buffer.filled()[before..])
        {
            // As if it had come to its end: hyper has nothing to say to it.
            buffer.set_filled(from);
        }
        Poll::Ready(Ok(()))
    }
}

impl Reading for Early {
    fn poll_read<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = buffer.filled().len();
        if self.bytes.is_empty() {
            return self.read(io, context, buffer, from);
        }
        let taken = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes[..taken]);
        self.bytes.advance(taken);
        // And what has come since, in one piece: after a short read hyper would double its buffer.
        if buffer.remaining() > 0
            && let Poll::Ready(read) = self.read(io, context, buffer, from)
        {
            return Poll::Ready(read);
        }
        Poll::Ready(Ok(()))
    }
}
