use super::*;
use crate::report::budgets::{
    Alerts, AtTheEnd, Budget, Closest, Confidence, Firing, Forecasts, Tier,
};
use crate::report::view::Consumed;

fn tier(name: &str, severity: &str, factor: f64, fired: Vec<Firing>) -> Tier {
    Tier {
        name: name.to_owned(),
        severity: severity.to_owned(),
        long_window_seconds: 3_600,
        short_window_seconds: 300,
        factor,
        state: "inactive".to_owned(),
        fired,
        ..Tier::default()
    }
}

fn firing(after: u64, resolved: Option<u64>) -> Firing {
    Firing {
        at: "2026-11-22T14:02:11Z".to_owned(),
        after_seconds: after,
        resolved_at: resolved.map(|_| "2026-11-22T14:08:02Z".to_owned()),
        resolved_after_seconds: resolved,
    }
}

/// The golden drill G2: it consumed 2.4802 %, and was paged from 643 s to 994 s.
fn g2() -> Slo {
    Slo {
        name: "pay".to_owned(),
        objective: 0.999,
        total: 36_000,
        budget_consumed: Consumed {
            basis: "scaled".to_owned(),
            ratio: Some(0.024_802),
            ..Consumed::default()
        },
        budget: Budget {
            remaining_ratio: Some(0.975_198),
            more_drills: Some(39),
            ..Budget::default()
        },
        alerts: Alerts {
            dialect: "sloth-28d".to_owned(),
            tiers: vec![
                tier("page-quick", "page", 13.44, vec![firing(643, Some(994))]),
                tier("ticket-slow", "ticket", 0.933, Vec::new()),
            ],
            closest: Some(Closest {
                tier: "page-quick".to_owned(),
                severity: "page".to_owned(),
                pressure_ratio: 1.24,
                after_seconds: 720,
            }),
            ..Alerts::default()
        },
        ..Slo::default()
    }
}

#[test]
fn what_it_can_afford() {
    let slo = g2();
    let with = |more, before| {
        let budget =
            Budget { more_drills: Some(more), consumed_before_ratio: before, ..slo.budget.clone() };
        afford(&Slo { budget, ..slo.clone() }, "Checkout").unwrap_or_default()
    };
    assert_eq!(with(39, None), "Checkout can afford 39 more drills like this.");
    assert_eq!(
        with(1, Some(0.18)),
        "Checkout can afford one more drill like this: 18.0% of the budget was gone before it."
    );
    assert_eq!(
        with(0, None),
        "Checkout cannot afford another drill like this: 97.5% of the budget is left."
    );
    assert_eq!(with(u64::MAX, None), "");
    assert_eq!(afford(&Slo::default(), "x"), None);
}

#[test]
fn who_would_have_been_told() {
    let mut slo = g2();
    assert_eq!(
        paged(&slo).unwrap(),
        "A page would have fired after 10:43 (14:02:11 UTC), over after 16:34: page-quick of \
         sloth-28d."
    );
    slo.alerts.tiers[1].fired = vec![firing(700, None), firing(900, None)];
    assert_eq!(
        all_paged(&slo)[1],
        "A ticket would have fired after 11:40 (14:02:11 UTC), and it still would (the first of 2): \
         ticket-slow of sloth-28d."
    );
    assert!(paged(&slo).unwrap().ends_with("One other alert as well."));
    slo.alerts.tiers.iter_mut().for_each(|tier| tier.fired.clear());
    slo.alerts.closest.as_mut().unwrap().pressure_ratio = 0.930_060;
    assert_eq!(
        paged(&slo).unwrap(),
        "No alert would have fired: the nearest, page-quick of sloth-28d, came to 93.0% of its threshold."
    );
    slo.alerts.closest.as_mut().unwrap().pressure_ratio = 1.0;
    assert!(paged(&slo).unwrap().contains("came to 99.9% of its threshold"));
    slo.alerts.tiers[0].state = "impossible".to_owned();
    assert!(paged(&slo).unwrap().starts_with("Nobody is ever paged"));
    slo.alerts.closest = None;
    assert_eq!((paged(&slo), all_paged(&slo).len()), (None, 0));
}

#[test]
fn what_is_to_come() {
    let mut slo = g2();
    assert_eq!(outlook(&slo), None);
    let end = AtTheEnd {
        consumed_ratio: 0.014_881,
        low_ratio: 0.014_451,
        high_ratio: 0.015_311,
        ..AtTheEnd::default()
    };
    slo.forecasts = Forecasts { drill: Some(end.clone()), ..Forecasts::default() };
    assert_eq!(
        outlook(&slo).unwrap(),
        "When its phases are over, the drill will have burned about 1.5% (1.4% to 1.5%)."
    );
    slo.budget.allowance_ratio = Some(0.01);
    slo.forecasts.drill = Some(AtTheEnd { exceeds_allowance: true, ..end });
    assert!(outlook(&slo).unwrap().ends_with(", more than the 1% it may: it will be halted."));
}

