//! What is promised: objectives, tiers and composites, as the user wrote them.

use std::time::Duration;

use super::correctness::{self, CorrectnessSpec};
use super::keys::CONDITIONS;
use super::read::{only, statuses};
use super::{OnlySpec, StatusPattern};
use crate::budget::{Dialect, Empty, Mode};
use crate::diagnostic::{Located, Place};
use crate::document::{Key, Table, TableKeys, Value};
use crate::fault::grpc;
use crate::units::{Rate, Share, Spent};

#[derive(Debug, Clone)]
pub struct SloSpec {
    pub name: Located<String>,
    /// Route names, or `["*"]`.
    pub routes: Vec<Located<String>>,
    pub service: Option<Located<String>>,
    /// Each one of `INCLUDE`.
    pub include: Vec<Located<&'static str>>,
    /// Where it stands, and what it takes.
    pub exclude: Option<(Place, OnlySpec)>,
    pub objective: Option<Located<Share>>,
    /// Where it was written, also when it could not be read.
    pub objective_at: Option<Place>,
    pub window: Option<Located<Duration>>,
    pub tier: Option<Located<String>>,
    pub sli: Option<Located<SliSpec>>,
    pub alerts: Option<AlertsSpec>,
    pub production: Option<ProductionSpec>,
    /// `budgeting = "timeslices"`, where it stands.
    pub timeslices: Option<Place>,
    pub slice: Option<Located<Duration>>,
    pub slice_target: Option<Located<Share>>,
    pub empty_slice: Option<Located<Empty>>,
    pub allowance: Option<Located<Share>>,
}

#[derive(Debug, Clone)]
pub enum SliSpec {
    Availability {
        /// `"5xx"` or `"429"`; `None`: the default list.
        bad_status: Option<Vec<Located<StatusPattern>>>,
        /// By number; `None`: the default list.
        bad_grpc_status: Option<Vec<Located<u8>>>,
        exclude_status: Vec<Located<StatusPattern>>,
        /// A caller that leaves later than this is a bad event; default 1 s.
        abandoned_after: Option<Located<Duration>>,
        per: Option<Located<Per>>,
    },
    Latency {
        threshold: Located<Duration>,
        of: Option<Located<Population>>,
        clock: Option<Located<Clock>>,
    },
    Throughput {
        at_least: Located<Rate>,
        slice: Option<Located<Duration>>,
    },
    Correctness(CorrectnessSpec),
}

/// What the events of an availability SLI are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Per {
    /// Every request.
    #[default]
    Attempt,
    /// What their routes' `operation` says are attempts at one and the same.
    Operation,
}

/// Which answers a latency SLI counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Population {
    /// Only good answers: a fast 500 must not improve latency.
    #[default]
    Good,
    All,
}

/// When a latency SLI stops its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    #[default]
    LastByte,
    FirstByte,
}

/// `alerts`: what production's alerts are.
#[derive(Debug, Clone)]
pub struct AlertsSpec {
    /// Where it stands.
    pub at: Place,
    pub dialect: Option<Located<Dialect>>,
    pub min_bad: Option<Located<u64>>,
    pub evaluation_interval: Option<Located<Duration>>,
    pub tiers: Vec<AlertTierSpec>,
}

/// `alerts.tiers.NAME`.
#[derive(Debug, Clone)]
pub struct AlertTierSpec {
    pub name: Located<String>,
    /// `severity = "ticket"`.
    pub ticket: bool,
    pub long: Option<Located<Duration>>,
    pub short: Option<Located<Duration>>,
    /// Share of the budget gone within `long`.
    pub budget: Option<Located<Share>>,
    pub hold: Option<Located<Duration>>,
}

/// `production`: what the budget is like where it counts.
#[derive(Debug, Clone)]
pub struct ProductionSpec {
    pub rate: Option<Located<Rate>>,
    /// More than all of it, where it is in the red already.
    pub consumed: Option<Located<Spent>>,
    pub error_rate: Option<Located<Share>>,
}

/// `[tiers.NAME]`.
#[derive(Debug, Clone)]
pub struct TierSpec {
    pub name: Located<String>,
    pub objective: Option<Located<Share>>,
    pub allowance: Option<Located<Share>>,
}

/// `[composites.NAME]`.
#[derive(Debug, Clone)]
pub struct CompositeSpec {
    pub name: Located<String>,
    pub of: Vec<Located<String>>,
    pub mode: Option<Located<Mode>>,
    pub weights: Vec<(Located<String>, Located<f64>)>,
    pub objective: Option<Located<Share>>,
}

