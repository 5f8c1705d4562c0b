//! HTTP/2, frame by frame: what is malformed reaches no service, floods end, and one stream that
//! stalls does not take the others with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::gateway::{OK, SLO, connect};
use crate::recorder::Recorder;
use crate::support::{Program, bounded, proxy};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Literal fields without indexing (RFC 7541 6.2.2), a byte a character; all shorter than 127 bytes.
pub(crate) fn fields<S: AsRef<str>>(fields: &[(S, S)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            let text: Vec<u8> = text.as_ref().chars().map(|c| u8::try_from(c).unwrap()).collect();
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text);
        }
    }
    out
}

pub(crate) const PSEUDO: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "t")];

fn get(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let block = fields(&[&PSEUDO[..], more].concat());
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

pub(crate) struct H2 {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl H2 {
    /// A stream's whole window of an answer that is longer, for each of so many streams.
    pub(crate) fn stalled(proxy: &Program, path: &str, streams: u32) -> Self {
        const WINDOW: usize = 65_535;
        let mut h2 = Self::open(proxy, &[]);
        h2.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        let asked = fields(&[PSEUDO[0], PSEUDO[1], (":path", path), PSEUDO[3]]);
        let ask = |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &asked);
        h2.send(&(0..streams).flat_map(ask).collect::<Vec<u8>>());
        let mut taken = 0;
        while taken < WINDOW * streams as usize {
            taken += h2.until(|frame| frame.kind == DATA).unwrap().payload.len();
        }
        h2
    }

    pub(crate) fn open(proxy: &Program, settings: &[u8]) -> Self {
        let mut stream = connect(proxy);
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// It may be closed on us before all is sent.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; `None` when the other side has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if self.buffer.len() >= 9 {
                let length =
                    u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]);
                let end = 9 + length as usize;
                if self.buffer.len() >= end {
                    let rest = self.buffer.split_off(end);
                    let whole = std::mem::replace(&mut self.buffer, rest);
                    return Some(Frame {
                        kind: whole[3],
                        flags: whole[4],
                        stream: u32::from_be_bytes(whole[5..9].try_into().unwrap()),
                        payload: whole[9..].to_vec(),
                    });
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing more after 20 s");
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// The first frame that is what we wait for.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// How stream 1 ends, or the connection: the first byte of its head, a code, or nothing.
    pub(crate) fn verdict(&mut self) -> String {
        let end = self.until(|frame| match frame.kind {
            HEADERS | RESET => frame.stream == 1,
            GOAWAY => frame.code() != 0,
            _ => false,
        });
        match end {
            None => "closed".to_owned(),
            Some(frame) if frame.kind == HEADERS => match frame.payload[..] {
                // RFC 7541 A, B: those that have an index, and those that are spelled out.
                [0x88, ..] => "200",
                [0x89, ..] => "204",
                [0x8c, ..] => "400",
                [0x48, 0x83, 0x68, 0x0d, ..] => "405",
                [0x48, 0x83, 0x68, 0x2d, ..] => "414",
                [0x48, 0x83, 0x69, 0x90, ..] => "431",
                [0x48, 0x82, 0x6c, 0x01, ..] => "501",
                _ => "answered",
            }
            .to_owned(),
            Some(frame) if frame.kind == RESET => format!("reset {}", frame.code()),
            Some(frame) => format!("goaway {}", frame.code()),
        }
    }
}

pub(crate) fn is_served(proxy: &Program) {
    let mut h2 = H2::open(proxy, &[]);
    h2.send(&get(1, &[]));
    assert_eq!(h2.verdict(), "200");
}

#[test]
fn floods_end() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(SLO, &upstream.url, &[]);
    let open = frame(HEADERS, END_HEADERS, 1, &fields(&PSEUDO));
    let reset = |n: u32| [get(n, &[]), frame(RESET, 0, n, &8u32.to_be_bytes())].concat();
    let unended = frame(HEADERS, END_STREAM, 1, &fields(&PSEUDO));
    let floods: [(&str, Vec<u8>); 5] = [
        ("65 rapid reset", (0..2000).flat_map(|n| reset(2 * n + 1)).collect()),
        (
            "66a empty CONTINUATION",
            [unended.clone(), frame(CONTINUATION, 0, 1, &[]).repeat(20_000)].concat(),
        ),
        (
            "66b endless CONTINUATION",
            [unended, frame(CONTINUATION, 0, 1, &fields(&[("x-a", "b")]).repeat(100)).repeat(2000)]
                .concat(),
        ),
        ("67a empty DATA", [open.clone(), frame(DATA, 0, 1, &[]).repeat(20_000)].concat()),
        ("67b DATA by the byte", [open, frame(DATA, 0, 1, b"x").repeat(60_000)].concat()),
    ];
    for (id, flood) in floods {
        let mut h2 = H2::open(&proxy, &[]);
        let mut sending = h2.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let _ = sending.write_all(&flood);
        });
        let verdict = h2.verdict();
        assert!(
            verdict == "closed" || verdict == format!("goaway {ENHANCE_YOUR_CALM}"),
            "{id}: {verdict}"
        );
        drop(h2);
        sender.join().unwrap();
        is_served(&proxy);
    }
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert!(proxy.metric("backburn_refused_total", &["reason=\"malformed\""]) > 0);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"bad\""]), 0);
}

