use super::*;

const MEANS: plan::Bursts =
    plan::Bursts { on: Duration::from_secs(5), off: Duration::from_secs(30) };

/// The lengths of all whole calms and bursts over some time, looked at in small steps, in seconds.
fn lengths(bursts: Bursts, step: Duration, steps: u32) -> [Vec<f64>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    let (mut state, mut since, mut first) = (bursts.is_on(Duration::ZERO), 0, true);
    for n in 1..steps {
        let is = bursts.is_on(step * n);
        if is != state {
            // The first began before anybody looked.
            if !first {
                found[usize::from(state)].push((step * (n - since)).as_secs_f64());
            }
            (state, since, first) = (is, n, false);
        }
    }
    found
}

/// Within four standard deviations, and what the steps let slip: a stretch shorter than one is
/// seldom seen, and then two others look like one.
#[test]
fn as_long_as_asked_for_on_average() {
    let step = Duration::from_millis(50);
    let [off, on] = lengths(Bursts::new(7, "a", MEANS), step, 2_000_000);
    for (lengths, mean) in [(&on, 5.0), (&off, 30.0)] {
        let n = lengths.len() as f64;
        assert!(n > 2_000.0, "{n} of {mean} s");
        let seen = lengths.iter().sum::<f64>() / n;
        let slips = 2.0 * step.as_secs_f64() / 5.0;
        assert!((seen / mean - 1.0).abs() < 4.0 / n.sqrt() + slips, "{seen}, want {mean}");
        // Exponential: a share of 1/e lasts longer than the mean.
        let longer = lengths.iter().filter(|length| **length > mean).count() as f64 / n;
        assert!((longer - (-1.0_f64).exp()).abs() < 4.0 * 0.48 / n.sqrt() + slips, "{longer}");
    }
}

/// The law of the process, from its textbook solution: on at a time with the chance of the long
/// run, π; and on again t later with the chance π + (1 − π) · e^(−t (1/on + 1/off)).
#[test]
fn it_forgets_as_a_markov_process_does() {
    let duty = MEANS.duty();
    assert!((duty - 1.0 / 7.0).abs() < 1e-12);
    let runs = 20_000_u32;
    let each: Vec<Bursts> = (0..runs).map(|seed| Bursts::new(seed.into(), "a", MEANS)).collect();
    let close = |seen: usize, of: usize, want: f64| {
        let (n, seen) = (of as f64, seen as f64);
        let sigma = (n * want * (1.0 - want)).sqrt();
        assert!((seen - n * want).abs() < 4.0 * sigma, "{seen} of {n}, want {want}");
    };
    for from in [0, 1, 8, 1_000].map(Duration::from_secs) {
        let on: Vec<&Bursts> = each.iter().filter(|it| it.is_on(from)).collect();
        close(on.len(), each.len(), duty);
        for later in [100, 2_000, 9_000, 60_000].map(Duration::from_millis) {
            let still = on.iter().filter(|it| it.is_on(from + later)).count();
            let forgets = (-later.as_secs_f64() * (1.0 / 5.0 + 1.0 / 30.0)).exp();
            let want = duty + (1.0 - duty) * forgets;
            close(still, on.len(), want);
        }
    }
}

#[test]
fn the_same_seed_and_name_burst_alike() {
    let timeline = |seed, name: &str| -> Vec<bool> {
        let bursts = Bursts::new(seed, name, MEANS);
        (0..1_000).map(|n| bursts.is_on(Duration::from_secs(n))).collect()
    };
    let one = timeline(7, "a");
    assert_eq!(one, timeline(7, "a"));
    assert_ne!(one, timeline(8, "a"));
    assert_ne!(one, timeline(7, "b"));
    // A change here changes recorded drills: see `dice::STREAM_VERSION`.
    let first: Vec<usize> = (1..1_000).filter(|n| one[*n] && !one[n - 1]).take(4).collect();
    assert_eq!(first, [99, 179, 192, 231]);
}

/// Lengths at the ends of what can be written neither spin nor overflow.
#[test]
fn lengths_at_their_limits() {
    let (least, most) = (Duration::from_nanos(1), crate::units::LONGEST);
    for (on, off, expect) in [
        (least, least, None),
        (most, most, None),
        (most, least, Some(true)),
        (least, most, Some(false)),
    ] {
        let bursts = Bursts::new(7, "a", plan::Bursts { on, off });
        let seen: Vec<bool> = [Duration::ZERO, Duration::from_secs(1), most, Duration::MAX]
            .iter()
            .map(|at| bursts.is_on(*at))
            .collect();
        assert!(expect.is_none_or(|all| seen == [all; 4]), "{seen:?}");
    }
}
