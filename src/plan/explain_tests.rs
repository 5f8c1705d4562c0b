use super::*;

const TEXT: &str = r#"
[proxy]
upstream = "http://127.0.0.1:9000"
client_control = true
[routes.pay]
path = "/pay/{id}"
methods = ["POST"]
operation = "header:k"
[routes.gold]
path = "/pay/{id}"
methods = ["POST"]
headers = { x-tenant = "gold" }
[routes.rest]
path = "/{*rest}"
[routes.health]
path = "/health"
protected = true
[faults.slow]
routes = ["pay", "gold"]
probability = "20%"
inject.latency = "300ms"
[faults.broken]
routes = ["*"]
probability = "20%"
spread = "even"
bursts = { on = "10s", off = "30s" }
inject.error = 503
[faults.some]
routes = ["pay"]
cohort = "header:x-user"
probability = "10%"
inject.abort = "reset"
[faults.off]
routes = ["pay"]
enabled = false
inject.abort = "reset"
[[phases]]
name = "calm"
for = "1m"
[[phases]]
name = "storm"
for = "1m"
faults = ["slow", "broken", "some", "off"]
"#;

fn explained(method: &str, path: &str, headers: &[(&str, &str)]) -> Explanation {
    let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), TEXT.to_owned())], &[]);
    let plan = crate::plan::compile(&scenario).0.unwrap();
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let question = Question::parse(&format!("{method} {path}"), &headers, None).unwrap();
    question.explain(&plan, None, None).unwrap()
}

fn why(list: &[Answer], name: &str) -> String {
    list.iter().find(|answer| answer.name == name).unwrap().why_not.clone()
}

#[test]
fn a_request_meets_its_route_and_its_faults() {
    let seen = explained("POST", "//pay/1", &[]);
    assert_eq!((seen.route.as_str(), seen.canonical_path.as_str()), ("pay", "/pay/1"));
    assert_eq!(why(&seen.other_routes, "gold"), "only where header `x-tenant` is \"gold\"");
    assert_eq!(why(&seen.other_routes, "rest"), "it would take it, but `pay` is more specific");
    assert!(seen.other_routes.iter().all(|answer| answer.name != "health"));
    assert!(seen.phases[0].faults.is_empty());
    assert_eq!(why(&seen.phases[0].other_faults, "slow"), "it is not active in phase `calm`");
    let storm = &seen.phases[1];
    let names: Vec<&str> = storm.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["slow", "broken"]);
    assert_eq!(storm.faults[0].does, ["waits 300ms"]);
    assert!((storm.any.unwrap() - 0.24).abs() < 1e-12, "20 % and 5 % make 24 %");
    assert_eq!(storm.faults[1].who, "20%");
    let but = ["evenly spread", "in bursts of 10s on average, 30s apart: on for 25.0% of the time"];
    assert_eq!(storm.faults[1].but, but);
    let no_user = "the request has no `header:x-user`, which its `cohort` goes by";
    assert_eq!(why(&storm.other_faults, "some"), no_user);
    assert!(why(&storm.other_faults, "off").contains("switched off"));
}

#[test]
fn what_is_never_faulted_says_why() {
    assert_eq!(explained("GET", "/health", &[]).spared.unwrap(), "its route is protected");
    let seen = explained("POST", "/pay/1", &[("x-backburn-skip", "1")]);
    assert_eq!(seen.spared.unwrap(), "its caller opts out with `x-backburn-skip: 1`");
    assert_eq!(explained("POST", "/pay/1", &[("x-backburn-skip", "0")]).spared, None);
    let seen = explained("GET", "/pay/1", &[]);
    assert_eq!(seen.route, "rest");
    assert_eq!(why(&seen.other_routes, "pay"), "the method is not POST");
    assert_eq!(seen.phases[1].faults.len(), 1);
    let gold = explained("POST", "/pay/1", &[("x-tenant", "gold"), ("x-user", "u")]);
    assert_eq!(gold.route, "gold");
    assert_eq!(why(&gold.phases[1].other_faults, "some"), "it is not on route `gold`");
}

#[test]
fn what_an_slo_leaves_out() {
    let text = r#"
[proxy]
upstream = "http://127.0.0.1:9000"
[routes.all]
[routes.other]
path = "/other"
[slos.plain]
objective = "99%"
sli.availability = {}
[slos.every]
objective = "99%"
include = ["health_checks", "options"]
sli.availability = {}
[slos.people]
objective = "99%"
exclude = { headers = { user-agent = { regex = "bot" } }, methods = ["GET", "OPTIONS"] }
sli.availability = {}
[slos.elsewhere]
objective = "99%"
routes = ["other"]
sli.availability = {}
[composites.both]
of = ["plain", "people"]
mode = "all"
"#;
    let (scenario, notes) = crate::scenario::read(vec![("t".to_owned(), text.to_owned())], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let plan = crate::plan::compile(&scenario).0.unwrap();
    // Request, its agent → who counts it; why `people` does not.
    for (request, agent, counts, why) in [
        ("GET /x", "curl", "plain every people both", ""),
        ("GET /x", "a bot", "plain every both", "its `exclude` takes it"),
        ("POST /x", "a bot", "plain every people both", ""),
        ("GET /healthz", "curl", "every", "it is a health check"),
        ("GET /x", "kube-probe/1.33", "every", "it is a health check"),
        ("OPTIONS /x", "a bot", "every", "it is OPTIONS"),
        ("OPTIONS /livez", "curl", "every", "it is a health check"),
    ] {
        let agent = format!("user-agent: {agent}");
        let seen = Question::parse(request, &[agent], None).unwrap();
        let seen = seen.explain(&plan, None, None).unwrap();
        assert_eq!(seen.slos.join(" "), counts, "{request}");
        assert_eq!(seen.slos.len() + seen.other_slos.len(), 4, "of its route: {request}");
        let people = seen.other_slos.iter().find(|answer| answer.name == "people");
        let said = people.map_or("", |answer| &*answer.why_not);
        assert!(said.starts_with(why) && said.is_empty() == why.is_empty(), "{request}: {said}");
    }
}

#[test]
fn what_is_no_request_says_why() {
    for (request, header, why) in [
        ("", "", "is not a request"),
        ("GET x", "", "is not a path"),
        ("G(T /", "", "is not a method"),
        ("GET /", "no colon", "is not a header"),
    ] {
        let headers: Vec<&str> = if header.is_empty() { vec![] } else { vec![header] };
        let said = Question::parse(request, &headers, None).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    let question = Question::parse("/healthz", &[] as &[&str], None).unwrap();
    let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), TEXT.to_owned())], &[]);
    let plan = crate::plan::compile(&scenario).0.unwrap();
    let seen = question.explain(&plan, None, Some("storm")).unwrap();
    assert!(seen.spared.unwrap().contains("health check") && seen.phases.len() == 1);
    assert!(question.explain(&plan, None, Some("none")).is_err());
    assert!(question.explain(&plan, Some("none"), None).is_err());
}

#[test]
fn what_is_an_operation() {
    let of = |path, headers| explained("POST", path, headers).operation;
    let keyed = of("/pay/1", &[("k", "1")]);
    assert_eq!(keyed.as_deref(), Some("an attempt at one, told by `header:k`"));
    let alone = of("/pay/1", &[]);
    assert_eq!(alone.as_deref(), Some("one of its own: it has no `header:k`"));
    assert_eq!(of("/else", &[("k", "1")]), None);
}
