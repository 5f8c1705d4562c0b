//! Carries out reloads and live overrides, one after the other: read, compile whole, compare, swap.
//! Whatever is wrong leaves the plan that is in force untouched.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tokio::sync::mpsc;

use super::source::{Compiled, Fingerprint, Start, Texts};
use super::start::{mark_never, own_address};
use super::watch::Watcher;
use super::{Source, StartError};
use crate::diagnostic::{MOST_SHOWN, render, to_json};
use crate::drill::Control;
use crate::drill::reload::{Call, Order, Outcome, Reloads, Report};
use crate::drill::state::Adopted;
use crate::plan::diff::{Changes, changes, settle};
use crate::plan::{Plan, Service};
use crate::proxy::Shared;
use crate::scenario::{Override, WHO, Widening, adjustable, written_at};

/// What a scenario is called that came by the API.
const PUT: &str = "scenario.toml (by the API)";

/// What a reload needs to know and to reach.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) control: Arc<Control>,
    pub(super) shared: Arc<Shared>,
    pub(super) reloads: Arc<Reloads>,
    /// Where this process listens: no service may be there.
    pub(super) own: Vec<SocketAddr>,
    /// What is read at the start only.
    pub(super) start: Start,
    /// What is in force.
    pub(super) live: Texts,
    pub(super) overrides: Vec<Override>,
    /// The content that waits to be accepted.
    pub(super) held: Option<Fingerprint>,
}

/// What is to be put in force.
struct Wish {
    texts: Texts,
    overrides: Vec<Override>,
    by: &'static str,
    /// The texts have just been read; else they are those in force.
    read: bool,
    /// Also what widens.
    accept: bool,
}

impl Reloader {
    /// Until nobody can ask any more.
    pub(super) async fn run(mut self, mut watcher: Watcher, mut calls: mpsc::Receiver<Call>) {
        self.reloads.update(|standing| {
            standing.generation = 1;
            standing.last_success = unix(crate::clock::wall());
            standing.scenario = self.live.files.as_slice().into();
        });
        let mut sight = watcher.sight();
        loop {
            tokio::select! {
                texts = watcher.changed() => {
                    let overrides = self.overrides.clone();
                    self.wish(Wish { texts, overrides, by: "watch", read: true, accept: false }).await;
                }
                call = calls.recv() => {
                    let Some(Call { order, by, reply }) = call else { return };
                    let report = self.order(order, by, &mut watcher).await;
                    // Whoever asked may have left.
                    let _ = reply.send(report);
                }
                Ok(()) = sight.changed() => {
                    let seen = sight.borrow_and_update().to_string();
                    self.reloads.update(|standing| standing.watched = seen);
                }
            }
        }
    }

    async fn order(&mut self, order: Order, by: &'static str, watcher: &mut Watcher) -> Report {
        let mut overrides = self.overrides.clone();
        match order {
            Order::Reload { accept } => {
                let source = self.source.clone();
                let texts = tokio::task::spawn_blocking(move || source.read()).await;
                let Ok(texts) = texts else { return self.report(Outcome::Rejected, by) };
                watcher.know(texts.fingerprint());
                self.wish(Wish { texts, overrides, by, read: true, accept }).await
            }
            Order::Set(keys) => {
                for key in keys {
                    overrides.retain(|known| !same_key(known, &key));
                    overrides.push(key);
                }
                let texts = self.live.clone();
                self.wish(Wish { texts, overrides, by, read: false, accept: true }).await
            }
            Order::Replace(text) => {
                let was = self.source.built_in.replace((PUT.to_owned(), text));
                let source = self.source.clone();
                let texts = tokio::task::spawn_blocking(move || source.read()).await;
                let Ok(texts) = texts else { return self.report(Outcome::Rejected, by) };
                watcher.know(texts.fingerprint());
                let wish = Wish { texts, overrides, by, read: true, accept: false };
                let report = self.wish(wish).await;
                // What waits to be accepted is read again then.
                if report.result == Outcome::Rejected {
                    self.source.built_in = was;
                }
                report
            }
            Order::Clear(fault) => {
                overrides.retain(|known| fault_of(known) != Some(&fault));
                let texts = self.live.clone();
                self.wish(Wish { texts, overrides, by, read: false, accept: true }).await
            }
        }
    }

