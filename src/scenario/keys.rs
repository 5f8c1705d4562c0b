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
        Key::new("proxy", Value::Table(&PROXY), "The proxy itself."),
        Key::new("services", Value::Named(&SERVICE), "What is proxied."),
        Key::new("routes", Value::Named(&ROUTE), "Requests told apart."),
        Key::new("faults", Value::Named(&FAULT), "What goes wrong."),
        Key::new("slos", Value::Named(&SLO), "What is promised."),
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
    ],
    short: None,
};

static PROXY: TableKeys = TableKeys {
    name: "proxy",
    doc: "The proxy itself.",
    keys: &[
        Key::new("listen", Value::Address, "Where requests come in.").default("\"127.0.0.1:8900\""),
        Key::new("upstream", Value::Url, "Short form for one service named `target`."),
        Key::new("workers", Value::Integer { min: 1, max: 1024 }, "Threads.").default("cores"),
        Key::new("max_held", Value::Integer { min: 1, max: 1_000_000 }, "Requests held at once.")
            .default("10000"),
    ],
    short: None,
};

static SERVICE: TableKeys = TableKeys {
    name: "services.NAME",
    doc: "Something that answers requests.",
    keys: &[
        Key::new("url", Value::Url, "Where it is.").required(),
        Key::new("listen", Value::Address, "A port of its own for requests to it."),
        Key::new("host", Value::Word(&["keep", "upstream"]), "Which `Host` it sees.")
            .default("\"keep\""),
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
        Key::new("service", Value::Name, "Where it goes.").default("the only service"),
        Key::new("protected", Value::Bool, "No fault may ever touch it.").default("false"),
        Key::new("tier", Value::Name, "`gold`, `silver`, `bronze`."),
    ],
    short: None,
};

static FAULT: TableKeys = TableKeys {
    name: "faults.NAME",
    doc: "Who is hit, and by what. One of `probability`, `first`, `every`; none means all.",
    keys: &[
        Key::new("routes", NAMES, "Route names, or `[\"*\"]`: every unprotected route.").required(),
        Key::new("probability", Value::Share, "The share of requests that is hit."),
        Key::new("first", COUNT, "The first so many are hit."),
        Key::new("every", COUNT, "3: the 3rd, 6th, … is hit."),
        Key::new("limit", COUNT, "After so many hits the fault is off."),
        Key::new("group", Value::Name, "Members of a group exclude each other."),
        Key::new("enabled", Value::Bool, "Whether it is on at the start.").default("true"),
        Key::new("mark", Value::Bool, "Whether answers carry `x-backburn-fault`.").default("true"),
        Key::new("inject", Value::SomeOf(&fault::INJECT), "What happens.").required(),
    ],
    short: None,
};

static SLO: TableKeys = TableKeys {
    name: "slos.NAME",
    doc: "What is promised, of which requests.",
    keys: &[
        Key::new("routes", NAMES, "Route names, or `[\"*\"]`."),
        Key::new("service", Value::Name, "Instead of `routes`: all of a service's."),
        Key::new("objective", Value::Share, "The share that has to be good.").default("the tier's"),
        Key::new("window", Value::Duration, "Over how long.").default("\"28d\""),
        Key::new("tier", Value::Name, "`gold`, `silver`, `bronze`."),
        Key::new("sli", Value::OneOf(&SLI), "What good means.").required(),
    ],
    short: None,
};

static SLI: TableKeys = TableKeys {
    name: "slos.NAME.sli",
    doc: "What good means.",
    keys: &[
        Key::new("availability", Value::Table(&AVAILABILITY), "An answer that is no failure."),
        Key::new("latency", Value::Table(&LATENCY), "An answer in time."),
    ],
    short: None,
};

static AVAILABILITY: TableKeys = TableKeys {
    name: "slos.NAME.sli.availability",
    doc: "Good is an answer that is no failure.",
    keys: &[
        Key::new("bad_status", Value::List(&Value::Status), "What counts as a failure.")
            .default("[\"5xx\", \"408\", \"429\"]"),
        Key::new("exclude_status", Value::List(&Value::Status), "What is not counted at all."),
        Key::new(
            "abandoned_after",
            Value::Duration,
            "A caller that leaves later than this is bad.",
        )
        .default("\"1s\""),
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
