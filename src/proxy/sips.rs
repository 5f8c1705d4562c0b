//! Reading from a service: in large pieces, as long as few callers are slow. A piece that was read
//! lies in memory until its caller has taken it, two or three to a caller; so where many are slow,
//! services are read in small pieces, and hyper makes its buffers smaller with them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::sweep::Sweep;
use super::through::{Reading, Through};

/// So many slow callers of a worker may have large pieces: 256 times three of 64 KiB are 48 MiB.
const MANY: usize = 256;
/// What hyper begins with, and never goes below.
const SMALL: u64 = 8 * 1024;

pub type Sips<I> = Through<I, Governed>;

/// Slow callers of this worker. Atomic since hyper wants what it reads from to be `Send`.
#[derive(Debug)]
pub struct Governed(Arc<AtomicUsize>);

impl<I> Sips<I> {
    pub fn of(io: I, sweep: &Sweep) -> Self {
        Self { io, reading: Governed(Arc::clone(sweep.blocked())) }
    }
}

impl Reading for Governed {
    fn poll_read<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.load(Ordering::Relaxed) > MANY {
            Pin::new(&mut io.take(SMALL)).poll_read(context, buffer)
        } else {
            Pin::new(io).poll_read(context, buffer)
        }
    }
}
