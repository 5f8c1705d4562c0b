//! TLS on both sides, with certificates made here: each way one can be wrong has its own word.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::gateway::{OK, SLO, answers, connect, read};
use crate::recorder::Recorder;
use crate::support::{BACKBURN, Program, Scratch, proxy};

/// Somebody who vouches for others.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn vouch(&self, name: &str, years: (i32, i32)) -> Identity {
        let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.vouch_for(name, years, &uses)
    }

    fn vouch_for(
        &self,
        name: &str,
        years: (i32, i32),
        uses: &[ExtendedKeyUsagePurpose],
    ) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.extended_key_usages = uses.to_vec();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// With its own certificate, as if that were a service's.
    fn itself(&self) -> Identity {
        Identity { cert: self.pem.clone(), key: self.issuer.key().serialize_pem() }
    }

    fn good(&self) -> Identity {
        self.vouch("127.0.0.1", (2020, 2100))
    }
}

impl Identity {
    /// As files, with this name; the certificate's and the key's.
    fn write(&self, scratch: &Scratch, name: &str) -> (String, String) {
        let cert = scratch.file(&format!("{name}.pem"), &self.cert);
        let key = scratch.file(&format!("{name}.key"), &self.key);
        (cert.display().to_string(), key.display().to_string())
    }
}

