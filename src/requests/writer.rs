//! The thread that writes: it looks at the queues now and then, so that no worker ever wakes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::line::{Clocks, line};
use super::{Counts, Queue, Record};

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
pub fn open(path: &Path, workers: usize) -> io::Result<(Arc<Log>, Vec<Queue>)> {
    let file = File::options().create(true).append(true).open(path)?;
    let counts = Arc::new(Counts::default());
    let (queues, receivers) = (0..workers).map(|worker| Queue::new(worker, &counts)).unzip();
    let log = Arc::new(Log { counts, recent: Mutex::default(), writer: Mutex::default() });
    let clocks = Clocks { at: crate::clock::now(), wall: crate::clock::wall() };
    let writer = Writer { log: Arc::clone(&log), receivers, file, clocks, said: false };
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
    clocks: Clocks,
    /// That the file cannot be written has been told.
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
        match self.file.write_all(&text) {
            Ok(()) => {
                self.log.counts.written.fetch_add(lines, Ordering::Relaxed);
                self.said = false;
            }
            Err(error) => {
                self.log.counts.failed.fetch_add(lines, Ordering::Relaxed);
                // Said once; the counter goes on.
                if !std::mem::replace(&mut self.said, true) {
                    tracing::error!(%error, "the request log cannot be written");
                }
            }
        }
        true
    }
}
