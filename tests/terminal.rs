//! What a person sees while a drill runs, and what happens when nobody reads.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{BACKBURN, PATIENCE, Scratch, exchange, host, proxy, shop, status_of, wait};

const NO: &str = "[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n\
                  [slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";

/// `backburn run` on a terminal, through `clients/terminal.py`.
fn on_a_terminal(scratch: &Scratch, upstream: &str, set: &[(&str, &str)], steps: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/terminal.py");
    let scenario = scratch.file("scenario.toml", NO);
    let mut command = Command::new("python3");
    command.arg(script).args(["24", "80", &steps.to_string()]);
    command.args([BACKBURN, "run"]).arg(scenario);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--set", &format!("proxy.upstream=\"{upstream}\""), "--progress", "1s"]);
    command.current_dir(&scratch.0).env_remove("XDG_RUNTIME_DIR").env_remove("NO_COLOR");
    command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").envs(set.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The last lines of a terminal that starts empty: bytes in, text out. Knows what the meter uses.
fn screen(bytes: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column, mut wrap) = (0, 0, true);
    let mut letters = bytes.chars();
    while let Some(c) = letters.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(letters.next(), Some('['), "an escape the meter does not use");
                let mut number = String::new();
                let verb = loop {
                    match letters.next().unwrap() {
                        c if c.is_ascii_alphabetic() => break c,
                        c => number.push(c),
                    }
                };
                match (number.as_str(), verb) {
                    (_, 'm') => {}
                    (rows, 'A') => row -= rows.parse::<usize>().unwrap().min(row),
                    (_, 'J') => {
                        lines.truncate(row + 1);
                        lines[row].truncate(column);
                    }
                    (_, 'K') => lines[row].truncate(column),
                    ("?7", verb) => wrap = verb == 'h',
                    other => panic!("{other:?}"),
                }
            }
            c => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                if row >= lines.len() {
                    lines.resize(row + 1, Vec::new());
                }
                if column >= lines[row].len() {
                    lines[row].resize(column + 1, ' ');
                }
                lines[row][column] = c;
                // Without wrapping it stays on the last column.
                column = if wrap { column + 1 } else { (column + 1).min(columns - 1) };
            }
        }
        if row >= lines.len() {
            lines.resize(row + 1, Vec::new());
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

/// The meter stands below what is said and logged, follows the terminal's size, and is gone in
/// the end.
#[test]
fn the_meter_on_a_terminal() {
    let (shop, scratch) = (shop(), Scratch::new());
    let steps = json!([
        ["No traffic on a", "kill SIGUSR1"],
        ["HALTED by SIGUSR1", "size 24 50"],
        ["--reason\x1b[K", "kill SIGTERM"],
    ]);
    let seen = on_a_terminal(&scratch, &shop.url("checkout"), &[], &steps);
    assert_eq!(seen["code"], 4, "halted and not finished");
    let parts: Vec<&str> =
        seen["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    // Until the first redraw is complete.
    let first = screen(parts[0], 80);
    let at = |lines: &[String], word: &str| lines.iter().position(|line| line.contains(word));
    assert!(at(&first, "ready     injecting") < at(&first, "► RUNNING"), "{first:#?}");
    // The log line stands above the block, of which there is one.
    let halted = screen(&parts[..2].concat(), 80);
    assert!(at(&halted, "HALTED: nothing is injected") < at(&halted, "■ HALTED by SIGUSR1"));
    assert_eq!(halted.iter().filter(|line| line.contains("RUNNING")).count(), 0, "{halted:#?}");
    assert!(parts[1].contains("\x1b[1;31m"), "halted is red");
    let narrow = screen(parts[2], 50);
    assert!(narrow.iter().all(|line| line.chars().count() <= 50), "{narrow:#?}");
    // In the end: what was said, and no block.
    let end = screen(parts[3], 50).join("\n");
    assert!(end.contains("slo a: no traffic"), "{end}");
    assert!(!end.contains("NO TRAFFIC") && !end.contains('■'), "{end}");
    assert!(parts[3].contains("\x1b[J"));
}

/// Words without colour where `NO_COLOR` asks for it, ASCII without UTF-8, plain lines on a
/// terminal that cannot move its cursor or where no meter is wanted.
#[test]
fn terminals_that_can_less() {
    let (shop, scratch) = (shop(), Scratch::new());
    let upstream = shop.url("checkout");
    let bare = json!([["RUNNING", "kill SIGTERM"]]);
    let seen = on_a_terminal(&scratch, &upstream, &[("NO_COLOR", "1"), ("LC_ALL", "C")], &bare);
    let text = seen["parts"].to_string();
    assert!(text.contains("> RUNNING") && text.contains("- NO TRAFFIC"), "{text}");
    assert!(!text.contains("u001b[1m") && !text.contains("u001b[32m"), "{text}");
    let lines = json!([["running injection ends in", "kill SIGTERM"]]);
    for set in [("TERM", "dumb"), ("BACKBURN_NO_METER", "1")] {
        let seen = on_a_terminal(&scratch, &upstream, &[set], &lines);
        let text = seen["parts"].to_string();
        assert!(!text.contains("u001b[?7l") && text.contains("| a no traffic"), "{set:?} {text}");
    }
}

/// `backburn run` with something else than a file for its output; killed, by its id, in the end.
struct Piped {
    child: Child,
    ready: Value,
    scratch: Scratch,
}

impl Piped {
    fn start(upstream: &str, more: &[&str], stdout: Stdio, stderr: Stdio) -> Self {
        let scratch = Scratch::new();
        let child = Command::new(BACKBURN)
            .args(["run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--progress", "1s", "--ready-file", "ready.json"])
            .args(more)
            .arg(scratch.file("scenario.toml", NO))
            .args(["--set", &format!("proxy.upstream=\"{upstream}\"")])
            .current_dir(&scratch.0)
            .env_remove("XDG_RUNTIME_DIR")
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut started = Self { child, ready: Value::Null, scratch };
        let file = started.scratch.0.join("ready.json");
        let deadline = Instant::now() + PATIENCE;
        while started.ready.is_null() {
            assert!(Instant::now() < deadline, "not ready after {PATIENCE:?}");
            // The file appears by rename; there is no event to wait for without a watcher.
            std::thread::sleep(Duration::from_millis(10));
            if let Ok(text) = std::fs::read(&file) {
                started.ready = serde_json::from_slice(&text).unwrap();
            }
        }
        started
    }

    /// What came of a request to `proxy` or `admin`.
    fn ask(&self, of: &str, head: &str) -> String {
        let rest = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        exchange(host(self.ready[of].as_str().unwrap()), format!("{head} {rest}").as_bytes())
    }

    fn steer(&self, verb: &str) {
        let answer = self.ask("admin", &format!("POST /api/v1/drill/{verb}"));
        assert_eq!(status_of(&answer), 200, "{answer}");
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ctrl-S must not stop the panic button: a terminal that takes nothing holds up nobody.
#[test]
fn a_stopped_terminal_stops_nothing() {
    let shop = shop();
    // A pipe that nobody reads is a terminal that was stopped.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let trace = ["--log", "trace"];
    let mut drill = Piped::start(&shop.url("checkout"), &trace, Stdio::null(), writer.into());
    // More than the pipe holds (64 KiB): every call logs, and all are answered.
    for _ in 0..1_500 {
        drill.steer("pause");
        drill.steer("resume");
    }
    drill.steer("halt");
    let metrics = drill.ask("admin", "GET /metrics");
    assert!(metrics.contains("backburn_injecting{} 0"), "{metrics}");
    drill.steer("finish");
    // It ends although its last words cannot be said; what it did say is whole lines.
    assert_eq!(wait(&mut drill.child).code(), Some(4), "finished, and nobody lifted the halt");
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains("ready     injecting"), "{said}");
}

/// A reader that goes away is a quiet end for what was written to it, and nothing else.
#[test]
fn nobody_reads() {
    let shop = shop();
    let mut drill = proxy(NO, &shop.url("checkout"), &[]);
    let admin = drill.url("admin");
    for arguments in [vec!["status"], vec!["status", "--json"], vec!["export", "reference"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(BACKBURN);
        command.args(&arguments);
        if arguments[0] == "status" {
            command.args(["--admin-url", &admin]);
        }
        let output = command.stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert_eq!(said, "", "{arguments:?}");
    }
    drill.signal("-TERM");
    assert_eq!(drill.wait().0, Some(0));

    // `backburn run … 2>&1 | head -1`
    let (reader, writer) = std::io::pipe().unwrap();
    let stdout = writer.try_clone().unwrap().into();
    let mut drill = Piped::start(&shop.url("checkout"), &[], stdout, writer.into());
    let (said, first) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut head = String::new();
        BufReader::new(reader).read_line(&mut head).unwrap();
        said.send(head).unwrap();
    });
    let head = first.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("proxy "), "{head}");
    // The reader is gone. Log lines and progress go nowhere, traffic goes on.
    for (verb, status) in [("pause", 200), ("resume", 503), ("pause", 200)] {
        drill.steer(verb);
        assert_eq!(status_of(&drill.ask("proxy", "GET /api/items")), status, "{verb}");
    }
    drill.steer("finish");
    assert_eq!(wait(&mut drill.child).code(), Some(0));
}