/// Runs curl; what it prints, and whether it ended well.
fn curl(arguments: &[&str]) -> (String, bool) {
    let status = ["-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "-m", "20"];
    let output = Command::new("curl").args(status).args(arguments).output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

fn serving(scratch: &Scratch, upstream: &str, more: &str) -> Program {
    let scenario = format!(
        "[proxy]\ntls = {{ cert = \"{0}/own.pem\", key = \"{0}/own.key\"{more} }}\n{SLO}",
        scratch.0.display()
    );
    proxy(&scenario, upstream, &[])
}

#[test]
fn towards_callers() {
    let (scratch, upstream) = (Scratch::new(), Recorder::start(OK));
    let authority = Authority::new("one");
    authority.good().write(&scratch, "own");
    let ca = scratch.file("ca.pem", &authority.pem).display().to_string();
    let proxy = serving(&scratch, &upstream.url, "");
    let url = proxy.url("proxy");
    assert!(url.starts_with("https://"), "{url}");
    for (more, wanted) in [("--http1.1", "200 1.1"), ("--http2", "200 2")] {
        assert_eq!(curl(&["--cacert", &ca, more, &url]), (wanted.to_owned(), true));
    }
    for seen in upstream.take() {
        assert!(seen.text().contains("x-forwarded-proto: https\r\n"), "{}", seen.text());
    }
    // Plain HTTP, and nothing at all that is TLS.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"[..], b"SSH-2.0-x\r\n\r\n"] {
        let mut stream = crate::support::dial(url.strip_prefix("https://").unwrap());
        stream.write_all(bytes).unwrap();
        assert!(read(&mut stream, |_| false).1);
    }
    proxy
        .until("counted", |proxy| proxy.metric("backburn_refused_total", &["reason=\"tls\""]) == 2);
    // New files are served without a restart; half of one is not.
    fs::write(scratch.0.join("own.pem"), "half").unwrap();
    proxy.until("noticed", |proxy| {
        let said = fs::read_to_string(proxy.scratch.0.join("stderr")).unwrap();
        said.contains("the old ones go on")
    });
    assert_eq!(curl(&["--cacert", &ca, &url]).0, "200 2");
    let other = Authority::new("two");
    other.good().write(&scratch, "own");
    let other = scratch.file("other.pem", &other.pem).display().to_string();
    proxy.until("served anew", |_| curl(&["--cacert", &other, &url]).1);
    assert!(!curl(&["--cacert", &ca, &url]).1);
}

#[test]
fn callers_with_certificates() {
    let (scratch, upstream) = (Scratch::new(), Recorder::start(OK));
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    authority.good().write(&scratch, "own");
    let ca = scratch.file("ca.pem", &authority.pem).display().to_string();
    let client_ca = scratch.file("clients.pem", &clients.pem).display().to_string();
    let proxy = serving(&scratch, &upstream.url, &format!(", client_ca = \"{client_ca}\""));
    let url = proxy.url("proxy");
    let known = clients.vouch("me", (2020, 2100)).write(&scratch, "known");
    let stranger = authority.vouch("me", (2020, 2100)).write(&scratch, "stranger");
    let with =
        |who: &(String, String)| curl(&["--cacert", &ca, "--cert", &who.0, "--key", &who.1, &url]);
    assert_eq!(with(&known), ("200 2".to_owned(), true));
    assert!(!with(&stranger).1);
    assert!(!curl(&["--cacert", &ca, &url]).1);
    assert_eq!(upstream.take().len(), 1);
    proxy
        .until("counted", |proxy| proxy.metric("backburn_refused_total", &["reason=\"tls\""]) == 2);
}

/// A service over TLS that answers one request a connection; returns its port.
fn secure_service(identity: &Identity, alpn: &[&[u8]], clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || {
                let mut stream =
                    StreamOwned::new(connection, crate::support::bounded(stream.unwrap()));
                let mut seen = Vec::new();
                let mut piece = [0; 4096];
                while !seen.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(read @ 1..) => seen.extend_from_slice(&piece[..read]),
                        _ => return,
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(answer);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    port
}

/// backburn before an https service; what it answers, and says is wrong.
fn asked(scratch: &Scratch, port: u16, keys: &str) -> (Vec<u16>, String) {
    let scenario = format!(
        "[services.s]\nurl = \"https://127.0.0.1:{port}\"\n{}\n{SLO}",
        keys.replace("DIR", &scratch.0.display().to_string())
    );
    let file = scratch.file("scenario.toml", &scenario);
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let proxy = Program::start("run", &[&[file.to_str().unwrap()], &free[..]].concat());
    let mut stream = connect(&proxy);
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let (text, _) = read(&mut stream, |text| !answers(text).is_empty());
    let error = text.lines().find_map(|line| line.strip_prefix("x-backburn-error: "));
    let statuses = answers(&text);
    let class = if statuses == [200] { "outcome=\"good\"" } else { "cause=\"organic\"" };
    assert_eq!(proxy.metric("backburn_slo_events_total", &[class]), 1);
    (statuses, error.unwrap_or_default().to_owned())
}

#[test]
fn towards_services() {
    let scratch = Scratch::new();
    let authority = Authority::new("one");
    scratch.file("ca.pem", &authority.pem);
    let ours = authority.vouch("us", (2020, 2100));
    ours.write(&scratch, "us");
    let ca = "tls = { ca = \"DIR/ca.pem\" }";
    let h1: &[&[u8]] = &[b"http/1.1"];
    let good = authority.good();
    let fine = (vec![200], String::new());
    let wrong = |label: &str| (vec![502], label.to_owned());
    let expired = authority.vouch("127.0.0.1", (2019, 2020));
    let early = authority.vouch("127.0.0.1", (2099, 2100));
    let named = authority.vouch("shop.example", (2020, 2100));
    let client =
        authority.vouch_for("127.0.0.1", (2020, 2100), &[ExtendedKeyUsagePurpose::ClientAuth]);
    let asks = Some(&authority);
    let cases = [
        (secure_service(&good, h1, None), ca, fine.clone()),
        (secure_service(&good, &[], None), ca, fine.clone()),
        (secure_service(&expired, h1, None), ca, wrong("tls_certificate_expired")),
        (secure_service(&early, h1, None), ca, wrong("tls_certificate_not_valid_yet")),
        (secure_service(&named, h1, None), ca, wrong("tls_certificate_for_another_name")),
        (
            secure_service(&named, h1, None),
            "tls = { ca = \"DIR/ca.pem\", server_name = \"shop.example\" }",
            fine.clone(),
        ),
        (
            secure_service(&Authority::new("stranger").good(), h1, None),
            ca,
            wrong("tls_certificate_of_unknown_issuer"),
        ),
        (
            secure_service(&Authority::new("one").good(), h1, None),
            ca,
            wrong("tls_certificate_bad_signature"),
        ),
        (secure_service(&client, h1, None), ca, wrong("tls_certificate_for_another_use")),
        (
            secure_service(&authority.itself(), h1, None),
            ca,
            wrong("tls_certificate_of_an_authority"),
        ),
        (
            secure_service(&good, h1, asks),
            "tls = { ca = \"DIR/ca.pem\", cert = \"DIR/us.pem\", key = \"DIR/us.key\" }",
            fine,
        ),
        (
            secure_service(&good, h1, None),
            "protocol = \"h2\"\ntls = { ca = \"DIR/ca.pem\" }",
            wrong("tls_without_h2"),
        ),
    ];
    for (number, (port, keys, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(asked(&scratch, port, keys), wanted, "case {number}: {keys}");
    }
    // A service that speaks plain HTTP.
    let plain = crate::upstream::service(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let port = plain.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(asked(&scratch, port, ca), wrong("tls_not_spoken"));
}

/// HTTP/2 over TLS on both sides: one backburn before another, which has agreed to it by ALPN.
#[test]
fn h2_towards_services() {
    let (scratch, upstream) = (Scratch::new(), Recorder::start(OK));
    let authority = Authority::new("one");
    authority.good().write(&scratch, "own");
    let ca = scratch.file("ca.pem", &authority.pem).display().to_string();
    let second = serving(&scratch, &upstream.url, "");
    let scenario = format!(
        "[services.second]\nurl = \"{}\"\nprotocol = \"h2\"\ntls = {{ ca = \"{ca}\" }}\n{SLO}",
        second.url("proxy")
    );
    let file = scratch.file("first.toml", &scenario).display().to_string();
    let own = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "1"];
    let first = Program::start("run", &[&[file.as_str()], &own[..]].concat());
    for n in 0..3 {
        let mut stream = crate::gateway::connect(&first);
        stream.write_all(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        let (text, _) = read(&mut stream, |text| !crate::gateway::answers(text).is_empty());
        assert_eq!(crate::gateway::answers(&text), [200], "{text:?}");
        let seen = upstream.take().remove(0).text();
        // HTTP/1.1 to the first, HTTP/2 to the second.
        let via = seen.lines().filter(|line| line.starts_with("via: ")).collect::<String>();
        assert!(via.contains("1.1 backburn-") && via.contains("2 backburn-"), "{n}: {seen}");
        assert!(seen.ends_with("\r\n\r\nabc"), "{seen}");
    }
    for proxy in [&first, &second] {
        assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 3);
    }
}

/// Files that cannot be used are found out at the start.
#[test]
fn files_that_cannot_be_used() {
    let scratch = Scratch::new();
    let authority = Authority::new("one");
    let (good, other) = (authority.good(), authority.good());
    good.write(&scratch, "own");
    other.write(&scratch, "other");
    scratch.file("empty.pem", "");
    let directory: PathBuf = scratch.0.clone();
    let start = |tls: &str| {
        let tls = tls.replace("DIR", &directory.display().to_string());
        let text = format!(
            "[proxy]\nupstream = \"http://127.0.0.1:1\"\nlisten = \"127.0.0.1:0\"\ntls = {tls}\n"
        );
        let file: &Path = &scratch.file("scenario.toml", &text);
        let output = Command::new(BACKBURN)
            .args([
                "run",
                file.to_str().unwrap(),
                "--admin-listen",
                "127.0.0.1:0",
                "--data",
                "none",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{said}");
        said
    };
    for (tls, part) in [
        ("{ cert = \"DIR/none.pem\", key = \"DIR/own.key\" }", "none.pem: No such file"),
        ("{ cert = \"DIR/empty.pem\", key = \"DIR/own.key\" }", "empty.pem: no certificate"),
        ("{ cert = \"DIR/own.pem\", key = \"DIR/own.pem\" }", "own.pem: no private key"),
        ("{ cert = \"DIR/own.pem\", key = \"DIR/other.key\" }", "KeyMismatch"),
        (
            "{ cert = \"DIR/own.pem\", key = \"DIR/own.key\", client_ca = \"DIR/empty.pem\" }",
            "empty.pem: no certificate",
        ),
    ] {
        let said = start(tls);
        assert!(said.contains(part), "{tls}: {said}");
    }
}
