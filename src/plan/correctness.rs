//! `sli.correctness` → checks.

use std::sync::Arc;

use super::check::{Check, MediaType, Pointer};
use super::patterns::Patterns;
use super::routes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{CorrectnessSpec, PointerSpec};
use crate::units::Bytes;

/// What is found of an answer is one bit for each.
const MOST: usize = 64;
const READ_UP_TO: u64 = 64 << 10;
/// It is kept in memory for each answer under way, and judged in one go.
const READ_AT_MOST: u64 = 1 << 20;

/// Those of a plan, each once.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Arc<Check>>);

impl Checks {
    /// The one that asks this; `None`: something is wrong with it, which has been noted.
    pub(super) fn compile(
        &mut self,
        spec: &CorrectnessSpec,
        patterns: &Patterns,
        notes: &mut Diagnostics,
    ) -> Option<Arc<Check>> {
        let check = check(spec, patterns, notes)?;
        if let Some(known) = self.0.iter().find(|known| ***known == check) {
            return Some(Arc::clone(known));
        }
        if self.0.len() == MOST {
            let message = format!("more than {MOST} different `correctness`");
            notes.push(Diagnostic::error(spec.at, message));
            return None;
        }
        let check = Arc::new(Check { place: self.0.len() as u8, ..check });
        self.0.push(Arc::clone(&check));
        Some(check)
    }
}

fn check(spec: &CorrectnessSpec, patterns: &Patterns, notes: &mut Diagnostics) -> Option<Check> {
    let before = notes.len();
    let header = spec.header.iter().filter_map(|field| {
        let name = routes::field_name(field, notes);
        Some((name?, routes::test(field, patterns)?))
    });
    let header = header.collect();
    let content_type = spec.content_type.as_ref().and_then(|text| {
        let made = MediaType::new(&text.value);
        let noted = made.map_err(|why| {
            notes.push(
                Diagnostic::error(text.at, why).hint("for example `application/json`, or `text/*`"),
            );
        });
        noted.ok()
    });
    let json = spec.json_pointer.as_ref().and_then(|PointerSpec { pointer, equals }| {
        let noted = Pointer::new(&pointer.value, equals.clone()).map_err(|why| {
            let hint = "for example `/items/0/id`; the empty one is the whole document";
            notes.push(Diagnostic::error(pointer.at, why).hint(hint));
        });
        noted.ok()
    });
    if !spec.asks {
        notes.push(
            Diagnostic::error(spec.at, "`correctness` asks nothing of an answer")
                .hint("give it `header`, `content_type`, `json_pointer` or `body_regex`"),
        );
    }
    let read_up_to = spec.read_up_to.as_ref();
    if let Some(size) = read_up_to {
        let (least, most) = (Bytes(1), Bytes(READ_AT_MOST));
        let wrong = if !spec.reads_body {
            Some(("no body is read here", "`json_pointer` and `body_regex` read it".to_owned()))
        } else if (least..=most).contains(&size.value) {
            None
        } else {
            Some(("that much of a body is not read", format!("from {least} to {most}")))
        };
        if let Some((message, hint)) = wrong {
            notes.push(Diagnostic::error(size.at, message).hint(hint));
        }
    }
    let body = match &spec.body_regex {
        // Where it is none, that has been noted.
        Some(text) => Some(patterns.get(&text.value)?),
        None => None,
    };
    (notes.len() == before).then_some(Check {
        place: 0,
        header,
        content_type,
        json,
        body,
        read_up_to: read_up_to.map_or(READ_UP_TO, |size| size.value.0) as usize,
    })
}
