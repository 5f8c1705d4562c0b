//! The gauge of open connections against the connections a client holds.

use std::io::{Read, Write};

use crate::gateway::connect;
use crate::support::{GET, Program, SLO, proxy};
use crate::upstream::{head, service};

/// Those that have said nothing yet, HTTP/1.1, HTTP/2, and tunnels.
fn open(proxy: &Program) -> [u64; 4] {
    ["unknown", "http1", "h2", "tunnel"].map(|protocol| {
        proxy.metric("backburn_connections", &[&format!("protocol=\"{protocol}\"")])
    })
}

#[test]
fn open_connections_are_told_by_what_they_speak() {
    let service = service(|mut stream| {
        while let Some(head) = head(&mut stream) {
            let upgrades = head.to_ascii_lowercase().contains("upgrade: echo");
            let answer: &[u8] = if upgrades {
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            };
            if stream.write_all(answer).is_err() {
                return;
            }
            if upgrades {
                let _ = stream.read(&mut [0]);
                return;
            }
        }
    });
    let proxy = proxy(SLO, &service, &["--workers", "2"]);
    let are = |want: [u64; 4]| {
        proxy.until(&format!("{want:?} are open"), |proxy| open(proxy) == want);
    };
    are([0; 4]);
    let (mut one, mut other) = (connect(&proxy), connect(&proxy));
    are([2, 0, 0, 0]);
    // Still there between requests.
    one.write_all(GET).unwrap();
    assert!(head(&mut one).is_some_and(|head| head.contains(" 200 ")));
    are([1, 1, 0, 0]);
    other.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    are([0, 1, 1, 0]);
    let mut tunnel = connect(&proxy);
    let upgrade = "GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    tunnel.write_all(upgrade.as_bytes()).unwrap();
    assert!(head(&mut tunnel).is_some_and(|head| head.contains(" 101 ")));
    are([0, 1, 1, 1]);
    drop(one);
    are([0, 0, 1, 1]);
    drop((other, tunnel));
    are([0; 4]);
}