#[test]
fn what_is_proven() {
    let told = |verdict: &str, needed, [low, high]: [f64; 2]| {
        let confidence = Confidence {
            bad_low_ratio: Some(low),
            bad_high_ratio: Some(high),
            verdict: verdict.to_owned(),
            needed_events: needed,
            least_events: None,
        };
        super::verdict(&Slo { confidence, ..g2() }).unwrap_or_default()
    };
    assert_eq!(
        told("fail", None, [0.0185, 0.021_6]),
        "99.9% is missed, beyond chance (1.85% to 2.16% bad)"
    );
    assert_eq!(
        told("pass", Some(1), [0.0, 0.000_4]),
        "99.9% is kept, beyond chance (0% to 0.040% bad)"
    );
    assert_eq!(
        told("inconclusive", Some(38_995), [0.000_02, 0.3]),
        "99.9% is neither kept nor missed for certain; 2,995 more requests without another bad \
         one would prove it kept (<0.01% to 30.0% bad)"
    );
    assert_eq!(verdict(&Slo::default()), None);
}

#[test]
fn operations_are_called_so() {
    let confidence = Confidence {
        bad_low_ratio: Some(0.0),
        bad_high_ratio: Some(0.5),
        verdict: "inconclusive".to_owned(),
        needed_events: Some(39_000),
        least_events: None,
    };
    let slo = Slo { unit: "operations".to_owned(), confidence, ..g2() };
    let said = verdict(&slo).unwrap();
    assert!(said.contains("3,000 more operations without another bad one"), "{said}");
    assert!(late(&slo).is_some() && late(&g2()).is_none());
    let mut route =
        Operations { route: "pay".to_owned(), attempts: 3, operations: 1, ..Operations::default() };
    assert_eq!(retries(&route), "pay: 3 attempts for 1 operation, 0 saved by a retry");
    (route.early, route.operations) = (2, 3);
    let early = "pay: 3 attempts for 3 operations (2 too many at a time to be waited for), 0 saved by \
                 a retry";
    assert_eq!(retries(&route), early);
}

#[test]
fn what_went_wrong_besides() {
    let found = Collateral {
        events: 175.0,
        low_events: 152.4,
        high_events: 200.1,
        compared_with: "baseline".to_owned(),
    };
    assert_eq!(
        collateral(&found).unwrap(),
        "about 175 of the organic ones (152 to 200) are collateral: beyond what baseline had"
    );
    assert_eq!(compared(&found), ", and 152 to 200 of the bad ones are beyond what baseline had");
    let one = Collateral { low_events: 199.6, ..found.clone() };
    assert_eq!(compared(&one), ", and 200 of the bad ones are beyond what baseline had");
    let none = Collateral { low_events: 0.0, ..found };
    assert_eq!(collateral(&none), None);
    assert_eq!(compared(&none), ", and no more went bad than in baseline, but for chance");
}

/// A budget that was overspent before the drill is so in every word, and nothing is below 0 %.
#[test]
fn nothing_was_left_before() {
    let budget = Budget {
        remaining_ratio: Some(-0.324_802),
        more_drills: Some(0),
        consumed_before_ratio: Some(1.3),
        ..Budget::default()
    };
    let slo = Slo { bad: 900, injected: 900, window_seconds: 28 * 86_400, budget, ..g2() };
    let light = crate::report::health::light(&slo);
    assert_eq!(
        (light.colour.as_str(), light.word.as_str(), light.why.as_str()),
        ("red", "GONE", "nothing is left of the budget: 130% of it was gone before the drill")
    );
    assert_eq!(
        crate::report::health::sentence(&slo, "pay", ""),
        "Nothing is left of the 28-day budget of pay: 130% of it was gone before the drill; this \
         drill has burned 2.5% of it, all injected."
    );
    let silent = Slo { total: 0, ..slo.clone() };
    assert_eq!(
        crate::report::health::sentence(&silent, "pay", ""),
        "No traffic on pay yet; nothing is left of its budget: 130% of it was gone before the drill."
    );
    assert_eq!(afford(&slo, "It"), None);
    assert_eq!(
        basis(&slo).unwrap(),
        "budget scaled to the drill's traffic, 130% of it gone before the drill"
    );
}
