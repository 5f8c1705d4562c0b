//! (seed, stream name, n, purpose) → one stream of a named algorithm; the only user of an RNG.

use rand::rngs::Xoshiro256PlusPlus;

/// Version of the derivation below: the same version, seed and names give the same draws.
pub const STREAM_VERSION: u32 = 1;

/// One decision's randomness.
#[derive(Debug, Clone)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub fn rng(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.0
    }
}
