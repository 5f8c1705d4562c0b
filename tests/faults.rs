//! Each kind as a client sees it, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::{Program, SLO, dial, host, proxy};

/// A service that answers every request with the same bytes and tells what it was sent.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) seen: Receiver<(Instant, String)>,
}

impl Service {
    pub(crate) fn start(answer: &'static [u8]) -> Self {
        Self::answering(move |_| answer.to_vec())
    }

    /// Each request's text makes its answer.
    pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        let bytes = answer(&request);
                        let _ = sender.send((Instant::now(), request));
                        if stream.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    pub(crate) fn saw(&self) -> (Instant, String) {
        self.seen.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

/// One request, with the body its head declares.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => seen.extend_from_slice(&piece[..count]),
            _ => return None,
        }
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let declared = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let whole = match declared {
            Some(length) => body.len() >= length.parse().unwrap(),
            None => !head.contains("transfer-encoding") || body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return Some(text);
        }
    }
}

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
pub(crate) const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

pub(crate) fn faulted(inject: &str, service: &Service) -> Program {
    let scenario = format!("[faults.it]\nroutes = [\"*\"]\n{inject}\n{SLO}");
    proxy(&scenario, &service.url, &[])
}

pub(crate) fn send(proxy: &Program, request: &[u8]) -> TcpStream {
    let url = proxy.url("proxy");
    let mut stream = dial(host(&url));
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request).unwrap();
    stream
}

/// What comes until the end, and how it ended.
pub(crate) fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut seen = Vec::new();
    let mut piece = vec![0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (seen, None),
            Ok(count) => seen.extend_from_slice(&piece[..count]),
            Err(error) => return (seen, Some(error.kind())),
        }
    }
}

pub(crate) fn text(proxy: &Program, request: &[u8]) -> String {
    let (bytes, error) = read_all(&mut send(proxy, request));
    assert_eq!(error, None);
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn cause(proxy: &Program, cause: &str) -> u64 {
    proxy.metric("backburn_slo_events_total", &[&format!("cause=\"{cause}\"")])
}

pub(crate) fn good(proxy: &Program) -> u64 {
    proxy.metric("backburn_slo_events_total", &["outcome=\"good\""])
}

pub(crate) fn injected(proxy: &Program, kind: &str) -> u64 {
    proxy.metric("backburn_faults_injected_total", &[&format!("kind=\"{kind}\"")])
}

/// On the response: the service has long done its work when the caller gets the answer.
#[test]
fn an_answer_waits() {
    let service = Service::start(OK);
    let proxy = faulted(
        "inject.latency = { delay = \"600ms\", on = \"response\" }\n[slos.fast]\nobjective = \"99%\"\nsli.latency = { threshold = \"500ms\" }",
        &service,
    );
    let began = Instant::now();
    let answer = text(&proxy, GET);
    assert!(answer.ends_with("hello") && answer.contains("x-backburn-fault: it"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert!(service.saw().0.elapsed() >= Duration::from_millis(590), "it worked at once");
    // Its wait alone put it over the threshold.
    assert_eq!(cause(&proxy, "injected"), 1);
    assert_eq!(injected(&proxy, "latency"), 1);
    assert_eq!(proxy.metric("backburn_held_requests", &[]), 0);
}

/// A floor waits for what is missing, also after a wait before the service.
#[test]
fn a_floor_is_what_a_request_takes_at_least() {
    let service = Service::start(OK);
    let floor = |delay: &str, more: &str| {
        let fault = format!("inject.latency = {{ delay = \"{delay}\", floor = true }}\n{more}");
        let proxy = faulted(&fault, &service);
        let began = Instant::now();
        assert!(text(&proxy, GET).ends_with("hello"));
        (began.elapsed(), proxy)
    };
    let (took, proxy) = floor("500ms", "");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert_eq!(injected(&proxy, "latency"), 1);
    let more =
        |time: &str| format!("[faults.before]\nroutes = [\"*\"]\ninject.latency = \"{time}\"");
    let (took, proxy) = floor("4s", &more("3s"));
    // Not 7 s; far enough from it for a busy machine.
    assert!((4..7).contains(&took.as_secs()), "{took:?}");
    assert_eq!(injected(&proxy, "latency"), 2);
    // Nothing is missing: the floor did nothing.
    let (_, proxy) = floor("500ms", &more("600ms"));
    let metric = |fault| proxy.metric("backburn_faults_injected_total", &[fault]);
    assert_eq!((metric("fault=\"it\""), metric("fault=\"before\"")), (0, 1));
}

/// A halt lets held answers go; a caller that leaves while its answer is held is noticed.
#[test]
fn held_answers_are_let_go_and_watched() {
    let service = Service::start(OK);
    let proxy = faulted("inject.latency = { delay = \"60s\", on = \"response\" }", &service);
    let mut waiting = send(&proxy, GET);
    let leaving = send(&proxy, b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
    let held = |count| move |proxy: &Program| proxy.metric("backburn_held_requests", &[]) == count;
    proxy.until("both are held", held(2));
    drop(leaving);
    proxy.until("one left", held(1));
    assert_eq!(cause(&proxy, "injected"), 1);
    proxy.admin("POST", "/api/v1/drill/halt", "");
    let (answer, error) = read_all(&mut waiting);
    assert!(answer.ends_with(b"hello") && error.is_none());
    proxy.until("none is held", held(0));
    assert_eq!(good(&proxy), 1);
}

/// Bytes that tell their place.
pub(crate) fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdefghijklmnopqrstuvwxyz"[at / 7 % 36]).collect()
}

/// A service whose answers have so many bytes, declared; HEAD gets the head alone.
fn sized(length: usize) -> Service {
    Service::answering(move |request| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        if !request.starts_with("HEAD") {
            answer.extend(numbered(length));
        }
        answer
    })
}

/// A service that answers in chunks, one a piece.
fn chunked(pieces: &'static [&'static str]) -> Service {
    Service::answering(move |_| {
        let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for piece in pieces {
            answer += &format!("{:x}\r\n{piece}\r\n", piece.len());
        }
        (answer + "0\r\n\r\n").into_bytes()
    })
}

/// Head and body of what came, as it came.
fn split(bytes: &[u8]) -> (String, &[u8]) {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase(), &bytes[at + 4..])
}