pub(super) fn slo(name: Located<String>, table: &mut Table<'_, '_>) -> SloSpec {
    SloSpec {
        name,
        routes: table.text_list("routes"),
        service: table.text("service"),
        include: include(table),
        exclude: table.table("exclude").map(|table| (table.at, only(table))),
        objective_at: table.node("objective").map(|node| node.at()),
        objective: table.share("objective"),
        window: table.duration("window"),
        tier: table.text("tier"),
        sli: sli(table),
        alerts: alerts(table),
        production: table.table("production").map(|mut table| ProductionSpec {
            rate: table.rate("rate"),
            consumed: table.spent("consumed"),
            error_rate: table.share("error_rate"),
        }),
        timeslices: timeslices(table),
        slice: table.duration("slice"),
        slice_target: table.share("slice_target"),
        empty_slice: table.word("empty_slice").map(|Located { value, at }| Located {
            value: match value {
                "good" => Empty::Good,
                "bad" => Empty::Bad,
                _ => Empty::Skip,
            },
            at,
        }),
        allowance: table.share("allowance"),
    }
}

fn include(table: &mut Table<'_, '_>) -> Vec<Located<&'static str>> {
    let (_, nodes) = table.list("include").unwrap_or_default();
    nodes.iter().filter_map(|node| node.word(table.notes)).collect()
}

/// Also where it says something else, which has been noted: there are keys that go with it.
fn timeslices(table: &mut Table<'_, '_>) -> Option<Place> {
    let node = table.node("budgeting")?;
    let occurrences = node.word(table.notes).is_some_and(|word| word.value == "occurrences");
    (!occurrences).then(|| node.at())
}

fn sli(table: &mut Table<'_, '_>) -> Option<Located<SliSpec>> {
    let node = table.node("sli")?;
    let variants = node.variants(table.notes);
    let mut read = None;
    for (name, node) in variants {
        let at = node.key_at;
        let Some(mut table) = node.table(table.notes) else { continue };
        let value = match name {
            "availability" => Some(availability(&mut table)),
            "throughput" => table
                .rate("at_least")
                .map(|at_least| SliSpec::Throughput { at_least, slice: table.duration("slice") }),
            "correctness" => Some(SliSpec::Correctness(correctness::read(at, &mut table))),
            _ => latency(&mut table),
        };
        read = read.or(value.map(|value| Located { value, at }));
    }
    read
}

fn availability(table: &mut Table<'_, '_>) -> SliSpec {
    let bad_status = table.list("bad_status").map(|(_, nodes)| statuses(&nodes, table.notes));
    let bad_grpc_status = table.list("bad_grpc_status");
    let bad_grpc_status = bad_grpc_status
        .map(|(_, nodes)| nodes.iter().filter_map(|node| node.coded(table.notes)).collect());
    let excluded = table.list("exclude_status");
    SliSpec::Availability {
        bad_status,
        bad_grpc_status,
        exclude_status: excluded.map_or_else(Vec::new, |(_, nodes)| statuses(&nodes, table.notes)),
        abandoned_after: table.duration("abandoned_after"),
        per: table.word("per").map(|Located { value, at }| Located {
            value: if value == "operation" { Per::Operation } else { Per::Attempt },
            at,
        }),
    }
}

fn latency(table: &mut Table<'_, '_>) -> Option<SliSpec> {
    let threshold = table.duration("threshold");
    let of = table.word("of").map(|Located { value, at }| Located {
        value: if value == "all" { Population::All } else { Population::Good },
        at,
    });
    let clock = table.word("clock").map(|Located { value, at }| Located {
        value: if value == "first_byte" { Clock::FirstByte } else { Clock::LastByte },
        at,
    });
    Some(SliSpec::Latency { threshold: threshold?, of, clock })
}

fn dialect(word: Located<&'static str>) -> Option<Located<Dialect>> {
    Some(Located { value: Dialect::named(word.value)?, at: word.at })
}

fn alerts(table: &mut Table<'_, '_>) -> Option<AlertsSpec> {
    let node = table.node("alerts")?;
    let (at, none) = (node.at(), Vec::new());
    if !node.is_table() {
        let dialect = node.word(table.notes).and_then(dialect);
        let (min_bad, evaluation_interval) = (None, None);
        return Some(AlertsSpec { at, dialect, min_bad, evaluation_interval, tiers: none });
    }
    let mut table = node.table(table.notes)?;
    let (dialect, min_bad) = (table.word("dialect").and_then(dialect), table.integer("min_bad"));
    let evaluation_interval = table.duration("evaluation_interval");
    let named = table.named("tiers");
    let notes = &mut *table.notes;
    let tiers = named.into_iter().filter_map(|(name, node)| {
        let mut table = node.table(notes)?;
        Some(AlertTierSpec {
            name,
            ticket: table.word("severity").is_some_and(|word| word.value == "ticket"),
            long: table.duration("long"),
            short: table.duration("short"),
            budget: table.share("budget"),
            hold: table.duration("for"),
        })
    });
    let tiers = tiers.collect();
    Some(AlertsSpec { at, dialect, min_bad, evaluation_interval, tiers })
}

