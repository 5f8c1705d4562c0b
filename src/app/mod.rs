//! The composition root: plan → bind → serve → drain. The only file that names every room.

mod directories;
mod files;
mod reload;
mod running;
mod source;
mod start;
mod watch;
#[cfg(test)]
mod watch_tests;

pub use files::{Instance, not_ready, open_data, write_by_rename};
pub use running::Running;
pub use source::{Compiled, Fingerprint, Source, Start, Texts};
pub use start::{Options, StartError, start};
pub use watch::{Sight, Watcher};