/// Never faster than asked, all of it, and its slowness is the fault's.
#[test]
fn a_throttled_answer() {
    let service = sized(64 * 1024);
    let proxy = faulted(
        "inject.throttle = \"64KiB/s\"\n[slos.fast]\nobjective = \"99%\"\nsli.latency = { threshold = \"500ms\" }",
        &service,
    );
    let mut stream = send(&proxy, GET);
    let began = Instant::now();
    let (mut seen, mut head, mut piece) = (Vec::new(), 0, vec![0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        seen.extend_from_slice(&piece[..count]);
        if head == 0 {
            head = seen.len() - split(&seen).1.len();
        }
        let allowed = began.elapsed().as_secs_f64() * 65_536.0;
        let came = (seen.len() - head) as f64;
        // The clock here starts a moment after the proxy's.
        assert!(came <= allowed + 4_000.0, "{came} bytes, {allowed} allowed");
    }
    assert_eq!(split(&seen).1, numbered(64 * 1024));
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
    assert_eq!((injected(&proxy, "throttle"), cause(&proxy, "injected")), (1, 1));
}

/// What the service got was not as it was sent: whatever it says is the fault's doing.
#[test]
fn a_throttled_upload() {
    let service = Service::start(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    let proxy = faulted("inject.throttle = { rate = \"20KB/s\", on = \"request\" }", &service);
    let body = "x".repeat(10_000);
    let request = format!(
        "POST /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n{body}"
    );
    let began = Instant::now();
    assert!(text(&proxy, request.as_bytes()).starts_with("HTTP/1.1 500"));
    assert!(began.elapsed() >= Duration::from_millis(490));
    assert!(service.saw().1.ends_with(&body));
    assert_eq!((injected(&proxy, "throttle"), cause(&proxy, "injected")), (1, 1));
    // Without a body there is nothing to slow down: the failure is the service's own.
    text(&proxy, GET);
    assert_eq!((injected(&proxy, "throttle"), cause(&proxy, "masked")), (1, 1));
}

#[test]
fn an_answer_in_drips() {
    let service = sized(50);
    let proxy = faulted("inject.drip = { chunk = \"10B\", pause = \"100ms\" }", &service);
    let mut stream = send(&proxy, GET);
    let began = Instant::now();
    let (mut seen, mut reads, mut piece) = (Vec::new(), 0, [0; 1000]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        seen.extend_from_slice(&piece[..count]);
        reads += 1;
    }
    assert_eq!(split(&seen).1, numbered(50));
    assert!(began.elapsed() >= Duration::from_millis(395) && reads > 2, "{reads}");
    assert_eq!((injected(&proxy, "drip"), good(&proxy)), (1, 1));
}

/// Exactly so many bytes, and no clean end: less than declared, or no last chunk.
#[test]
fn a_truncated_answer_looks_truncated() {
    let service = sized(200_000);
    for (after, end) in [
        ("after = \"10000B\"", None),
        ("after = \"5%\"", None),
        ("after = \"10000B\", how = \"reset\"", Some(ErrorKind::ConnectionReset)),
    ] {
        let proxy = faulted(&format!("inject.truncate = {{ {after} }}"), &service);
        let (seen, error) = read_all(&mut send(&proxy, GET));
        assert_eq!(error, end, "{after}");
        let (head, body) = split(&seen);
        assert!(head.contains("content-length: 200000"), "{head}");
        assert!(body == &numbered(200_000)[..10_000], "{after}: {} bytes", body.len());
        proxy.until("counted", |proxy| cause(proxy, "injected") == 1);
        assert_eq!(injected(&proxy, "truncate"), 1);
    }
    let events = chunked(&["data: a\n", "\ndata: b\n\ndata: ", "c\n\ndata: d\n\n"]);
    for (after, end) in [
        ("after.events = 2", "data: b\n\n\r\n"),
        ("after = \"20B\"", "data: b\n\nda\r\n"),
        ("after.events = 0", "\r\n\r\n"),
    ] {
        let proxy = faulted(&format!("inject.truncate = {{ {after} }}"), &events);
        let (seen, error) = read_all(&mut send(&proxy, GET));
        let text = String::from_utf8(seen).unwrap();
        assert!(error.is_none() && text.ends_with(end), "{after}: {text}");
        proxy.until("counted", |proxy| cause(proxy, "injected") == 1);
    }
    // To a caller that takes the end of the connection for the end of the body, only a RST shows.
    let proxy = faulted("inject.truncate = { after.events = 1 }", &events);
    let (seen, error) = read_all(&mut send(&proxy, b"GET / HTTP/1.0\r\nHost: t\r\n\r\n"));
    assert!(split(&seen).1 == b"data: a\n\n", "{}", String::from_utf8_lossy(&seen));
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
}

/// What is over before the cut is left alone, also when it ends exactly there.
#[test]
fn a_short_answer_is_not_truncated() {
    let service = sized(1000);
    for after in ["\"1000B\"", "\"2KiB\"", "{ time = \"20s\" }", "{ messages = 30 }"] {
        let proxy = faulted(&format!("inject.truncate = {{ after = {after} }}"), &service);
        let (seen, error) = read_all(&mut send(&proxy, GET));
        assert!(error.is_none() && split(&seen).1 == numbered(1000), "{after}");
        assert_eq!((injected(&proxy, "truncate"), good(&proxy)), (0, 1), "{after}");
    }
}

/// A stream is cut in the middle of its silence.
#[test]
fn a_stream_is_cut_after_a_time() {
    let service =
        Service::start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: a\n\r\n");
    let proxy = faulted("inject.truncate = { after.time = \"400ms\" }", &service);
    let began = Instant::now();
    let (seen, error) = read_all(&mut send(&proxy, GET));
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(error.is_none() && seen.ends_with(b"data: a\n\r\n"));
    proxy.until("counted", |proxy| cause(proxy, "injected") == 1);
}

/// The same length, other bytes, and the same ones the next time.
#[test]
fn a_corrupt_answer_keeps_its_frame() {
    let service = sized(100_000);
    let once = || {
        let proxy = proxy(
            &format!(
                "seed = 7\n[faults.it]\nroutes = [\"*\"]\ninject.corrupt = {{ flip = \"1%\" }}\n{SLO}"
            ),
            &service.url,
            &[],
        );
        let (seen, error) = read_all(&mut send(&proxy, GET));
        assert!(error.is_none() && split(&seen).0.contains("content-length: 100000"));
        assert_eq!((injected(&proxy, "corrupt"), cause(&proxy, "injected")), (1, 1));
        split(&seen).1.to_vec()
    };
    let damaged = once();
    let whole = numbered(100_000);
    let differ = damaged.iter().zip(&whole).filter(|(a, b)| a != b).count();
    assert!(damaged.len() == 100_000 && (800..1200).contains(&differ), "{differ}");
    assert_eq!(once(), damaged);
}

#[test]
fn other_bytes_in_the_body_s_place() {
    let service = Service::start(OK);
    let proxy = faulted(
        "inject.corrupt = { replace = \"<html>\" }\n[faults.up]\nroutes = [\"*\"]\ninject.corrupt = { replace = \"{}\", on = \"request\" }",
        &service,
    );
    let answer = text(&proxy, b"POST /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert!(answer.contains("content-length: 6\r\n") && answer.ends_with("<html>"), "{answer}");
    let seen = service.saw().1.to_ascii_lowercase();
    assert!(seen.contains("content-length: 2\r\n") && seen.ends_with("\r\n\r\n{}"), "{seen}");
    assert!(!seen.contains("transfer-encoding"), "{seen}");
    assert_eq!((injected(&proxy, "corrupt"), cause(&proxy, "injected")), (2, 1));
}

#[test]
fn changed_fields_both_ways() {
    let service = Service::answering(|request| {
        let ok = request.to_ascii_lowercase().contains("authorization");
        let status = if ok { "200 OK" } else { "500 No" };
        format!("HTTP/1.1 {status}\r\nETag: a\r\nAge: 1\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let proxy = faulted(
        "inject.headers = { remove = [\"etag\"], set = { age = \"9\" }, add = { age = \"10\" } }\n[faults.up]\nroutes = [\"*\"]\ninject.headers = { on = \"request\", remove = [\"authorization\"] }",
        &service,
    );
    let answer =
        text(&proxy, b"GET / HTTP/1.1\r\nHost: t\r\nAuthorization: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500") && !answer.contains("etag"), "{answer}");
    assert!(answer.contains("age: 9\r\nage: 10\r\n"), "{answer}");
    assert_eq!(cause(&proxy, "injected"), 1);
    // Nothing was there to be taken away: the failure is its own.
    text(&proxy, GET);
    assert_eq!((cause(&proxy, "masked"), injected(&proxy, "headers")), (1, 3));
}

/// The service has done its work, and its answer is lost; what was bad anyway is masked.
#[test]
fn an_answer_lost_behind_the_service() {
    let service = Service::answering(|request| {
        let status = if request.contains("/bad") { "500 No" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nyes").into_bytes()
    });
    let proxy = faulted("inject.error = { status = 503, after_upstream = true }", &service);
    for path in ["/", "/bad"] {
        let answer = text(
            &proxy,
            format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 503") && !answer.contains("yes"), "{answer}");
        assert!(service.saw().1.starts_with(&format!("GET {path} ")));
    }
    assert_eq!((cause(&proxy, "injected"), cause(&proxy, "masked")), (1, 1));
}

/// A gRPC caller gets trailers only, others the HTTP status.
#[test]
fn a_grpc_status() {
    let service = Service::start(OK);
    let proxy =
        faulted("inject.error = { grpc_status = \"UNAVAILABLE\", body = \"50% gone\" }", &service);
    let call = b"POST /a.B/C HTTP/1.1\r\nHost: t\r\nContent-Type: application/grpc-web+proto\r\nConnection: close\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
    let answer = text(&proxy, call);
    let (head, body) = split(answer.as_bytes());
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{answer}");
    for field in
        ["grpc-status: 14", "grpc-message: 50%25 gone", "content-type: application/grpc-web+proto"]
    {
        assert!(head.contains(field), "{answer}");
    }
    let answer = text(&proxy, GET);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("50% gone"), "{answer}");
    assert_eq!(cause(&proxy, "injected"), 2);
}

const GARBAGE: &[u8] = b"\x00\xff\xfebackburn garbage\x00\xff\xfe\r\n\r\n";

/// What the caller sees of each way to end at each place, to the byte.
#[test]
fn aborts_at_every_place() {
    let service = sized(1000);
    let half = numbered(1000)[..500].to_vec();
    let with_garbage = [&half[..], GARBAGE].concat();
    let reset = Some(ErrorKind::ConnectionReset);
    let cases: [(&str, bool, &[u8], Option<ErrorKind>); 12] = [
        ("how = \"reset\"", false, b"", reset),
        ("how = \"close\"", false, b"", None),
        ("how = \"garbage\"", false, GARBAGE, None),
        ("how = \"hang\", cap = \"200ms\"", false, b"", None),
        ("how = \"reset\", at = \"headers\"", true, b"", reset),
        ("how = \"close\", at = \"headers\"", true, b"", None),
        ("how = \"garbage\", at = \"headers\"", true, GARBAGE, None),
        ("how = \"hang\", at = \"headers\", cap = \"200ms\"", true, b"", None),
        ("how = \"reset\", at = \"body\", after = \"50%\"", true, &half, reset),
        ("how = \"close\", at = \"body\", after = \"500B\"", true, &half, None),
        ("how = \"garbage\", at = \"body\", after = \"500B\"", true, &with_garbage, None),
        ("how = \"hang\", at = \"body\", after = \"500B\", cap = \"200ms\"", true, &half, None),
    ];
    for (how, worked, want, end) in cases {
        let proxy = faulted(&format!("inject.abort = {{ {how} }}"), &service);
        for request in [GET, b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi"] {
            let (seen, error) = read_all(&mut send(&proxy, request));
            assert_eq!(error, end, "{how}");
            let inside = how.contains("body");
            let body = if inside { split(&seen).1 } else { &seen };
            assert!(body == want, "{how}: {}", String::from_utf8_lossy(&seen));
            assert_eq!(
                service
                    .seen
                    .recv_timeout(Duration::from_millis(if worked { 5000 } else { 0 }))
                    .is_ok(),
                worked,
                "{how}"
            );
        }
        proxy.until("counted", |proxy| cause(proxy, "injected") == 2);
        assert_eq!(injected(&proxy, "abort"), 2, "{how}");
    }
}

/// At once after the head, which must not be lost.
#[test]
fn an_abort_after_the_head() {
    let service = Service::start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let proxy = faulted("inject.abort = { how = \"reset\", at = \"body\" }", &service);
    let (seen, error) = read_all(&mut send(&proxy, GET));
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    let (head, body) = split(&seen);
    assert!(head.starts_with("http/1.1 200") && body.is_empty());
}

/// A cut reaches a reader that is slow to the last byte: nothing is dropped on the way.
#[test]
fn a_slow_reader_gets_all_that_was_to_come() {
    let service = sized(8_000_000);
    let proxy = faulted("inject.truncate = { after = \"6MB\" }", &service);
    let mut stream = send(&proxy, GET);
    let (mut seen, mut piece) = (Vec::new(), vec![0; 65536]);
    // Reads no more than it must: when the cut is decided, the rest is still on its way.
    while injected(&proxy, "truncate") == 0 {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "cut before it was decided");
        seen.extend_from_slice(&piece[..count]);
    }
    let (rest, error) = read_all(&mut stream);
    seen.extend_from_slice(&rest);
    assert!(error.is_none() && split(&seen).1 == &numbered(8_000_000)[..6_000_000]);
}

/// HEAD, 204 and 304 have no body that could be shaped; their connections go on.
#[test]
fn bodiless_answers_are_left_alone() {
    let bodies = "inject.throttle = \"1B/s\"\ninject.drip = { chunk = \"1B\", pause = \"10s\" }\ninject.truncate = { after = \"0B\" }\ninject.corrupt = { replace = \"xyz\" }\n[faults.late]\nroutes = [\"*\"]\ninject.abort = { how = \"reset\", at = \"body\" }";
    let service = Service::answering(|request| {
        let head = match request.split(' ').nth(1).unwrap() {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nETag: a\r\n",
            _ => "200 OK\r\nContent-Length: 5\r\n",
        };
        format!("HTTP/1.1 {head}\r\n").into_bytes()
    });
    let proxy = faulted(bodies, &service);
    let requests = b"GET /204 HTTP/1.1\r\nHost: t\r\n\r\nGET /304 HTTP/1.1\r\nHost: t\r\n\r\nHEAD / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let answer = text(&proxy, requests);
    let heads: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|head| &head[..3]).collect();
    assert_eq!(heads, ["204", "304", "200"], "{answer}");
    assert!(answer.contains("content-length: 5") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(good(&proxy), 3);
}

/// Slow and failing: the shapes of a fault act on its own answer too.
#[test]
fn kinds_of_one_fault_act_together() {
    let service = Service::start(OK);
    let proxy = faulted(
        "inject.latency = \"200ms\"\ninject.error = { status = 503, body = \"0123456789\" }\ninject.drip = { chunk = \"5B\", pause = \"200ms\" }\ninject.headers = { add = { x-more = \"1\" } }",
        &service,
    );
    let began = Instant::now();
    let answer = text(&proxy, GET);
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("0123456789"), "{answer}");
    assert!(answer.contains("x-more: 1"), "{answer}");
    for kind in ["latency", "error", "drip", "headers"] {
        assert_eq!(injected(&proxy, kind), 1, "{kind}");
    }
    assert_eq!(cause(&proxy, "injected"), 1);
    // Of nothing, nothing can be cut off.
    let proxy = faulted("inject.error = 503\ninject.truncate = { after = \"50%\" }", &service);
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 503"));
    assert_eq!((injected(&proxy, "truncate"), cause(&proxy, "injected")), (0, 1));
}

/// A halt opens throttles, ends silence, and cuts nothing more.
#[test]
fn a_halt_opens_bodies() {
    let service = sized(100_000);
    for effect in [
        "throttle = \"100B/s\"",
        "drip = { chunk = \"1KB\", pause = \"10s\" }",
        "abort = { how = \"hang\", at = \"body\", after = \"5KB\" }",
        "truncate = { after.time = \"30s\" }\ninject.throttle = \"100B/s\"",
    ] {
        let proxy = faulted(&format!("inject.{effect}"), &service);
        let mut stream = send(&proxy, GET);
        let mut first = [0; 10];
        stream.read_exact(&mut first).unwrap();
        proxy.until("it acts", |proxy| proxy.metric("backburn_faults_injected_total", &[]) > 0);
        proxy.admin("POST", "/api/v1/drill/halt", "");
        let (rest, error) = read_all(&mut stream);
        let seen = [&first[..], &rest].concat();
        assert!(error.is_none() && split(&seen).1 == numbered(100_000), "{effect}");
        assert_eq!(good(&proxy), 1, "{effect}");
    }
}

/// Who leaves while its body hangs frees the place, and counts as bad and injected.
#[test]
fn who_leaves_a_hanging_body() {
    let service = sized(1000);
    let proxy =
        faulted("inject.abort = { how = \"hang\", at = \"body\", after = \"5B\" }", &service);
    let pipelined = [b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n", GET].concat();
    for (left, request) in [GET, &pipelined[..]].into_iter().enumerate() {
        let stream = send(&proxy, request);
        let held =
            |count| move |proxy: &Program| proxy.metric("backburn_held_requests", &[]) == count;
        proxy.until("it hangs", held(1));
        drop(stream);
        proxy.until("its place is free", held(0));
        proxy.until("counted", |proxy| cause(proxy, "injected") == left as u64 + 1);
    }
}
