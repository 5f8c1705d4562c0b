//! Each kind as a client sees it, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::{Program, host, proxy};

const SLO: &str = "[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";

/// A service that answers every request with the same bytes and tells what it was sent.
struct Service {
    url: String,
    seen: Receiver<(Instant, String)>,
}

impl Service {
    fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        let _ = sender.send((Instant::now(), request));
                        if stream.write_all(answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn saw(&self) -> (Instant, String) {
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

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

fn faulted(inject: &str, service: &Service) -> Program {
    let scenario = format!("[faults.it]\nroutes = [\"*\"]\n{inject}\n{SLO}");
    proxy(&scenario, &service.url, &[])
}

fn send(proxy: &Program, request: &[u8]) -> TcpStream {
    let url = proxy.url("proxy");
    let mut stream = TcpStream::connect(host(&url)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request).unwrap();
    stream
}

/// What comes until the end, and how it ended.
fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
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

fn text(proxy: &Program, request: &[u8]) -> String {
    let (bytes, error) = read_all(&mut send(proxy, request));
    assert_eq!(error, None);
    String::from_utf8(bytes).unwrap()
}

fn cause(proxy: &Program, cause: &str) -> u64 {
    proxy.metric("backburn_slo_events_total", &[&format!("cause=\"{cause}\"")])
}

fn injected(proxy: &Program, kind: &str) -> u64 {
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
    let floor = |more: &str| {
        let fault = format!("inject.latency = {{ delay = \"500ms\", floor = true }}\n{more}");
        let proxy = faulted(&fault, &service);
        let began = Instant::now();
        assert!(text(&proxy, GET).ends_with("hello"));
        (began.elapsed(), proxy)
    };
    let (took, proxy) = floor("");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert_eq!(injected(&proxy, "latency"), 1);
    let more =
        |time: &str| format!("[faults.before]\nroutes = [\"*\"]\ninject.latency = \"{time}\"");
    let (took, proxy) = floor(&more("400ms"));
    // Not 900 ms; far enough from it for a busy machine.
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(850), "{took:?}");
    assert_eq!(injected(&proxy, "latency"), 2);
    // Nothing is missing: the floor did nothing.
    let (_, proxy) = floor(&more("600ms"));
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
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 1);
}
