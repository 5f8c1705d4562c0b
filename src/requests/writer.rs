//! The thread that writes: it looks at the queues now and then, so that no worker ever wakes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::line::{Clocks, line};
use super::{Counts, Queue, Record};
use crate::plan::Sampling;

/// From one look at the queues to the next.
const LOOK: Duration = Duration::from_millis(50);
/// Lines remembered for who asks.
const RECENT: usize = 200;

/// The log as the control plane sees it.
#[derive(Debug)]
pub struct Log {
    pub counts: Arc<Counts>,
    recent: Mutex<VecDeque<Value>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file for appending and starts the thread. It ends when the queues, one for each
/// worker, are gone.
pub fn open(sampling: &Sampling, workers: usize) -> io::Result<(Arc<Log>, Vec<Queue>)> {
    let file = File::options().create(true).append(true).open(&sampling.file)?;
    // What is no file has no size to grow.
    let size = file.metadata().map_or(0, |about| about.len());
    let room = sampling.max_size.saturating_sub(size);
    let counts = Arc::new(Counts::default());
    let (queues, receivers) = (0..workers).map(|worker| Queue::new(worker, &counts)).unzip();
    let log = Arc::new(Log { counts, recent: Mutex::default(), writer: Mutex::default() });
    let clocks = Clocks { at: crate::clock::now(), wall: crate::clock::wall() };
    let writer = Writer { log: Arc::clone(&log), receivers, file, room, clocks, said: false };
    let thread = std::thread::Builder::new().name("requests".to_owned());
    *lock(&log.writer) = Some(thread.spawn(move || writer.run())?);
    Ok((log, queues))
}

impl Log {
    /// The last lines, the newest first.
    pub fn recent(&self) -> Vec<Value> {
        lock(&self.recent).iter().rev().cloned().collect()
    }

    /// Waits until everything is written; when the workers are gone, and so the queues.
    pub fn close(&self) {
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            tracing::error!("the request log's writer has died");
        }
    }
}

struct Writer {
    log: Arc<Log>,
    receivers: Vec<Receiver<Record>>,
    file: File,
    /// By how many bytes the file may still grow.
    room: u64,
    clocks: Clocks,
    /// That nothing is written has been told.
    said: bool,
}

impl Writer {
    #[allow(clippy::disallowed_methods, reason = "an event would have to come from a worker")]
    fn run(mut self) {
        while !self.receivers.is_empty() {
            if !self.look() {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Writes what has come, at most one queue's worth; false: nothing has.
    fn look(&mut self) -> bool {
        let (mut text, mut lines) = (Vec::new(), 0);
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.retain(|queue| {
            loop {
                match queue.try_recv() {
                    Ok(record) => {
                        let told = line(&record, self.clocks);
                        // Writing to memory does not fail.
                        let _ = writeln!(text, "{told}");
                        lines += 1;
                        let mut recent = lock(&self.log.recent);
                        if recent.len() == RECENT {
                            recent.pop_front();
                        }
                        recent.push_back(told);
                        if lines % super::QUEUE as u64 == 0 {
                            return true;
                        }
                    }
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
        });
        self.receivers = receivers;
        if lines == 0 {
            return false;
        }
        let counts = &self.log.counts;
        let left = self.room.checked_sub(text.len() as u64);
        let (count, trouble) = match left.map(|left| (left, self.file.write_all(&text))) {
            Some((left, Ok(()))) => {
                self.room = left;
                (&counts.written, None)
            }
            Some((_, Err(error))) => (&counts.failed, Some(error.to_string())),
            None => (&counts.full, Some("it is as large as `max_size` says".to_owned())),
        };
        count.fetch_add(lines, Ordering::Relaxed);
        // Said once, until it is well again; the counters go on.
        let well = trouble.is_none();
        if let Some(error) = trouble.filter(|_| !self.said) {
            tracing::error!(%error, "the request log is not written any more");
        }
        self.said = !well;
        true
    }
}
