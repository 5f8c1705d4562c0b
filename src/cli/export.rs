//! `backburn export`.

use clap::Subcommand;

use super::output;

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// The scenario language as JSON Schema, for editors (`#:schema FILE` in the first line).
    JsonSchema,
    /// The scenario language as a reference page in Markdown.
    Reference,
}

pub(super) fn export(what: &Export) -> u8 {
    match what {
        Export::JsonSchema => output::data(&format!("{:#}\n", crate::scenario::json_schema())),
        Export::Reference => {
            output::data(&crate::document::reference(&crate::scenario::ROOT, crate::fault::page));
        }
    }
    0
}
