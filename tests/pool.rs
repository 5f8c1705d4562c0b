//! Connections to services: one answer to each request and no other, whatever a service does with
//! a connection, and whichever address it is found at.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::gateway::{SLO, answers, connect, read};
use crate::support::{Program, Scratch, free_port, proxy, proxy_under};
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

fn names_itself(address: &str) -> impl Fn(TcpStream) + Send + Sync + use<> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{address}", address.len());
    move |mut stream| {
        while head(&mut stream).is_some() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }
}

/// A name whose address changes is followed, and one with two addresses, of which one is gone.
#[test]
fn a_service_that_moves() {
    // The name is this one process's own: its `/etc/hosts` is another file.
    let can = |how: &str| {
        let done = std::process::Command::new("sh").args(["-c", &format!("{how} true")]).status();
        done.is_ok_and(|status| status.success())
    };
    let Some(apart) = ["unshare -m", "unshare -rm"].into_iter().find(|how| can(how)) else {
        eprintln!("skipped: no mounts of one's own here");
        return;
    };
    let port = {
        let first = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.3", port)).unwrap();
        for (listener, name) in [(first, "first"), (second, "second")] {
            let serve = names_itself(name);
            let serve = std::sync::Arc::new(serve);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let serve = std::sync::Arc::clone(&serve);
                    std::thread::spawn(move || serve(stream.unwrap()));
                }
            });
        }
        port
    };
    let scratch = Scratch::new();
    let hosts = scratch.file("hosts", "127.0.0.2 moving.test\n");
    let how = format!(
        "exec {apart} sh -c 'mount --bind {} /etc/hosts && exec \"$0\" \"$@\"' \"$0\" \"$@\"",
        hosts.display()
    );
    let text = format!("[proxy]\nupstream = \"http://moving.test:{port}\"\n{SLO}");
    let file = scratch.file("moving.toml", &text).display().to_string();
    // On the services' port, at an address of its own.
    let own = format!("127.0.0.1:{port}");
    let arguments = [&file, "--listen", &own, "--admin-listen", "127.0.0.1:0"];
    let proxy = Program::start_under(&how, scratch, &arguments);
    assert!(get(&mut connect(&proxy), "/").ends_with("first"));
    // The second is the one address of two that answers.
    for (hosts_now, wanted) in [
        ("127.0.0.3 moving.test\n", "second"),
        ("127.0.0.4 moving.test\n127.0.0.2 moving.test\n", "first"),
        ("127.0.0.1 moving.test\n", "backburn: upstream_is_backburn\n"),
    ] {
        // In place: what is mounted is the file, not its name.
        std::fs::write(&hosts, hosts_now).unwrap();
        let moved = (0..5).any(|_| {
            // Until nothing lies in the pool; a connection there is as good as its service.
            std::thread::sleep(Duration::from_secs(5));
            get(&mut connect(&proxy), "/").ends_with(wanted)
        });
        assert!(moved, "to {wanted}");
    }
}

/// A service that is backburn itself is refused, at the start and by a reload; what comes to be it later,
/// when it is asked: see above.
#[test]
fn a_service_that_is_backburn_itself() {
    let url = service(names_itself("other"));
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    for own in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let scratch = Scratch::new();
        let text = format!("[proxy]\nupstream = \"http://{own}:{port}\"\n");
        let file = scratch.file("own.toml", &text);
        let mut command = std::process::Command::new(crate::support::BACKBURN);
        command.arg("run").arg(&file).args(["--listen", &listen, "--admin-listen", "127.0.0.1:0"]);
        let output = command.current_dir(&scratch.0).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{own}: {output:?}");
    }
    let scratch = Scratch::new();
    let text = |upstream: &str| format!("[proxy]\nupstream = \"{upstream}\"\n{SLO}");
    let file = scratch.file("own.toml", &text(&url));
    let arguments = [file.to_str().unwrap(), "--listen", &listen, "--admin-listen", "127.0.0.1:0"];
    let proxy = Program::start_in(scratch, "run", &arguments);
    assert!(get(&mut connect(&proxy), "/").ends_with("other"));
    std::fs::write(&file, text(&format!("http://localhost:{port}"))).unwrap();
    let (status, said) = proxy.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("is this backburn itself"), "{said}");
    assert!(get(&mut connect(&proxy), "/").ends_with("other"));
}

/// Time on the processor so far, in seconds.
#[cfg(target_os = "linux")]
fn busy(proxy: &Program) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Out of descriptors, it neither dies nor spins; what it cannot serve is its own refusal and not
/// the service's failure; and it goes on when some have come back.
#[cfg(target_os = "linux")]
#[test]
fn out_of_descriptors() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let scenario = format!("[proxy]\ntimeouts.response_head = \"2s\"\n{SLO}");
    let url = format!("http://{}", silent.local_addr().unwrap());
    // Half of these are for callers.
    let how = "ulimit -n 100; exec \"$0\" \"$@\"";
    let proxy = proxy_under(how, &scenario, &url, &["--workers", "1"]);
    let mut crowd: Vec<TcpStream> = (0..150).map(|_| connect(&proxy)).collect();
    for stream in &mut crowd {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    let refused = |proxy: &Program| proxy.metric("backburn_refused_total", &[]);
    proxy.until("turned away", |proxy| refused(proxy) >= 100);
    let before = busy(&proxy);
    std::thread::sleep(Duration::from_secs(1));
    assert!(busy(&proxy) - before < 0.5, "it spins");
    let mut ours = 0;
    for stream in &mut crowd {
        let (text, _) = read(stream, |text| !answers(text).is_empty());
        let status = crate::support::status_of(&text);
        assert!(text.is_empty() || [503, 504].contains(&status), "{text:?}");
        ours += u64::from(text.contains("x-backburn-error: exhausted"));
    }
    assert_eq!(proxy.metric("backburn_refused_total", &["reason=\"exhausted\""]), ours);
    drop(crowd);
    // The service's own are those it was asked and did not answer.
    let organic = events(&proxy, "cause=\"organic\"");
    assert_eq!(events(&proxy, ""), organic);
    assert!(organic + refused(&proxy) == 150, "{organic} + {}", refused(&proxy));
    proxy.until("served again", |proxy| get(&mut connect(proxy), "/").starts_with("HTTP/1.1 504"));
}
