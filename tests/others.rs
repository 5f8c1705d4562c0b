//! Clients and services that are not ours: curl, h2load, gRPC and WebSocket libraries. What is
//! installed for them is in tests/run.sh.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::gateway::SLO;
use crate::support::{Lines, host, proxy, shop};

/// The interpreter with the packages that tests/run.sh installs.
fn interpreter() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/python");
    assert!(path.exists(), "{} is missing: run tests/run.sh once", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A service that prints its port and ends with its standard input.
pub(crate) struct Service {
    child: Child,
    pub(crate) port: u16,
}

impl Service {
    pub(crate) fn start(name: &str) -> Self {
        let mut child = Command::new(interpreter())
            .arg(script(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Lines::of(child.stdout.take().unwrap());
        Self { child, port: said.next().trim().parse().unwrap() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run(name: &str, arguments: &[&str]) -> Value {
    let output = Command::new(interpreter()).arg(script(name)).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a program prints; it must end well.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}

/// Every shape of call, with the service named as h2c and left to be found out.
#[test]
fn grpc() {
    let service = Service::start("grpc_service.py");
    for scheme in ["h2c", "http"] {
        let upstream = format!("{scheme}://127.0.0.1:{}", service.port);
        let more = "[slos.found]\nobjective = \"99%\"\n\
                    sli.availability = { bad_grpc_status = [\"NOT_FOUND\", 14] }\n";
        let proxy = proxy(&format!("{SLO}{more}"), &upstream, &[]);
        let seen = run("grpc_calls.py", &[host(&proxy.url("proxy"))]);
        let wanted = serde_json::json!({
            "unary": "hello", "first": "1", "last": "2", "large": true, "empty": true,
            "stream": true, "total": 200_000, "chat": "ABC", "chat_ends": true,
            "refused": ["NOT_FOUND", "no such thing"], "unknown": "UNIMPLEMENTED",
            "late": "DEADLINE_EXCEEDED", "cut": ["UNAVAILABLE", "gone"],
        });
        assert_eq!(seen, wanted, "{scheme}");
        proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
        assert_eq!(proxy.metric("http_server_request_duration_seconds_count", &[]), 10);
        // UNIMPLEMENTED in a head, UNAVAILABLE in trailers; NOT_FOUND is an answer. Who ran out of
        // time left early, or was told so by the service a moment before.
        let events = |label: &str| proxy.metric("backburn_slo_events_total", &["slo=\"a\"", label]);
        let (organic, bad) = (events("cause=\"organic\""), events("outcome=\"bad\""));
        assert!((2..=3).contains(&organic) && bad == organic, "{organic} of {bad}");
        let gone =
            proxy.metric("backburn_slo_excluded_events_total", &["slo=\"a\"", "client_gone"]);
        assert_eq!((events("outcome=\"good\""), organic + gone), (7, 3));
        // By its own list: NOT_FOUND and UNAVAILABLE, and nothing else.
        let found = ["slo=\"found\"", "cause=\"organic\""];
        assert_eq!(proxy.metric("backburn_slo_events_total", &found), 2);
        for (status, calls) in [("NOT_FOUND", 1), ("UNIMPLEMENTED", 1), ("UNAVAILABLE", 1)] {
            let label = format!("error_type=\"{status}\"");
            let told = proxy.metric("http_server_request_duration_seconds_count", &[&label]);
            assert_eq!(told, calls, "{status}");
        }
    }
}

#[test]
fn websocket() {
    let service = Service::start("websocket_service.py");
    let proxy = proxy(SLO, &format!("http://127.0.0.1:{}", service.port), &[]);
    let seen = run("websocket_calls.py", &[&proxy.url("proxy").replace("http:", "ws:")]);
    let wanted = serde_json::json!({
        "binary 0": true, "binary 1": true, "binary 125": true, "binary 126": true,
        "binary 65535": true, "binary 65536": true, "binary 1048576": true,
        "fragments": "abc", "pong": true, "order": true,
        "code": 4001, "reason": "as asked", "compressed": "with compression",
    });
    assert_eq!(seen, wanted);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 2);
}

#[test]
fn curl() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let url = proxy.url("proxy");
    let upload = proxy.scratch.file("upload", &"x".repeat(1 << 20));
    let upload = format!("@{}", upload.display());
    let echo = format!("{url}/echo");
    let status = ["-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "-m", "20"];
    for (arguments, wanted) in [
        (vec![url.as_str()], "404 1.1"),
        (vec!["--http2-prior-knowledge", &url], "404 2"),
        // An offer of HTTP/2 that is not taken up.
        (vec!["--http2", &url], "404 1.1"),
        (vec!["--http1.0", &url], "404 1"),
        (vec!["-I", &url], "404 1.1"),
        (vec!["--data-binary", &upload, &echo], "200 1.1"),
        (vec!["--http2-prior-knowledge", "--data-binary", &upload, &echo], "200 2"),
        (vec!["-H", "Transfer-Encoding: chunked", "--data-binary", &upload, &echo], "200 1.1"),
        (vec!["-H", "Expect: 100-continue", "--data-binary", &upload, &echo], "200 1.1"),
        (vec!["-H", "Host:", &url], "400 1.1"),
        (vec!["-X", "OPTIONS", "--request-target", "*", &url], "204 1.1"),
    ] {
        let said = said("curl", &[&status[..], &arguments].concat());
        assert_eq!(said, wanted, "{arguments:?}");
    }
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let back = said("curl", &["-sS", "-m", "20", protocol, "--data-binary", &upload, &echo]);
        assert_eq!(back.len(), 1 << 20, "{protocol}");
    }
}

/// What h2load saw is what we counted.
#[test]
fn h2load() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let url = format!("{}/api/items", proxy.url("proxy"));
    for (n, more) in [&[][..], &["--h1"]].into_iter().enumerate() {
        let load = [&["-n", "2000", "-c", "4", "-m", "20"], more, &[&url]].concat();
        let said = said("h2load", &load);
        assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
        let counted = 2000 * (n as u64 + 1);
        assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), counted);
        assert_eq!(proxy.metric("backburn_slo_events_total", &[]), counted);
    }
}

/// A critic of HTTP finds nothing in our answers that it does not find in the service's own.
#[test]
fn redbot() {
    let shop = shop();
    let proxy = proxy(SLO, &shop.url("checkout"), &[]);
    let critic = interpreter().with_file_name("redbot").display().to_string();
    // What it says comes after the head that it shows.
    let findings = |url: &str, path: &str| {
        let text = said(&critic, &["-o", "text", &format!("{url}{path}")]);
        let (_, findings) = text.split_once("* General:").unwrap_or_else(|| panic!("{text}"));
        findings.to_owned()
    };
    for path in ["/api/items", "/bytes/100000", "/nothing", "/slow?ms=10"] {
        let (bare, ours) =
            (findings(&shop.url("checkout"), path), findings(&proxy.url("proxy"), path));
        assert_eq!(ours, bare, "{path}");
    }
}

/// A hundred connections each that send their heads, send their bodies, or read their answers as
/// slowly as they may: others are served all the while.
#[test]
fn slowhttptest() {
    let shop = shop();
    let scenario = format!("[proxy]\ntimeouts.request_head = \"2s\"\n{SLO}");
    let proxy = proxy(&scenario, &shop.url("checkout"), &[]);
    let url = proxy.url("proxy");
    let crowd = "-c 100 -r 100 -i 1 -l 6 -p 10";
    let attacks = [
        format!("{crowd} -H -u {url}/api/items"),
        format!("{crowd} -B -s 8192 -u {url}/echo"),
        format!("{crowd} -X -w 512 -y 1024 -n 1 -z 32 -k 3 -u {url}/bytes/1000000"),
    ];
    let attacks = attacks.map(|attack| {
        std::thread::spawn(move || said("slowhttptest", &attack.split(' ').collect::<Vec<_>>()))
    });
    for attack in attacks {
        let said = attack.join().unwrap();
        assert!(said.contains("Exit status:"), "{said}");
        let mut probes = said.lines().filter(|line| line.contains("service available")).peekable();
        assert!(probes.peek().is_some(), "{said}");
        assert!(probes.all(|line| line.contains("YES")), "{said}");
    }
    assert_eq!(proxy.metric("backburn_refused_total", &["reason=\"request_head\""]), 100);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
}
