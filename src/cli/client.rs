//! Driving a running instance: status, halt, rearm, pause, resume, start, finish.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use clap::builder::FalseyValueParser;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{exit, output};
use crate::report::{Canvas, View, meter};

/// How long an instance has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the API has for a halt, before a signal is sent.
const HALT_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is asked whether a signal or a file has halted it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The instance's admin address [default: found by the data and runtime directories].
    #[arg(long, env = "BACKBURN_ADMIN_URL", value_parser = admin_url, value_name = "URL")]
    admin_url: Option<String>,
    /// Only instances that keep their drills there [default: those of .backburn, and all others that
    /// this user runs].
    #[arg(long, env = "BACKBURN_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The answer as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Tries the API, then SIGUSR1, then the HALT file, and says which worked. A halt latches: only
`backburn rearm --reason TEXT` lifts it, and `backburn resume` injects again. Every instance that is
found is halted, unless --admin-url or --data says which.")]
pub(super) struct HaltArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// Kept with the halt.
    #[arg(long, env = "BACKBURN_REASON", default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct RearmArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// Why it is safe to go on.
    #[arg(long, env = "BACKBURN_REASON")]
    reason: String,
}

/// An admin address as it is said at the start, with nothing behind the port.
fn admin_url(text: &str) -> Result<String, String> {
    let url: Option<Uri> = text.parse().ok();
    let url = url.filter(|url| url.scheme_str() == Some("http"));
    let url = url.filter(|url| url.path() == "/" && url.query().is_none());
    let authority = url.and_then(|url| url.into_parts().authority);
    authority
        .filter(|authority| authority.port_u16().is_some() && !authority.as_str().contains('@'))
        .map(|authority| format!("http://{authority}"))
        .ok_or_else(|| "an admin URL looks like http://127.0.0.1:8901".to_owned())
}

/// Where drills are kept unless told otherwise.
const DATA: &str = ".backburn";

/// An instance that runs.
#[derive(Debug)]
struct Found {
    admin: String,
    pid: Option<i32>,
    data: Option<PathBuf>,
    drill: String,
}

