//! What clients see of aborts, and what becomes of those who leave.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Program, host, proxy, shop};

const SLO: &str = "[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";

fn abort(how: &str) -> (Program, Program) {
    let shop = shop();
    let scenario = format!("[faults.a]\nroutes = [\"*\"]\ninject.abort = {how}\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    (shop, proxy)
}

fn send(proxy: &Program, request: &[u8]) -> TcpStream {
    let url = proxy.url("proxy");
    let mut stream = TcpStream::connect(host(&url)).unwrap();
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
    let shop = shop();
    let scenario = format!("[faults.hold]\nroutes = [\"*\"]\ninject.latency = \"60s\"\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
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

/// What a careful gateway refuses is refused, counted, and no SLI event.
#[test]
fn refusals() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "501"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (b"nonsense\r\n\r\n", "400"),
    ];
    for (request, status) in cases {
        let url = proxy.url("proxy");
        let answer = crate::support::exchange(host(&url), request);
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
    }
    proxy.until("counted", |proxy| proxy.metric("backburn_refused_total", &[]) == 5);
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 0);
}
