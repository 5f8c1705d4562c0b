//! The keys of the language, as data: the one source for reader, hints, schema and reference.

use crate::document::{Key, TableKeys, Value};
use crate::fault;

const COUNT: Value = Value::Integer { min: 1, max: i64::MAX };
const NAMES: Value = Value::List(&Value::Text);

/// A whole scenario.
pub static ROOT: TableKeys = TableKeys {
    name: "",
    doc: "One drill: what is proxied, what goes wrong, and what is promised.",
    keys: &[
        Key::new("name", Value::Text, "What the drill is called.").default("the file's name"),
        Key::new("hypothesis", Value::Text, "What should still hold while it runs."),
        Key::new(
            "seed",
            Value::Integer { min: 0, max: i64::MAX },
            "The same seed, the same draws.",
        )
        .default("random, and printed"),
        Key::new("safety", Value::Table(&SAFETY), "What no drill may exceed."),
        Key::new(
            "sampling",
            Value::Table(&SAMPLING),
            "Which requests are written down one by one.",
        ),
        Key::new("proxy", Value::Table(&super::proxy::PROXY), "The proxy itself."),
        Key::new("services", Value::Named(&SERVICE), "What is proxied."),
        Key::new("routes", Value::Named(&ROUTE), "Requests told apart."),
        Key::new("faults", Value::Named(&FAULT), "What goes wrong."),
        Key::new("slos", Value::Named(&super::slo::SLO), "What is promised."),
        Key::new("tiers", Value::Named(&super::slo::TIER), "What SLOs have in common."),
        Key::new("composites", Value::Named(&super::slo::COMPOSITE), "Several SLOs as one."),
        Key::new("phases", Value::Tables(&PHASE), "Stretches of the drill, one after the other.")
            .default("one, with every enabled fault, until `max_drill`"),
    ],
    short: None,
};

static SAFETY: TableKeys = TableKeys {
    name: "safety",
    doc: "What no drill may exceed. Read at start only.",
    keys: &[
        Key::new("environments", NAMES, "Where faults may act (`--env`).").default("any"),
        Key::new("max_drill", Value::DurationOrNone, "Injection ends after this.")
            .default("\"4h\""),
        Key::new("max_faulted", Value::Share, "Of any route's requests.").default("\"100%\""),
        Key::new("never", NAMES, "Upstream hosts, addresses or networks never faulted."),
        Key::new("fault_health", Value::Bool, "Whether health checks can be hit.").default("false"),
        Key::new(
            "widening",
            Value::Word(&["apply", "hold"]),
            "`hold`: a reload that would do more harm waits for `reload --accept`.",
        )
        .default("\"apply\""),
    ],
    short: None,
};

static SAMPLING: TableKeys = TableKeys {
    name: "sampling",
    doc: "The request log: all that were bad for some SLO, all that a fault struck, and some of the \
          rest, as lines of JSON. Counts never come from it.",
    keys: &[
        Key::new("file", Value::Text, "Where they are added.").required(),
        Key::new("rest", Value::Share, "Of the good ones that no fault struck.").default("\"1%\""),
        Key::new("max_size", Value::Bytes, "The file grows no larger.").default("\"1GiB\""),
    ],
    short: None,
};

static SERVICE: TableKeys = TableKeys {
    name: "services.NAME",
    doc: "Something that answers requests.",
    keys: &[
        Key::new("url", Value::Url, "Where it is.").required(),
        Key::new("listen", Value::Address, "A port of its own for requests to it."),
        super::service::PROTOCOL,
        Key::new("tls", Value::Table(&super::tls::SERVICE), "For `https://`."),
        Key::new("host", Value::Word(&["keep", "upstream"]), "Which `Host` it sees.")
            .default("\"keep\", `upstream` for `https://`"),
        Key::new("tier", Value::Name, "`gold`, `silver`, `bronze`."),
        Key::new("title", Value::Text, "What people call it."),
    ],
    short: None,
};

static ROUTE: TableKeys = TableKeys {
    name: "routes.NAME",
    doc: "Requests that belong together. The most specific match wins.",
    keys: &[
        Key::new("path", Value::Text, "`{name}`: one segment; `{*rest}`: the rest.")
            .default("every path"),
        Key::new("methods", NAMES, "As in `[\"POST\"]`.").default("any"),
        Key::new("host", Value::Text, "The `Host` asked for; `*.shop.example` for any below."),
        Key::new(
            "headers",
            MATCHES,
            "What header fields must say, as in `{ x-tenant = \"gold\" }`.",
        ),
        Key::new("query", MATCHES, "What query parameters must say."),
        Key::new("service", Value::Name, "Where it goes.").default("the only service"),
        Key::new(
            "operation",
            Value::Selector,
            "What two attempts of one operation have in common.",
        ),
        Key::new("protected", Value::Bool, "No fault may ever touch it.").default("false"),
        Key::new("tier", Value::Name, "`gold`, `silver`, `bronze`."),
    ],
    short: None,
};

/// How a header field or a query parameter is told.
pub(super) const MATCHES: Value = Value::Each(&Value::OneOf(&MATCH));

static MATCH: TableKeys = TableKeys {
    name: "headers.NAME",
    doc: "What a header field or a query parameter must say. A text stands for itself.",
    keys: &[
        Key::new("regex", Value::Text, "Some part of it matches; `^…$` for all of it."),
        Key::new("present", Value::Bool, "It is there at all; `false`: it is not."),
    ],
    short: Some(Value::Text),
};