/// PING and SETTINGS are answered for as long as the answers are taken, and then no more.
#[test]
fn answers_nobody_takes() {
    let upstream = Recorder::start(OK);
    let scenario = format!("[proxy]\ntimeouts = {{ write_stall = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let h2 = H2::open(&proxy, &[]);
        let mut sending = h2.stream.try_clone().unwrap();
        let before = proxy.metric("backburn_refused_total", &[]);
        let sender = std::thread::spawn(move || {
            let flood = flood.repeat(10_000);
            // Bounded, should nobody end it.
            for _ in 0..2000 {
                if sending.write_all(&flood).is_err() {
                    return true;
                }
            }
            false
        });
        assert!(sender.join().unwrap(), "never ended");
        proxy.until("counted", |proxy| proxy.metric("backburn_refused_total", &[]) > before);
        is_served(&proxy);
    }
}

/// As many fields as are allowed, and one more.
#[test]
fn no_more_fields_than_allowed() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(&format!("[proxy]\nlimits = {{ headers = 5 }}\n{SLO}"), &upstream.url, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&get(1, &[("x", "y"); 5]));
    assert_eq!(h2.verdict(), "200");
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&get(1, &[("x", "y"); 6]));
    assert_eq!(h2.verdict(), "431");
    assert_eq!(proxy.metric("backburn_refused_total", &["reason=\"headers\""]), 1);
    assert_eq!(upstream.take().len(), 1);
}

#[test]
fn no_more_streams_than_allowed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let scenario = format!("[proxy]\nlimits = {{ streams = 20 }}\n{SLO}");
    let proxy = proxy(&scenario, &format!("http://{}", silent.local_addr().unwrap()), &[]);
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&(0..30).flat_map(|n| get(2 * n + 1, &[])).collect::<Vec<u8>>());
    let mut refused = 0;
    while refused < 10 {
        let frame = h2.until(|frame| frame.kind == RESET).unwrap();
        assert_eq!(frame.code(), 7, "REFUSED_STREAM");
        refused += 1;
    }
    proxy.until("the others go on", |proxy| proxy.metric("http_server_active_requests", &[]) == 20);
}

