//! What follows an upgrade: bytes both ways, as late, slow and short as the faults ask that struck
//! the handshake. It was counted with its head; what ends it later is a second fact.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, WriteHalf};

use super::act::{self, Held, Place};
use super::body::Payload;
use super::conn::Conn;
use super::cut::Carried;
use super::exchange::Exchange;
use super::linger::LINGER;
use super::piped::Piped;
use super::prescription::{Deed, Prescription};
use super::shape::{Shaped, Shaper};
use super::upstream::Lease;
use super::websocket::{self, Frames};
use super::worker::Worker;
use crate::fault::{Codes, How};
use crate::sli::End;
use crate::sli::ledger::Skip;

/// A tunnel about to be dug: the service's end of it, and the exchange, in progress until its end.
#[derive(Debug)]
pub struct Tunnel {
    pub upstream: hyper::upgrade::OnUpgrade,
    pub exchange: Exchange,
    /// Until the service's end is out of HTTP.
    pub lease: Lease,
    pub is_websocket: bool,
    /// What struck the handshake.
    pub faults: Option<Box<Prescription>>,
}

/// Carries bytes both ways until both sides are done, or either breaks off. `early`: what the
/// caller said before it had the answer.
pub async fn run<I>(worker: &Rc<Worker>, conn: &Conn, client: I, early: Bytes, tunnel: Tunnel)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Tunnel { upstream, mut exchange, lease, is_websocket, faults } = tunnel;
    let Ok(upstream) = upstream.await else { return exchange.finish(End::Cut) };
    drop(lease);
    let upstream: TokioIo<Upgraded> = TokioIo::new(upstream);
    let end = match faults.filter(|faults| faults.reaches_tunnels()) {
        None => untouched(client, early, upstream).await,
        Some(mut faults) => {
            exchange.active = std::mem::take(&mut faults.active);
            let carried = if is_websocket { Carried::WebSocket } else { Carried::Tunnel };
            let passage = Passage { worker, conn, exchange: &exchange, carried };
            passage.treated(client, early, upstream, &faults).await
        }
    };
    exchange.finish(end);
}

/// No fault has anything to do with it.
async fn untouched<I>(mut client: I, early: Bytes, upstream: TokioIo<Upgraded>) -> End
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut upstream = Watched { io: upstream, broke: Cell::new(false) };
    if !early.is_empty() && upstream.write_all(&early).await.is_err() {
        return End::Cut;
    }
    let copied = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    match copied {
        Ok(_) => End::Complete,
        Err(_) if upstream.broke.get() => End::Cut,
        Err(_) => End::Abandoned { while_held: false },
    }
}

/// The way of one tunnel.
#[derive(Clone, Copy)]
struct Passage<'a> {
    worker: &'a Rc<Worker>,
    conn: &'a Conn,
    exchange: &'a Exchange,
    carried: Carried,
}

/// One direction: what comes, and what becomes of it.
struct Stream {
    source: Payload,
    shaper: Option<Box<Shaper>>,
}

impl Stream {
    fn new(
        passage: &Passage<'_>,
        read: impl AsyncRead + Unpin + 'static,
        delay: Duration,
        shaper: Option<Box<Shaper>>,
    ) -> Self {
        let source = Payload::Piped(Box::new(Piped::new(passage.worker, read, delay)));
        Self { source, shaper }
    }

    async fn next(&mut self) -> Shaped {
        poll_fn(|context| match &mut self.shaper {
            Some(shaper) => shaper.poll(context, &mut self.source, None),
            None => self.source.poll(context).map(|polled| match polled {
                Some(Ok(frame)) => Shaped::Frame(frame),
                Some(Err(error)) => Shaped::Failed(error),
                None => Shaped::End,
            }),
        })
        .await
    }

    /// As if no fault had hit it.
    fn open(&mut self) {
        if let Some(shaper) = &mut self.shaper {
            shaper.open();
        }
        if let Payload::Piped(piped) = &mut self.source {
            piped.open();
        }
    }

    /// It ended with an error.
    fn broke(&self) -> bool {
        matches!(&self.source, Payload::Piped(piped) if piped.broke)
    }
}

