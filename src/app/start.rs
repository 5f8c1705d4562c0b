//! Starting: everything is bound and checked before anything is called ready.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::files::{self, Instance, RunFiles};
use super::reload::Reloader;
use super::running::Running;
use super::{Source, Start, Texts, Watcher};
use crate::admin::{self, AdminState};
use crate::drill::Control;
use crate::drill::reload::Reloads;
use crate::plan::tls::ListenTls;
use crate::plan::{Plan, Safety, Service};
use crate::proxy::open::Open;
use crate::proxy::tls;
use crate::proxy::{Never, OwnPort, Shared, listen, worker};
use crate::report::Live;
use crate::requests;
use crate::sli::Ledger;

/// Descriptors kept back for listeners, admin, files and the runtime's own.
const RESERVE: u64 = 64;

#[derive(Debug)]
pub struct Options {
    pub plan: Plan,
    /// Where the plan comes from, what was read there, and what holds until the end.
    pub source: Source,
    pub texts: Texts,
    pub start: Start,
    /// Overrides the scenario's.
    pub seed: Option<u64>,
    /// Overrides `[proxy] listen`.
    pub listen: Option<SocketAddr>,
    pub admin_listen: Option<SocketAddr>,
    /// `None`: nothing is written.
    pub data: Option<PathBuf>,
    /// `--env`.
    pub environment: Option<String>,
    /// Overrides `[proxy] workers`.
    pub workers: Option<u16>,
    /// Wait for `start`.
    pub hold: bool,
    pub ready_file: Option<PathBuf>,
}

/// Why it could not start; exit code 5.
#[derive(Debug)]
pub enum StartError {
    Bind {
        what: String,
        address: SocketAddr,
        source: io::Error,
    },
    Data {
        path: PathBuf,
        source: io::Error,
    },
    RequestLog {
        path: PathBuf,
        source: io::Error,
    },
    ReadyFile {
        path: PathBuf,
        source: io::Error,
    },
    Admin(SocketAddr),
    /// A service's address is one this very process listens on.
    OwnAddress {
        service: String,
        address: SocketAddr,
    },
    /// A certificate or key that cannot be used.
    Tls(String),
    Os(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { what, address, source } => {
                write!(f, "cannot listen on {address} ({what}): {source}")?;
                if source.kind() == io::ErrorKind::AddrInUse {
                    write!(
                        f,
                        "\nhint: another process, perhaps another backburn, has it; port 0 takes a free one"
                    )?;
                }
                Ok(())
            }
            Self::Data { path, source } => write!(
                f,
                "cannot write to the data directory {}: {source}\nhint: --data DIR names another, --data none keeps nothing",
                path.display()
            ),
            Self::RequestLog { path, source } => {
                write!(f, "cannot write the request log {}: {source}", path.display())
            }
            Self::ReadyFile { path, source } => {
                write!(f, "cannot write the ready file {}: {source}", path.display())
            }
            Self::Admin(address) => write!(
                f,
                "the admin listener stays on loopback: {address} would let anyone who reaches it steer the drill"
            ),
            Self::OwnAddress { service, address } => write!(
                f,
                "service `{service}` is at {address}, which is this backburn itself: requests would go in circles"
            ),
            Self::Tls(what) => write!(f, "TLS: {what}"),
            Self::Os(source) => write!(f, "cannot start: {source}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Binds everything, starts the workers, the acceptors and the admin listener. When it returns,
/// traffic is accepted. Must run inside a multi-thread runtime, which carries the control plane
/// and the acceptors; the workers have threads of their own.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let plan = Arc::new(options.plan);
    let admin_address = options
        .admin_listen
        .unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8901));
    if !admin_address.ip().is_loopback() {
        return Err(StartError::Admin(admin_address));
    }
    let files = crate::os::raise_file_limit();
    let unready = |path: &PathBuf, source| StartError::ReadyFile { path: path.clone(), source };
    if let Some(path) = &options.ready_file {
        files::not_ready(path).map_err(|source| unready(path, source))?;
    }

    let (mut listeners, mut own_ports) = (Vec::new(), Vec::new());
    bind(&mut listeners, "proxy", options.listen.unwrap_or(plan.proxy.listen), None)?;
    for service in &plan.services {
        if let Some(address) = service.listen {
            bind(&mut listeners, &service.name, address, Some(own_ports.len() as OwnPort))?;
            own_ports.push(Arc::clone(&service.name));
        }
    }
    let served = secrets(&plan)?;
    let scheme = if served.is_some() { "https" } else { "http" };
    let admin_listener = listen::bind(admin_address).map_err(|source| StartError::Bind {
        what: "admin".into(),
        address: admin_address,
        source,
    })?;
    let admin_bound = admin_listener.local_addr().map_err(StartError::Os)?;
    let mut own = vec![admin_bound];
    own.extend(listeners.iter().filter_map(|(listener, _)| listener.local_addr().ok()));
    if let Some((service, address)) = own_address(plan.services.iter(), &own).await {
        return Err(StartError::OwnAddress { service, address });
    }

