//! The language's key tables. Faults' own kinds bring theirs.

use crate::document::{Key, TableKeys, Value};
use crate::fault;

pub(super) static ROOT: TableKeys = TableKeys {
    name: "",
    doc: "A drill: what stands where, what is done to it, and what is promised.",
    keys: &[
        Key::new("name", Value::Text, "What the drill is called.").default("drill"),
        Key::new("hypothesis", Value::Text, "What the drill is to show."),
        Key::new(
            "seed",
            Value::Integer { min: 0, max: i64::MAX },
            "The same seed gives the same faults.",
        )
        .default("random"),
        Key::new("safety", Value::Table(&SAFETY), "What must not happen."),
        Key::new("proxy", Value::Table(&PROXY), "The proxy itself."),
        Key::new("services", Value::Named(&SERVICE), "What backburn stands before."),
        Key::new("routes", Value::Named(&ROUTE), "Classes of requests."),
        Key::new("faults", Value::Named(&FAULT), "What is done to which requests."),
        Key::new("slos", Value::Named(&SLO), "What is promised."),
    ],
    short: None,
};

static SAFETY: TableKeys = TableKeys {
    name: "safety",
    doc: "Read at start only.",
    keys: &[
        Key::new(
            "environments",
            Value::List(&Value::Text),
            "Any other --env, or none, passes everything through.",
        ),
        Key::new("max_drill", Value::DurationOrNone, "Injection ends by itself after this long.")
            .default("\"4h\""),
        Key::new(
            "max_faulted",
            Value::Share,
            "The largest share of any route that faults may hit.",
        )
        .default("\"100%\""),
        Key::new(
            "never",
            Value::List(&Value::Text),
            "Upstream hosts or networks that are never faulted.",
        ),
        Key::new("fault_health", Value::Bool, "Health checks may be faulted too.").default("false"),
    ],
    short: None,
};

static PROXY: TableKeys = TableKeys {
    name: "proxy",
    doc: "Read at start only.",
    keys: &[
        Key::new("listen", Value::Address, "Where requests come in.").default("\"127.0.0.1:8900\""),
        Key::new("upstream", Value::Url, "Short form for one service, named `target`."),
        Key::new("workers", Value::Integer { min: 1, max: 1024 }, "Worker threads.")
            .default("one a core"),
        Key::new(
            "max_held",
            Value::Integer { min: 1, max: 1_000_000 },
            "Requests held in delays at once; beyond, the fault is skipped, never the request.",
        )
        .default("10000"),
    ],
    short: None,
};

static SERVICE: TableKeys = TableKeys {
    name: "services.NAME",
    doc: "Something backburn stands before.",
    keys: &[
        Key::new("url", Value::Url, "Where it is.").required(),
        Key::new(
            "listen",
            Value::Address,
            "A port of its own; without, it is reached through [proxy] listen.",
        ),
        Key::new(
            "host",
            Value::Word(&["keep", "upstream"]),
            "Which Host the service sees: the caller's, or its own.",
        )
        .default("\"keep\""),
        Key::new("tier", Value::Name, "gold, silver or bronze."),
        Key::new("title", Value::Text, "What people call it."),
    ],
    short: None,
};

static ROUTE: TableKeys = TableKeys {
    name: "routes.NAME",
    doc: "A class of a service's requests; the most specific route wins.",
    keys: &[
        Key::new(
            "path",
            Value::Text,
            "`/api/{id}`: {id} is one segment, {*rest} is everything that is left.",
        )
        .default("every path"),
        Key::new("methods", Value::List(&Value::Text), "In capitals.").default("any"),
        Key::new("host", Value::Text, "`shop.example` or `*.shop.example`.").default("any"),
        Key::new("service", Value::Name, "Whose requests.").default("the only one"),
        Key::new("protected", Value::Bool, "No fault may ever touch it, wildcards included.")
            .default("false"),
        Key::new("tier", Value::Name, "gold, silver or bronze."),
    ],
    short: None,
};

static FAULT: TableKeys = TableKeys {
    name: "faults.NAME",
    doc: "Draws once a request; all its kinds act together on those it hits.",
    keys: &[
        Key::new(
            "routes",
            Value::List(&Value::Text),
            "Route names, or [\"*\"] for every unprotected one.",
        )
        .required(),
        Key::new("probability", Value::Share, "The share of requests it hits.").default("all"),
        Key::new("first", Value::Integer { min: 1, max: i64::MAX }, "Hits the first so many."),
        Key::new("every", Value::Integer { min: 1, max: i64::MAX }, "3: hits the 3rd, the 6th, …"),
        Key::new("group", Value::Name, "Members of a group never hit the same request."),
        Key::new("enabled", Value::Bool, "Off without being deleted.").default("true"),
        Key::new("limit", Value::Integer { min: 0, max: i64::MAX }, "Disarms after so many."),
        Key::new("mark", Value::Bool, "The answer says `x-backburn-fault: NAME`.").default("true"),
        Key::new("inject", Value::SomeOf(&fault::INJECT), "One or more kinds.").required(),
    ],
    short: None,
};

static SLO: TableKeys = TableKeys {
    name: "slos.NAME",
    doc: "A promise: the share of good events over a window.",
    keys: &[
        Key::new(
            "routes",
            Value::List(&Value::Text),
            "Whose requests count; default: every unprotected route.",
        ),
        Key::new("service", Value::Name, "All routes of a service, in place of `routes`."),
        Key::new("objective", Value::Share, "Strictly between 0% and 100%."),
        Key::new("window", Value::Duration, "What the budget is for.").default("\"28d\""),
        Key::new(
            "tier",
            Value::Name,
            "gold (99.9%), silver (99.5%) or bronze (99%): the objective where none is written.",
        ),
        Key::new("sli", Value::OneOf(&SLI), "What is good.").required(),
    ],
    short: None,
};

static SLI: TableKeys = TableKeys {
    name: "slos.NAME.sli",
    doc: "What makes an event good.",
    keys: &[
        Key::new("availability", Value::Table(&AVAILABILITY), "An answer, and not a bad one."),
        Key::new("latency", Value::Table(&LATENCY), "An answer in time."),
    ],
    short: None,
};

static AVAILABILITY: TableKeys = TableKeys {
    name: "slos.NAME.sli.availability",
    doc: "Good: a whole answer whose status is not bad.",
    keys: &[
        Key::new("bad_status", Value::List(&Value::Status), "Statuses that are bad.")
            .default("[\"5xx\", 408, 429]"),
        Key::new(
            "exclude_status",
            Value::List(&Value::Status),
            "Statuses that are no event at all.",
        ),
        Key::new(
            "abandoned_after",
            Value::Duration,
            "A caller that leaves later than this counts as bad.",
        )
        .default("\"1s\""),
    ],
    short: None,
};

static LATENCY: TableKeys = TableKeys {
    name: "slos.NAME.sli.latency",
    doc: "Good: within the threshold, which is inclusive.",
    keys: &[
        Key::new("threshold", Value::Duration, "The longest that is good.").required(),
        Key::new(
            "of",
            Value::Word(&["good", "all"]),
            "Which answers count: a fast 500 must not improve latency.",
        )
        .default("\"good\""),
        Key::new("clock", Value::Word(&["last_byte", "first_byte"]), "When the watch stops.")
            .default("\"last_byte\""),
    ],
    short: None,
};
