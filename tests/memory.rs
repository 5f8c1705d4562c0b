//! What connections cost while little happens on them, and that they are none the worse for it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::gateway::{OK, SLO, answers, connect, read};
use crate::recorder::Recorder;
use crate::support::{Program, host, proxy, shop};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n";
/// Longer than any connection stays awake without a request: half a second, by the sweep.
const A_WHILE: Duration = Duration::from_millis(1200);

/// What it has in memory and shares with nobody, in KiB.
#[cfg(target_os = "linux")]
fn resident(proxy: &Program) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", proxy.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections() {
    const COUNT: u64 = 3000;
    backburn::os::raise_file_limit();
    let upstream = Recorder::start(OK);
    let scenario =
        format!("[proxy]\nlimits = {{ connections = 4000 }}\ntimeouts.idle = \"10m\"\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let before = resident(&proxy);
    let mut kept = Vec::new();
    for _ in 0..COUNT {
        let mut stream = connect(&proxy);
        stream.write_all(GET).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [200], "{text:?}");
        kept.push(stream);
    }
    proxy.until("at rest", |proxy| {
        (resident(proxy) - before) < 12 * COUNT
            && proxy.metric("http_server_active_requests", &[]) == 0
    });
    // And they are as good as new.
    for stream in kept.iter_mut().step_by(100) {
        stream.write_all(GET).unwrap();
        let (text, _) = read(stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [200], "{text:?}");
    }
}

/// Asks for a large body and reads its first bytes only, through a small window.
#[cfg(target_os = "linux")]
fn slow_reader(proxy: &Program) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: SocketAddr = host(&proxy.url("proxy")).parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /bytes/1073741824 HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream
}

/// A few may have large pieces before them; the more there are, the less each gets.
#[cfg(target_os = "linux")]
#[test]
fn slow_readers() {
    const COUNT: u64 = 700;
    backburn::os::raise_file_limit();
    let shop = shop();
    let scenario = format!("[proxy]\ntimeouts.write_stall = \"10m\"\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &["--workers", "1"]);
    let mut before = resident(&proxy);
    let mut kept = Vec::new();
    for most in [160, 64] {
        kept.extend((0..COUNT).map(|_| slow_reader(&proxy)));
        // What is read for them has been read when this has come through.
        let mut stream = connect(&proxy);
        stream.write_all(b"GET /api/items HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [200], "{text:?}");
        let now = resident(&proxy);
        assert!(now - before < most * COUNT, "{} KiB each", (now - before) / COUNT);
        before = now;
    }
}

/// The same over HTTP/2, where callers share connections: each stream has had its window full.
#[cfg(target_os = "linux")]
#[test]
fn slow_streams() {
    const CONNECTIONS: u64 = 8;
    const STREAMS: u64 = 50;
    let shop = shop();
    let scenario = format!("[proxy]\ntimeouts.write_stall = \"10m\"\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &["--workers", "1"]);
    let mut before = resident(&proxy);
    let mut kept = Vec::new();
    for most in [220, 100] {
        kept.extend(
            (0..CONNECTIONS)
                .map(|_| crate::h2::H2::stalled(&proxy, "/bytes/1073741824", STREAMS as u32)),
        );
        let now = resident(&proxy);
        let each = now.saturating_sub(before) / (CONNECTIONS * STREAMS);
        assert!(each < most, "{each} KiB each");
        before = now;
    }
    // And all of it is for them alone: it is gone with them.
    drop(kept);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
}

/// Who stops for a while and reads on then gets all of it.
#[cfg(target_os = "linux")]
#[test]
fn a_slow_reader_that_reads_on() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let mut stream = slow_reader(&proxy);
    std::thread::sleep(A_WHILE);
    socket2::SockRef::from(&stream).set_recv_buffer_size(1 << 20).unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut left: usize = 64 << 20;
    while left > 0 {
        left = left.saturating_sub(stream.read(&mut piece).unwrap());
    }
    drop(stream);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
}

/// A large body, down, and up and down at once: what is in memory does not grow with it.
#[cfg(target_os = "linux")]
#[test]
fn large_bodies() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let url = proxy.url("proxy");
    let size = 512 << 20;
    let down = format!("curl -sS -m 120 {url}/bytes/{size} | wc -c");
    let both =
        format!("head -c {size} /dev/zero | curl -sS -m 120 -X POST -T - {url}/echo | wc -c");
    for line in [down, both] {
        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), size.to_string(), "{line}: {output:?}");
    }
    let text = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

/// A connection that has rested goes on as if it had not: a new request, the rest of a head that
/// was begun before, the client's end.
#[test]
fn after_a_rest() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(SLO, &upstream.url, &[]);
    let mut stream = connect(&proxy);
    let answered = |stream: &mut TcpStream, often: usize| {
        let (text, _) = read(stream, |text| answers(text).len() >= often);
        assert_eq!(answers(&text), vec![200; often], "{text:?}");
        assert!(!text.to_ascii_lowercase().contains("connection: close"), "{text:?}");
    };
    stream.write_all(GET).unwrap();
    answered(&mut stream, 1);
    std::thread::sleep(A_WHILE);
    let (begun, rest) = GET.split_at(9);
    stream.write_all(&[GET, begun].concat()).unwrap();
    answered(&mut stream, 1);
    std::thread::sleep(A_WHILE);
    stream.write_all(&[rest, GET].concat()).unwrap();
    answered(&mut stream, 2);
    std::thread::sleep(A_WHILE);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut stream, |_| false), (String::new(), true));
    assert_eq!(upstream.take().len(), 4);
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 4);
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
}

/// The end comes to those at rest as well.
#[test]
fn the_end_of_those_at_rest() {
    let upstream = Recorder::start(OK);
    let mut proxy = proxy(SLO, &upstream.url, &[]);
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    read(&mut stream, |text| !answers(text).is_empty());
    std::thread::sleep(A_WHILE);
    proxy.signal("-TERM");
    assert_eq!(read(&mut stream, |_| false), (String::new(), true));
    assert_eq!(proxy.wait().0, Some(0));
}
