//! Every timeout and limit, at values made small, over real sockets. What is claimed is that it
//! comes, is counted under its name and charged to the right one; when exactly, depends on the
//! machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::gateway::{OK, SLO, answers, connect, read};
use crate::recorder::Recorder;
use crate::support::{GET, Program, accept, proxy, shop};

/// backburn before `upstream`, with one timeout made small.
fn with(timeout: &str, upstream: &str) -> Program {
    let scenario = format!("[proxy]\ntimeouts = {{ {timeout} = \"500ms\" }}\n{SLO}");
    proxy(&scenario, upstream, &[])
}

fn refused(proxy: &Program, reason: &str) -> u64 {
    proxy.metric("backburn_refused_total", &[&format!("reason=\"{reason}\"")])
}

fn until_refused(proxy: &Program, reason: &str) {
    proxy.until(reason, |proxy| refused(proxy, reason) == 1);
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 1);
}

/// Reads to the end, which must come.
fn to_end(stream: &mut TcpStream) -> String {
    let (text, closed) = read(stream, |_| false);
    assert!(closed, "still open after {text:?}");
    text
}

#[test]
fn first_byte() {
    let shop = shop();
    let proxy = with("first_byte", &shop.url("checkout"));
    let began = Instant::now();
    assert_eq!(to_end(&mut connect(&proxy)), "");
    assert!(began.elapsed() >= Duration::from_millis(500));
    until_refused(&proxy, "first_byte");
}

/// Half a head, half an HTTP/2 preface, and a head that comes byte by byte.
#[test]
fn request_head() {
    let shop = shop();
    let (whole, ever) = ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a".repeat(2_000));
    for (begun, goes_on) in
        [("GET /a HTTP/1.1\r\nHost: t\r\nX-", &*ever), ("G", &ever), (&whole[..8], &whole[8..20])]
    {
        let proxy = with("request_head", &shop.url("checkout"));
        let mut stream = connect(&proxy);
        stream.write_all(begun.as_bytes()).unwrap();
        let mut slow = stream.try_clone().unwrap();
        let goes_on = goes_on.to_owned();
        let trickle = std::thread::spawn(move || {
            // Ends when the other side has closed.
            for byte in goes_on.bytes() {
                if slow.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let text = to_end(&mut stream);
        assert!(text.starts_with("HTTP/1.1 408"), "{begun}: {text:?}");
        assert!(text.contains("x-backburn-error: request_head"), "{begun}: {text:?}");
        until_refused(&proxy, "request_head");
        trickle.join().unwrap();
    }
}

#[test]
fn body_stall() {
    let upstream = Recorder::start(OK);
    let proxy = with("body_stall", &upstream.url);
    let chunked = "POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sized = "POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc";
    for (n, request) in [chunked, sized].into_iter().enumerate() {
        let mut stream = connect(&proxy);
        stream.write_all(request.as_bytes()).unwrap();
        let text = to_end(&mut stream);
        assert!(text.starts_with("HTTP/1.1 408"), "{text:?}");
        assert!(text.contains("x-backburn-error: body_stall"), "{text:?}");
        assert_eq!(refused(&proxy, "body_stall"), n as u64 + 1);
    }
    let excluded = proxy.metric("backburn_slo_excluded_events_total", &["reason=\"bad_request\""]);
    assert_eq!(excluded, 2);
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 0);
    assert!(upstream.take().iter().all(|seen| !seen.whole));
}

/// An answer of 64 MiB, in pieces.
fn endless_upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20);
                let _ = stream.write_all(head.as_bytes());
                let piece = vec![b'x'; 1 << 20];
                for _ in 0..64 {
                    if stream.write_all(&piece).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn write_stall() {
    let proxy = with("write_stall", &endless_upstream());
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    proxy.until("cut", |proxy| refused(proxy, "write_stall") == 1);
    proxy.until("excluded", |proxy| {
        proxy.metric("backburn_slo_excluded_events_total", &["reason=\"refused\""]) == 1
    });
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 0);
    assert_eq!(proxy.metric("http_server_active_requests", &[]), 0);
}

/// Slower than the timeout in all, but never still for that long.
#[test]
fn slow_is_not_stalled() {
    let upstream = Recorder::start(OK);
    let scenario = format!(
        "[proxy]\ntimeouts = {{ body_stall = \"1s\", response_head = \"1s\", write_stall = \"1s\" }}\n{SLO}"
    );
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let mut stream = connect(&proxy);
    stream.write_all(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 24\r\n\r\n").unwrap();
    for _ in 0..24 {
        stream.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(125));
    }
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    assert_eq!(answers(&text), [200], "{text:?}");
}

#[test]
fn idle() {
    let shop = shop();
    let proxy = with("idle", &shop.url("checkout"));
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    let text = to_end(&mut stream);
    assert_eq!(answers(&text).len(), 1, "{text:?}");
    // Nobody's fault.
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
}

#[test]
fn response_head() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = with("response_head", &format!("http://{}", silent.local_addr().unwrap()));
    for request in [GET, b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"] {
        let mut stream = connect(&proxy);
        stream.write_all(request).unwrap();
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert!(text.starts_with("HTTP/1.1 504"), "{text:?}");
        assert!(text.contains("x-backburn-error: response_timeout"), "{text:?}");
    }
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 2);
    let label = "error_type=\"response_timeout\"";
    assert_eq!(proxy.metric("http_server_request_duration_seconds_count", &[label]), 2);
}

