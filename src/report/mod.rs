//! A drill for people: the [`View`] of it (plain data, also the API's `status`), the block that a
//! terminal shows, the line for pipes, and the closing summary. Everything but [`Live`], which
//! fills a view from what runs, is text in, text out.

pub mod budgets;
mod faults;
mod figures;
pub mod go_on;
mod health;
mod known;
pub mod line;
pub mod live;
pub mod meter;
mod recorded;
pub mod rehearsal;
mod rest;
pub mod summary;
mod told;
pub mod view;
pub mod words;

pub use go_on::{GoOn, go_on};
pub use known::Known;
pub use line::Canvas;
pub use live::Live;
pub use view::View;

#[cfg(test)]
mod damaged_tests;