    /// Puts a wish in force, or says why not.
    async fn wish(&mut self, wish: Wish) -> Report {
        let Wish { texts, mut overrides, by, read, accept } = wish;
        let fingerprint = texts.fingerprint();
        let from_files = fingerprint != self.live.fingerprint();
        let (start, before) = (self.start.clone(), self.live.clone());
        let worked = tokio::task::spawn_blocking(move || {
            let cleared = if from_files {
                drop_overridden(&before, &texts, &mut overrides)
            } else {
                Vec::new()
            };
            let Compiled { plan, notes, scenario } = texts.compile(&overrides, Some(&start));
            let text = render(&notes, &scenario.sources, false);
            let notes = to_json(&notes[..notes.len().min(MOST_SHOWN)], &scenario.sources);
            (plan, notes, text, texts, overrides, cleared)
        });
        let mut report = self.report(Outcome::Rejected, by);
        let Ok((plan, notes, text, texts, overrides, cleared)) = worked.await else {
            return self.tell(report, fingerprint, read);
        };
        (report.notes, report.text, report.overrides_cleared) = (notes, text, cleared);
        let Some(mut plan) = plan else { return self.tell(report, fingerprint, read) };
        let live = self.control.plan();
        let restart = settle(&live, &mut plan, &self.start.ports);
        // Where a service was before has been looked into: names take time, an override need not.
        let moved = |service: &&Service| {
            !live.services.iter().any(|known| known.authority == service.authority)
        };
        let moved: Vec<&Service> = plan.services.iter().filter(moved).collect();
        if let Some((service, address)) = own_address(moved.iter().copied(), &self.own).await {
            let why = StartError::OwnAddress { service, address }.to_string();
            report.notes = json!([{ "severity": "error", "message": why }]);
            report.text = format!("error: {why}\n");
            return self.tell(report, fingerprint, read);
        }
        report.changes = changes(&live, &plan);
        report.changes.needs_restart = restart;
        let widens = !report.changes.widened.is_empty();
        if report.changes.is_none() {
            // The same plan, perhaps in other words.
            (self.live, self.overrides) = (texts, overrides);
            // What is held is so until the files say something else.
            self.held = self.held.filter(|_| !read);
            report.result = Outcome::Unchanged;
            return self.tell(report, fingerprint, read);
        }
        // What is accepted is what was shown: a file that has changed since is shown again.
        let shown = !from_files || self.held == Some(fingerprint);
        if widens && live.safety.widening == Widening::Hold && !(accept && shown) {
            self.held = Some(fingerprint);
            report.result = Outcome::Held;
            return self.tell(report, fingerprint, read);
        }
        mark_never(moved, &plan.safety, &self.shared).await;
        let plan: Arc<Plan> = Arc::new(plan);
        if let Adopted::Gone(phase) = self.control.adopt(plan, crate::clock::now()) {
            report.phase_gone = Some(phase.to_string());
        }
        (self.live, self.overrides) = (texts, overrides);
        self.held = self.held.filter(|_| !read);
        report.result = Outcome::Applied;
        report.generation += 1;
        self.tell(report, fingerprint, read)
    }

    fn report(&self, result: Outcome, by: &str) -> Report {
        Report {
            result,
            by: by.to_owned(),
            at: crate::clock::rfc3339(crate::clock::wall()),
            generation: self.reloads.standing().generation,
            changes: Changes::default(),
            overrides_cleared: Vec::new(),
            phase_gone: None,
            notes: json!([]),
            text: String::new(),
        }
    }

