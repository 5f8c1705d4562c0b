//! What faults do to WebSockets and other tunnels, as Python's `websockets` and raw sockets see it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::{good, injected, read_all};
use crate::others::{Service, run};
use crate::support::{Program, SLO, dial, host, proxy};

fn faulted(inject: &str, upstream: &str) -> Program {
    proxy(&format!("[faults.it]\nroutes = [\"*\"]\n{inject}\n{SLO}"), upstream, &[])
}

/// Sends so many messages of a size, and reads on to the end.
fn talk(proxy: &Program, count: &str, size: &str, more: &[&str]) -> Value {
    let url = proxy.url("proxy").replace("http:", "ws:");
    run("websocket_cut.py", &[&[&*url, count, size], more].concat())
}

fn interrupted(proxy: &Program) -> u64 {
    proxy.metric("backburn_streams_interrupted_total", &[])
}

/// Exactly so many messages, or so much time; with a code or without a word. The handshake was
/// good; that it was cut off later is a second fact.
#[test]
fn a_websocket_is_cut_off() {
    let service = Service::start("websocket_service.py");
    let upstream = format!("http://127.0.0.1:{}", service.port);
    for (cut, size, echoed, code) in [
        ("truncate = { after.messages = 3 }", "10", 3, None),
        ("truncate = { after.messages = 3, how = \"reset\" }", "10", 3, None),
        ("truncate = { after.messages = 3, close_code = 1012 }", "70000", 3, Some(1012)),
        ("abort = { how = \"close\", at = \"body\", after.messages = 1 }", "10", 1, None),
        (
            "abort = { how = \"close\", at = \"body\", after.messages = 0, close_code = 4000 }",
            "10",
            0,
            Some(4000),
        ),
        (
            "abort = { how = \"hang\", at = \"body\", after.messages = 2, cap = \"300ms\" }",
            "10",
            2,
            None,
        ),
        ("abort = { how = \"garbage\", at = \"body\", after.messages = 2 }", "10", 2, None),
        // Inside the second frame: abruptly there, or with a word when that has come to its end.
        ("truncate = { after = \"1500B\" }", "1000", 1, None),
        ("truncate = { after = \"1500B\", close_code = 1001 }", "1000", 2, Some(1001)),
        ("truncate = { after.time = \"500ms\", close_code = 1001 }", "10", 5, Some(1001)),
    ] {
        let proxy = faulted(&format!("inject.{cut}"), &upstream);
        let seen = talk(&proxy, "5", size, &[]);
        assert_eq!((&seen["echoed"], seen["code"].as_u64()), (&echoed.into(), code), "{cut}");
        let least = if cut.contains("500ms") { 0.5 } else { 0.0 };
        assert!(seen["over_s"].as_f64().unwrap() >= least, "{cut}: {seen}");
        proxy.until("over", |proxy| interrupted(proxy) == 1);
        let kind = cut.split(' ').next().unwrap();
        assert_eq!((good(&proxy), injected(&proxy, kind)), (1, 1), "{cut}");
        assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 1, "{cut}");
        proxy.until("nothing is left", |proxy| {
            proxy.metric("http_server_active_requests", &[]) == 0
        });
    }
}

/// Each way later by the delay of the handshake, each message by itself, in order; who closes in
/// order is no interruption.
#[test]
fn a_websocket_is_late() {
    let service = Service::start("websocket_service.py");
    let upstream = format!("http://127.0.0.1:{}", service.port);
    for (late, least) in [
        ("latency = \"300ms\"", 0.3),
        ("latency = { delay = \"300ms\", on = \"response\" }", 0.3),
        (
            "latency = \"300ms\"\n[faults.back]\nroutes = [\"*\"]\ninject.latency = { delay = \"200ms\", on = \"response\" }",
            0.5,
        ),
    ] {
        let proxy = faulted(&format!("inject.{late}"), &upstream);
        let seen = talk(&proxy, "40", "100", &["close"]);
        let time = |what: &str| seen[what].as_f64().unwrap();
        assert_eq!(seen["echoed"], 40);
        assert!(time("open_s") >= least && time("first_s") >= least, "{late}: {seen}");
        // One after the other it would be 40 times as long.
        assert!(time("all_s") < 20.0 * least, "{late}: {seen}");
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        assert_eq!((good(&proxy), interrupted(&proxy)), (1, 0), "{late}");
    }
}

