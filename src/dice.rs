//! (seed, stream name, n, purpose) → one stream of a named algorithm; the only user of an RNG.
//!
//! A decision depends on these four and nothing else: not on threads, time or other routes. The
//! generator is Xoshiro256++, which `rand` exports as a named, portable algorithm; its seed is
//! made by SplitMix64's finalizer over FNV-1a hashes of the names.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// Version of the derivation below: the same version, seed and names give the same draws.
pub const STREAM_VERSION: u32 = 1;

/// One purpose's randomness for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub fn new(seed: u64, stream: &str, n: u64, purpose: &str) -> Self {
        Stream::new(seed, stream).dice(n, purpose)
    }

    pub fn rng(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.0
    }
}

/// The draws of one fault or group: the part of the derivation that every request shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    pub fn new(seed: u64, name: &str) -> Self {
        Self(mix(seed ^ mix(fnv1a(name))))
    }

    /// The draw that decides who is hit, in billionths: uniform over `[0, 1e9)`. A fault of 5 %
    /// hits where it is below 50,000,000, so that raising the share keeps those already hit.
    pub fn hit(self, n: u64) -> u32 {
        billionths(self.dice(n, "hit").rng().next_u64())
    }

    /// As [`Stream::hit`], for the value that a cohort goes by: the same caller always draws the
    /// same, so that a larger share keeps those already in.
    pub fn member(self, key: u64) -> u32 {
        let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(mix(self.0 ^ mix(key))));
        billionths(dice.rng().next_u64())
    }

    /// The n-th request's dice for one purpose: a fault kind's name.
    pub fn dice(self, n: u64, purpose: &str) -> Dice {
        let key = mix(self.0.wrapping_add(n.wrapping_mul(GOLDEN)) ^ fnv1a(purpose));
        Dice(Xoshiro256PlusPlus::seed_from_u64(key))
    }
}

/// A key of some bytes, the same in every run and on every machine.
pub fn key(bytes: &[u8]) -> u64 {
    // FNV alone leaves the last bytes' bits close together.
    mix(fnv1a_of(bytes))
}

/// A seed nobody chose.
pub fn random_seed() -> u64 {
    // Below 2^53, so that every reader of JSON keeps it exact, and short enough to retype.
    use rand::TryRng;
    let mut bytes = [0; 4];
    // Without the system's randomness any number will do: it is printed, not secret.
    match rand::rngs::SysRng.try_fill_bytes(&mut bytes) {
        Ok(()) => u64::from(u32::from_le_bytes(bytes)),
        Err(_) => u64::from(std::process::id()),
    }
}

/// Hits at even distances, in place of a draw for each request: the n-th is hit where n times the
/// share, from an offset of the stream's own, passes a whole number. Of any k in a row, k times the
/// share are hit, ± less than 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Even {
    /// Below the whole, in billionths.
    offset: u64,
}

impl Even {
    const WHOLE: u64 = 1_000_000_000;

    pub fn new(stream: Stream) -> Self {
        let draw = stream.dice(0, "even").rng().next_u64();
        Self { offset: billionths(draw).into() }
    }

    /// Whether the n-th request is hit, by a `share` in billionths. While probabilities climb,
    /// `climbed` (in billionths, too) is the part of these hits that is left: the others fall out
    /// at distances that are nearly even again, and each comes back for good.
    pub fn hits(self, n: u64, share: u32, climbed: u32) -> bool {
        let share = u64::from(share);
        // n's whole multiples of the whole turn a whole number of times. At most 2^60: fits.
        let turned = (n % Self::WHOLE) * share + self.offset;
        if turned % Self::WHOLE + share < Self::WHOLE {
            return false;
        }
        // Multiples of the golden ratio fill the unit interval most evenly, from any turn on.
        let turn = (n / Self::WHOLE).wrapping_mul(share).wrapping_add(turned / Self::WHOLE);
        billionths(turn.wrapping_mul(GOLDEN)) < climbed
    }
}

