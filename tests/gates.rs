//! Who is hit, seen from outside: at even distances, in bursts, and not who opts out.

use std::process::Command;

use crate::faults::Service;
use crate::support::{BACKBURN, Program, exchange, host, proxy, status_of};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn ask(proxy: &Program, field: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: t\r\n{field}Connection: close\r\n\r\n");
    exchange(host(&proxy.url("proxy")), request.as_bytes())
}

fn is_hit(proxy: &Program) -> bool {
    status_of(&ask(proxy, "")) == 503
}

/// Any k requests in a row carry k times the share, ± less than 1; also in a phase with another
/// share.
#[test]
fn an_even_spread() {
    let service = Service::start(OK);
    let text = "seed = 3\n[faults.some]\nroutes = [\"*\"]\nprobability = \"30%\"\n\
        spread = \"even\"\ninject.error = 503\n\
        [[phases]]\nname = \"some\"\nuntil = \"next\"\nfaults = [\"some\"]\n\
        [[phases]]\nname = \"most\"\nuntil = \"next\"\nfaults = [\"some\"]\n\
        set.some.probability = \"85%\"\n";
    let proxy = proxy(text, &service.url, &[]);
    for share in [30, 85] {
        // Hits ahead of the share, in hundredths, before and after each request.
        let mut ahead = vec![0_i32];
        for _ in 0..60 {
            ahead.push(ahead.last().unwrap() + i32::from(is_hit(&proxy)) * 100 - share);
        }
        let (least, most) = (ahead.iter().min().unwrap(), ahead.iter().max().unwrap());
        assert!(most - least < 100, "{share}%: {ahead:?}");
        proxy.admin("POST", "/api/v1/drill/next", "");
    }
}

/// It comes and goes by itself, and what comes in a calm is not eligible.
#[test]
fn bursts_come_and_go() {
    let service = Service::start(OK);
    let text = "seed = 3\n[faults.flaky]\nroutes = [\"*\"]\n\
        bursts = { on = \"100ms\", off = \"100ms\" }\ninject.error = 503\n";
    let proxy = proxy(text, &service.url, &[]);
    let (mut hits, mut calm, mut turns, mut was) = (0, 0, 0, false);
    let begun = std::time::Instant::now();
    while turns < 6 {
        assert!(begun.elapsed().as_secs() < 60, "{turns} turns, {hits} hits, {calm} calm");
        let is = is_hit(&proxy);
        hits += u64::from(is);
        calm += u64::from(!is);
        turns += u32::from(is != was);
        was = is;
    }
    assert!(hits > 0 && calm > 0);
    proxy.until("counted", |proxy| {
        let fault = &proxy.json("/api/v1/faults")[0];
        (fault["hit"].as_u64(), fault["eligible"].as_u64()) == (Some(hits), Some(hits))
    });
}

/// A caller opts out where it may: it is counted, and the service does not see the field. Where it
/// may not, the field is any other's.
#[test]
fn a_caller_opts_out() {
    let service = Service::start(OK);
    let text = "[faults.all]\nroutes = [\"*\"]\ninject.latency = \"1ms\"\n";
    let marked = |answer: &str| answer.to_ascii_lowercase().contains("x-backburn-fault: all");
    for may in [true, false] {
        let proxy = proxy(text, &service.url, &["--set", &format!("proxy.client_control={may}")]);
        let cases =
            [("", true), ("X-Backburn-Skip: 1\r\n", !may), ("x-backburn-skip: 0\r\n", true)];
        for (field, hit) in cases {
            assert_eq!(marked(&ask(&proxy, field)), hit, "{may} {field}");
            let seen = service.saw().1.to_ascii_lowercase().contains("x-backburn-skip");
            assert_eq!(seen, !may && !field.is_empty(), "{may} {field}");
        }
        let skipped = || proxy.metric("backburn_faults_skipped_total", &["client"]);
        proxy.until("counted", |_| skipped() == u64::from(may));
    }
}

#[test]
fn explained() {
    let service = Service::start(OK);
    let text = "[faults.some]\nroutes = [\"*\"]\nprobability = \"10%\"\nspread = \"even\"\n\
        bursts = { on = \"5s\", off = \"15s\" }\ninject.error = 503\n";
    let proxy = proxy(text, &service.url, &[]);
    let file = proxy.scratch.file(
        "explained.toml",
        &format!("[proxy]\nupstream = \"{}\"\nclient_control = true\n{text}", service.url),
    );
    let explain = |more: &[&str]| {
        let mut command = Command::new(BACKBURN);
        command.arg("explain").arg(&file).args(["--request", "/"]).args(more);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = explain(&[]);
    let want =
        "hits 10% (evenly spread; in bursts of 5s on average, 15s apart: on for 25.0% of the time)";
    assert!(said.contains(want), "{said}");
    let said = explain(&["-H", "x-backburn-skip: 1"]);
    assert!(
        said.contains("none can hit it: its caller opts out with `x-backburn-skip: 1`"),
        "{said}"
    );
}
