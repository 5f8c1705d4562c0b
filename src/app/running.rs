//! A running instance: what keeps it going, and its orderly end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::files::{Instance, RunFiles};
use crate::drill::Control;
use crate::drill::reload::Reloads;
use crate::report::{Live, View};
use crate::requests::Log;

/// How often the HALT file is looked at; the drill clock when a phase ends.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Running {
    pub control: Arc<Control>,
    /// The drill as people see it.
    pub live: Arc<Live>,
    /// Where reloads are asked for.
    pub reloads: Arc<Reloads>,
    pub(super) reloading: tokio::task::JoinHandle<()>,
    pub instance: Instance,
    pub halt_file: Option<PathBuf>,
    /// Rung by `POST drill/finish`.
    pub finish: Arc<Notify>,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) draining: watch::Sender<bool>,
    pub(super) acceptors: JoinSet<()>,
    pub(super) threads: Vec<JoinHandle<io::Result<()>>>,
    pub(super) admin: tokio::task::JoinHandle<io::Result<()>>,
    pub(super) close_admin: watch::Sender<bool>,
    pub(super) lame_duck: Duration,
    pub(super) _run_files: Option<RunFiles>,
    /// Client connections there is room for.
    pub connections: usize,
    /// The request log, where there is one.
    pub(super) log: Option<Arc<Log>>,
}

impl Running {
    /// Keeps the drill clock going and watches for the HALT file; never returns, unless a worker
    /// has died, with what it died of.
    pub async fn tend(&self) -> String {
        loop {
            let now = crate::clock::now();
            let look = now + TICK;
            let due = self.control.due(now).map_or(look, |due| due.min(look));
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                // A shorter phase, perhaps.
                () = self.control.changed.notified() => {}
            }
            let now = crate::clock::now();
            self.control.tick(now);
            let unused = self.control.unused();
            if !unused.is_empty() {
                // Off the data path, and out of the way of a halt.
                drop(tokio::task::spawn_blocking(move || drop(unused)));
            }
            if let Some(path) = &self.halt_file
                && !self.control.is_halted()
                && path.exists()
            {
                self.control.halt(now, "HALT file", &format!("{} appeared", path.display()));
            }
            if let Some(dead) = self.threads.iter().find(|thread| thread.is_finished()) {
                return format!("{} has died", dead.thread().name().unwrap_or("a worker"));
            }
        }
    }

    /// The orderly end: stop injecting, say "not ready", serve all that was accepted, stop. What
    /// is returned is final: nothing is counted any more.
    pub async fn stop(mut self) -> View {
        self.control.finish(crate::clock::now());
        self.ready.store(false, Ordering::Relaxed);
        self.reloading.abort();
        // Who looks at readiness needs a moment to look elsewhere.
        tokio::time::sleep(self.lame_duck).await;
        // Without receivers there is nobody left to tell.
        let _ = self.draining.send(true);
        while self.acceptors.join_next().await.is_some() {}
        let threads = std::mem::take(&mut self.threads);
        let log = self.log.take();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if let Ok(Err(error)) = thread.join() {
                    tracing::error!(%error, "worker");
                }
            }
            if let Some(log) = log {
                log.close();
            }
        });
        let _ = joined.await;
        self.control.settle(crate::clock::now());
        let view = self.live.view(crate::clock::now());
        let _ = self.close_admin.send(true);
        // A client that keeps an admin connection open does not keep the process alive.
        let _ = tokio::time::timeout(Duration::from_millis(500), &mut self.admin).await;
        view
    }
}
