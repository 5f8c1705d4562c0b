//! Several objectives as one.

use super::burn::burn_rate;
use crate::units::Share;

/// How members make one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The highest burn rate of all: a journey is as good as its worst step.
    #[default]
    Worst,
    /// A request is good if all say so; counted, not worked out from the members.
    All,
    /// The mean of the burn rates by weight.
    Weighted,
    /// Σ b / Σ (e · n): all bad events over all that were allowed. The only one whose parts add up.
    Pooled,
}

impl Mode {
    /// As the scenario spells them.
    pub const NAMES: [&str; 4] = ["worst", "all", "weighted", "pooled"];
    const ALL_MODES: [Self; 4] = [Self::Worst, Self::All, Self::Weighted, Self::Pooled];

    pub fn named(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self::ALL_MODES[at])
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// One objective's counts within a composite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    pub bad: u64,
    pub n: u64,
    pub objective: Share,
    /// Of [`Mode::Weighted`].
    pub weight: f64,
}

/// The members' burn rate as one. Those without events say nothing; `None`: none has any.
/// [`Mode::All`] is not worked out from members; the worst of them is a lower bound of it.
pub fn composite_burn(mode: Mode, members: &[Member]) -> Option<f64> {
    let rates = members
        .iter()
        .filter_map(|member| Some((member, burn_rate(member.bad, member.n, member.objective)?)));
    match mode {
        Mode::Worst | Mode::All => rates.map(|(_, rate)| rate).reduce(f64::max),
        Mode::Weighted => {
            let (sum, weights) = rates.fold((0.0, 0.0), |(sum, weights), (member, rate)| {
                (sum + member.weight * rate, weights + member.weight)
            });
            (weights > 0.0).then(|| sum / weights)
        }
        Mode::Pooled => {
            let (bad, allowed) = rates.fold((0.0, 0.0), |(bad, allowed), (member, _)| {
                let more = member.objective.rest().as_f64() * member.n as f64;
                (bad + member.bad as f64, allowed + more)
            });
            (allowed > 0.0).then(|| bad / allowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u64, bad: u64, billionths: u32, weight: f64) -> Member {
        Member { n, bad, objective: Share::from_billionths(billionths).unwrap(), weight }
    }

    /// V17.
    #[test]
    fn reads_and_writes() {
        let members =
            |weight| [member(8_000, 24, 999_000_000, weight), member(2_000, 20, 995_000_000, 1.0)];
        let rows = [
            (Mode::Worst, 1.0, 3.0),
            (Mode::Weighted, 1.0, 2.5),
            (Mode::Weighted, 2.0, 2.666_667),
            (Mode::Pooled, 1.0, 2.444_444),
        ];
        for (mode, weight, burn) in rows {
            let found = composite_burn(mode, &members(weight)).unwrap();
            assert!((found - burn).abs() <= 5e-7, "{mode:?}: {found}");
            assert_eq!(Mode::named(mode.name()), Some(mode));
        }
    }

    #[test]
    fn members_without_events_say_nothing() {
        let quiet = member(0, 0, 999_000_000, 5.0);
        for mode in [Mode::Worst, Mode::Weighted, Mode::Pooled] {
            assert_eq!(composite_burn(mode, &[quiet]), None);
            assert_eq!(composite_burn(mode, &[]), None);
            let busy = member(1_000, 2, 999_000_000, 1.0);
            let found = composite_burn(mode, &[quiet, busy]).unwrap();
            assert!((found - 2.0).abs() < 1e-9, "{mode:?}: {found}");
        }
    }
}
