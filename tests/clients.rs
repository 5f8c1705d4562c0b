//! What clients see of aborts, and what becomes of those who leave.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Program, SLO, accept, dial, host, proxy, shop};

fn abort(how: &str) -> (Program, Program) {
    let shop = shop();
    let scenario = format!("[faults.a]\nroutes = [\"*\"]\ninject.abort = {how}\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    (shop, proxy)
}

fn send(proxy: &Program, request: &[u8]) -> TcpStream {
    let url = proxy.url("proxy");
    let mut stream = dial(host(&url));
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    stream
}

const GET: &[u8] = b"GET /api/items HTTP/1.1\r\nHost: t\r\n\r\n";
const POST: &[u8] = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_reset_is_a_reset() {
    let (_shop, proxy) = abort("\"reset\"");
    for request in [GET, POST] {
        let error = send(&proxy, request).read(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 2);
}

#[test]
fn a_close_is_a_fin_without_an_answer() {
    let (_shop, proxy) = abort("\"close\"");
    for request in [GET, POST] {
        assert_eq!(send(&proxy, request).read(&mut [0; 100]).unwrap(), 0);
    }
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 2);
}

#[test]
fn a_hang_says_nothing_until_its_cap() {
    let (_shop, proxy) = abort("{ how = \"hang\", cap = \"400ms\" }");
    let began = Instant::now();
    assert_eq!(send(&proxy, GET).read(&mut [0; 100]).unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 1);
}

/// A caller that leaves while held frees its place, never reaches the service, and counts as bad
/// and injected: GET, upload with unread body, pipelined; FIN and RST.
#[test]
fn who_leaves_while_held() {
    // It never answers, so whoever reached it would wait in its queue.
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let scenario = format!("[faults.hold]\nroutes = [\"*\"]\ninject.latency = \"60s\"\n{SLO}");
    let proxy = proxy(&scenario, &url, &[]);
    let partial: &[u8] = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\nhello";
    let pipelined = [GET, GET].concat();
    let mut left = 0;
    for request in [GET, POST, partial, &pipelined] {
        for reset in [false, true] {
            let stream = send(&proxy, request);
            proxy.until("held", |proxy| proxy.metric("backburn_held_requests", &[]) == 1);
            if reset {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(stream);
            let began = Instant::now();
            left += 1;
            proxy.until("its place is free", |proxy| {
                proxy.metric("backburn_held_requests", &[]) == 0
                    && proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]) == left
            });
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    }
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), left);
    // The service saw none of them.
    upstream.set_nonblocking(true).unwrap();
    assert_eq!(upstream.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(
        proxy.metric("http_server_request_duration_seconds_count", &["error_type=\"client_gone\""]),
        left
    );
}

/// Every pipelined request gets its injected answer, in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let shop = shop();
    let scenario = format!("[faults.no]\nroutes = [\"*\"]\nevery = 2\ninject.error = 503\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    let last = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let mut stream = send(&proxy, &[GET, GET, GET, last].concat());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let statuses: Vec<&str> =
        answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "503", "200", "503"], "{answer}");
    assert!(answer.contains("x-backburn-fault: no"));
}

/// An upstream that answers each connection with these bytes and keeps what it was sent.
fn raw_upstream(
    answer: &'static [u8],
    until: &'static str,
) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // One connection is all these tests make.
        let mut stream = accept(&listener);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&seen).ends_with(until) {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => seen.extend_from_slice(&piece[..count]),
                _ => break,
            }
        }
        stream.write_all(answer).unwrap();
        let _ = sent.send(String::from_utf8_lossy(&seen).into_owned());
    });
    (url, received)
}

/// An answer that ends in trailers is a whole answer.
#[test]
fn trailers_end_an_answer() {
    let answer = b"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
    let (url, _seen) = raw_upstream(answer, "\r\n\r\n");
    let proxy = proxy(SLO, &url, &[]);
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n";
    let address = proxy.url("proxy");
    let answer = crate::support::exchange(host(&address), request);
    assert!(answer.contains("hello"), "{answer}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 1);
    assert_eq!(proxy.metric("backburn_slo_excluded_events_total", &[]), 0);
}

/// The body of a GET, of unknown length, reaches the service.
#[test]
fn a_get_may_have_a_body() {
    let (url, seen) = raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "0\r\n\r\n");
    let proxy = proxy(SLO, &url, &[]);
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let address = proxy.url("proxy");
    let answer = crate::support::exchange(host(&address), request);
    assert!(answer.ends_with("ok"), "{answer}");
    let seen = seen.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(seen.contains("hello"), "{seen}");
}

/// A service that breaks off inside its body: the caller sees what came, then a cut; organic.
#[test]
fn a_broken_answer_looks_broken() {
    let (url, _seen) =
        raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "\r\n\r\n");
    let proxy = proxy(SLO, &url, &[]);
    let address = proxy.url("proxy");
    let answer = crate::support::exchange(host(&address), b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(answer.ends_with("half"), "{answer}");
    proxy.until("organic", |proxy| {
        proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]) == 1
    });
}

/// What was accepted before the end is served.
#[test]
fn an_orderly_end_serves_what_was_accepted() {
    let shop = shop();
    let mut proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let streams: Vec<TcpStream> =
        (0..50).map(|_| send(&proxy, b"GET /slow?ms=400 HTTP/1.1\r\nHost: t\r\n\r\n")).collect();
    proxy.signal("-TERM");
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("at last\n"), "{answer}");
    }
    let (code, said) = proxy.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("50 requests"), "{said}");
}
