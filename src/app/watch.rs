//! Waits until what a scenario's files say has changed and holds still.
//!
//! An event in one of the directories, or else the clock, leads to a look: everything is read, and
//! only another content counts. A content counts when two reads in a row agree, so that a file that
//! is still being written is waited for. Events make it quick; the look once a second makes it sure,
//! on file systems and under limits where events do not come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep_until;

use super::directories::Directories;
use super::{Fingerprint, Source, Texts};
use crate::clock;

/// From the first event to the look: what follows within it is one change.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(150);
/// Between the two reads that have to agree.
pub(super) const STILL: Duration = Duration::from_millis(100);
/// A content that never holds still is taken as it is after this.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Between looks that no event asked for.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// Watches one source. It looks only while somebody awaits [`Watcher::changed`]; nothing is lost in
/// between, since a look compares with what is known.
#[derive(Debug)]
pub struct Watcher {
    source: Arc<Source>,
    /// A look takes them along and brings them back.
    directories: Directories,
    looking: Option<JoinHandle<Look>>,
    bell: Arc<Notify>,
    due: Instant,
    poll: Duration,
    settling: Settling,
    sight: watch::Sender<Sight>,
}

/// What a watcher sees, for people.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Where events are waited for.
    pub directories: Vec<PathBuf>,
    /// Why changes, or some of them, are found only by the look once a second.
    pub poll_only: Option<String>,
    /// When the files were last read; `None`: not yet.
    pub looked: Option<Instant>,
}

impl std::fmt::Display for Sight {
    /// As a person would say it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.looked.is_none() {
            return f.write_str("nothing");
        }
        for (n, directory) in self.directories.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{}", directory.display())?;
        }
        match &self.poll_only {
            None => Ok(()),
            Some(why) if self.directories.is_empty() => write!(f, "looked at once a second: {why}"),
            Some(why) => write!(f, " (looked at once a second: {why})"),
        }
    }
}

#[derive(Debug)]
struct Look {
    texts: Texts,
    /// When all of them had been read.
    at: Instant,
    directories: Directories,
    trouble: Option<String>,
}

impl Watcher {
    /// `known` is the content that need not be reported: what runs now. A change since it was read
    /// is found by the first look.
    pub fn new(source: Source, known: Fingerprint) -> Self {
        Self::with(source, known, true, POLL)
    }

    pub(super) fn with(source: Source, known: Fingerprint, events: bool, poll: Duration) -> Self {
        let bell = Arc::new(Notify::new());
        Self {
            source: Arc::new(source),
            directories: if events {
                Directories::new(Arc::clone(&bell))
            } else {
                Directories::none("no events: not wanted")
            },
            looking: None,
            bell,
            due: clock::now(),
            poll,
            settling: Settling { known, seen: None },
            sight: watch::Sender::new(Sight::default()),
        }
    }

    /// Waits for another content than the one known, which it then is. May be dropped and called
    /// again at any time.
    pub async fn changed(&mut self) -> Texts {
        if self.source.paths.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let Some((texts, at)) = self.look().await else {
                self.due = clock::now() + self.poll;
                continue;
            };
            let news = self.settling.see(texts.fingerprint(), at);
            self.due = at + if news == News::Unsettled { STILL } else { self.poll };
            if news == News::Settled {
                return texts;
            }
        }
    }

    /// Somebody else has read the files and acted on them: this content is not news.
    pub fn know(&mut self, content: Fingerprint) {
        self.settling = Settling { known: content, seen: None };
    }

    /// What it sees, also while `changed` is awaited elsewhere.
    pub fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// One look, when it is due, and when that was; `None` if it has failed.
    async fn look(&mut self) -> Option<(Texts, Instant)> {
        if self.looking.is_none() {
            self.rest().await;
        }
        let looking = self.looking.get_or_insert_with(|| {
            let source = Arc::clone(&self.source);
            let failed = Directories::none("no events: a look has failed");
            let mut directories = std::mem::replace(&mut self.directories, failed);
            spawn_blocking(move || {
                // In this order: what changes while it is read then rings the bell.
                let trouble = directories.arm(&source);
                let texts = source.read();
                Look { texts, at: clock::now(), directories, trouble }
            })
        });
        let look = looking.await;
        self.looking = None;
        let Look { texts, at, directories, trouble } = look.ok()?;
        self.directories = directories;
        self.sight.send_modify(|sight| {
            if let Some(why) = trouble.as_ref().filter(|_| sight.poll_only != trouble) {
                tracing::warn!(%why, "a change to the scenario may take a second longer to be seen");
            }
            sight.directories = self.directories.watched();
            sight.poll_only = trouble;
            sight.looked = Some(at);
        });
        Some((texts, at))
    }

    /// Until the next look is due, which an event brings near.
    async fn rest(&mut self) {
        tokio::select! {
            () = sleep_until(self.due.into()) => return,
            () = self.bell.notified() => {}
        }
        // Counted from the first event: what goes on and on must not put it off.
        self.due = self.due.min(clock::now() + DEBOUNCE);
        sleep_until(self.due.into()).await;
    }
}

/// What has been seen of a content that is not the one known. Pure.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) known: Fingerprint,
    /// The last look's, and when the first that was not the one known was seen.
    pub(super) seen: Option<(Fingerprint, Instant)>,
}

/// What a look has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// To be looked at again after [`STILL`].
    Unsettled,
    /// Another content, now the known one.
    Settled,
}

impl Settling {
    pub(super) fn see(&mut self, content: Fingerprint, now: Instant) -> News {
        if content == self.known {
            self.seen = None;
            return News::None;
        }
        let (last, since) = self.seen.unwrap_or((self.known, now));
        if content == last || now.saturating_duration_since(since) >= PATIENCE {
            *self = Self { known: content, seen: None };
            return News::Settled;
        }
        self.seen = Some((content, since));
        News::Unsettled
    }
}