    let data = match &options.data {
        Some(path) => Some(
            files::open_data(path)
                .map_err(|source| StartError::Data { path: path.clone(), source })?,
        ),
        None => None,
    };
    let halt_file = data.as_ref().map(|data| data.join("HALT"));

    let workers = usize::from(options.workers.or(plan.proxy.workers).unwrap_or_else(|| {
        thread::available_parallelism()
            .map_or(1, |cores| cores.get().min(usize::from(u16::MAX)) as u16)
    }))
    .max(1);
    let ledger = Arc::new(Ledger::new(workers));
    let now = crate::clock::now();
    let control = Arc::new(Control::new(
        Arc::clone(&ledger),
        Arc::clone(&plan),
        crate::drill::control::Settings {
            seed: options.seed.or(plan.seed).unwrap_or_else(crate::dice::random_seed),
            environment: options.environment,
            hold: options.hold,
            halt_file: halt_file.clone(),
        },
        now,
    ));
    if let Some(path) = halt_file.as_ref().filter(|path| path.exists()) {
        control.halt(now, "HALT file", &format!("{} was there at the start", path.display()));
    }

    let (draining, drained) = watch::channel(false);
    let held = Arc::new(AtomicUsize::new(0));
    let open: Arc<[Open]> = (0..workers).map(|_| Open::default()).collect();
    let shared = Arc::new(Shared {
        stage: Arc::clone(&control.stage),
        release: control.release.subscribe(),
        draining: drained,
        held: Arc::clone(&held),
        load: Arc::clone(&open),
        own_ports: own_ports.into(),
        never: Never::default(),
        epoch: now,
        instance: crate::dice::random_seed(),
        own: own.clone().into(),
        tls: served.as_ref().map(|served| ArcSwap::new(Arc::clone(&served.config))),
    });
    mark_never(&plan.services, &plan.safety, &shared).await;

    let drain = plan.proxy.timeouts.drain;
    let lame_duck = plan.proxy.lame_duck.unwrap_or_else(|| {
        // There, endpoints are taken out of service while the process is told to end.
        let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Duration::from_secs(if kubernetes { 5 } else { 0 })
    });
    let (log, mut queues) = match &plan.sampling {
        None => (None, Vec::new()),
        Some(sampling) => {
            let path = &sampling.file;
            let opened = requests::open(sampling, workers);
            let failed = |source| StartError::RequestLog { path: path.clone(), source };
            let (log, queues) = opened.map_err(failed)?;
            (Some(log), queues.into_iter().map(Some).collect())
        }
    };
    queues.resize_with(workers, || None);
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for (id, queue) in queues.into_iter().enumerate() {
        let (sender, sockets) = mpsc::channel(256);
        let shared = Arc::clone(&shared);
        let durations = ledger.durations();
        let thread = thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || worker::run(id, shared, sockets, durations, queue, drain))
            .map_err(StartError::Os)?;
        senders.push(sender);
        threads.push(thread);
    }

    // Half of the descriptors for clients, the other half for upstreams and for ourselves; unless
    // it is said how many clients there may be, who need not all ask at once.
    let half = files.map_or(500_000, |files| (files / 2).max(16));
    let most = files.map_or(u64::MAX, |files| files.saturating_sub(RESERVE).max(16));
    let room = plan.proxy.limits.connections.map_or(half, |asked| most.min(u64::from(asked)));
    let room = Arc::new(Semaphore::new(
        usize::try_from(room).unwrap_or(500_000).min(Semaphore::MAX_PERMITS),
    ));
    let mut services: Vec<(String, String)> = Vec::new();
    let mut proxy = String::new();
    let mut acceptors = tokio::task::JoinSet::new();
    for (listener, port) in listeners {
        let address = listener.local_addr().map_err(StartError::Os)?;
        match port {
            None => proxy = format!("{scheme}://{address}"),
            Some(port) => services.push((
                shared.own_ports[usize::from(port)].to_string(),
                format!("{scheme}://{address}"),
            )),
        }
        acceptors.spawn(listen::accept(
            listener,
            port,
            Arc::clone(&shared),
            senders.clone(),
            Arc::clone(&room),
        ));
    }
    drop(senders);

    let instance = Instance {
        proxy,
        services,
        admin: format!("http://{admin_bound}"),
        drill: control.drill_id().to_owned(),
        seed: control.seed(),
        data,
    };
    let finish = Arc::new(tokio::sync::Notify::new());
    let ready = Arc::new(AtomicBool::new(false));
    let (reloads, calls) = Reloads::new();
    let reloads = Arc::new(reloads);
    let watcher = Watcher::new(options.source.clone(), options.texts.fingerprint());
    let files = options.source.paths.clone();
    let reloader = Reloader {
        source: options.source,
        control: Arc::clone(&control),
        shared: Arc::clone(&shared),
        reloads: Arc::clone(&reloads),
        own,
        start: options.start,
        live: options.texts,
        overrides: Vec::new(),
        held: None,
    };
    let reloading = tokio::spawn(reloader.run(watcher, calls));
    let live = Arc::new(Live {
        control: Arc::clone(&control),
        reloads: Arc::clone(&reloads),
        held,
        instance: instance.to_json(),
        began: now,
        known: std::sync::Mutex::default(),
    });
    let state = Arc::new(AdminState {
        control: Arc::clone(&control),
        reloads: Arc::clone(&reloads),
        live: Arc::clone(&live),
        ready: Arc::clone(&ready),
        finish: Arc::clone(&finish),
        bound: admin_bound,
        files,
        requests: log.clone(),
        open,
    });
    if let (Some(tls), Some(served)) = (plan.proxy.tls.clone(), served) {
        tokio::spawn(renew(tls, served, Arc::clone(&shared)));
    }
    let (close_admin, mut admin_closed) = watch::channel(false);
    let admin = tokio::spawn(admin::serve(admin_listener, state, async move {
        // Also when the sender is gone.
        let _ = admin_closed.wait_for(|closed| *closed).await;
    }));

    let run_files = match &instance.data {
        Some(path) => Some(
            RunFiles::write(&instance)
                .map_err(|source| StartError::Data { path: path.clone(), source })?,
        ),
        None => None,
    };
    ready.store(true, Ordering::Relaxed);
    if let Some(path) = &options.ready_file {
        let text = format!("{:#}\n", instance.to_json());
        files::write_by_rename(path, text.as_bytes()).map_err(|source| unready(path, source))?;
    }
    Ok(Running {
        control,
        reloads,
        reloading,
        live,
        instance,
        halt_file,
        finish,
        ready,
        draining,
        acceptors,
        threads,
        admin,
        close_admin,
        lame_duck,
        _run_files: run_files,
        connections: room.available_permits(),
        log,
    })
}

