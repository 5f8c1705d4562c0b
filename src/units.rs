//! Quantities that cannot be held wrong: parsed once, checked once.

/// A share of a whole, exact to one part in a billion: `"5%"` is 50,000,000 parts.
/// Range `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u32);

impl Share {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(1_000_000_000);

    /// From parts per billion; `None` above the whole.
    pub const fn from_billionths(parts: u32) -> Option<Self> {
        if parts <= 1_000_000_000 { Some(Self(parts)) } else { None }
    }
    pub const fn billionths(self) -> u32 {
        self.0
    }
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e9
    }
    /// Everything that is left over: `1 - self`.
    pub const fn rest(self) -> Self {
        Self(1_000_000_000 - self.0)
    }
}
