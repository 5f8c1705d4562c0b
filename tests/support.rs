//! Starts the built program on free ports and ends it, by its id, when the test is over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const BACKBURN: &str = env!("CARGO_BIN_EXE_backburn");

/// How long anything is waited for that should come at once: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is promised where a test does not care.
pub(crate) const SLO: &str = "[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";
/// A request after which the connection stays.
pub(crate) const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n";

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("backburn-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that was started and says when it is ready.
pub(crate) struct Program {
    child: Child,
    pub(crate) ready: Value,
    pub(crate) scratch: Scratch,
}

/// A hangup means to it what it does to a program by default, though whoever runs the tests may
/// ignore it (`nohup` does).
fn heeding_hangups() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", BACKBURN]);
    command
}

impl Program {
    /// `arguments` after the verb; `{dir}` stands for the program's own directory.
    pub(crate) fn start(verb: &str, arguments: &[&str]) -> Self {
        let scratch = Scratch::new();
        Self::start_in(scratch, verb, arguments)
    }

    pub(crate) fn start_in(scratch: Scratch, verb: &str, arguments: &[&str]) -> Self {
        Self::start_by(heeding_hangups(), scratch, verb, arguments)
    }

    /// In circumstances of its own: `how` is a shell's line that ends in `exec "$0" "$@"`.
    pub(crate) fn start_under(how: &str, scratch: Scratch, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", how, BACKBURN]);
        Self::start_by(shell, scratch, "run", arguments)
    }

    fn start_by(command: Command, scratch: Scratch, verb: &str, arguments: &[&str]) -> Self {
        let file = scratch.0.join("ready.json");
        let ready = ["--ready-file", file.to_str().unwrap()];
        let mut program = Self::launch_by(command, scratch, verb, &[arguments, &ready].concat());
        // The file appears by rename; there is no event to wait for without a watcher.
        let deadline = Instant::now() + PATIENCE;
        program.ready = loop {
            if let Ok(text) = std::fs::read(&file) {
                break serde_json::from_slice(&text).unwrap();
            }
            if let Some(status) = program.child.try_wait().unwrap() {
                panic!("{verb} ended with {status} before it was ready:\n{}", program.said());
            }
            assert!(Instant::now() < deadline, "{verb} is not ready after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        program
    }

    /// Starts a verb and waits for nothing; what it says and prints goes to files.
    pub(crate) fn launch(scratch: Scratch, verb: &str, arguments: &[&str]) -> Self {
        Self::launch_by(heeding_hangups(), scratch, verb, arguments)
    }

    fn launch_by(mut command: Command, scratch: Scratch, verb: &str, arguments: &[&str]) -> Self {
        let file = |name: &str| std::fs::File::create(scratch.0.join(name)).unwrap();
        let child = command
            .arg(verb)
            .args(arguments)
            .current_dir(&scratch.0)
            .env_remove("XDG_RUNTIME_DIR")
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Self { child, ready: Value::Null, scratch }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.scratch.0.join("stderr")).unwrap()
    }

    /// Another verb in the same directory; its exit code, what it printed, what it said.
    pub(crate) fn backburn(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(BACKBURN);
        command.current_dir(&self.scratch.0).env_remove("XDG_RUNTIME_DIR").args(arguments);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn url(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.pid().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; the exit code and what it said.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        (wait(&mut self.child).code(), self.said())
    }

    /// One admin call; status and body.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = self.url("admin");
        let host = url.strip_prefix("http://").unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(host, request.as_bytes());
        (
            status_of(&answer),
            answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()),
        )
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.admin("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The sum of all samples of a metric whose labels contain all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let (_, text) = self.admin("GET", "/metrics", "");
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Waits until `check` holds.
    pub(crate) fn until(&self, what: &str, check: impl Fn(&Self) -> bool) {
        self.until_within(PATIENCE.as_secs(), what, check);
    }

    /// Waits until `check` holds, for something that takes its time.
    pub(crate) fn until_within(&self, seconds: u64, what: &str, check: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !check(self) {
            assert!(Instant::now() < deadline, "{what}: not after {seconds} s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, which has to come.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "still running after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A connection on which nothing is waited for without an end.
pub(crate) fn dial(host: &str) -> TcpStream {
    bounded(TcpStream::connect(host).unwrap())
}

/// The same for one that exists already.
pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next connection, which has to come.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return bounded(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "nobody has come after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What somebody says, line by line, to be waited for with a limit.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(said: impl Read + Send + 'static) -> Self {
        let (line, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for said in BufReader::new(said).lines().map_while(Result::ok) {
                if line.send(said).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next one, which has to come.
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(PATIENCE).unwrap()
    }
}

/// Sends bytes and reads to the end.
pub(crate) fn exchange(host: &str, request: &[u8]) -> String {
    let mut stream = dial(host);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn status_of(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Where a URL's server is, as `host:port`.
pub(crate) fn host(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// A port nobody uses, below those the system gives out, and another one at each call.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 5_000) as u16;
    loop {
        let port = first + TRIED.fetch_add(1, Ordering::Relaxed) % 5_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The sample shop on free ports.
pub(crate) fn shop() -> Program {
    let free = ["--listen", "127.0.0.1:0", "--payments-listen", "127.0.0.1:0"];
    Program::start("sample-service", &free)
}

/// backburn with a scenario (text) before a service.
pub(crate) fn proxy(scenario: &str, upstream: &str, more: &[&str]) -> Program {
    proxy_under("exec \"$0\" \"$@\"", scenario, upstream, more)
}

/// The same, started by a shell's line; see [`Program::start_under`].
pub(crate) fn proxy_under(how: &str, scenario: &str, upstream: &str, more: &[&str]) -> Program {
    let scratch = Scratch::new();
    let file = scratch.file("scenario.toml", scenario);
    let upstream = format!("proxy.upstream=\"{upstream}\"");
    let mut arguments = vec![
        file.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--set",
        &upstream,
    ];
    arguments.extend(more);
    Program::start_under(how, scratch, &arguments)
}

/// Runs one of tests/clients and returns what it printed.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = Command::new("python3").arg(path).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {said}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{script}: {error}: {said}"))
}

/// A python client that runs while the test goes on.
pub(crate) struct Holding {
    child: Child,
    lines: Lines,
}

impl Holding {
    /// Returns when all its requests are out.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/hold.py");
        let mut child = Command::new("python3")
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        assert_eq!(lines.next(), "sent");
        Self { child, lines }
    }

    /// Its clock starts now.
    pub(crate) fn mark(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"now\n").unwrap();
    }

    pub(crate) fn result(mut self) -> Value {
        let line = self.lines.next();
        wait(&mut self.child);
        serde_json::from_str(&line).unwrap()
    }
}
