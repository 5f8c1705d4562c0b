//! One client connection, shared by the IO side (hyper reads and writes through it), the requests
//! on it, which need to know whether the client is still there and how to cut it off, and the
//! sweep, which cuts what has stopped moving.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderValue;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::AbortHandle;

use super::admit::Refusal;
use super::heads::Heads;
use super::sweep::{Patience, Sweep, Tick};
use crate::fault::How;

/// How an HTTP/2 connection begins (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub struct Conn {
    /// Kept for its reference to the socket; always there until the drop.
    socket: Option<OwnedWriteHalf>,
    pub peer: Option<SocketAddr>,
    peer_text: OnceCell<Option<HeaderValue>>,
    flags: Flags,
    /// How often everything written so far had reached the kernel while somebody waited for it.
    flushes: Cell<u64>,
    flushing: RefCell<Vec<Waker>>,
    progress: Progress,
    order: Cell<Order>,
    /// Of HTTP/1: what the bytes say beside what hyper makes of them.
    heads: RefCell<Heads>,
    /// Heads that hyper has handed on.
    handed: Cell<u32>,
    /// Why a head was kept from hyper.
    refused: Cell<Option<Refusal>>,
    /// Reads on what is left of a body whose answer is out.
    reading_on: RefCell<Option<AbortHandle>>,
    /// Of the connection's own task.
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Flags {
    /// From now on closing sends RST instead of FIN.
    reset: Cell<bool>,
    /// From now on closing sends bytes first that are no HTTP.
    garbage: Cell<bool>,
    begun: Cell<bool>,
    secure: Cell<bool>,
    multiplexed: Cell<bool>,
    tunnel: Cell<bool>,
    linger: Cell<bool>,
    last: Cell<bool>,
    stalled: Cell<bool>,
}

/// What the connection last did, in ticks; 0: not so just now.
#[derive(Debug)]
struct Progress {
    clock: Rc<Sweep>,
    /// Requests in progress.
    active: Cell<u32>,
    /// Since when there is none.
    quiet: Cell<Tick>,
    /// When the first byte of the next head came.
    head: Cell<Tick>,
    /// Since when the client takes nothing.
    blocked: Cell<Tick>,
    /// Since when it is to end.
    finishing: Cell<Tick>,
}

/// What the connection's task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    GoOn,
    /// Give back what an idle connection needs not, until its client stirs.
    Rest,
    /// Finish what runs, take nothing new.
    Finish,
    /// Drop everything; the reason as counted.
    Cut(&'static str),
}

/// What a connection has taken too long over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing has come at all.
    FirstByte,
    /// A head that does not end.
    RequestHead,
    /// The client takes nothing.
    WriteStall,
    /// No request for long: no fault of anybody's.
    Idle,
    /// No request for a moment: time to rest.
    Quiet,
}

/// From the last request until a connection rests. One that is asked again within that time is not
/// made anew each time.
const QUIET: Tick = 1;

/// No HTTP of any version, on purpose.
const GARBAGE: &[u8] = b"\x00\xff\xfebackburn garbage\x00\xff\xfe\r\n\r\n";

/// What hyper reads from and writes to.
#[derive(Debug)]
pub struct Socket {
    read: OwnedReadHalf,
    conn: Rc<Conn>,
}

/// A request in progress on a connection.
#[derive(Debug)]
pub struct Presence(Rc<Conn>);

impl Presence {
    pub fn conn(&self) -> &Rc<Conn> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let progress = &self.0.progress;
        let left = progress.active.get().saturating_sub(1);
        progress.active.set(left);
        if left == 0 {
            progress.quiet.set(progress.clock.now());
        }
    }
}

