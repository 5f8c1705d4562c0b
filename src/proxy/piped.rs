//! What comes out of one end of a tunnel, late by as much as a fault asks: each piece by itself,
//! as on a longer way, not one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::timer::{Wait, Wake};
use super::worker::Worker;

/// Read at once.
const PIECE: usize = 8 * 1024;
/// On its way at the same time; then whoever sends is kept waiting, as by a full window.
const AHEAD: usize = 256 * 1024;

/// One end of a tunnel, read.
pub struct Piped {
    read: Box<dyn AsyncRead + Unpin>,
    worker: Rc<Worker>,
    delay: Duration,
    /// On its way, with when it arrives; an empty piece is the end.
    under_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    wait: Option<Wait>,
    piece: Box<[u8; PIECE]>,
    /// Nothing more is to be read.
    ended: bool,
    /// It ended with an error.
    pub broke: bool,
}

impl fmt::Debug for Piped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piped").field("delay", &self.delay).finish_non_exhaustive()
    }
}

impl Piped {
    pub fn new(
        worker: &Rc<Worker>,
        read: impl AsyncRead + Unpin + 'static,
        delay: Duration,
    ) -> Self {
        Self {
            read: Box::new(read),
            worker: Rc::clone(worker),
            delay,
            under_way: VecDeque::new(),
            bytes: 0,
            wait: None,
            piece: Box::new([0; PIECE]),
            ended: false,
            broke: false,
        }
    }

    /// From now on nothing is late.
    pub fn open(&mut self) {
        (self.delay, self.wait) = (Duration::ZERO, None);
    }

    /// The next piece; `None`: the end.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.worker.shared.stage.load().releasing {
            self.open();
        }
        self.read_ahead(context);
        loop {
            let Some(due) = self.under_way.front().map(|(due, _)| *due) else {
                return if self.ended { Poll::Ready(None) } else { Poll::Pending };
            };
            if self.delay.is_zero() || due <= crate::clock::now() {
                let piece = self.under_way.pop_front().map(|(_, piece)| piece).unwrap_or_default();
                self.bytes -= piece.len();
                return Poll::Ready((!piece.is_empty()).then_some(piece));
            }
            let wait = self.wait.get_or_insert_with(|| self.worker.timer.wait_until(due));
            let wake = ready!(Pin::new(wait).poll(context));
            self.wait = None;
            if wake == Wake::Released {
                self.open();
            }
        }
    }

    fn read_ahead(&mut self, context: &mut Context<'_>) {
        while !self.ended && self.bytes < AHEAD {
            let mut buffer = ReadBuf::new(&mut self.piece[..]);
            let Poll::Ready(read) = Pin::new(&mut self.read).poll_read(context, &mut buffer) else {
                return;
            };
            let piece = Bytes::copy_from_slice(buffer.filled());
            self.broke = read.is_err();
            self.ended = self.broke || piece.is_empty();
            self.bytes += piece.len();
            let now = crate::clock::now();
            self.under_way.push_back((now.checked_add(self.delay).unwrap_or(now), piece));
        }
    }

    /// Nothing more comes.
    pub fn is_end(&self) -> bool {
        self.ended && self.under_way.is_empty()
    }
}