impl Passage<'_> {
    async fn treated<I>(
        self,
        client: I,
        early: Bytes,
        upstream: TokioIo<Upgraded>,
        faults: &Prescription,
    ) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let shaper = |changes| Shaper::new(self.worker, self.exchange, changes, self.carried);
        let (from_client, mut to_client) = tokio::io::split(client);
        let (from_service, mut to_service) = tokio::io::split(upstream);
        let from_client = io::Cursor::new(early).chain(from_client);
        let mut up = Stream::new(&self, from_client, faults.delay, shaper(&faults.upload));
        let mut down = Stream::new(&self, from_service, faults.late_by(), shaper(&faults.download));
        let (end, lingers) = {
            let mut uploading = pin!(self.up(&mut up, &mut to_service));
            let downloading = self.down(&mut down, &mut to_client);
            let mut downloading = pin!(downloading);
            let mut uploaded = false;
            let end = loop {
                tokio::select! {
                    biased;
                    end = &mut downloading => break end,
                    end = &mut uploading, if !uploaded => {
                        if end != End::Complete {
                            return end;
                        }
                        uploaded = true;
                    }
                }
            };
            // The service is done; the caller may go on.
            if end.0 == End::Complete && !uploaded {
                return uploading.await;
            }
            end
        };
        if lingers {
            // With unread bytes the kernel would send RST where FIN was asked for.
            up.open();
            let watch = self.worker.sweep.watch(LINGER);
            let rest = async { while let Shaped::Frame(_) = up.next().await {} };
            tokio::select! {
                () = rest => {}
                () = watch.over() => {}
            }
        }
        end
    }

    /// From the caller to the service.
    async fn up(&self, from: &mut Stream, to: &mut WriteHalf<TokioIo<Upgraded>>) -> End {
        while let Shaped::Frame(frame) = from.next().await {
            let Ok(data) = frame.into_data() else { continue };
            if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
                return End::Cut;
            }
        }
        if from.broke() {
            return End::Abandoned { while_held: false };
        }
        let _ = to.shutdown().await;
        End::Complete
    }

    /// From the service to the caller, until it ends or is cut off; and whether the caller may
    /// still be sending to an end that is closed.
    async fn down<I>(&self, from: &mut Stream, to: &mut WriteHalf<I>) -> (End, bool)
    where
        I: AsyncWrite,
    {
        let mut frames = (self.carried == Carried::WebSocket).then(Frames::default);
        let gone = (End::Abandoned { while_held: false }, false);
        loop {
            let (deed, how, codes) = match from.next().await {
                Shaped::Frame(frame) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Some(frames) = &mut frames {
                        frames.pass(&data);
                    }
                    if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
                        return gone;
                    }
                    continue;
                }
                Shaped::Cut { deed, how, codes } => (deed, how, codes),
                Shaped::End | Shaped::Failed(_) if from.broke() => return (End::Cut, false),
                Shaped::End | Shaped::Failed(_) => {
                    let _ = to.shutdown().await;
                    return (End::Complete, false);
                }
            };
            if let How::Hang { cap } = how {
                match self.hang(deed, cap).await {
                    Held::Released => from.open(),
                    Held::Elapsed => {
                        let _ = to.shutdown().await;
                        return (End::Destroyed, true);
                    }
                    Held::Gone => return (End::Destroyed, false),
                }
                continue;
            }
            self.exchange.injected(deed);
            if let (Codes { close: Some(code), .. }, Some(frames)) = (codes, frames) {
                let _ = say_goodbye(from, to, frames, code).await;
            }
            self.conn.close_with(how);
            match how {
                How::Garbage => self.conn.spoil(),
                How::Reset => return (End::Destroyed, false),
                How::Close | How::Hang { .. } => {
                    let _ = to.shutdown().await;
                }
            }
            return (End::Destroyed, true);
        }
    }

    async fn hang(&self, deed: Deed, cap: Duration) -> Held {
        let (books, proxy) = (&self.exchange.stage.books, &self.exchange.stage.plan.proxy);
        let Some(_place) = Place::take(&self.worker.shared.held, proxy.max_held) else {
            books.skipped(self.worker.id, deed.fault, Skip::MaxHeld);
            return Held::Released;
        };
        self.exchange.injected(deed);
        let now = crate::clock::now();
        act::silence(self.worker, self.conn, now.checked_add(cap).unwrap_or(now)).await
    }
}

/// Sends the frame under way to its end, and a Close frame after it.
async fn say_goodbye<I: AsyncWrite>(
    from: &mut Stream,
    to: &mut WriteHalf<I>,
    mut frames: Frames,
    code: u16,
) -> io::Result<()> {
    from.open();
    while !frames.is_between() {
        let Shaped::Frame(frame) = from.next().await else { return Ok(()) };
        let Ok(data) = frame.into_data() else { continue };
        let upto = frames.next(&data).map_or(data.len(), |ended| ended.at);
        to.write_all(&data[..upto]).await?;
    }
    to.write_all(&websocket::close(code)).await?;
    to.flush().await
}

/// The service's end, and whether it was the one that broke.
struct Watched {
    io: TokioIo<Upgraded>,
    broke: Cell<bool>,
}

impl Watched {
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &polled {
            self.broke.set(true);
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        self.note(polled)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