    /// Makes a report known: to the log, and to whoever asks for the status.
    fn tell(&self, mut report: Report, content: Fingerprint, read: bool) -> Report {
        if matches!(report.result, Outcome::Rejected | Outcome::Held) {
            // They would have been.
            report.overrides_cleared.clear();
        }
        let headline = report.headline();
        let by = report.by.as_str();
        match report.result {
            Outcome::Applied => tracing::info!(by, "{headline}"),
            Outcome::Unchanged => tracing::debug!(by, "{headline}"),
            // Fields stand last; behind the mistakes nobody would find them.
            Outcome::Rejected => {
                tracing::error!("{headline} (by {by})\n{}", report.text.trim_end());
            }
            Outcome::Held => tracing::warn!(by, "{headline}"),
        }
        if report.result == Outcome::Applied {
            for line in &report.changes.widened {
                tracing::warn!("widened: {line}");
            }
            for line in &report.overrides_cleared {
                tracing::warn!("override cleared: {line}");
            }
        }
        let restart = &report.changes.needs_restart;
        if read && matches!(report.result, Outcome::Applied | Outcome::Unchanged) {
            for key in restart {
                tracing::warn!("{key} needs a restart: it is as it was at the start");
            }
        }
        let is_live = content == self.live.fingerprint();
        self.reloads.update(|standing| {
            standing.scenario = self.live.files.as_slice().into();
            standing.results[report.result as usize] += 1;
            standing.generation = report.generation;
            standing.overrides.clone_from(&self.overrides);
            match report.result {
                // An override leaves the files as right or wrong as they were, and what is held held.
                Outcome::Applied | Outcome::Unchanged if !read => {}
                Outcome::Applied | Outcome::Unchanged => {
                    standing.last_success = unix(crate::clock::wall());
                    standing.pending = None;
                    standing.wrong = false;
                }
                Outcome::Rejected => standing.wrong |= !is_live,
                Outcome::Held => {
                    standing.pending = Some(report.clone());
                    standing.wrong = false;
                }
            }
            let was_wrong = standing.last.as_ref().map(|last| last.result);
            let news = report.result != Outcome::Unchanged
                || (read && !restart.is_empty())
                || was_wrong == Some(Outcome::Rejected)
                || was_wrong == Some(Outcome::Held);
            // Who sets a key is told by the answer; the files are as right as they were.
            if news && (read || report.result != Outcome::Rejected) {
                standing.last = Some(report.clone());
            }
        });
        report
    }
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn fault_of(key: &Override) -> Option<&str> {
    adjustable(&key.path).ok().map(|(fault, _)| fault)
}

fn same_key(one: &Override, other: &Override) -> bool {
    match (adjustable(&one.path), adjustable(&other.path)) {
        (Ok((fault, key)), Ok((other_fault, other_key))) => {
            // `inject.latency` says all that `inject.latency.cap` did.
            let within = |a: &str, b: &str| {
                a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'))
            };
            // Of the keys that say who is hit, the last one holds.
            let who = |key: &str| WHO.contains(&key);
            fault == other_fault && (within(key, other_key) || (who(key) && who(other_key)))
        }
        _ => one.path == other.path,
    }
}

/// Overrides whose fault is gone, or whose very key the files now say anew, are no more.
fn drop_overridden(before: &Texts, after: &Texts, overrides: &mut Vec<Override>) -> Vec<String> {
    let mut cleared = Vec::new();
    if overrides.is_empty() {
        return cleared;
    }
    let (was, is) = (before.tree(), after.tree());
    overrides.retain(|key| {
        let Ok((fault, path)) = adjustable(&key.path) else { return false };
        if written_at(&is, fault, "").is_none() {
            cleared.push(format!("{}: its fault is gone", key.path));
            return false;
        }
        let same = match (written_at(&was, fault, path), written_at(&is, fault, path)) {
            (Some(was), Some(is)) => crate::document::tree::same(&was, &is),
            (None, None) => true,
            _ => false,
        };
        if !same {
            cleared.push(format!("{}: the file says something new there", key.path));
        }
        same
    });
    cleared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Override {
        Override { path: path.to_owned(), value: "1".to_owned() }
    }

    #[test]
    fn a_key_replaces_itself_and_what_is_within() {
        assert!(same_key(&key("faults.a.limit"), &key("a.limit")));
        assert!(same_key(&key("a.inject.latency.cap"), &key("a.inject.latency")));
        assert!(!same_key(&key("a.inject.latency"), &key("a.inject.latency.cap")));
        assert!(!same_key(&key("a.limit"), &key("b.limit")));
        assert!(same_key(&key("a.probability"), &key("faults.a.every")), "either says who is hit");
    }

    fn texts(text: &str) -> Texts {
        Source { built_in: Some(("t".to_owned(), text.to_owned())), ..Source::default() }.read()
    }

    /// `inject.latency = "300ms"` says what `inject.latency.delay` is, and nothing of its cap.
    #[test]
    fn a_short_form_says_what_is_in_it() {
        let file = |delay: &str| {
            texts(&format!("[faults.a]\nroutes = [\"*\"]\ninject.latency = \"{delay}\"\n"))
        };
        for (path, kept) in [
            ("a.inject.latency.delay", 0),
            ("a.inject.latency", 0),
            ("a.inject.latency.delay.lognormal.p99", 0),
            ("a.inject.latency.cap", 1),
            ("a.inject.latency.on", 1),
        ] {
            let mut overrides = vec![key(path)];
            drop_overridden(&file("300ms"), &file("400ms"), &mut overrides);
            assert_eq!(overrides.len(), kept, "{path}");
            drop_overridden(&file("300ms"), &file("300ms"), &mut overrides);
            assert_eq!(overrides.len(), kept, "{path}");
        }
    }

    #[test]
    fn an_override_lasts_until_its_own_key_changes() {
        let file = |probability: &str, limit: u32| {
            texts(&format!(
                "[faults.a]\nroutes = [\"*\"]\nprobability = \"{probability}\"\nlimit = {limit}\n"
            ))
        };
        let left = |after: &Texts| {
            let mut overrides = vec![key("a.probability")];
            drop_overridden(&file("5%", 3), after, &mut overrides);
            overrides.len()
        };
        assert_eq!(left(&file("5%", 4)), 1, "another key");
        assert_eq!(left(&file("6%", 3)), 0);
        assert_eq!(left(&texts("[faults.b]\nroutes = [\"*\"]\n")), 0);
    }
}