/// A draw of 64 bits as one over `[0, 1e9)`.
fn billionths(draw: u64) -> u32 {
    ((u128::from(draw) * 1_000_000_000) >> 64) as u32
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finalizer.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bit.
fn fnv1a(text: &str) -> u64 {
    fnv1a_of(text.as_bytes())
}

fn fnv1a_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here changes every recorded drill: raise `STREAM_VERSION` with it.
    #[test]
    fn pinned() {
        let stream = Stream::new(42, "slow");
        let hits: Vec<u32> = (0..4).map(|n| stream.hit(n)).collect();
        assert_eq!(hits, [985_067_605, 60_814_224, 457_500_558, 848_675_984]);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c, "the published vector of FNV-1a");
    }

    /// The same for what a request gets, and for the ends of the key's range.
    #[test]
    fn pinned_dice() {
        let first = |mut dice: Dice| dice.rng().next_u64();
        assert_eq!(first(Dice::new(42, "slow", 0, "latency")), 6_168_149_743_299_228_857);
        assert_eq!(first(Dice::new(0, "", u64::MAX, "")), 3_199_592_164_660_529_942);
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf, "SplitMix64's published first output");
    }

    /// A cohort's draw: pinned, uniform over values that differ in their last digits only, and no
    /// other than the value decides.
    #[test]
    fn members_of_a_cohort() {
        let stream = Stream::new(42, "slow");
        let member = |n: u64| stream.member(key(format!("user-{n}").as_bytes()));
        assert_eq!([member(1), member(2)], [member(1), member(2)]);
        for share in [0.001, 0.2, 0.4, 0.99] {
            let hit = (0..100_000).filter(|n| f64::from(member(*n)) < share * 1e9).count() as f64;
            let sigma = (1e5 * share * (1.0 - share)).sqrt();
            assert!((hit - 1e5 * share).abs() < 4.0 * sigma, "{share}: {hit}");
        }
    }

    #[test]
    fn purposes_and_seeds_do_not_know_each_other() {
        let top =
            |seed, n, purpose: &str| Dice::new(seed, "a", n, purpose).rng().next_u64() >> 63 == 1;
        let both = |a: (u64, &str), b: (u64, &str)| {
            (0..100_000).filter(|n| top(a.0, *n, a.1) && top(b.0, *n, b.1)).count() as f64
        };
        for other in [(7, "error"), (8, "latency"), (7, "hit")] {
            let both = both((7, "latency"), other);
            assert!((both - 25_000.0).abs() < 4.0 * 137.0, "{both} of 100,000, want 25,000");
        }
    }

    #[test]
    fn a_larger_share_keeps_those_already_hit() {
        let stream = Stream::new(7, "a");
        let hit = |below| (0..10_000).filter(|n| stream.hit(*n) < below).collect::<Vec<u64>>();
        let (small, large) = (hit(50_000_000), hit(100_000_000));
        assert!(small.iter().all(|n| large.contains(n)) && small.len() < large.len());
    }

    #[test]
    fn shares_hold_within_binomial_bounds() {
        for (name, share) in [("a", 0.001), ("b", 0.05), ("c", 0.5), ("d", 0.99)] {
            let stream = Stream::new(7, name);
            let below = (share * 1e9) as u32;
            let n = 100_000u32;
            let hit = (0..u64::from(n)).filter(|n| stream.hit(*n) < below).count() as f64;
            let expected = f64::from(n) * share;
            let sigma = (expected * (1.0 - share)).sqrt();
            assert!(
                (hit - expected).abs() < 4.0 * sigma,
                "{share}: {hit}, want {expected} ± {sigma}"
            );
        }
    }

    proptest::proptest! {
        /// Windows of every length, from every place on: the running difference between hits and
        /// `n · p` never differs from itself by a whole hit.
        #[test]
        fn an_even_spread_is_even(seed: u64, from: u64, share in 1..=1_000_000_000_u32) {
            let even = Even::new(Stream::new(seed, "a"));
            let (mut ahead, mut least, mut most) = (0_i64, 0_i64, 0_i64);
            for k in 0..2_000 {
                let hit = even.hits(from.wrapping_add(k), share, 1_000_000_000);
                ahead += i64::from(hit) * 1_000_000_000 - i64::from(share);
                (least, most) = (least.min(ahead), most.max(ahead));
                if from.wrapping_add(k) == u64::MAX {
                    break;
                }
            }
            proptest::prop_assert!(most - least < 1_000_000_000, "{share}: {least} to {most}");
        }

        /// Across a change of the share, too, but for one hit more or less: the two sides are even by
        /// themselves.
        #[test]
        fn an_even_spread_across_a_change(seed: u64, at in 0..1_000_u64, share: [u32; 2]) {
            let shares = share.map(|draw| draw % 1_000_000_000 + 1);
            let even = Even::new(Stream::new(seed, "a"));
            let (mut ahead, mut least, mut most) = (0_i64, 0_i64, 0_i64);
            for n in 0..2_000 {
                let share = shares[usize::from(n >= at)];
                ahead += i64::from(even.hits(n, share, 1_000_000_000)) * 1_000_000_000;
                ahead -= i64::from(share);
                (least, most) = (least.min(ahead), most.max(ahead));
            }
            proptest::prop_assert!(most - least < 2_000_000_000, "{shares:?}: {least} to {most}");
        }

        /// A share that climbs adds hits, and never more than are due.
        #[test]
        fn an_even_spread_climbs(seed: u64, share: u32, low: u32, high: u32) {
            let [share, a, b] = [share, low, high].map(|draw| draw % 1_000_000_001);
            let even = Even::new(Stream::new(seed, "a"));
            let (low, high) = (a.min(b), a.max(b));
            let hits = |climbed| (0..20_000).filter(move |n| even.hits(*n, share, climbed));
            let (few, many): (Vec<u64>, Vec<u64>) = (hits(low).collect(), hits(high).collect());
            proptest::prop_assert!(few.iter().all(|n| many.binary_search(n).is_ok()));
            let due = 2e4 * f64::from(share) * f64::from(low) / 1e18;
            proptest::prop_assert!((few.len() as f64 - due).abs() < 10.0, "{} {due}", few.len());
        }
    }

    /// Pinned, as the draws are; and another seed begins elsewhere.
    #[test]
    fn an_even_spread_is_the_same_again() {
        let hits = |seed| {
            let even = Even::new(Stream::new(seed, "slow"));
            (0..40).filter(|n| even.hits(*n, 150_000_000, 1_000_000_000)).collect::<Vec<u64>>()
        };
        assert_eq!(hits(42), [6, 13, 19, 26, 33, 39]);
        assert_ne!(hits(42), hits(43));
    }

    #[test]
    fn streams_do_not_know_each_other() {
        let (a, b) = (Stream::new(7, "a"), Stream::new(7, "b"));
        let both = (0..100_000u64)
            .filter(|n| a.hit(*n) < 200_000_000 && b.hit(*n) < 50_000_000)
            .count() as f64;
        assert!((both - 1000.0).abs() < 4.0 * 31.5, "{both} of 100,000 in both, want 1,000");
    }
}
