//! What a reload costs the requests that go on meanwhile: latency with and without 20 reloads a
//! second, for a small scenario and a large one. `cargo bench --bench reload` (`-- --quick`: a
//! short look).
//!
//! Requests are sent on a schedule, over connections that stay open, and timed from the moment
//! they were due: one that waits behind a slow one is slow too. Calm and reloading turns
//! alternate, so that what else the machine does falls on both.
//!
//! On two cores of a shared virtual machine, client, service and proxy together:
//!
//! | routes | reloads a second | p50 | p99 | p99.9 |
//! | --- | --- | --- | --- | --- |
//! | 10 | 0 | 0.14 ms | 0.26 ms | 1.62 ms |
//! | 10 | 20 | 0.15 ms | 0.31 ms | 0.95 ms |
//! | 1,000 | 0 | 0.14 ms | 0.26 ms | 1.35 ms |
//! | 1,000 | 20 | 0.15 ms | 1.40 ms | 3.09 ms |
//! | 10,000 | 0 | 0.14 ms | 0.25 ms | 1.62 ms |
//! | 10,000 | 20 | 0.15 ms | 3.75 ms | 6.25 ms |
//!
//! What is left at 1,000 and more is the compiling, which takes one of the cores.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use backburn::app::{self, Compiled, Options, Running, Source, Start};
use backburn::clock;
use backburn::drill::reload::{Order, Outcome};

const RELOADS_PER_SECOND: u64 = 20;
const CONNECTIONS: u64 = 4;
/// Of each connection.
const REQUESTS_PER_SECOND: u64 = 250;

fn main() -> io::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let turn = Duration::from_secs(if quick { 1 } else { 5 });
    let turns = if quick { 2 } else { 6 };
    let runtime = tokio::runtime::Runtime::new()?;
    println!("routes  reloads a second     requests      p50      p99    p99.9      max");
    for routes in [10, 1_000, 10_000] {
        let directory = std::env::temp_dir().join(format!("backburn-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let done = runtime.block_on(measure(&directory.join("reload.toml"), routes, turn, turns));
        std::fs::remove_dir_all(&directory)?;
        done?;
    }
    Ok(())
}

async fn measure(file: &Path, routes: u64, turn: Duration, turns: u64) -> io::Result<()> {
    let service = service()?;
    std::fs::write(file, scenario(&service, routes, 0))?;
    let running = start(file).await?;
    tokio::select! {
        measured = alternate(&running, file, &service, routes, turn, turns) => measured?,
        died = running.tend() => return Err(io::Error::other(died)),
    }
    running.stop().await;
    Ok(())
}

async fn alternate(
    running: &Running,
    file: &Path,
    service: &str,
    routes: u64,
    turn: Duration,
    turns: u64,
) -> io::Result<()> {
    let proxy = running.instance.proxy.trim_start_matches("http://").to_owned();
    let (mut calm, mut busy, mut took) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn warms up.
    requests(&proxy, turn).await?;
    let before = resident();
    let mut revision = 0;
    for _ in 0..turns {
        calm.extend(requests(&proxy, turn).await?);
        let load = requests(&proxy, turn);
        let mut load = std::pin::pin!(load);
        let mut every = tokio::time::interval(Duration::from_millis(1000 / RELOADS_PER_SECOND));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                latencies = &mut load => {
                    busy.extend(latencies?);
                    break;
                }
                _ = every.tick() => {
                    revision += 1;
                    std::fs::write(file, scenario(service, routes, revision))?;
                    let began = clock::now();
                    let order = Order::Reload { accept: false };
                    let report = running.reloads.order(order, "bench").await;
                    took.push(clock::now() - began);
                    // The file watch may have been first.
                    assert!(report.is_some_and(|report| {
                        matches!(report.result, Outcome::Applied | Outcome::Unchanged)
                    }));
                }
            }
        }
    }
    let after = resident();
    let reloads = took.len() as f64 / (turn.as_secs_f64() * turns as f64);
    show(routes, 0.0, &mut calm);
    show(routes, reloads, &mut busy);
    println!(
        "        a reload takes {:.1?} (p50), {:.1?} (p99); {} of them: {before} MiB before, {after} MiB after",
        quantile(&mut took, 0.5),
        quantile(&mut took, 0.99),
        took.len(),
    );
    let began = clock::now();
    running.control.halt(began, "bench", "the end");
    println!("        a halt takes {:.1?}", clock::now() - began);
    Ok(())
}