pub(super) fn tier(name: Located<String>, table: &mut Table<'_, '_>) -> TierSpec {
    TierSpec { name, objective: table.share("objective"), allowance: table.share("allowance") }
}

pub(super) fn composite(name: Located<String>, table: &mut Table<'_, '_>) -> CompositeSpec {
    let weights = table.each("weights");
    let notes = &mut *table.notes;
    let weights = weights.into_iter().filter_map(|(name, node)| Some((name, node.number(notes)?)));
    let weights = weights.collect();
    CompositeSpec {
        name,
        of: table.text_list("of"),
        mode: table
            .word("mode")
            .and_then(|Located { value, at }| Some(Located { value: Mode::named(value)?, at })),
        weights,
        objective: table.share("objective"),
    }
}

const NAMES: Value = Value::List(&Value::Text);

/// What `include` takes.
const INCLUDE: [&str; 2] = ["health_checks", "options"];

pub(super) static SLO: TableKeys = TableKeys {
    name: "slos.NAME",
    doc: "What is promised, of which requests.",
    keys: &[
        Key::new("routes", NAMES, "Route names, or `[\"*\"]`."),
        Key::new("service", Value::Name, "Instead of `routes`: all of a service's."),
        Key::new(
            "include",
            Value::List(&Value::Word(&INCLUDE)),
            "What is no user's request and counts all the same.",
        )
        .default("[]"),
        Key::new("exclude", Value::Table(&EXCLUDE), "Requests that do not count."),
        Key::new("objective", Value::Share, "The share that has to be good.").default("the tier's"),
        Key::new("window", Value::Duration, "Over how long.").default("\"28d\""),
        Key::new("tier", Value::Name, "`gold`, `silver`, `bronze`, or one of `[tiers]`."),
        Key::new("sli", Value::OneOf(&SLI), "What good means.").required(),
        Key::new("alerts", Value::Table(&ALERTS), "The alerts that production has on it.")
            .default("\"sloth-28d\"; \"sloth-30d\" for `window = \"30d\"`"),
        Key::new("production", Value::Table(&PRODUCTION), "What is known of it in production."),
        Key::new(
            "allowance",
            Value::Share,
            "The share of the budget a drill may burn: at it, the drill is halted.",
        )
        .default("the tier's, else any"),
        Key::new(
            "budgeting",
            Value::Word(&["occurrences", "timeslices"]),
            "What is counted: every event, or slices of time that are good or bad as a whole.",
        )
        .default("\"occurrences\""),
        Key::new("slice", Value::Duration, "How long a timeslice is.").default("\"1m\""),
        Key::new("slice_target", Value::Share, "The share that has to be good within a timeslice.")
            .default("\"95%\""),
        Key::new(
            "empty_slice",
            Value::Word(&["good", "skip", "bad"]),
            "What a slice without requests is.",
        )
        .default("\"skip\""),
    ],
    short: None,
};

static EXCLUDE: TableKeys = TableKeys {
    name: "slos.NAME.exclude",
    doc: "Which requests of its routes an SLO leaves out: those for which all that is said holds.",
    keys: &CONDITIONS,
    short: None,
};

static SLI: TableKeys = TableKeys {
    name: "slos.NAME.sli",
    doc: "What good means.",
    keys: &[
        Key::new("availability", Value::Table(&AVAILABILITY), "An answer that is no failure."),
        Key::new("latency", Value::Table(&LATENCY), "An answer in time."),
        Key::new("throughput", Value::Table(&THROUGHPUT), "Enough good answers in a slice."),
        Key::new(
            "correctness",
            Value::Table(&correctness::CORRECTNESS),
            "An answer that says what it should.",
        ),
    ],
    short: None,
};

static AVAILABILITY: TableKeys = TableKeys {
    name: "slos.NAME.sli.availability",
    doc: "Good is an answer that is no failure.",
    keys: &[
        Key::new("bad_status", Value::List(&Value::Status), "What counts as a failure.")
            .default("[\"5xx\", \"408\", \"429\"]"),
        Key::new(
            "bad_grpc_status",
            Value::List(&Value::Coded(grpc::STATUSES)),
            "What counts as a failure of a gRPC call, as its trailers have it.",
        )
        .default(
            "[\"UNKNOWN\", \"DEADLINE_EXCEEDED\", \"RESOURCE_EXHAUSTED\", \"UNIMPLEMENTED\", \
             \"INTERNAL\", \"UNAVAILABLE\", \"DATA_LOSS\"]",
        ),
        Key::new("exclude_status", Value::List(&Value::Status), "What is not counted at all."),
        Key::new(
            "abandoned_after",
            Value::Duration,
            "A caller that leaves later than this is bad.",
        )
        .default("\"1s\""),
        Key::new(
            "per",
            Value::Word(&["attempt", "operation"]),
            "What counts: every request, or the operation, by the last of its attempts.",
        )
        .default("\"attempt\""),
    ],
    short: None,
};