static FAULT: TableKeys = TableKeys {
    name: "faults.NAME",
    doc: "Who is hit, and by what. One of `probability`, `first`, `every`; none means all.",
    keys: &FAULT_KEYS,
    short: None,
};

/// What says where a fault is and stays the same all through a drill.
const FIXED: [Key; 7] = [
    Key::new("routes", NAMES, "Route names, or `[\"*\"]`: every unprotected route.").required(),
    Key::new("only", Value::Table(&ONLY), "Of those requests, only these."),
    Key::new("group", Value::Name, "Members of a group exclude each other."),
    Key::new(
        "cohort",
        Value::Selector,
        "Makes `probability` a share of callers: always in or out.",
    ),
    Key::new(
        "spread",
        Value::Word(&["random", "even"]),
        "`even`: of any k requests in a row, k times `probability` are hit, ± less than 1.",
    )
    .default("\"random\""),
    Key::new("per", Value::Selector, "Counts `first`, `every` and `limit` for each caller."),
    Key::new("optional", Value::Bool, "It need not take effect for a verdict.").default("false"),
];

/// What a phase or a live override may change.
const ADJUSTABLE: [Key; 8] = [
    Key::new("probability", Value::Share, "The share of requests that is hit."),
    Key::new("first", COUNT, "The first so many are hit."),
    Key::new("every", COUNT, "3: the 3rd, 6th, … is hit."),
    Key::new("limit", COUNT, "After so many hits the fault is off."),
    Key::new(
        "max_active",
        Value::Integer { min: 1, max: 1_000_000 },
        "At most so many requests are hit at the same time.",
    ),
    Key::new("bursts", Value::Table(&BURSTS), "It comes and goes: acts in bursts only."),
    Key::new("enabled", Value::Bool, "Whether it is on at all.").default("true"),
    Key::new("mark", Value::Bool, "Whether answers carry `x-backburn-fault`.").default("true"),
];

const INJECT: Key = Key::new("inject", Value::SomeOf(&fault::INJECT), "What happens.");

static FAULT_KEYS: [Key; FIXED.len() + ADJUSTABLE.len() + 1] = {
    let mut keys = [INJECT.required(); FIXED.len() + ADJUSTABLE.len() + 1];
    let mut i = 0;
    while i < FIXED.len() {
        keys[i] = FIXED[i];
        i += 1;
    }
    while i < FIXED.len() + ADJUSTABLE.len() {
        keys[i] = ADJUSTABLE[i - FIXED.len()];
        i += 1;
    }
    keys
};

static ONLY: TableKeys = TableKeys {
    name: "faults.NAME.only",
    doc: "Which requests of its routes a fault can hit; all that is said must hold.",
    keys: &CONDITIONS,
    short: None,
};

/// What may be asked of a request.
pub(super) const CONDITIONS: [Key; 4] = [
    Key::new("methods", NAMES, "As in `[\"POST\"]`."),
    Key::new("headers", MATCHES, "What header fields must say."),
    Key::new("query", MATCHES, "What query parameters must say."),
    Key::new("clients", NAMES, "Addresses or networks, as in `[\"10.0.0.0/8\"]`."),
];

static BURSTS: TableKeys = TableKeys {
    name: "faults.NAME.bursts",
    doc: "Bursts and the calm between them, each as long as chance has it; the same seed, the same \
          bursts. Requests in a calm are not eligible.",
    keys: &[
        Key::new("on", Value::Duration, "How long a burst lasts on average.").required(),
        Key::new("off", Value::Duration, "How long a calm lasts on average.").required(),
    ],
    short: None,
};

static PHASE: TableKeys = TableKeys {
    name: "phases",
    doc: "A stretch of the drill, with faults and counts of its own. After the last one nothing \
          is injected, and recording goes on.",
    keys: &[
        Key::new("name", Value::Name, "What the phase is called.").required(),
        Key::new("for", Value::Duration, "How long it lasts."),
        Key::new(
            "until",
            Value::Word(&["next"]),
            "A facilitator ends it, or `for`, if it is first.",
        ),
        Key::new("faults", NAMES, "Which faults are active, or `[\"*\"]`.").default("none"),
        Key::new("ramp", Value::Duration, "Probabilities climb from 0 over this."),
        Key::new("set", Value::Named(&PHASE_FAULT), "What is different about a fault meanwhile."),
    ],
    short: None,
};

static PHASE_FAULT: TableKeys = TableKeys {
    name: "phases.set.FAULT",
    doc: "Keys of the fault as they are while the phase runs: the same fault, the same draws.",
    keys: &PHASE_FAULT_KEYS,
    short: None,
};

static PHASE_FAULT_KEYS: [Key; ADJUSTABLE.len() + 1] = {
    let mut keys = [INJECT; ADJUSTABLE.len() + 1];
    let mut i = 0;
    while i < ADJUSTABLE.len() {
        keys[i] = ADJUSTABLE[i];
        i += 1;
    }
    keys
};

/// A fault's keys, for what is put together from its own table and a phase's or an override's.
pub(super) static WHOLE_FAULT: &TableKeys = &FAULT;
/// The keys of a fault that a phase or a live override may change.
pub(super) static ADJUSTED_FAULT: &TableKeys = &PHASE_FAULT;
