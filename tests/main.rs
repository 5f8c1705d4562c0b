//! The integration tests: one binary, real sockets, the built program.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "tests watch the real clock and end at the first surprise"
)]

mod api;
mod bad;
mod budget;
mod clients;
mod conformance;
mod connections;
mod correctness;
mod delays;
mod demo;
mod drill;
mod exact;
mod exports;
mod faults;
mod gates;
mod gateway;
mod h2;
mod house;
mod import;
mod limits;
mod load_faults;
mod memory;
mod meter;
mod operations;
mod others;
mod paged;
mod phases;
mod pool;
mod recorder;
mod reload;
mod replay;
mod scenarios;
mod schema;
mod services;
mod shop;
mod streams;
mod support;
mod terminal;
mod timeouts;
mod tls;
mod tunnels;
mod uploads;
mod upstream;
mod valid;
mod views;
