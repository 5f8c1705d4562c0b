//! The drill: pure state (`state`), what is armed right now (`stage`), what outlives a stage
//! (`counters`), what counts come to second by second (`watch`), and the one handle through which the API, signals, the HALT file, reloads and the
//! clock act on it (`control`).

pub mod bursts;
pub mod control;
pub mod counters;
pub mod reload;
pub mod stage;
pub mod state;
pub mod watch;

pub use control::Control;
pub use stage::Stage;
pub use state::State;
