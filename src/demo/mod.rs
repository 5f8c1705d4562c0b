//! The sample shop and the load generator.

pub mod client;
pub mod load;
pub mod shop;
pub mod tally;