/// A stream whose caller takes nothing is cut; its neighbour on the connection is not.
#[test]
fn a_stream_that_stalls() {
    // Larger than any window.
    let large: &[u8] = {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20);
        Vec::leak([head.as_bytes(), &vec![b'x'; 1 << 20]].concat())
    };
    let upstream = Recorder::start(large);
    let scenario = format!("[proxy]\ntimeouts = {{ write_stall = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let mut h2 = H2::open(&proxy, &[0, 4, 0, 0, 0, 0]);
    h2.send(&[get(1, &[]), get(3, &[])].concat());
    let mut neighbour = H2::open(&proxy, &[]);
    neighbour.send(&get(1, &[]));
    for _ in 0..2 {
        let cut = h2.until(|frame| frame.kind == RESET).unwrap();
        assert_eq!(cut.code(), 8, "CANCEL");
    }
    // The connection goes on.
    h2.send(&frame(PING, 0, 0, b"12345678"));
    let pong = h2.until(|frame| frame.kind == PING && frame.flags == 1).unwrap();
    assert_eq!(pong.payload, b"12345678");
    // 64 KiB have gone out to the neighbour, and then it stalls as well.
    let taken = neighbour.until(|frame| frame.kind == RESET).unwrap();
    assert_eq!(taken.code(), 8);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(proxy.metric("backburn_refused_total", &["reason=\"write_stall\""]), 3);
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 0);
}

/// Faults cut the stream, never the connection.
#[test]
fn an_abort_is_the_streams_own() {
    let upstream = Recorder::start(OK);
    let scenario = format!(
        "[routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n[faults.cut]\nroutes = [\"a\"]\ninject.abort = \"reset\"\n{SLO}"
    );
    let scenario = scenario.replace("[slos.a]\n", "[slos.a]\nroutes = [\"*\"]\n");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&get(1, &[]));
    assert_eq!(h2.verdict(), "reset 2");
    let other = [PSEUDO[0], PSEUDO[1], (":path", "/b"), PSEUDO[3]];
    h2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &fields(&other)));
    let answer = h2.until(|frame| frame.kind == HEADERS && frame.stream == 3).unwrap();
    assert_eq!(answer.payload[0], 0x88);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 1);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 1);
}

/// What a service that speaks HTTP/1.1 sees of a request that came as HTTP/2.
#[test]
fn towards_http1() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(SLO, &upstream.url, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&get(1, &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]));
    assert_eq!(h2.verdict(), "200");
    let seen = upstream.take()[0].text();
    assert!(seen.starts_with("GET /a HTTP/1.1\r\n"), "{seen}");
    for piece in ["host: t\r\n", "cookie: a=1; b=2\r\n", "via: 2 backburn-", "te: trailers\r\n"] {
        assert!(seen.contains(piece), "no {piece:?} in {seen}");
    }
}

