//! Callers' bodies that outlive their answers: a service may answer before it has read them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::gateway::{OK, SLO, answers, connect, read};
use crate::h2::{DATA, END_HEADERS, H2, HEADERS, PSEUDO, RESET, fields, frame};
use crate::support::proxy;
use crate::upstream::{events, head, service};

/// A service that has read enough says so and closes, with most of the upload unread: its answer is
/// what the caller sees, whether it looks for it while it sends or afterwards.
#[test]
fn an_answer_in_the_middle_of_an_upload() {
    let (seen, was_seen) = std::sync::mpsc::channel::<()>();
    let was_seen = std::sync::Mutex::new(was_seen);
    let url = service(move |mut stream| {
        let Some(_) = head(&mut stream) else { return };
        let answer =
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
        stream.write_all(answer).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        // Reads no more, and is gone once its answer has been seen.
        let _ = was_seen.lock().unwrap().recv_timeout(crate::support::PATIENCE);
    });
    let proxy = proxy(SLO, &url, &[]);
    let sizes = [(10_usize, true), (100_000, true), (8 << 20, true), (8 << 20, false)];
    let kept = ["keep-alive", "close"];
    let ways = sizes.into_iter().flat_map(|size| kept.map(|kept| (size, kept)));
    for ((size, reads_meanwhile), kept) in ways {
        let mut stream = connect(&proxy);
        let head = format!(
            "POST /a HTTP/1.1\r\nHost: t\r\nConnection: {kept}\r\nContent-Length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let mut sender = Some(std::thread::spawn(move || sending.write_all(&vec![b'x'; size])));
        if !reads_meanwhile {
            sender.take().unwrap().join().unwrap().unwrap();
        }
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [413], "{size}: {text:?}");
        seen.send(()).unwrap();
        drop(stream);
        // It may have been kept from sending all by now.
        let _ = sender.map(|sender| sender.join().unwrap());
    }
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(events(&proxy, "outcome=\"good\""), 8);
}

/// The answer to what was asked last, alone.
fn answered(stream: &mut TcpStream, what: &str) {
    let (text, closed) = read(stream, |text| !answers(text).is_empty());
    assert!(!closed && answers(&text) == [200], "{what}: {text:?}");
}

