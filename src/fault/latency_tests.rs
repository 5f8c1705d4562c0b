//! What is waited for, and when; how long it takes is `delay`'s to test.

use super::*;
use crate::fault::compile;
use crate::scenario::tests::injected;

fn decided(written: &str) -> Action {
    let fault = compile(&injected(&format!("latency = {written}"))).unwrap();
    fault.decide(&mut Dice::new(7, "it", 1, "latency"))
}

#[test]
fn where_a_request_waits() {
    let time = Duration::from_millis(300);
    for (written, when) in [
        ("\"300ms\"", When::Request),
        ("{ delay = \"300ms\", on = \"request\" }", When::Request),
        ("{ delay = \"300ms\", on = \"response\" }", When::Response),
        ("{ delay = \"300ms\", on = \"response\", floor = false }", When::Response),
        ("{ delay = \"300ms\", floor = true }", When::Floor),
        ("{ delay = \"300ms\", floor = true, on = \"response\" }", When::Floor),
    ] {
        assert_eq!(decided(written), Action::Delay { time, when }, "{written}");
    }
}

#[test]
fn the_same_ordinal_waits_as_long() {
    let written = "{ delay = { gamma = { mean = \"200ms\", shape = 2 } } }";
    assert_eq!(decided(written), decided(written));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (written, mistakes) in [
        ("\"0s\"", 1),
        ("{ delay = \"5s\", cap = \"1s\" }", 1),
        ("{ delay = \"1s\", floor = true, on = \"request\" }", 1),
        ("{ delay = \"90s\", floor = true, on = \"request\" }", 2),
    ] {
        let spec = injected(&format!("latency = {written}"));
        assert_eq!(compile(&spec).unwrap_err().len(), mistakes, "{written}");
    }
}