/// A service that takes no more of an upload does not hold it for ever.
#[test]
fn an_upload_nobody_takes() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = with("response_head", &format!("http://{}", silent.local_addr().unwrap()));
    let mut stream = connect(&proxy);
    let size = 64 << 20;
    let head = format!("POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let _ = sending.write_all(&vec![b'x'; size]);
    });
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    assert!(text.starts_with("HTTP/1.1 504"), "{text:?}");
    drop(stream);
    sender.join().unwrap();
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 1);
}

/// A service that stalls inside its answer: cut, never a clean end, and its own failure.
#[test]
fn an_answer_that_stalls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        let _ = stream.read(&mut [0; 4096]);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .unwrap();
        // Until backburn leaves.
        let _ = stream.read(&mut [0; 1]);
    });
    let proxy = with("body_stall", &url);
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    let text = to_end(&mut stream);
    assert!(text.contains("abc") && !text.ends_with("0\r\n\r\n"), "{text:?}");
    serving.join().unwrap();
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 1);
}

/// A queue that is full drops what knocks.
#[test]
fn connect_timeout() {
    use socket2::{Domain, Socket, Type};
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let knocking: Vec<Socket> = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let proxy = with("connect", &format!("http://{address}"));
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    assert!(text.starts_with("HTTP/1.1 504"), "{text:?}");
    assert!(text.contains("x-backburn-error: connect_timeout"), "{text:?}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 1);
    drop(knocking);
}

/// What is open when the time to end is over is cut, and is nobody's failure.
#[test]
fn drain() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // A caller that left would be a bad event at once.
    let scenario = format!("[proxy]\ntimeouts = {{ drain = \"500ms\" }}\n{SLO}")
        .replace("availability = {}", "availability = { abandoned_after = \"1ms\" }");
    let mut proxy = proxy(&scenario, &format!("http://{}", silent.local_addr().unwrap()), &[]);
    let mut stream = connect(&proxy);
    stream.write_all(GET).unwrap();
    let _taken = accept(&silent);
    proxy.signal("-TERM");
    assert_eq!(to_end(&mut stream), "");
    let (code, said) = proxy.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 request in"), "{said}");
    assert!(said.contains("no traffic"), "{said}");
}

#[test]
fn connections() {
    let shop = shop();
    let scenario = format!("[proxy]\nlimits = {{ connections = 2 }}\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&proxy);
        stream.write_all(GET).unwrap();
        let (text, closed) = read(&mut stream, |text| !answers(text).is_empty());
        assert!(!closed, "{text:?}");
        kept.push(stream);
    }
    for n in 1..=40 {
        let mut stream = connect(&proxy);
        let _ = stream.write_all(GET);
        let text = to_end(&mut stream);
        // Beyond the first few at a time it is only closed.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 503"), "{text:?}");
        if n == 1 {
            assert!(text.contains("x-backburn-error: connections"), "{text:?}");
        }
    }
    assert_eq!(refused(&proxy, "connections"), 40);
    drop(kept);
    proxy.until("there is room again", |proxy| {
        let mut stream = connect(proxy);
        let _ = stream.write_all(GET);
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        !text.starts_with("HTTP/1.1 503") && !text.is_empty()
    });
}

#[test]
fn header_limits() {
    let upstream = Recorder::start(OK);
    let scenario = format!("[proxy]\nlimits = {{ header_bytes = \"2KiB\", headers = 5 }}\n{SLO}");
    let proxy = proxy(&scenario, &upstream.url, &[]);
    let long = format!("GET /a HTTP/1.1\r\nHost: t\r\nX-A: {}\r\n\r\n", "a".repeat(2048));
    let many = format!("GET /a HTTP/1.1\r\nHost: t\r\n{}\r\n", "x: y\r\n".repeat(5));
    let fits = format!("GET /a HTTP/1.1\r\nHost: t\r\n{}\r\n", "x: y\r\n".repeat(4));
    for (request, status) in [(long, 431), (many, 431), (fits, 200)] {
        let mut stream = connect(&proxy);
        let _ = stream.write_all(request.as_bytes());
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [status], "{text:?}");
    }
    assert_eq!(refused(&proxy, "malformed"), 2);
    assert_eq!(upstream.take().len(), 1);
}

/// Readiness is withdrawn, and for a while the door stays open.
#[test]
fn lame_duck() {
    let shop = shop();
    let scenario = format!("[proxy]\nlame_duck = \"2s\"\n{SLO}");
    let mut proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    proxy.signal("-TERM");
    proxy.until("not ready", |proxy| proxy.admin("GET", "/readyz", "").0 == 503);
    let mut stream = connect(&proxy);
    stream.write_all(b"GET /api/items HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let text = to_end(&mut stream);
    assert_eq!(answers(&text), [200], "{text:?}");
    assert_eq!(proxy.wait().0, Some(0));
}