/// A caller whose answer comes before its body is out keeps its connection, whatever the service
/// does with its own: nothing was said about closing it.
#[test]
fn an_answer_before_the_body() {
    for closes in [true, false] {
        let url = service(move |mut stream| {
            while let Some(head) = head(&mut stream) {
                if closes && head.starts_with("POST") {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                    let _ = stream.write_all(answer);
                    return;
                }
                let _ = stream.write_all(OK);
                if head.starts_with("POST") {
                    let _ = stream.read_exact(&mut [0; 4]);
                }
            }
        });
        let proxy = proxy(SLO, &url, &[]);
        let mut stream = connect(&proxy);
        for (length, body) in [("Content-Length: 4", "body"), ("Transfer-Encoding: chunked", "")] {
            let what = format!("{length}, the service closes: {closes}");
            if body.is_empty() && !closes {
                // It would have to read chunks.
                continue;
            }
            // The first chunk tells that they are chunks.
            let first = if body.is_empty() { "1\r\nb\r\n" } else { "" };
            let rest = if body.is_empty() { "3\r\nody\r\n0\r\n\r\n" } else { body };
            let post = format!("POST / HTTP/1.1\r\nHost: t\r\n{length}\r\n\r\n{first}");
            stream.write_all(post.as_bytes()).unwrap();
            answered(&mut stream, &what);
            stream.write_all(rest.as_bytes()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            answered(&mut stream, &what);
        }
        let asked = if closes { 4 } else { 2 };
        proxy.until("counted", |_| events(&proxy, "outcome=\"good\"") == asked);
        assert_eq!(events(&proxy, ""), asked);
        assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
    }
}

/// What is left of a body is no head that does not come to its end.
#[test]
fn a_body_that_outlives_its_answer() {
    let url = service(|mut stream| {
        while let Some(head) = head(&mut stream) {
            stream.write_all(OK).unwrap();
            if head.starts_with("POST") {
                stream.read_exact(&mut [0; 4]).unwrap();
            }
        }
    });
    let scenario = format!("[proxy.timeouts]\nrequest_head = \"300ms\"\n{SLO}");
    let proxy = proxy(&scenario, &url, &[]);
    let mut stream = connect(&proxy);
    stream.write_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n").unwrap();
    answered(&mut stream, "first");
    for piece in ["bo", "dy"] {
        stream.write_all(piece.as_bytes()).unwrap();
        // Longer than a head may take.
        std::thread::sleep(Duration::from_millis(1200));
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    answered(&mut stream, "second");
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
    assert_eq!(events(&proxy, "outcome=\"good\""), 2);
}

/// Where the connection ends with the answer, its end waits for no more of the body: a caller that
/// has seen the answer may send nothing more, and wait for the end.
#[test]
fn an_answer_that_ends_the_connection() {
    let url = service(|mut stream| {
        let answers = head(&mut stream).unwrap().starts_with("POST /answers");
        // Unread, it would turn the end into a reset.
        stream.read_exact(&mut [0; 4]).unwrap();
        if answers {
            let _ = stream.write_all(b"HTTP/1.1 413 Large\r\nConnection: close\r\n\r\nno");
        }
    });
    let proxy = proxy(SLO, &url, &[]);
    for (head, status) in [
        ("POST /answers HTTP/1.0\r\n", 413),
        ("POST /answers HTTP/1.0\r\nConnection: keep-alive\r\n", 413),
        ("POST /answers HTTP/1.1\r\nConnection: close\r\n", 413),
        ("POST /closes HTTP/1.1\r\n", 502),
    ] {
        let mut stream = connect(&proxy);
        let text = format!("{head}Host: t\r\nContent-Length: 9\r\n\r\nbody");
        stream.write_all(text.as_bytes()).unwrap();
        let (text, closed) = read(&mut stream, |_| false);
        assert_eq!((crate::support::status_of(&text), closed), (status, true), "{head}: {text:?}");
    }
    proxy.until("counted", |_| events(&proxy, "") == 4);
    assert_eq!(events(&proxy, "outcome=\"good\""), 3);
}

/// What asks backburn itself may have a body, which is no next head.
#[test]
fn a_body_for_the_proxy_itself() {
    let url = service(|mut stream| {
        while head(&mut stream).is_some() {
            let _ = stream.write_all(OK);
        }
    });
    let proxy = proxy(SLO, &url, &[]);
    let mut stream = connect(&proxy);
    for piece in ["OPTIONS * HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n", "bo", "dy"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let (text, closed) = read(&mut stream, |text| answers(text).len() == 2);
    assert!(!closed && answers(&text) == [204, 200], "{text:?}");
    // Nor does it keep the connection for longer than it is given.
    let mut stream = connect(&proxy);
    stream.write_all(b"OPTIONS * HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n").unwrap();
    let (text, closed) = read(&mut stream, |_| false);
    assert!(closed && text.contains("\r\nconnection: close\r\n"), "{text:?}");
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
}

/// What is still on its way of a body that nobody wants any more is no reason to reset an HTTP/2
/// connection that has come to its end: the caller may not have read its answer yet.
#[test]
fn an_upload_that_outlives_an_http2_connection() {
    const GOODBYE: u8 = 7;
    let url = service(|mut stream| {
        head(&mut stream).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok");
    });
    let proxy = proxy(SLO, &url, &[]);
    let mut h2 = H2::open(&proxy, &[]);
    let post = [(":method", "POST"), PSEUDO[1], PSEUDO[2], PSEUDO[3]];
    h2.send(&frame(HEADERS, END_HEADERS, 1, &fields(&post)));
    h2.send(&frame(GOODBYE, 0, 0, &[0; 8]));
    assert_eq!(h2.verdict(), "200");
    assert!(h2.until(|_| false).is_none());
    for _ in 0..3 {
        h2.stream.write_all(&frame(DATA, 0, 1, b"body")).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(h2.stream.read(&mut [0]).unwrap(), 0);
    proxy.until("counted", |_| events(&proxy, "outcome=\"good\"") == 1);
}

/// A caller that resets its stream inside its body has left, with whatever code: its body is not
/// called broken, and never passed on as whole.
#[test]
fn an_upload_that_is_reset() {
    let (tell, told) = std::sync::mpsc::channel::<Vec<u8>>();
    let tell = std::sync::Mutex::new(tell);
    let url = service(move |mut stream| {
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen);
        let _ = tell.lock().unwrap().send(seen);
    });
    let proxy = proxy(SLO, &url, &[]);
    let (mut h2, rounds) = (H2::open(&proxy, &[]), 10);
    let post = [(":method", "POST"), PSEUDO[1], PSEUDO[2], PSEUDO[3]];
    for round in 0..rounds {
        let (stream, code) = (2 * round + 1, [8, 0][round as usize % 2]);
        h2.send(
            &[
                frame(HEADERS, END_HEADERS, stream, &fields(&post)),
                frame(DATA, 0, stream, b"begun"),
            ]
            .concat(),
        );
        proxy.until("begun", |proxy| proxy.metric("http_server_active_requests", &[]) == 1);
        std::thread::sleep(Duration::from_millis(20));
        h2.send(
            &[frame(DATA, 0, stream, b"more"), frame(RESET, 0, stream, &[0, 0, 0, code])].concat(),
        );
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        let seen = told.recv_timeout(crate::support::PATIENCE).unwrap();
        assert!(!seen.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&seen));
    }
    let gone = proxy.metric("backburn_slo_excluded_events_total", &["reason=\"client_gone\""]);
    assert_eq!((gone, events(&proxy, "")), (u64::from(rounds), 0));
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
}

/// A service that resets its stream inside its answer has broken off, even if it says that this is
/// no error.
#[test]
fn an_answer_that_is_reset() {
    let url = service(|mut stream| {
        const SETTINGS: u8 = 4;
        let head = fields(&[(":status", "200"), ("content-length", "9")]);
        let answer = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &head),
            frame(DATA, 0, 1, b"half"),
            frame(RESET, 0, 1, &[0; 4]),
        ];
        // The preface, and all that comes with the request.
        let _ = stream.read(&mut [0; 1000]);
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&answer.concat()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let proxy = proxy(SLO, &url.replace("http:", "h2c:"), &[]);
    let mut stream = connect(&proxy);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let (text, closed) = read(&mut stream, |_| false);
    assert!(closed && text.ends_with("half"), "{text:?}");
    proxy.until("counted", |_| events(&proxy, "") == 1);
    assert_eq!(events(&proxy, "cause=\"organic\""), 1);
}
