//! The integration tests: one binary, real sockets, the built program.

mod bad;
mod clients;
mod drill;
mod exact;
mod house;
mod support;
