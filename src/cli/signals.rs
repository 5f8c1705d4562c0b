//! The signals a verb waits for. Only those that mean something to it are caught: whatever is caught
//! no longer does what it does by default.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks a process to end.
pub(super) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Must be called inside the runtime.
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until the end is asked for.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The signals of a running instance, caught before anything listens: SIGUSR1's default action
/// would kill the process it should only halt.
pub(super) struct Signals {
    ending: Ending,
    halt: Signal,
    /// `None`: there is nothing to read again, and SIGHUP ends the process.
    reload: Option<Signal>,
}

/// What a running instance is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Halt,
    Reload,
    End,
}

impl Signals {
    /// Must be called inside the runtime. `files`: the scenario is the user's own, and SIGHUP
    /// reads it again.
    pub(super) fn catch(files: bool) -> std::io::Result<Self> {
        Ok(Self {
            ending: Ending::catch()?,
            halt: signal(SignalKind::user_defined1())?,
            reload: files.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) -> Told {
        let Self { ending, halt, reload } = self;
        let reload = async {
            match reload {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ending.asked() => Told::End,
            _ = halt.recv() => Told::Halt,
            _ = reload => Told::Reload,
        }
    }

    /// Waits until the end is asked for; the others mean nothing any more.
    pub(super) async fn end(&mut self) {
        while self.next().await != Told::End {}
    }
}
