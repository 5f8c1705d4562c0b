//! The composition root: plan → bind → serve → drain. The only file that names every room.

mod files;
mod running;
mod start;

pub use files::{Instance, write_by_rename};
pub use running::Running;
pub use start::{Options, StartError, start};
