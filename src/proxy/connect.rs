//! Reaching a service: its addresses, one after the other, and what went wrong.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::sweep::{Sweep, Watch};
use crate::plan::Service;

/// How long a name's addresses are believed. Resolvers do not tell the time to live; this is
/// short enough to follow a service that moves, and spares a burst of connections the look-ups.
const BELIEVED: Duration = Duration::from_secs(2);

/// Why there is no connection, or no answer on it.
#[derive(Debug)]
pub enum Trouble {
    /// Refused, unreachable.
    Connect(io::Error),
    ConnectTimeout,
    /// The host's name means nothing.
    NoAddress,
    /// The address is one this very process listens on.
    Itself,
    /// Not the service's fault: no descriptor or port of ours was left.
    Exhausted,
    /// The connection broke before the head of an answer.
    Exchange(hyper::Error),
    /// No head in time.
    ResponseTimeout,
    /// What is wrong with its TLS.
    Tls(&'static str),
}

impl Trouble {
    fn connecting(error: io::Error) -> Self {
        // EMFILE, ENFILE; and out of ports.
        let ours = matches!(error.raw_os_error(), Some(23 | 24))
            || error.kind() == io::ErrorKind::AddrNotAvailable;
        match error.kind() {
            _ if ours => Self::Exhausted,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::Connect(error),
        }
    }

    /// As counted and as told in `x-backburn-error`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection_refused",
                io::ErrorKind::ConnectionReset => "connection_reset",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
                _ => "connect_failed",
            },
            Self::ConnectTimeout => "connect_timeout",
            Self::NoAddress => "no_address",
            Self::Itself => "upstream_is_backburn",
            Self::Exhausted => "exhausted",
            Self::Exchange(error) if error.is_parse() => "bad_answer",
            Self::Exchange(error) if is_reset(error) => "connection_reset",
            Self::Exchange(_) => "closed_early",
            Self::ResponseTimeout => "response_timeout",
            Self::Tls(label) => label,
        }
    }
}

/// The peer sent RST, rather than closing in order.
pub fn is_reset(error: &hyper::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let kind = error.kind();
            return kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::BrokenPipe;
        }
        source = error.source();
    }
    false
}

/// A name's addresses, kept for a while.
#[derive(Debug, Default)]
pub struct Names(RefCell<Vec<Option<Known>>>);

#[derive(Debug)]
struct Known {
    host: String,
    at: Instant,
    addresses: Rc<[SocketAddr]>,
}

impl Names {
    async fn resolve(&self, id: usize, service: &Service) -> Result<Rc<[SocketAddr]>, Trouble> {
        if let Ok(address) = service.host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(address, service.port)]));
        }
        let now = crate::clock::now();
        if let Some(Some(known)) = self.0.borrow().get(id)
            && known.host == service.host
            && now.saturating_duration_since(known.at) < BELIEVED
        {
            return Ok(Rc::clone(&known.addresses));
        }
        let found = tokio::net::lookup_host((service.host.as_str(), service.port)).await;
        let addresses: Rc<[SocketAddr]> = found.map_err(|_| Trouble::NoAddress)?.collect();
        if addresses.is_empty() {
            return Err(Trouble::NoAddress);
        }
        let mut all = self.0.borrow_mut();
        if all.len() <= id {
            all.resize_with(id + 1, || None);
        }
        let host = service.host.clone();
        all[id] = Some(Known { host, at: now, addresses: Rc::clone(&addresses) });
        Ok(addresses)
    }
}

