//! The sample shop and the load generator.

pub mod http;
pub mod load;
pub mod shop;
