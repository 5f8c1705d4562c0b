//! Services that come, go and change places by reload while requests are on their way.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{PATIENCE, Program, Scratch, exchange, host, status_of};

/// Answers every request with its name; `/…/wait` only when it is let.
struct Named {
    url: String,
    arrived: Receiver<()>,
    leave: Sender<()>,
}

impl Named {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrives, arrived) = channel();
        let (leave, left) = channel();
        let left = Arc::new(Mutex::new(left));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (arrives, left) = (arrives.clone(), Arc::clone(&left));
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(name, stream, &arrives, &left));
            }
        });
        Self { url, arrived, leave }
    }
}

fn serve(name: &str, stream: TcpStream, arrives: &Sender<()>, left: &Mutex<Receiver<()>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = stream;
    while let Some(Ok(first)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        if first.contains("/wait") {
            arrives.send(()).unwrap();
            left.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// backburn, with one worker, and the file of its scenario.
struct Edited {
    proxy: Program,
    file: PathBuf,
}

impl Edited {
    fn start(text: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.file("scenario.toml", text);
        let path = file.to_str().unwrap();
        let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "1"];
        Self { proxy: Program::start_in(scratch, "run", &[&[path], &free[..]].concat()), file }
    }

    fn reload(&self, text: &str) -> Value {
        std::fs::write(&self.file, text).unwrap();
        let (status, text) = self.proxy.admin("POST", "/api/v1/reload", "");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &report["result"]), (200, &"applied".into()), "{text}");
        report
    }

    /// Who answers, or with which status nobody does.
    fn ask(&self, path: &str) -> String {
        ask(&self.proxy.url("proxy"), path)
    }
}

fn ask(url: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let answer = exchange(host(url), request.as_bytes());
    match status_of(&answer) {
        200 => answer.split_once("\r\n\r\n").unwrap().1.to_owned(),
        status => status.to_string(),
    }
}

/// Services, each with a route of its name.
fn scenario(services: &[(&str, &Named)]) -> String {
    let each = services.iter().map(|(name, service)| {
        format!(
            "[services.{name}]\nurl = \"{}\"\n[routes.{name}]\nservice = \"{name}\"\n\
             path = \"/{name}/{{*rest}}\"\n",
            service.url
        )
    });
    each.collect()
}

/// A request that outlasts the reload that gave its service's place to another leaves nothing
/// behind there.
#[test]
fn a_connection_never_becomes_another_services() {
    let (a, b, c) = (Named::start("a"), Named::start("b"), Named::start("c"));
    let edited = Edited::start(&scenario(&[("a", &a), ("b", &b)]));
    let url = edited.proxy.url("proxy");
    let waiting = std::thread::spawn(move || ask(&url, "/b/wait"));
    b.arrived.recv_timeout(PATIENCE).unwrap();
    edited.reload(&scenario(&[("a", &a), ("c", &c)]));
    assert_eq!(edited.ask("/c/x"), "c");
    b.leave.send(()).unwrap();
    assert_eq!(waiting.join().unwrap(), "b");
    for _ in 0..5 {
        assert_eq!(edited.ask("/c/x"), "c");
    }
    assert_eq!((edited.ask("/a/x"), edited.ask("/b/x")), ("a".into(), "a".into()), "b is gone");
}

/// Ports are bound at the start. A service that comes later and wants one has none yet, and one
/// that comes back has its own again; neither takes over what no route matches.
#[test]
fn what_no_route_matches_stays_where_it_was() {
    let (a, b) = (Named::start("a"), Named::start("b"));
    let own = |text: &str| text.replace("[routes.b]", "listen = \"127.0.0.1:0\"\n[routes.b]");
    let both = own(&scenario(&[("b", &b), ("a", &a)]));
    let edited = Edited::start(&both);
    let port = edited.proxy.ready["services"]["b"].as_str().unwrap().to_owned();
    assert_eq!((edited.ask("/else"), ask(&port, "/else")), ("a".into(), "b".into()));
    edited.reload(&scenario(&[("a", &a)]));
    assert_eq!((edited.ask("/else"), ask(&port, "/else")), ("a".into(), "503".into()));
    let report = edited.reload(&both);
    assert_eq!((edited.ask("/else"), ask(&port, "/else")), ("a".into(), "b".into()));
    assert_eq!(report["needs_restart"], serde_json::json!([]), "its port was open all the time");

    let edited = Edited::start(&scenario(&[("a", &a)]));
    let report = edited.reload(&both);
    assert_eq!(report["needs_restart"], serde_json::json!(["services.b.listen"]));
    assert_eq!(edited.ask("/else"), "a");
    let report = edited.reload(&format!("hypothesis = \"x\"\n{both}"));
    assert_eq!(report["needs_restart"], serde_json::json!(["services.b.listen"]), "still");
    assert_eq!((edited.ask("/else"), edited.ask("/b/x")), ("a".into(), "b".into()));
}