fn bind(
    listeners: &mut Vec<(TcpListener, Option<OwnPort>)>,
    what: &str,
    address: SocketAddr,
    port: Option<OwnPort>,
) -> Result<(), StartError> {
    let listener = listen::bind(address).map_err(|source| StartError::Bind {
        what: what.to_owned(),
        address,
        source,
    })?;
    listeners.push((listener, port));
    Ok(())
}

/// Where a service's host points now; empty when it cannot be told yet.
async fn resolve(service: &Service) -> Vec<SocketAddr> {
    tokio::net::lookup_host((service.host.as_str(), service.port))
        .await
        .map(Iterator::collect)
        .unwrap_or_default()
}

/// Certificates and keys, which had better be found wrong now than by the first request.
fn secrets(plan: &Plan) -> Result<Option<tls::Served>, StartError> {
    for service in &plan.services {
        if let Some(tls) = &service.tls {
            let checked = tls::check(tls);
            checked
                .map_err(|what| StartError::Tls(format!("service `{}`: {what}", service.name)))?;
        }
    }
    let Some(tls) = &plan.proxy.tls else { return Ok(None) };
    tls::Served::load(tls, None).map_err(StartError::Tls)
}

/// Serves with new certificates once the files say something else.
async fn renew(listen: ListenTls, mut served: tls::Served, shared: Arc<Shared>) {
    let mut again = tokio::time::interval(tls::AGAIN);
    let mut said = None;
    loop {
        again.tick().await;
        match tls::Served::load(&listen, Some(&served)) {
            Ok(None) => said = None,
            Ok(Some(new)) => {
                if let Some(live) = &shared.tls {
                    live.store(Arc::clone(&new.config));
                }
                tracing::info!("new certificates");
                (served, said) = (new, None);
            }
            // Half written, perhaps: what was good goes on. Said once.
            Err(error) if said.as_ref() != Some(&error) => {
                tracing::warn!(%error, "certificates: the old ones go on");
                said = Some(error);
            }
            Err(_) => {}
        }
    }
}

/// A service that is this process itself would loop for ever; `own` is where it listens.
pub(super) async fn own_address(
    services: impl Iterator<Item = &Service>,
    own: &[SocketAddr],
) -> Option<(String, SocketAddr)> {
    for service in services {
        for address in resolve(service).await {
            if listen::is_own(own, address) {
                return Some((service.name.to_string(), address));
            }
        }
    }
    None
}

/// Services whose address lies in a `never` network are marked before the first request.
pub(super) async fn mark_never(
    services: impl IntoIterator<Item = &Service>,
    safety: &Safety,
    shared: &Shared,
) {
    for service in services {
        let mark = shared.never.of(service);
        if safety.never_networks.is_empty() || mark.load(Ordering::Relaxed) {
            continue;
        }
        if resolve(service).await.iter().any(|address| safety.is_never(address.ip())) {
            tracing::warn!(service = %service.name, "lies in `[safety] never`: it is not faulted");
            mark.store(true, Ordering::Relaxed);
        }
    }
}