/// A service that switches to `echo` and sends back what it gets; or, with `pushes`, speaks first.
fn echoing(pushes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                let _ = stream.write_all(&[switch, pushes].concat());
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    if stream.write_all(&piece[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// Through the handshake; what came behind its head is left to be read.
fn switched(proxy: &Program, early: &[u8]) -> TcpStream {
    let url = proxy.url("proxy");
    let mut stream = dial(host(&url));
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(&[head, early].concat()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("x-backburn-fault: it"), "{head}");
    stream
}

/// A handshake is a request like any other to what answers, turns away, aborts or edits.
#[test]
fn a_handshake_is_a_request() {
    let upstream = echoing(b"");
    let asked = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    for (inject, begins, has, end) in [
        ("error = 503", "HTTP/1.1 503", "x-backburn-fault: it", None),
        ("headers = { set = { x-a = \"b\" } }", "HTTP/1.1 101", "x-a: b", None),
        ("abort = \"reset\"", "", "", Some(ErrorKind::ConnectionReset)),
        ("abort = { how = \"close\", at = \"headers\" }", "", "", None),
        ("saturate = { concurrency = 1, service_time = \"1ms\" }", "HTTP/1.1 101", "", None),
    ] {
        let proxy = faulted(&format!("inject.{inject}"), &upstream);
        let mut stream = dial(host(&proxy.url("proxy")));
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(asked).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        let ended = loop {
            match stream.read(&mut byte) {
                Ok(0) => break None,
                Ok(_) => head.push(byte[0]),
                Err(error) => break Some(error.kind()),
            }
            if head.ends_with(b"\r\n\r\n") {
                break None;
            }
        };
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(begins) && head.contains(has), "{inject}: {head}");
        assert_eq!((head.is_empty(), ended), (begins.is_empty(), end), "{inject}");
        let switched = u64::from(begins.ends_with("101"));
        proxy.until("counted", |proxy| {
            proxy.metric("backburn_slo_events_total", &[]) == 1 && good(proxy) == switched
        });
    }
}

/// To the byte, and a RST is one; what has no meaning here is said to have been skipped.
#[test]
fn a_tunnel_of_another_protocol() {
    let upstream = echoing(b"");
    for (cut, end) in [
        ("truncate = { after = \"7B\" }", None),
        ("truncate = { after = \"7B\", how = \"reset\" }", Some(ErrorKind::ConnectionReset)),
        (
            "abort = { how = \"reset\", at = \"body\", after = \"7B\" }",
            Some(ErrorKind::ConnectionReset),
        ),
    ] {
        let proxy = faulted(&format!("inject.{cut}"), &upstream);
        let mut stream = switched(&proxy, b"0123");
        stream.write_all(b"456789").unwrap();
        assert_eq!(read_all(&mut stream), (b"0123456".to_vec(), end), "{cut}");
        drop(stream);
        proxy.until("over", |proxy| interrupted(proxy) == 1);
    }
    let proxy =
        faulted("inject.abort = { how = \"garbage\", at = \"body\", after = \"2B\" }", &upstream);
    // A caller that is still sending gets to see it, and to say what it makes of it.
    let mut stream = switched(&proxy, &vec![b'x'; 1 << 20]);
    let (seen, end) = read_all(&mut stream);
    assert!(seen.starts_with(b"xx\x00\xff\xfebackburn garbage"), "{seen:?}");
    assert_eq!(end, None);
    stream.write_all(b"x").unwrap();
    for skipped in ["truncate = { after.messages = 1 }", "corrupt = { flip = \"100%\" }"] {
        let proxy = faulted(&format!("inject.{skipped}"), &upstream);
        let mut stream = switched(&proxy, b"");
        stream.write_all(b"whole").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut stream), (b"whole".to_vec(), None), "{skipped}");
        assert_eq!(proxy.metric("backburn_faults_skipped_total", &["tunnel"]), 1, "{skipped}");
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        assert_eq!(interrupted(&proxy), 0, "{skipped}");
    }
}

/// Never faster than asked; a halt opens it, and ends silences.
#[test]
fn a_halt_opens_tunnels() {
    let whole = &[7_u8; 16_000];
    let upstream = echoing(whole);
    for slow in [
        "throttle = \"1KB/s\"",
        "drip = { chunk = \"100B\", pause = \"2s\" }",
        "abort = { how = \"hang\", at = \"body\", after = \"50B\" }",
    ] {
        let proxy = faulted(&format!("inject.{slow}"), &upstream);
        let mut stream = switched(&proxy, b"");
        let began = Instant::now();
        let mut first = [0; 50];
        stream.read_exact(&mut first).unwrap();
        proxy.until("it acts", |proxy| proxy.metric("backburn_faults_injected_total", &[]) > 0);
        proxy.admin("POST", "/api/v1/drill/halt", "");
        let mut rest = vec![0; whole.len() - first.len()];
        stream.read_exact(&mut rest).unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "{slow}");
        // It goes on as a tunnel.
        stream.write_all(b"still there").unwrap();
        let mut back = [0; 11];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"still there", "{slow}");
        drop(stream);
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        assert_eq!((good(&proxy), interrupted(&proxy)), (1, 0), "{slow}");
    }
}

/// That the service breaks a tunnel off is a second fact, too, and no event.
#[test]
fn a_service_that_breaks_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut piece = [0; 4096];
            let _ = stream.read(&mut piece);
            let _ =
                stream.write_all(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
            // Something of the caller's has to be there unread, or in the socket's way.
            let _ = stream.read_exact(&mut piece[..1]);
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    for inject in ["headers = { add = { x-a = \"b\" } }", "throttle = \"1MB/s\""] {
        let proxy = faulted(&format!("inject.{inject}"), &upstream);
        let mut stream = switched(&proxy, b"x");
        assert!(read_all(&mut stream).0.is_empty());
        drop(stream);
        proxy.until("told", |proxy| interrupted(proxy) == 1);
        assert_eq!(good(&proxy), 1, "{inject}");
    }
}