/// What changes from one revision to the next: the share of a fault that looks at every request
/// and hits none, and with it the plan.
fn scenario(service: &str, routes: u64, revision: u64) -> String {
    let mut text = format!(
        "[proxy]\nupstream = \"http://{service}\"\nworkers = 1\n[slos.all]\nobjective = \"99%\"\n\
         sli.availability = {{}}\n[faults.f]\nroutes = [\"*\"]\nprobability = \"0.00{}%\"\n\
         only = {{ headers = {{ x-not-there = \"1\" }} }}\ninject.error = 503\n",
        revision % 9 + 1
    );
    for n in 0..routes {
        text.push_str(&format!("[routes.r{n}]\npath = \"/r{n}/{{id}}\"\n"));
    }
    text
}

async fn start(file: &Path) -> io::Result<Running> {
    let source = Source { paths: vec![file.to_owned()], ..Source::default() };
    let texts = source.read();
    let Compiled { plan, notes, scenario } = texts.compile(&[], None);
    let Some(plan) = plan else { return Err(io::Error::other(format!("{notes:?}"))) };
    let start = Start::of(&scenario, &plan);
    let free = Some(([127, 0, 0, 1], 0).into());
    let options = Options {
        plan,
        source,
        texts,
        start,
        seed: Some(1),
        listen: free,
        admin_listen: free,
        data: None,
        environment: None,
        workers: None,
        hold: false,
        ready_file: None,
    };
    app::start(options).await.map_err(io::Error::other)
}

/// A service that answers at once; its address.
fn service() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut head = Vec::new();
    while read_until(&mut stream, &mut head, b"\r\n\r\n").is_ok() {
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

fn read_until(stream: &mut TcpStream, into: &mut Vec<u8>, end: &[u8]) -> io::Result<()> {
    into.clear();
    let mut piece = [0; 1024];
    while !into.ends_with(end) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => into.extend_from_slice(&piece[..read]),
        }
    }
    Ok(())
}

/// Latencies of all requests that were due within `turn`.
async fn requests(proxy: &str, turn: Duration) -> io::Result<Vec<Duration>> {
    let clients = (0..CONNECTIONS).map(|n| {
        let proxy = proxy.to_owned();
        tokio::task::spawn_blocking(move || client(&proxy, n, turn))
    });
    let clients: Vec<_> = clients.collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.map_err(io::Error::other)??);
    }
    Ok(latencies)
}

fn client(proxy: &str, n: u64, turn: Duration) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let gap = Duration::from_micros(1_000_000 / REQUESTS_PER_SECOND);
    let begin = clock::now() + gap * n as u32 / CONNECTIONS as u32;
    let (mut due, mut latencies, mut answer) = (begin, Vec::new(), Vec::new());
    while due < begin + turn {
        wait_until(due);
        write!(stream, "GET /r{}/1 HTTP/1.1\r\nHost: bench\r\n\r\n", latencies.len() % 10)?;
        read_until(&mut stream, &mut answer, b"\r\n\r\nok")?;
        latencies.push(clock::now() - due);
        due += gap;
    }
    Ok(latencies)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a client on a schedule has nothing to wait for but time"
)]
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(clock::now()));
}

fn show(routes: u64, reloads: f64, latencies: &mut [Duration]) {
    let at = |latencies: &mut [Duration], share| quantile(latencies, share).as_secs_f64() * 1e3;
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| at(latencies, share));
    let count = latencies.len();
    println!(
        "{routes:>6}  {reloads:>16.1}  {count:>11}  {p50:>5.2}ms  {p99:>5.2}ms  {p999:>5.2}ms  {max:>5.1}ms"
    );
}

/// Nearest rank.
fn quantile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    let rank = (share * samples.len() as f64).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Memory of this process, in MiB; 0 where that cannot be told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
