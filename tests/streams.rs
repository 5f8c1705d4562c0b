//! HTTP/2, row by row from tests/corpus/h2.toml: what is malformed reaches no service, and what is
//! not gets through.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::gateway::{OK, SLO, bytes, events};
use crate::h2::{END_HEADERS, END_STREAM, H2, HEADERS, PSEUDO, fields, frame, is_served};
use crate::recorder::{Recorder, Seen};
use crate::support::{Program, proxy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

type Field = (String, String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    more: Vec<Field>,
    fields: Option<Vec<Field>>,
    #[serde(default)]
    frames: Vec<Raw>,
    verdict: String,
    error: Option<String>,
    #[serde(default)]
    upstream: usize,
    #[serde(default)]
    partial: bool,
    excluded: Option<String>,
    #[serde(default)]
    sees: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: String,
    flags: u8,
    on: u32,
    text: Option<String>,
    fields: Option<Vec<Field>>,
}

const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

impl Raw {
    fn bytes(&self) -> Vec<u8> {
        let known = KINDS.iter().position(|kind| *kind == self.kind);
        let kind = known.map_or_else(|| self.kind.parse().unwrap(), |kind| kind as u8);
        let payload = match (&self.text, &self.fields) {
            (Some(text), None) => bytes(text),
            (None, Some(pairs)) => fields(pairs),
            (None, None) => fields(&PSEUDO),
            (Some(_), Some(_)) => panic!("either, not both"),
        };
        frame(kind, self.flags, self.on, &payload)
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        if !self.frames.is_empty() {
            return self.frames.iter().flat_map(Raw::bytes).collect();
        }
        let owned = |(name, value): &(&str, &str)| {
            let value = self.set.get(*name).map_or(*value, String::as_str);
            ((*name).to_owned(), value.to_owned())
        };
        let mut all = self.fields.clone().unwrap_or_else(|| PSEUDO.iter().map(owned).collect());
        all.extend(self.more.iter().cloned());
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
    }
}

fn check(case: &Case, proxy: &Program, upstream: &Recorder) -> Result<(), String> {
    let refused = |reason: &Option<String>| {
        let label = reason.as_ref().map(|reason| format!("reason=\"{reason}\""));
        label.map_or(0, |label| proxy.metric("backburn_refused_total", &[&label]))
    };
    let left_out = |reason: &Option<String>| {
        let label = reason.as_ref().map(|reason| format!("reason=\"{reason}\""));
        let label = label.unwrap_or_default();
        proxy.metric("backburn_slo_excluded_events_total", &[&label])
    };
    let (before, refused_before) = (events(proxy).0, refused(&case.error));
    let (all_before, of_reason) = (left_out(&None), left_out(&case.excluded));
    let mut h2 = H2::open(proxy, &[]);
    h2.send(&case.bytes());
    let verdict = h2.verdict();
    drop(h2);
    if verdict != case.verdict {
        return Err(verdict);
    }
    proxy.until(&case.id, |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    let seen = upstream.take();
    let (whole, partial): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| seen.whole);
    if whole.len() != case.upstream || (!case.partial && !partial.is_empty()) {
        return Err(format!("the service has seen {whole:?} and {partial:?}"));
    }
    let counted = (events(proxy).0 - before, refused(&case.error) - refused_before);
    if counted != (case.upstream, u64::from(case.error.is_some())) {
        return Err(format!("events and refusals: {counted:?}"));
    }
    let more = (left_out(&None) - all_before, left_out(&case.excluded) - of_reason);
    let one = u64::from(case.excluded.is_some());
    if more != (one, one) {
        let (_, text) = events(proxy);
        return Err(format!("left out: {more:?}, in all {text}"));
    }
    let all: String = whole.iter().map(Seen::text).collect();
    if let Some(piece) = case.sees.iter().find(|piece| !all.contains(*piece)) {
        return Err(format!("no {piece:?} in {all:?}"));
    }
    if let Some(piece) = case.lacks.iter().find(|piece| all.contains(*piece)) {
        return Err(format!("{piece:?} in {all:?}"));
    }
    is_served(proxy);
    proxy.until("over", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    upstream.take();
    Ok(())
}

#[test]
fn the_corpus() {
    let upstream = Recorder::start(OK);
    let proxy = proxy(SLO, &upstream.url, &[]);
    let mut cases = toml::from_str::<Corpus>(include_str!("corpus/h2.toml")).unwrap().case;
    assert!(cases.len() > 100);
    // The beginning of a request that was cut may be told after its row: nobody else's come later.
    cases.sort_by_key(|case| case.partial);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.id, check(case, &proxy, &upstream).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