/// Instances by their `run.json`, or the one that was named.
fn find(args: &ClientArgs) -> Vec<Found> {
    if let Some(url) = &args.admin_url {
        return vec![Found { drill: url.clone(), admin: url.clone(), pid: None, data: None }];
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    let runtime = runtime.map(|runtime| Path::new(&runtime).join("backburn"));
    let places: Vec<PathBuf> = match &args.data {
        Some(data) => vec![data.join("drills")],
        None => std::iter::once(Path::new(DATA).join("drills")).chain(runtime).collect(),
    };
    let mut found: Vec<Found> = Vec::new();
    for place in places {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.flatten() {
            let Some(instance) = read_instance(&entry.path().join("run.json")) else { continue };
            // The same one, by its other file.
            if found.iter().all(|known| known.pid != instance.pid) {
                found.push(instance);
            }
        }
    }
    found
}

/// `None` when there is none, or its process is gone.
fn read_instance(path: &Path) -> Option<Found> {
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let pid = i32::try_from(value["pid"].as_i64()?).ok()?;
    is_running(pid, value["process_started"].as_u64()).then(|| Found {
        admin: value["admin"].as_str().unwrap_or_default().to_owned(),
        pid: Some(pid),
        data: value["data"].as_str().map(PathBuf::from),
        drill: value["drill"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Whether the very process runs that wrote down its id and its start. After a crash the number may
/// be another program's, which SIGUSR1 would kill, or another instance's, which is found by its own
/// file; 0 and below mean whole groups of processes to `kill`. Where starts cannot be read, running
/// has to do.
fn is_running(pid: i32, started: Option<u64>) -> bool {
    pid > 0
        && crate::os::process_exists(pid)
        && crate::os::process_started(pid).is_none_or(|its| started == Some(its))
}

/// One call to the admin API.
async fn call(
    admin: &str,
    method: Method,
    path: &str,
    body: &Value,
    patience: Duration,
) -> Result<(StatusCode, Value), String> {
    let whole = async {
        let authority = admin.strip_prefix("http://").unwrap_or(admin);
        let stream =
            tokio::net::TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", authority)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let bytes =
            response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    };
    tokio::time::timeout(patience, whole).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// The one instance a verb is for.
fn the_one(args: &ClientArgs) -> Option<Found> {
    let mut found = find(args);
    if found.len() > 1 {
        output::say("several instances run; choose one with --admin-url, or with --data:");
        for Found { admin, data, drill, .. } in &found {
            let data = data.as_ref().map_or("none".into(), |data| data.to_string_lossy());
            output::say(&format!("  --admin-url {admin}  --data {data}  {drill}"));
        }
        return None;
    }
    if found.is_empty() {
        nothing(args);
    }
    found.pop()
}

fn nothing(args: &ClientArgs) {
    let place = match &args.data {
        Some(data) => format!("no running instance found in {}", data.display()),
        None => format!("no running instance found in {DATA} nor in the runtime directory"),
    };
    output::say(&format!("{place}; name it with --admin-url"));
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) struct Refused {
    code: u8,
    /// For people; empty: it has been said.
    why: String,
    /// What the instance answered.
    pub(super) body: Option<Value>,
}

impl Refused {
    /// Says why; the exit code.
    pub(super) fn tell(&self) -> u8 {
        if !self.why.is_empty() {
            output::say(&self.why);
        }
        self.code
    }
}

pub(super) fn on(
    args: &ClientArgs,
    method: &Method,
    path: &str,
    body: &Value,
) -> Result<Value, Refused> {
    let failed = |why: String| Refused { code: exit::NO_START, why, body: None };
    let instance = the_one(args).ok_or_else(|| failed(String::new()))?;
    let runtime = output::runtime().ok_or_else(|| failed(String::new()))?;
    match runtime.block_on(call(&instance.admin, method.clone(), path, body, PATIENCE)) {
        Ok((status, value)) if status.is_success() => Ok(value),
        Ok((status, value)) => {
            let why = match value["detail"].as_str() {
                Some(detail) => format!("error: {detail}"),
                None => format!("error: {} answered {status}", instance.admin),
            };
            Err(Refused { code: 1, why, body: Some(value) })
        }
        Err(error) => Err(failed(format!("error: {}: {error}", instance.admin))),
    }
}

fn show(args: &ClientArgs, status: &Value, how: fn(&View, &Canvas) -> Vec<String>) {
    let view = View::deserialize(status);
    match view {
        Ok(view) if !args.json => {
            // It scrolls by: as many lines as it takes.
            let canvas = Canvas { rows: None, ..output::canvas(&std::io::stdout()) };
            output::data(&(how(&view, &canvas).join("\n") + "\n"));
        }
        // Another version's words are better than none.
        _ => output::data(&format!("{status:#}\n")),
    }
}

pub(super) fn status(args: &ClientArgs) -> u8 {
    match on(args, &Method::GET, "/api/v1/status", &Value::Null) {
        Ok(status) => {
            show(args, &status, meter::render);
            0
        }
        Err(refused) => refused.tell(),
    }
}

/// Steers the drill, and shows where it stands then.
pub(super) fn drill(args: &ClientArgs, verb: &str, body: &Value) -> u8 {
    match on(args, &Method::POST, &format!("/api/v1/drill/{verb}"), body) {
        Ok(status) => {
            show(args, &status, meter::course);
            0
        }
        Err(refused) => refused.tell(),
    }
}

pub(super) fn rearm(args: &RearmArgs) -> u8 {
    drill(&args.at, "rearm", &json!({ "reason": args.reason }))
}

pub(super) fn halt(args: &HaltArgs) -> u8 {
    let found = find(&args.at);
    if found.is_empty() {
        nothing(&args.at);
        return exit::NO_START;
    }
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    // All at once: one that hangs must not keep the others injecting.
    let halted = runtime.block_on(async {
        let mut halting: tokio::task::JoinSet<_> = found
            .into_iter()
            .map(|instance| {
                let reason = args.reason.clone();
                async move { (halt_one(&instance, &reason).await, instance.drill) }
            })
            .collect();
        let mut ended = Vec::new();
        while let Some(one) = halting.join_next().await {
            ended.extend(one);
        }
        ended
    });
    let all = halted.iter().all(|(way, _)| way.is_ok());
    if args.at.json {
        let list: Vec<Value> = halted
            .iter()
            .map(|(way, drill)| {
                json!({ "drill": drill, "halted": way.is_ok(), "how": way.as_ref().unwrap_or_else(|tried| tried) })
            })
            .collect();
        output::data(&format!("{:#}\n", json!(list)));
    }
    for (way, drill) in &halted {
        match way {
            Ok(way) => output::say(&format!("halted {drill} ({way})")),
            Err(tried) => output::say(&format!("NOT KNOWN TO BE HALTED {drill}: {tried}")),
        }
    }
    if all { 0 } else { exit::NO_START }
}

/// The API, then SIGUSR1, then the HALT file; which one worked, or what came of each. A signal that
/// was sent and a file that was written are no halt yet: the instance has to say that it is.
async fn halt_one(instance: &Found, reason: &str) -> Result<String, String> {
    let body = json!({ "reason": reason });
    let halt = "/api/v1/drill/halt";
    let api = match call(&instance.admin, Method::POST, halt, &body, HALT_PATIENCE).await {
        Ok((StatusCode::OK, _)) => return Ok("by the API".to_owned()),
        Ok((status, _)) => format!("API: {status}"),
        Err(error) => format!("API: {error}"),
    };
    let signal = match instance.pid.map(crate::os::signal_halt) {
        Some(Ok(())) if is_halted(&instance.admin).await => {
            return Ok(format!("by SIGUSR1; {api}"));
        }
        Some(Ok(())) => "SIGUSR1: sent".to_owned(),
        Some(Err(error)) => format!("SIGUSR1: {error}"),
        None => "SIGUSR1: its process id is not known".to_owned(),
    };
    let file = match instance.data.as_ref().map(|data| fs::write(data.join("HALT"), reason)) {
        Some(Ok(())) if is_halted(&instance.admin).await => {
            return Ok(format!("by the HALT file; {api}; {signal}"));
        }
        Some(Ok(())) => "HALT file: written".to_owned(),
        Some(Err(error)) => format!("HALT file: {error}"),
        None => "HALT file: its data directory is not known".to_owned(),
    };
    Err(format!("{api}; {signal}; {file}"))
}

/// Whether an instance says so, soon.
async fn is_halted(admin: &str) -> bool {
    let asking = async {
        loop {
            let status = "/api/v1/status";
            match call(admin, Method::GET, status, &Value::Null, HALT_PATIENCE).await {
                Ok((_, view)) if view["halted"] == true => return true,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(HALT_PATIENCE, asking).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_dead_or_somebody_else_is_not_found() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let started = crate::os::process_started(own);
        assert!(is_running(own, started));
        // Where the system tells when processes started, init is another one.
        let told = started.is_some();
        assert_eq!(is_running(own, started.map(|at| at + 1)), !told, "the number, used again");
        assert_eq!(is_running(own, None), !told);
        assert_eq!(is_running(1, started), !told);
        for pid in [0, -1, i32::MAX] {
            assert!(!is_running(pid, started), "{pid}");
        }
    }

    #[test]
    fn admin_urls() {
        for good in ["http://127.0.0.1:8901", "http://localhost:1/", "http://[::1]:8901"] {
            assert_eq!(admin_url(good).as_deref(), Ok(good.trim_end_matches('/')));
        }
        for bad in [
            "127.0.0.1:8901",
            "https://127.0.0.1:8901",
            "http://127.0.0.1",
            "http://127.0.0.1:x",
            "http://127.0.0.1:8901/api/v1",
            "http://a@127.0.0.1:8901",
            "",
        ] {
            assert!(admin_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_is_the_last_way() {
        let folder = std::env::temp_dir().join(format!("backburn-halt-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        // Port 0: nobody can listen there.
        let instance = Found {
            admin: "http://127.0.0.1:0".to_owned(),
            pid: None,
            data: Some(folder.clone()),
            drill: "x".to_owned(),
        };
        let runtime = output::runtime().expect("a runtime");
        let way = runtime.block_on(halt_one(&instance, "enough"));
        let written = fs::read_to_string(folder.join("HALT"));
        fs::remove_dir_all(&folder).expect("cleaned up");
        assert_eq!(written.expect("the file"), "enough");
        // Nobody was there to say that it has halted.
        assert!(way.is_err_and(|tried| tried.ends_with("HALT file: written")));
    }
}
