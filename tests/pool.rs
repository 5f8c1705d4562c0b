//! Connections to services: one answer to each request and no other, whatever a service does with
//! a connection, and whichever address it is found at.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::gateway::{SLO, answers, connect, read};
use crate::support::proxy;
use crate::upstream::{events, head, service};

fn get(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).unwrap();
    read(stream, |text| !answers(text).is_empty()).0
}

fn echo_path(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())
}

/// An answer that nobody asked for, on a connection that lies in the pool or is about to, is not
/// taken for the answer to the next request.
#[test]
fn answers_nobody_asked_for() {
    for late in [false, true] {
        let url = service(move |mut stream| {
            while let Some(head) = head(&mut stream) {
                let poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
                let answer = echo_path(&head).into_bytes();
                if late {
                    stream.write_all(&answer).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = stream.write_all(poison);
                } else {
                    stream.write_all(&[&answer[..], poison].concat()).unwrap();
                }
            }
        });
        let proxy = proxy(SLO, &url, &["--workers", "1"]);
        let mut stream = connect(&proxy);
        for n in 0..6 {
            let path = format!("/{n}");
            let text = get(&mut stream, &path);
            assert!(text.ends_with(&format!("\r\n\r\n{path}")), "late: {late}: {text:?}");
            if late {
                // Until it has come; before, it would be the answer to whatever is asked next.
                std::thread::sleep(Duration::from_millis(150));
            }
        }
        assert_eq!(events(&proxy, "outcome=\"good\""), 6);
    }
}

/// A service that has read enough says so and closes, with most of the upload unread: its answer is
/// what the caller sees.
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
        let _ = was_seen.lock().unwrap().recv();
    });
    let proxy = proxy(SLO, &url, &[]);
    for size in [10_usize, 100_000, 8 << 20] {
        let mut stream = connect(&proxy);
        let head = format!("POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let _ = sending.write_all(&vec![b'x'; size]);
        });
        let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
        assert_eq!(answers(&text), [413], "{size}: {text:?}");
        seen.send(()).unwrap();
        drop(stream);
        sender.join().unwrap();
    }
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(events(&proxy, "outcome=\"good\""), 3);
}
