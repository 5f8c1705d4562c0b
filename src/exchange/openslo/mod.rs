//! OpenSLO v1, both ways. Where the two languages differ, what is lost is told.

mod export;
mod import;

pub use export::export;
pub use import::import;

/// What OpenSLO has no word for, in annotations of ours.
const SHORT_WINDOW: &str = "backburn/short-window";
const DIALECT: &str = "backburn/dialect";
const TIER: &str = "backburn/tier";