/// An idle connection is told to go, and goes.
#[test]
fn idle_connections_are_sent_away() {
    let upstream = Recorder::start(OK);
    let scenario = format!("[proxy]\ntimeouts = {{ idle = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    h2.send(&get(1, &[]));
    assert_eq!(h2.verdict(), "200");
    let goaway = h2.until(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(goaway.code(), 0);
}

/// A large body, so that there is always more of it.
fn large() -> Recorder {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 << 20);
    Recorder::start(Vec::leak([head.as_bytes(), &vec![b'x'; 8 << 20]].concat()))
}

/// How often a stall was counted: as a refusal, as no event, as an event, as a caller that left.
fn stalls(proxy: &Program) -> [u64; 4] {
    let excluded = |reason: &str| {
        proxy.metric("backburn_slo_excluded_events_total", &[&format!("reason=\"{reason}\"")])
    };
    [
        proxy.metric("backburn_refused_total", &["reason=\"write_stall\""]),
        excluded("refused"),
        proxy.metric("backburn_slo_events_total", &[]),
        excluded("client_gone"),
    ]
}

/// Windows as wide as they get, through a socket that takes next to nothing.
fn wide(proxy: &Program, streams: u32) -> H2 {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: std::net::SocketAddr = crate::support::host(&proxy.url("proxy")).parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut h2 = H2 { stream: bounded(TcpStream::from(socket)), buffer: Vec::new() };
    let open = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let wider = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    h2.send(&[PREFACE, &open, &wider].concat());
    h2.send(&(0..streams).flat_map(|n| get(2 * n + 1, &[])).collect::<Vec<u8>>());
    h2
}

/// The connection takes nothing: each of its requests is counted, once, however the sweep comes to
/// it first; none is the service's failure, or a caller that left.
#[test]
fn a_connection_that_stalls() {
    let upstream = large();
    let scenario = format!("[proxy]\ntimeouts = {{ write_stall = \"500ms\" }}\n{SLO}")
        .replace("availability = {}", "availability = { abandoned_after = \"1ms\" }");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let mut all = 0;
    for streams in [1, 1, 1, 5, 20] {
        let mut held = wide(&proxy, streams);
        all += u64::from(streams);
        proxy.until("cut", |proxy| stalls(proxy)[1] == all);
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        // And so is its connection, when it has been heard out.
        let _ = held.stream.read_to_end(&mut Vec::new());
        assert_eq!(stalls(&proxy), [all, all, 0, 0], "{streams} streams");
    }
}

/// All of an answer is handed over but what does not fit into the window: it has been given, and
/// counts so; the connection ends all the same when it has idled.
#[test]
fn the_last_byte_is_never_taken() {
    let upstream = Recorder::start(OK);
    let scenario =
        format!("[proxy]\ntimeouts = {{ write_stall = \"500ms\", idle = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let mut h2 = H2::open(&proxy, &[0, 4, 0, 0, 0, 1]);
    h2.send(&get(1, &[]));
    let data = h2.until(|frame| frame.kind == DATA).unwrap();
    assert_eq!((data.flags & END_STREAM, &*data.payload), (0, &b"o"[..]));
    let goaway = h2.until(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(goaway.code(), 0);
    assert!(h2.until(|frame| frame.kind == DATA).is_none(), "closed");
    assert_eq!(stalls(&proxy), [1, 0, 1, 0]);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 1);
}

/// Half of the callers leave just when the others are cut: whoever is first, each is counted once.
#[test]
fn leaving_as_one_is_cut() {
    const STREAMS: u32 = 50;
    let upstream = large();
    // Nobody who leaves is a failure.
    let scenario = format!("[proxy]\ntimeouts = {{ write_stall = \"500ms\" }}\n{SLO}")
        .replace("availability = {}", "availability = { abandoned_after = \"10m\" }");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    for wait in [500, 650, 700, 750, 800, 1_000] {
        let before = stalls(&proxy);
        let mut h2 = H2::open(&proxy, &[0, 4, 0, 0, 0, 0]);
        h2.send(&(0..STREAMS).flat_map(|n| get(2 * n + 1, &[])).collect::<Vec<u8>>());
        std::thread::sleep(Duration::from_millis(wait));
        let cancel = |n: u32| frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes());
        h2.send(&(0..STREAMS).step_by(2).flat_map(cancel).collect::<Vec<u8>>());
        proxy.until("over", |proxy| {
            let now = stalls(proxy);
            proxy.metric("http_server_active_requests", &[]) == 0
                && now[1] + now[3] == before[1] + before[3] + u64::from(STREAMS)
        });
        let now = stalls(&proxy);
        assert_eq!(now[0], now[1], "each that was cut is no event");
        assert!(now[0] - before[0] >= u64::from(STREAMS / 2), "{now:?} after {before:?}");
        assert_eq!(now[2], 0);
    }
}

/// A service that breaks off inside its body when all before has reached the caller, and nothing
/// else moves on the connection: the caller is told.
#[test]
fn a_service_that_breaks_off_later() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let service = crate::upstream::service(move |mut stream| {
        crate::upstream::head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").unwrap();
        told.lock().unwrap().recv().unwrap();
    });
    let proxy = proxy(SLO, &service, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    for stream in [1, 3] {
        h2.send(&get(stream, &[]));
        let piece = h2.until(|frame| frame.kind == DATA).unwrap();
        assert_eq!((piece.stream, &piece.payload[..]), (stream, &b"abc"[..]));
        tell.send(()).unwrap();
        let end = h2.until(|frame| frame.kind == RESET).unwrap();
        assert_eq!((end.stream, end.code()), (stream, 2));
    }
    proxy.until("counted", |proxy| proxy.metric("backburn_slo_events_total", &["organic"]) == 2);
}