impl Conn {
    pub fn open(stream: TcpStream, clock: &Rc<Sweep>) -> (Rc<Self>, Socket) {
        let peer = stream.peer_addr().ok();
        let (read, write) = stream.into_split();
        let conn = Rc::new(Self {
            socket: Some(write),
            peer,
            peer_text: OnceCell::new(),
            flags: Flags::default(),
            flushes: Cell::new(0),
            flushing: RefCell::default(),
            progress: Progress {
                clock: Rc::clone(clock),
                active: Cell::new(0),
                quiet: Cell::new(clock.now()),
                head: Cell::new(0),
                blocked: Cell::new(0),
                finishing: Cell::new(0),
            },
            order: Cell::new(Order::GoOn),
            heads: RefCell::default(),
            handed: Cell::new(0),
            refused: Cell::new(None),
            reading_on: RefCell::default(),
            waker: RefCell::new(None),
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

    /// A request's head has arrived on it.
    pub fn begin(&self) {
        self.flags.begun.set(true);
        self.handed.set(self.handed.get().saturating_add(1));
        self.progress.head.set(0);
        self.progress.quiet.set(self.progress.clock.now());
    }

    pub fn has_begun(&self) -> bool {
        self.flags.begun.get()
    }

    /// Looks at bytes that hyper is about to read; whether it may. One that comes behind others
    /// still in progress it has to refuse itself, in its own words.
    pub fn sees(&self, bytes: &[u8]) -> bool {
        let mut heads = self.heads.borrow_mut();
        let alone = self.progress.active.get() == 0 && self.handed.get() == heads.ended();
        match heads.see(bytes) {
            Some(refusal) if alone && self.handed.get() == heads.ended() => {
                self.refused.set(Some(refusal));
                false
            }
            _ => true,
        }
    }

    /// Why the head that came last was kept from hyper.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused.get()
    }

    /// Why the head that was handed on last goes no further, where hyper cannot tell.
    pub fn refuses(&self) -> Option<Refusal> {
        self.heads.borrow().refuses(self.handed.get())
    }

    /// Counts a request as in progress until the guard is dropped.
    pub fn enter(self: &Rc<Self>) -> Presence {
        self.progress.active.set(self.progress.active.get() + 1);
        Presence(Rc::clone(self))
    }

    /// A stream of it was cut since its client took nothing.
    pub fn has_stalled(&self) {
        self.flags.stalled.set(true);
    }

    /// Requests in progress on it.
    pub fn active(&self) -> u32 {
        self.progress.active.get()
    }

    /// Whether a cut is counted as the connection's own: not where it is one of its requests'.
    pub fn is_cut_alone(&self) -> bool {
        self.active() == 0 && !self.flags.stalled.get()
    }

    /// How the connection is closed, whenever that is.
    pub fn close_with(&self, how: How) {
        match how {
            How::Reset => self.flags.reset.set(true),
            How::Garbage => self.flags.garbage.set(true),
            How::Close | How::Hang { .. } => {}
        }
    }

    /// Says at once, on the wire itself, what closing it was to say, and nothing after it.
    pub fn spoil(&self) {
        if let Some(socket) = &self.socket
            && self.flags.garbage.replace(false)
        {
            let _ = socket.as_ref().try_write(GARBAGE);
            let _ = SockRef::from(socket.as_ref()).shutdown(Shutdown::Write);
        }
    }

    /// Ready when all that was handed to hyper before the first call has reached the kernel: an
    /// error from a body makes hyper drop what it still holds.
    pub fn poll_flushed(&self, ticket: &mut Option<u64>, context: &mut Context<'_>) -> Poll<()> {
        let flushes = self.flushes.get();
        if ticket.is_some_and(|ticket| ticket < flushes) {
            return Poll::Ready(());
        }
        let first = ticket.replace(flushes).is_none();
        let mut waiting = self.flushing.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        // On HTTP/2 a body has a task of its own: when all it gave is out already, and no other
        // stream moves, nobody would flush any more.
        if first
            && self.flags.multiplexed.get()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
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

    pub fn is_secure(&self) -> bool {
        self.flags.secure.get()
    }

    /// It speaks TLS.
    pub fn secured(&self) {
        self.flags.secure.set(true);
    }

    /// It speaks HTTP/2: a byte is not the beginning of a request.
    pub fn multiplexed(&self) {
        self.flags.multiplexed.set(true);
    }

    pub fn is_multiplexed(&self) -> bool {
        self.flags.multiplexed.get()
    }

    /// It is no longer HTTP: silence is nobody's fault.
    pub fn tunnels(&self) {
        self.flags.tunnel.set(true);
        self.heads.borrow_mut().lose();
    }

    /// Closing it must not destroy an answer that the client, still sending, has not read.
    pub fn linger_on_close(&self) {
        self.flags.linger.set(true);
        self.is_last();
    }

    /// It is closed behind the answer that is on its way, which its client may wait for.
    pub fn is_last(&self) {
        self.flags.last.set(true);
        let reading = self.reading_on.take().filter(|reading| !reading.is_finished());
        if let Some(reading) = reading {
            reading.abort();
            self.flags.linger.set(true);
        }
    }

    /// Reads the rest of a body that nobody wants, so that the next request can come; with no next
    /// one to come, the end is not to wait for it.
    pub fn read_on(&self, rest: impl Future<Output = ()> + 'static) {
        if self.flags.last.get() {
            return self.linger_on_close();
        }
        let reading = tokio::task::spawn_local(rest);
        *self.reading_on.borrow_mut() = Some(reading.abort_handle());
    }

    pub fn stream(&self) -> Option<&TcpStream> {
        self.socket.as_ref().map(AsRef::as_ref)
    }

    pub fn lingers(&self) -> bool {
        self.flags.linger.get()
    }

    /// The peer's address as `X-Forwarded-For` has it.
    pub fn peer_text(&self) -> Option<HeaderValue> {
        let text = self.peer_text.get_or_init(|| {
            let peer = self.peer?.ip().to_canonical();
            HeaderValue::try_from(peer.to_string()).ok()
        });
        text.clone()
    }

    /// Tells the connection's task what to do. A cut is never taken back.
    pub fn order(&self, order: Order) {
        if matches!(self.order.get(), Order::Cut(_)) {
            return;
        }
        self.order.set(order);
        let Progress { finishing, clock, .. } = &self.progress;
        if order == Order::Finish && finishing.get() == 0 {
            finishing.set(clock.now());
            self.is_last();
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What to do; the task is woken when that changes.
    pub fn ordered(&self, context: &mut Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.order.get()
    }

    /// Why we cut it, if we did.
    pub fn cut(&self) -> Option<&'static str> {
        match self.order.get() {
            Order::Cut(reason) => Some(reason),
            Order::GoOn | Order::Rest | Order::Finish => None,
        }
    }

    /// No request is in progress or begun, and nothing waits to be sent.
    pub fn is_at_rest(&self) -> bool {
        let Progress { active, head, blocked, .. } = &self.progress;
        active.get() == 0 && head.get() == 0 && blocked.get() == 0 && !self.flags.tunnel.get()
    }

    /// It rests no longer, or does not get to.
    pub fn rouse(&self) {
        if self.order.get() == Order::Rest {
            self.order.set(Order::GoOn);
        }
    }

    /// Rests until the client says something or leaves. False: it is to finish instead.
    pub async fn stirs(&self) -> bool {
        poll_fn(|context| {
            if self.ordered(context) == Order::Finish {
                return Poll::Ready(false);
            }
            let Some(socket) = &self.socket else { return Poll::Ready(false) };
            socket.as_ref().poll_read_ready(context).map(|_| true)
        })
        .await
    }

    /// What it has taken too long over.
    pub fn overdue(&self, now: Tick, patience: &Patience) -> Option<Overdue> {
        let progress = &self.progress;
        // One tick more: it may have begun late in its first.
        let over = |since: Tick, limit: Tick| since != 0 && now.wrapping_sub(since) > limit;
        if over(progress.blocked.get(), patience.write_stall) {
            return Some(Overdue::WriteStall);
        }
        if progress.active.get() > 0 || self.flags.tunnel.get() {
            return None;
        }
        // All that is left for it to do is to hand over what it has.
        if over(progress.finishing.get(), patience.write_stall) {
            return Some(Overdue::WriteStall);
        }
        let quiet = progress.quiet.get();
        if progress.head.get() != 0 {
            return over(progress.head.get(), patience.request_head)
                .then_some(Overdue::RequestHead);
        }
        if !self.flags.begun.get() && !self.flags.multiplexed.get() {
            return over(quiet, patience.first_byte).then_some(Overdue::FirstByte);
        }
        if over(quiet, patience.idle) {
            return Some(Overdue::Idle);
        }
        let rests = self.order.get() != Order::GoOn || self.flags.multiplexed.get();
        (!rests && over(quiet, QUIET)).then_some(Overdue::Quiet)
    }

    /// Says something on the wire past hyper, which has nothing to say just now.
    pub fn say(&self, bytes: &[u8]) {
        if let Some(socket) = &self.socket
            && !self.flags.secure.get()
            && !self.flags.multiplexed.get()
        {
            let _ = socket.as_ref().try_write(bytes);
        }
    }

    fn has_read(&self) {
        let progress = &self.progress;
        if progress.active.get() == 0 && progress.head.get() == 0 && !self.flags.multiplexed.get() {
            progress.head.set(progress.clock.now());
        }
    }

    /// The client takes nothing just now, and nobody shares the connection.
    pub fn is_blocked(&self) -> bool {
        self.progress.blocked.get() != 0 && !self.flags.multiplexed.get()
    }

    fn has_written(&self) {
        let Progress { blocked, clock, .. } = &self.progress;
        if blocked.replace(0) != 0 {
            clock.blocked().fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn cannot_write(&self) {
        let Progress { blocked, clock, .. } = &self.progress;
        if blocked.get() == 0 {
            blocked.set(clock.now());
            clock.blocked().fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.has_written();
        self.spoil();
        if let Some(socket) = self.socket.take() {
            if self.flags.reset.get() {
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

    /// Reads as little as tells HTTP/2 by prior knowledge from anything else; and what was read,
    /// which is to be read again by whoever speaks next.
    pub async fn is_h2(&mut self) -> io::Result<(bool, Bytes)> {
        let mut early = [0; PREFACE.len()];
        let mut to = 0;
        while to < early.len() {
            let read = self.read.read(&mut early[to..]).await?;
            to += read;
            if to > 0 {
                self.conn.has_read();
            }
            if read == 0 || early[..to] != PREFACE[..to] {
                break;
            }
        }
        Ok((early == *PREFACE, Bytes::copy_from_slice(&early[..to])))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.stream().poll_write_ready(context);
        if ready.is_pending() {
            self.conn.cannot_write();
        }
        ready
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.read).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.conn.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(context))?;
            match self.stream().try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    self.conn.has_written();
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(context))?;
            match self.stream().try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    self.conn.has_written();
                    return Poll::Ready(done);
                }
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
        if self.conn.flags.reset.get() || self.conn.flags.garbage.get() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(SockRef::from(self.stream()).shutdown(Shutdown::Write))
    }
}
