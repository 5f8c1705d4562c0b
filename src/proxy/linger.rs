//! Closing a connection whose client may still be sending.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::conn::Conn;
use super::inflow::LEFT_BYTES;
use super::worker::Worker;

/// What a caller that was refused may go on to send before the connection is closed on it.
const LINGER_BYTES: usize = LEFT_BYTES;
pub const LINGER: Duration = Duration::from_secs(1);

/// Reads on for a moment: closing a socket with unread bytes in it would destroy the answer.
pub async fn linger(worker: &Worker, mut io: impl AsyncRead + Unpin) {
    let watch = worker.sweep.watch(LINGER);
    let mut piece = [0; 4096];
    let mut left = LINGER_BYTES;
    let all = async {
        while let Ok(read @ 1..) = io.read(&mut piece).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = watch.over() => {}
    }
}

/// What a client still sends when whoever has read its connection so far is gone.
#[derive(Debug)]
pub struct Rest<'a>(Option<&'a TcpStream>);

impl<'a> Rest<'a> {
    pub fn of(conn: &'a Conn) -> Self {
        Self(conn.stream())
    }
}

impl AsyncRead for Rest<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = self.0 else { return Poll::Ready(Ok(())) };
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(|read| buffer.advance(read))),
            }
        }
    }
}
