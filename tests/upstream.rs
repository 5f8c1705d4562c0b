//! Towards services: what they may answer (row by row from tests/corpus), stale connections,
//! addresses, loops, tunnels, streams.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::gateway::{OK, SLO, answers, bytes, connect, read};
use crate::recorder::Recorder;
use crate::support::{GET, PATIENCE, Program, bounded, proxy};

#[derive(Debug, Deserialize)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    answer: String,
    then: String,
    status: u16,
    error: Option<String>,
    #[serde(default)]
    head: bool,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    good: bool,
    #[serde(default)]
    sees: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

/// Runs `serve` for each connection, in a thread of its own.
pub(crate) fn service(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = bounded(stream.unwrap());
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

/// One head, and nothing after it.
pub(crate) fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

pub(crate) fn events(proxy: &Program, label: &str) -> u64 {
    proxy.metric("backburn_slo_events_total", &[label])
}

fn check(number: usize, case: &Case, proxy: &Program) -> Result<(), String> {
    let class = if case.good { "outcome=\"good\"" } else { "cause=\"organic\"" };
    let (all, of_class) = (events(proxy, ""), events(proxy, class));
    let mut stream = connect(proxy);
    let method = if case.head { "HEAD" } else { "GET" };
    let request = format!("{method} /{number} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let (text, closed) = read(&mut stream, |_| false);
    if !closed {
        return Err(format!("still open after {text:?}"));
    }
    if crate::support::status_of(&text) != case.status {
        return Err(format!("answered {text:?}"));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(error) = &case.error
        && !lower.contains(&format!("x-backburn-error: {error}\r\n"))
    {
        return Err(format!("no error {error} in {text:?}"));
    }
    let chunked = lower.contains("transfer-encoding: chunked");
    let whole = if chunked { text.ends_with("0\r\n\r\n") } else { !answers(&text).is_empty() };
    if case.cut && whole && !text.starts_with("HTTP/1.1 502") {
        return Err(format!("looks whole: {text:?}"));
    }
    if let Some(piece) = case.sees.iter().find(|piece| !text.contains(*piece)) {
        return Err(format!("no {piece:?} in {text:?}"));
    }
    if let Some(piece) = case.lacks.iter().find(|piece| lower.contains(*piece)) {
        return Err(format!("{piece:?} in {text:?}"));
    }
    proxy.until(&case.id, |proxy| events(proxy, "") == all + 1);
    if events(proxy, class) != of_class + 1 {
        return Err(format!("is not {class}"));
    }
    Ok(())
}

#[test]
fn the_corpus_of_services() {
    let files = [include_str!("corpus/upstream.toml"), include_str!("corpus/services.toml")];
    let corpus = files.into_iter().flat_map(|file| toml::from_str::<Corpus>(file).unwrap().case);
    let corpus: Vec<Case> = corpus.collect();
    assert!(corpus.len() > 80);
    let cases: Vec<(Vec<u8>, String)> =
        corpus.iter().map(|case| (bytes(&case.answer), case.then.clone())).collect();
    let url = service(move |mut stream| {
        let Some(head) = head(&mut stream) else { return };
        let number: usize =
            head.split_once('/').unwrap().1.split(' ').next().unwrap().parse().unwrap();
        let (answer, then) = &cases[number];
        let _ = stream.write_all(answer);
        match &**then {
            "close" => {}
            "reset" => {
                // What was sent has to arrive first.
                std::thread::sleep(Duration::from_millis(100));
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            "stay" => {
                let _ = stream.read(&mut [0; 1]);
            }
            other => panic!("{other}"),
        }
    });
    let proxy = proxy(SLO, &url, &[]);
    let failed: Vec<String> = corpus
        .iter()
        .enumerate()
        .filter_map(|(n, case)| Some(format!("{}: {}", case.id, check(n, case, &proxy).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    proxy.until("nothing is left", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
}

/// A service that answers `good` requests on a connection, and closes on the next without a word:
/// what a pooled connection meets that its service has just given up.
fn forgetful(good: usize, seen: Arc<AtomicUsize>) -> String {
    service(move |mut stream| {
        for n in 0.. {
            if head(&mut stream).is_none() {
                return;
            }
            seen.fetch_add(1, Ordering::Relaxed);
            if n == good {
                return;
            }
            let _ = stream.write_all(OK);
        }
    })
}

#[test]
fn a_stale_connection_is_tried_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let proxy = proxy(SLO, &forgetful(1, Arc::clone(&seen)), &["--workers", "1"]);
    let mut stream = connect(&proxy);
    // Every second request on a connection is lost, and asked again on a new one.
    for _ in 0..20 {
        stream.write_all(GET).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [200], "{text:?}");
    }
    assert_eq!(events(&proxy, "outcome=\"good\""), 20);
    assert_eq!(events(&proxy, ""), 20);
    assert_eq!(seen.load(Ordering::Relaxed), 39);
    // What may not be repeated is not: the caller learns that it may have been done.
    let mut refused = 0;
    for sent in 1..=4 {
        let post = b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";
        let mut stream = connect(&proxy);
        stream.write_all(post).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        refused += u64::from(text.contains("x-backburn-error: closed_early"));
        assert_eq!(seen.load(Ordering::Relaxed), 39 + sent, "each exactly once");
    }
    assert_eq!(refused, 2);
    assert_eq!(events(&proxy, "cause=\"organic\""), 2);
}

/// Once, and no more.
#[test]
fn a_service_that_always_closes() {
    let seen = Arc::new(AtomicUsize::new(0));
    let proxy = proxy(SLO, &forgetful(0, Arc::clone(&seen)), &[]);
    for _ in 0..3 {
        let mut stream = connect(&proxy);
        stream.write_all(GET).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert!(text.contains("x-backburn-error: closed_early"), "{text:?}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 3, "a new connection is not a stale one");
}

#[test]
fn a_name_that_means_nothing() {
    let proxy = proxy(SLO, "http://no-such-host.invalid:80", &[]);
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    assert!(text.starts_with("HTTP/1.1 502"), "{text:?}");
    assert!(text.contains("x-backburn-error: no_address"), "{text:?}");
    assert_eq!(events(&proxy, "cause=\"organic\""), 1);
}

/// The same service twice on one way is a loop; another service is not.
#[test]
fn a_loop_is_noticed() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(SLO, &upstream.url, &[]);
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    read(&mut stream, |text| !answers(text).is_empty());
    let seen = upstream.take()[0].text();
    let via = seen.lines().find(|line| line.starts_with("via: ")).unwrap().to_owned();
    let other = via.replace("target", "another");
    for (via, status) in [(other, 200), (via, 508)] {
        let mut stream = connect(&proxy);
        let request = format!("GET /a HTTP/1.1\r\nHost: t\r\nVia: 1.0 fred\r\n{via}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [status], "{text:?}");
    }
    assert_eq!(proxy.metric("backburn_refused_total", &["reason=\"via_loop\""]), 1);
    assert_eq!(events(&proxy, ""), 2);
}

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";

/// Says what it hears, until the other side is done.
fn echo() -> String {
    service(|mut stream| {
        let Some(head) = head(&mut stream) else { return };
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        stream.write_all(SWITCH).unwrap();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            stream.write_all(&piece[..read]).unwrap();
        }
        let _ = stream.write_all(b"bye");
        let _ = stream.shutdown(Shutdown::Write);
    })
}

#[test]
fn a_tunnel() {
    let scenario = format!("[proxy]\ntimeouts = {{ idle = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &echo(), &[]);
    let mut stream = connect(&proxy);
    // The first words come with the handshake.
    stream.write_all(&[UPGRADE, b"hello"].concat()).unwrap();
    let (text, _) = read(&mut stream, |text| text.ends_with("hello"));
    assert!(text.starts_with("HTTP/1.1 101"), "{text:?}");
    assert!(text.to_ascii_lowercase().contains("\r\nupgrade: echo\r\n"), "{text:?}");
    // It counts from its handshake on, and is under way until its end.
    assert_eq!(events(&proxy, "outcome=\"good\""), 1);
    assert_eq!(proxy.metric("http_server_active_requests", &[]), 1);
    // Silence is no fault in it.
    std::thread::sleep(Duration::from_millis(1500));
    let much = vec![b'x'; 1 << 20];
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        sending.write_all(&much).unwrap();
        // One side is done, the other is not.
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let (text, closed) = read(&mut stream, |_| false);
    sender.join().unwrap();
    assert!(closed && text.len() == (1 << 20) + 3 && text.ends_with("bye"), "{}", text.len());
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(events(&proxy, ""), 1);
    assert_eq!(proxy.metric("backburn_slo_excluded_events_total", &[]), 0);
}

/// Faults act on the handshake.
#[test]
fn a_tunnel_that_is_refused_by_a_fault() {
    let scenario = format!("[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n{SLO}");
    let proxy = proxy(&scenario, &echo(), &[]);
    let mut stream = connect(&proxy);
    stream.write_all(UPGRADE).unwrap();
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    assert_eq!(answers(&text), [503], "{text:?}");
    assert_eq!(events(&proxy, "cause=\"injected\""), 1);
}

/// Events arrive one by one; who leaves a stream has had a good answer, and so has who is left by
/// the service, but that is noted.
#[test]
fn an_event_stream() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let url = service(move |mut stream| {
        let Some(head) = head(&mut stream) else { return };
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        let events = gone.lock().unwrap();
        for n in 0.. {
            // The next only when the last has been read.
            if events.recv_timeout(PATIENCE).is_err() || head.contains("cut") && n == 3 {
                return;
            }
            if stream.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).is_err() {
                return;
            }
        }
    });
    let scenario =
        format!("[proxy]\ntimeouts = {{ body_stall = \"500ms\", idle = \"500ms\" }}\n{SLO}");
    let proxy = proxy(&scenario, &url, &[]);
    let mut stream = connect(&proxy);
    stream.write_all(b"GET /leave HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    for n in 0..3 {
        go.send(()).unwrap();
        let (text, closed) = read(&mut stream, |text| text.contains(&format!("data: {n}")));
        assert!(!closed, "{text:?}");
    }
    // A stream may pause.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(proxy.metric("http_server_active_requests", &[]), 1);
    assert_eq!(events(&proxy, "outcome=\"good\""), 1);
    drop(stream);
    proxy.until("left", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let mut stream = connect(&proxy);
    stream.write_all(b"GET /cut HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    for _ in 0..8 {
        let _ = go.send(());
    }
    let (text, closed) = read(&mut stream, |_| false);
    assert!(closed && !text.ends_with("0\r\n\r\n"), "{text:?}");
    assert_eq!(events(&proxy, "outcome=\"good\""), 2);
    assert_eq!(events(&proxy, ""), 2);
    assert_eq!(proxy.metric("backburn_slo_excluded_events_total", &[]), 0);
    assert_eq!(proxy.metric("backburn_streams_interrupted_total", &[]), 1);
}

/// Each of the first events has been read before the next is said; then a hundred thousand, as fast
/// as they are taken, whole and in order.
#[test]
fn a_long_event_stream() {
    const ALL: usize = 100_000;
    const ONE_BY_ONE: usize = 1_000;
    let (read_one, was_read) = std::sync::mpsc::channel::<()>();
    let was_read = std::sync::Mutex::new(was_read);
    let url = service(move |mut stream| {
        let Some(_) = head(&mut stream) else { return };
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        for n in 0..ALL {
            let event = format!("id: {n}\ndata: x\n\n");
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
            if n < ONE_BY_ONE {
                was_read.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let proxy = proxy(SLO, &url, &[]);
    let mut stream = std::io::BufReader::new(connect(&proxy));
    // In HTTP/1.0, so that the lines are the service's own, without chunks between them.
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.get_mut().write_all(b"GET /events HTTP/1.0\r\nHost: t\r\n\r\n").unwrap();
    let mut next = 0;
    let mut line = String::new();
    while std::io::BufRead::read_line(&mut stream, &mut line).unwrap() > 0 {
        if let Some(id) = line.strip_prefix("id: ") {
            assert_eq!(id.trim_end().parse::<usize>().unwrap(), next);
            next += 1;
            if next <= ONE_BY_ONE {
                read_one.send(()).unwrap();
            }
        }
        line.clear();
    }
    assert_eq!(next, ALL);
    assert_eq!(events(&proxy, "outcome=\"good\""), 1);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(proxy.metric("backburn_streams_interrupted_total", &[]), 0);
}