/// The first of a service's addresses that answers, within `limit` over all.
pub async fn connect(
    names: &Names,
    sweep: &Rc<Sweep>,
    own: &[SocketAddr],
    (id, service): (usize, &Service),
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Trouble> {
    let began = crate::clock::now();
    let watch = sweep.watch(limit);
    let addresses = tokio::select! {
        biased;
        addresses = names.resolve(id, service) => addresses?,
        () = watch.over() => return Err(Trouble::NoAddress),
    };
    let left = limit.saturating_sub(crate::clock::now().saturating_duration_since(began));
    dial(&addresses, own, &watch, left).await
}

/// The first of some addresses that answers. One that says nothing leaves the others their share of
/// the time.
async fn dial(
    addresses: &[SocketAddr],
    own: &[SocketAddr],
    watch: &Watch,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Trouble> {
    let began = crate::clock::now();
    let mut trouble = Trouble::NoAddress;
    for (tried, address) in addresses.iter().enumerate() {
        if super::listen::is_own(own, *address) {
            trouble = Trouble::Itself;
            continue;
        }
        let left = limit.saturating_sub(crate::clock::now().saturating_duration_since(began));
        watch.renew(left / (addresses.len() - tried) as u32);
        let connected = tokio::select! {
            biased;
            connected = TcpStream::connect(address) => connected,
            () = watch.over() => {
                trouble = Trouble::ConnectTimeout;
                continue;
            }
        };
        match connected {
            Ok(stream) => {
                // Without it, small writes wait for the peer's delayed acknowledgement (40 ms).
                let _ = stream.set_nodelay(true);
                crate::os::hold_little_unsent(&stream);
                return Ok((stream, *address));
            }
            Err(error) => trouble = Trouble::connecting(error),
        }
    }
    Err(trouble)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::plan::proxy::Timeouts;

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Nobody listens there any more.
    fn refused(ip: &str) -> SocketAddr {
        match TcpListener::bind((ip, 0)) {
            Ok(listener) => listener.local_addr().unwrap(),
            // Unreachable, where there is no IPv6.
            Err(_) => SocketAddr::new(ip.parse().unwrap(), 9),
        }
    }

    /// A queue that is full drops what knocks.
    fn silent() -> (Vec<socket2::Socket>, SocketAddr) {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let full = socket().unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let knocking = (0..8).map(|_| {
            let socket = socket().unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        });
        let held = knocking.collect::<Vec<_>>().into_iter().chain([full]).collect();
        (held, address.as_socket().unwrap())
    }

    /// Where it is connected to at last, or why it is not.
    async fn reached(
        addresses: &[SocketAddr],
        own: &[SocketAddr],
    ) -> Result<SocketAddr, &'static str> {
        const TIMEOUTS: Timeouts = Timeouts {
            first_byte: Duration::MAX,
            request_head: Duration::MAX,
            body_stall: Duration::MAX,
            write_stall: Duration::MAX,
            idle: Duration::MAX,
            connect: Duration::MAX,
            response_head: Duration::MAX,
            drain: Duration::MAX,
        };
        let sweep = Sweep::new();
        let watch = sweep.watch(Duration::from_secs(2));
        let look = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                sweep.look(&TIMEOUTS, |_, _| {});
            }
        };
        tokio::select! {
            dialled = dial(addresses, own, &watch, Duration::from_secs(2)) => {
                let (stream, address) = dialled.map_err(|trouble| trouble.label())?;
                assert_eq!(stream.peer_addr().unwrap(), address);
                Ok(address)
            }
            () = look => unreachable!(),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn every_address_is_tried() {
        let (_listener, good) = listening();
        let (_other, later) = listening();
        let (_own, own) = listening();
        let (_held, silent) = silent();
        let (four, two, six) = (refused("127.0.0.1"), refused("127.0.0.2"), refused("::1"));
        for (before, after) in [
            (&[][..], &[][..]),
            (&[], &[later]),
            (&[four], &[]),
            (&[four, two, six], &[later]),
            (&[own, four], &[]),
            (&[silent, four], &[]),
        ] {
            let all = [before, &[good], after].concat();
            assert_eq!(reached(&all, &[own]).await, Ok(good), "{all:?}");
        }
        for (addresses, trouble) in [
            (&[][..], "no_address"),
            (&[four, two], "connection_refused"),
            (&[four, own], "upstream_is_backburn"),
            (&[four, silent], "connect_timeout"),
        ] {
            assert_eq!(reached(addresses, &[own]).await, Err(trouble), "{addresses:?}");
        }
    }
}