static LATENCY: TableKeys = TableKeys {
    name: "slos.NAME.sli.latency",
    doc: "Good is an answer in time.",
    keys: &[
        Key::new("threshold", Value::Duration, "The longest that is good.").required(),
        Key::new("of", Value::Word(&["good", "all"]), "Which answers count.").default("\"good\""),
        Key::new("clock", Value::Word(&["last_byte", "first_byte"]), "When the watch stops.")
            .default("\"last_byte\""),
    ],
    short: None,
};

static THROUGHPUT: TableKeys = TableKeys {
    name: "slos.NAME.sli.throughput",
    doc: "Good is a slice of time with enough good answers.",
    keys: &[
        Key::new("at_least", Value::Rate, "How many good answers.").required(),
        Key::new("slice", Value::Duration, "How long a slice is.").default("\"10s\""),
    ],
    short: None,
};

static ALERTS: TableKeys = TableKeys {
    name: "slos.NAME.alerts",
    doc: "The alerts that production has on it, to tell when they would have fired. The name of a \
          dialect stands for all of its tiers.",
    keys: &[
        Key::new("dialect", Value::Word(&Dialect::NAMES), "Whose rules; `custom`: `tiers`.")
            .default("\"sloth-28d\"; \"sloth-30d\" for `window = \"30d\"`"),
        Key::new(
            "min_bad",
            Value::Integer { min: 0, max: i64::MAX },
            "Nothing fires before the short window has so many bad events.",
        )
        .default("0"),
        Key::new("evaluation_interval", Value::Duration, "How often production looks.")
            .default("\"1s\""),
        Key::new("tiers", Value::Named(&ALERT_TIER), "Of `dialect = \"custom\"`."),
    ],
    short: Some(Value::Word(&Dialect::NAMES)),
};

static ALERT_TIER: TableKeys = TableKeys {
    name: "slos.NAME.alerts.tiers.TIER",
    doc: "Fires when, over both windows, the budget burns fast enough to lose `budget` of it within \
          the long one.",
    keys: &[
        Key::new("severity", Value::Word(&["page", "ticket"]), "Who is told.").default("\"page\""),
        Key::new("long", Value::Duration, "The window that has to have burned enough.").required(),
        Key::new("short", Value::Duration, "The window that has to be burning still.")
            .default("a twelfth of `long`"),
        Key::new("budget", Value::Share, "The share of the budget gone within `long`.").required(),
        Key::new("for", Value::Duration, "How long that has to hold.").default("\"0s\""),
    ],
    short: None,
};

static PRODUCTION: TableKeys = TableKeys {
    name: "slos.NAME.production",
    doc: "What is known of it in production; without it, budgets are full before the drill, and \
          only scaled to the drill's traffic.",
    keys: &[
        Key::new("rate", Value::Rate, "Its events there: the budget in events (basis `absolute`)."),
        Key::new(
            "consumed",
            Value::Spent,
            "What of the budget was gone before the drill; above 100% where it is overspent.",
        )
        .default("\"0%\""),
        Key::new(
            "error_rate",
            Value::Share,
            "The share of its events that is bad there anyway: what alerts are taken to have seen \
             before the drill.",
        )
        .default("\"0%\""),
    ],
    short: None,
};

pub(super) static TIER: TableKeys = TableKeys {
    name: "tiers.NAME",
    doc: "What SLOs of a tier have in common. `gold` (99.9 %), `silver` (99.5 %) and `bronze` (99 %) \
          are there already, and may say something else.",
    keys: &[
        Key::new("objective", Value::Share, "The share that has to be good."),
        Key::new("allowance", Value::Share, "The share of the budget a drill may burn."),
    ],
    short: None,
};

pub(super) static COMPOSITE: TableKeys = TableKeys {
    name: "composites.NAME",
    doc: "Several SLOs as one.",
    keys: &[
        Key::new("of", NAMES, "SLO names.").required(),
        Key::new(
            "mode",
            Value::Word(&Mode::NAMES),
            "The highest burn rate; a request good for all; the mean by weight; all bad over all \
             allowed.",
        )
        .default("\"worst\""),
        Key::new(
            "weights",
            Value::Each(&Value::Number { min: 0.0, max: 1e9 }),
            "By SLO, for `weighted`.",
        )
        .default("1 each"),
        Key::new("objective", Value::Share, "For `all`.").default("its members', multiplied"),
    ],
    short: None,
};
