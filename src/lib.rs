//! backburn: a chaos-injection reverse proxy that counts every request as an SLI event and tells
//! what it injected from what the service did itself.
//!
//! The rooms, from the ground up; a room may use only rooms above it in this list
//! (`tests/house.rs` holds the code to it).

pub mod clock;
pub mod diagnostic;
pub mod dice;
pub mod units;

// The control plane: API and metrics.
pub mod admin;
// Composition root.
pub mod app;
// Pure maths on counts: burn rate, alerts, forecasts, intervals.
pub mod budget;
// One file a verb.
pub mod cli;
// How long something takes: durations and distributions, drawn from dice.
pub mod delay;
// The sample shop and the load generator.
pub mod demo;
// The collecting reader over TOML's spanned tree, and the key tables that feed it.
pub mod document;
// The drill's state machine, and what is armed right now.
pub mod drill;
// Other tools' files: one file a format.
pub mod exchange;
// Fault kinds: each decides, none acts.
pub mod fault;
// Everything that depends on the operating system.
pub mod os;
// What runs: the scenario compiled, immutable.
pub mod plan;
// The data path.
pub mod proxy;
// A drill for people: the view of it, the live meter, the summary.
pub mod report;
// The request log: single requests, and the draws that decided.
pub mod requests;
// What the user wrote.
pub mod scenario;
// Counting: one outcome a request, judged per SLO.
pub mod sli;
