//! `backburn export`.

use clap::Subcommand;

use super::output;

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// The scenario language as JSON Schema, for editors (`#:schema FILE` in the first line).
    JsonSchema,
}

pub(super) fn export(what: &Export) -> u8 {
    match what {
        Export::JsonSchema => output::data(&format!("{:#}\n", crate::scenario::json_schema())),
    }
    0
}
