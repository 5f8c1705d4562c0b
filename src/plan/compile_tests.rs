//! Mistakes and meanings, from scenarios as a user writes them.

use super::*;
use crate::plan::{Fault, FaultId, Who};
use crate::units::Share;

/// The plan, and everything said about the text.
fn compiled(text: &str) -> (Option<Plan>, Vec<String>) {
    let texts = vec![("t.toml".to_owned(), text.to_owned())];
    let (scenario, mut notes) = crate::scenario::read(texts, &[]);
    let (plan, more) = compile(&scenario);
    notes.extend(more);
    (plan, notes.into_iter().map(|note| note.message).collect())
}

fn with_target(text: &str) -> (Option<Plan>, Vec<String>) {
    compiled(&format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{text}"))
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let (_, said) = compiled(text);
    assert!(said.iter().any(|note| note.contains(part)), "{text}: {said:?}");
}

#[test]
fn urls_that_cannot_be_a_service() {
    for (url, part) in [
        ("http://a:99999", "between 1 and 65535"),
        ("http://a:0", "port 0"),
        ("http://a#x", "has no path"),
        ("http://a?x", "has no path"),
        ("ftp://a", "begins with"),
    ] {
        let mut notes = Diagnostics::new();
        let spec = ServiceSpec {
            name: Located { value: "a".to_owned(), at: Place::default() },
            url: Some(Located { value: url.to_owned(), at: Place::default() }),
            listen: None,
            protocol: None,
            tls: None,
            host: None,
            tier: None,
            title: None,
        };
        service(&spec, &|_| false, &mut notes);
        assert!(notes.iter().any(|note| note.message.contains(part)), "{url}: {notes:?}");
    }
    assert_eq!(upstream("http://[::1]:90").unwrap(), ("::1".into(), 90, "[::1]:90".into()));
    assert_eq!(upstream("http://a").unwrap(), ("a".into(), 80, "a".into()));
}

#[test]
fn no_service_is_told_beside_other_mistakes() {
    let text = "[safety]\nnever = [\"10.0.0.0/33\"]\n[routes.r]\npath = \"/\"\n\
        [faults.f]\nroutes = [\"r\", \"*\"]\ninject.error = 500";
    refused(text, "no service");
    refused(text, "prefix length");
}

#[test]
fn never_names_hosts_and_addresses_however_they_are_spelled() {
    let never = |pattern: &str, url: &str| {
        let text =
            format!("[safety]\nnever = [\"{pattern}\"]\n[services.a]\nurl = \"http://{url}\"");
        compiled(&text).0.unwrap().services[0].never
    };
    assert!(never("10.0.0.0/8", "10.1.2.3:80"));
    assert!(!never("10.0.0.0/8", "11.1.2.3"));
    assert!(never("10.0.0.0/8", "[::ffff:10.1.2.3]"));
    assert!(never("*.prod.example", "DB.prod.example."));
    assert!(never("db.example", "db.example:5432"));
    assert!(!never("*.prod.example", "prod.example"));
    assert!(never("*", "anything"));
    for pattern in ["*prod.example", "a.*.example", "db:5432", "a b", "", "a..b"] {
        refused(&format!("[safety]\nnever = [\"{pattern}\"]"), "neither a host");
    }
}

#[test]
fn a_fault_cannot_name_a_route_that_lies_in_never() {
    let text = |routes: &str| {
        format!(
            "[safety]\nnever = [\"10.0.0.0/8\"]\n[services.a]\nurl = \"http://10.0.0.1\"\n\
             [faults.f]\nroutes = [\"{routes}\"]\ninject.error = 500"
        )
    };
    refused(&text("all"), "lies in `[safety] never`");
    let (plan, said) = compiled(&text("*"));
    assert!(plan.unwrap().routes.iter().all(|route| route.faults.is_empty()));
    assert_eq!(said, ["fault `f` covers no route"]);
}

#[test]
fn a_path_that_no_request_has_is_a_mistake() {
    for path in ["/a//b", "/a/../b", "/a/.", "/%2e%2E/b"] {
        let (plan, said) = with_target(&format!("[routes.r]\npath = \"{path}\""));
        assert!(plan.is_none() && said[0].contains("no request keeps"), "{path}: {said:?}");
    }
    let (_, said) = with_target("[routes.r]\npath = \"/{a}/{a}\"");
    assert_eq!(said, ["two parameters of one name"]);
    let (_, said) = with_target(&format!("[routes.r]\npath = \"{}\"", "/a".repeat(200)));
    assert_eq!(said, ["a path this long is none"]);
}

#[test]
fn routes_are_found_in_whatever_spelling_the_request_has() {
    let (plan, said) = with_target(
        "[routes.a]\npath = \"/straße/~x/\"\n[routes.b]\npath = \"/%61/b%2fc\"\n[routes.c]\npath = \"/\"",
    );
    assert!(said.is_empty(), "{said:?}");
    let plan = plan.unwrap();
    let headers = http::HeaderMap::new();
    let find = |path| {
        plan.matcher.find(&crate::plan::Asked {
            only: None,
            method: &http::Method::GET,
            host: "h",
            path,
            query: None,
            headers: &headers,
            client: None,
        })
    };
    assert_eq!(find("/stra%c3%9fe/%7ex/"), Some(0));
    assert_eq!(find("/straße//~x/"), Some(0));
    assert_eq!(find("/stra%C3%9Fe/~x"), None);
    assert_eq!(find("/a/b%2Fc"), Some(1));
    assert_eq!(find("/x/.."), Some(2));
}

#[test]
fn ties() {
    let two = |a: &str, b: &str| {
        let said = with_target(&format!("[routes.a]\n{a}\n[routes.b]\n{b}")).1;
        said.iter().any(|note| note.contains("two routes fit"))
    };
    assert!(two("path = \"/{x}\"", "path = \"/{y}\""));
    assert!(two("host = \"a.b\"", "host = \"A.b\""));
    assert!(two("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\"]"));
    assert!(!two("methods = [\"GET\"]", "methods = [\"PUT\"]"));
    assert!(!two("methods = [\"GET\"]", "path = \"/{*rest}\""));
    assert!(!two("host = \"*.b\"", "host = \"*.a.b\""));
    assert!(!two("path = \"/{x}/b\"", "path = \"/a/{x}\""));
}

#[test]
fn names_of_what_no_route_matches_are_taken() {
    let (plan, said) = with_target("[routes.unmatched]\npath = \"/x\"");
    assert!(plan.is_none() && said[0].contains("no route matches"), "{said:?}");
}

#[test]
fn a_group_owns_slices_in_file_order_and_safety_adds_them() {
    let text = |limit: &str| {
        format!(
            "[safety]\nmax_faulted = \"{limit}\"\n[faults.a]\nroutes = [\"*\"]\ngroup = \"g\"\n\
             probability = \"20%\"\ninject.error = 500\n[faults.b]\nroutes = [\"*\"]\n\
             group = \"g\"\nprobability = \"10%\"\ninject.error = 503\n[faults.c]\n\
             routes = [\"*\"]\nevery = 4\ninject.error = 502"
        )
    };
    // 1 − (1 − 0.3) × (1 − 0.25) = 47.5 %.
    let (plan, said) = with_target(&text("47.5%"));
    assert!(said.is_empty(), "{said:?}");
    let plan = plan.unwrap();
    let slices: Vec<_> = plan.faults.iter().map(|fault| fault.who).collect();
    let share = |percent: u32| Share::from_billionths(percent * 10_000_000).unwrap();
    assert_eq!(
        slices,
        [
            Who::Probability { from: 0, share: share(20), even: false },
            Who::Probability { from: 200_000_000, share: share(10), even: false },
            Who::Every(4),
        ]
    );
    assert_eq!(plan.faults[0].stream, plan.faults[1].stream);
    assert_eq!(with_target(&text("47.4%")).1, ["faults hit 47.5% of route `all`"]);
}

/// Its own part of the draw is as large as a member's share ever gets: nobody else's victims change
/// with it. Where there is no room for that, it is told.
#[test]
fn a_share_that_changes_moves_nobody_else() {
    let phases = |shares: &[(u32, u32)]| -> String {
        let phase = |(at, (a, b)): (usize, &(u32, u32))| {
            format!(
                "[[phases]]\nname = \"p{at}\"\nfor = \"1m\"\nfaults = [\"*\"]\nset.a.probability = \"{a}%\"\nset.b.probability = \"{b}%\"\n"
            )
        };
        let member = |name: &str, share: u32| {
            format!(
                "[faults.{name}]\nroutes = [\"*\"]\ngroup = \"g\"\nprobability = \"{share}%\"\ninject.error = 503\n"
            )
        };
        let phases: String = shares.iter().enumerate().map(phase).collect();
        member("a", 30) + &member("b", 40) + &phases
    };
    let begins = |fault: &Fault| match fault.who {
        Who::Probability { from, .. } => from / 10_000_000,
        _ => panic!("{:?}", fault.who),
    };
    for (shares, wanted, told) in [
        (&[(10, 40), (0, 5), (30, 40)][..], &[30_u32, 30, 30, 30][..], ""),
        (&[(10, 40), (60, 40)], &[60, 60, 60], ""),
        (&[(10, 40), (61, 30)], &[30, 10, 61], "add up to 101%"),
        (&[(61, 40)], &[], "add up to 101%"),
    ] {
        let (plan, said) = with_target(&phases(shares));
        assert_eq!(said.is_empty(), told.is_empty(), "{shares:?}: {said:?}");
        assert!(said.is_empty() || said.iter().any(|said| said.contains(told)), "{said:?}");
        let Some(plan) = plan else {
            assert!(wanted.is_empty(), "{said:?}");
            continue;
        };
        let of = |faults: &[(FaultId, Arc<Fault>)]| begins(&faults[1].1);
        let found = plan.phases.iter().map(|phase| of(&phase.faults));
        let found: Vec<u32> = std::iter::once(begins(&plan.faults[1])).chain(found).collect();
        assert_eq!(found, wanted, "{shares:?}");
    }
}

/// Routes of services with ports of their own do not meet where those are asked for.
#[test]
fn every_path_of_several_services() {
    let text = |port: &str| {
        let service = |name: &str, listen: &str| {
            format!(
                "[services.{name}]\nurl = \"http://127.0.0.1:9000\"\n{listen}[routes.of-{name}]\nservice = \"{name}\"\n"
            )
        };
        service("ledger", "listen = \"127.0.0.1:8911\"\n")
            + &service("payments", "listen = \"127.0.0.1:8910\"\n")
            + &service("checkout", port)
    };
    let (plan, said) = compiled(&text(""));
    let plan = plan.unwrap_or_else(|| panic!("{said:?}"));
    let headers = http::HeaderMap::new();
    let found = |only| {
        let asked = crate::plan::Asked {
            only,
            method: &http::Method::GET,
            host: "t",
            path: "/",
            query: None,
            headers: &headers,
            client: None,
        };
        &*plan.routes[plan.matcher.find(&asked).unwrap() as usize].name
    };
    assert_eq!(found(None), "of-checkout", "the only one without a port of its own");
    assert_eq!([found(Some(0)), found(Some(1))], ["of-ledger", "of-payments"]);
    let two = text("")
        + "[services.shop]\nurl = \"http://127.0.0.1:9001\"\n[routes.of-shop]\nservice = \"shop\"\n";
    refused(&two, "two routes fit the same requests equally well");
}

/// Each costs memory and time, at every reload.
#[test]
fn there_is_an_end_to_regular_expressions_and_to_phases() {
    let routes = |different: usize| -> String {
        (0..1000)
            .map(|n| {
                let like = n % different;
                format!(
                    "[routes.r{n}]\npath = \"/{n}\"\nquery = {{ q = {{ regex = \"a{like}\" }} }}\n"
                )
            })
            .collect()
    };
    let (plan, said) = with_target(&routes(256));
    assert!(plan.is_some(), "{said:?}");
    let (_, said) = with_target(&routes(300));
    assert_eq!(said, ["more than 256 different regular expressions"]);
    let faults: String = (0..1100)
        .map(|n| format!("[faults.f{n}]\nroutes = [\"*\"]\ninject.error = 500\n"))
        .collect();
    let phases: String = (0..1100)
        .map(|n| format!("[[phases]]\nname = \"p{n}\"\nfor = \"1s\"\nfaults = [\"*\"]\n"))
        .collect();
    let (plan, said) = with_target(&(faults + &phases));
    assert!(plan.is_none());
    assert!(said[0].starts_with("more than 1000000 faults"), "{:?}", &said[..said.len().min(3)]);
}

/// What is found of an answer is one bit for each; the same twice is one.
#[test]
fn correctness_is_asked_once() {
    let slos = |different: usize| -> String {
        let slo = |n: usize| {
            let like = n % different;
            format!(
                "[slos.s{n}]\nroutes = [\"a\"]\nobjective = \"99%\"\n\
                 sli.correctness.header.x-a = \"{like}\"\n"
            )
        };
        "[routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n".to_owned()
            + &(0..100).map(slo).collect::<String>()
    };
    let (plan, said) = with_target(&slos(64));
    let plan = plan.unwrap_or_else(|| panic!("{said:?}"));
    let places: Vec<u8> = plan.routes[0].checks.iter().map(|check| check.place).collect();
    assert_eq!(places, (0..64).collect::<Vec<u8>>());
    assert!(plan.routes[1].checks.is_empty());
    let (_, said) = with_target(&slos(65));
    assert_eq!(said, ["more than 64 different `correctness`"]);
}
