//! Client connections that are open, by worker and by what is spoken on them. A worker's counts lie
//! on cache lines of their own, and change with a connection, never with a request.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Nothing yet: it has not said enough, or its TLS handshake is under way.
    Unknown,
    Http1,
    H2,
    /// It was upgraded, to a WebSocket for example.
    Tunnel,
}

impl Spoken {
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Http1, Self::H2, Self::Tunnel];

    /// As the metric has it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http1",
            Self::H2 => "h2",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Those of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Open([AtomicUsize; 4]);

impl Open {
    pub(super) fn come(&self, speaks: Spoken) {
        self.0[speaks as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn go(&self, speaks: Spoken) {
        self.0[speaks as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are, of one kind.
    pub fn count(&self, speaks: Spoken) -> usize {
        self.0[speaks as usize].load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn all(&self) -> usize {
        Spoken::ALL.into_iter().map(|speaks| self.count(speaks)).sum()
    }
}
