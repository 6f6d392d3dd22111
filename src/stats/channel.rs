//! Order-preserving integer keys for probabilities and for unbounded values.
//!
//! A probability's key is symmetric in both tails and needs no logarithm: the bits of `p` up to one half, and the mirror
//! image of the bits of `1 - p` above it (`1 - p` is exact there, by Sterbenz). Keys order as probabilities do and the
//! map is a bijection, so an unshifted key gives the probability back exactly.

/// Bits of one half: the key at which the two tails meet.
const HALF: u64 = 0x3FE0_0000_0000_0000;

/// The largest key, that of `p = 1`.
pub const MAX_KEY: u64 = 2 * HALF;

/// The key of a probability in `[0, 1]`.
///
/// # Panics
/// In debug builds, when `p` is outside `[0, 1]` or not a number: intake refuses such scores.
#[must_use]
pub fn key(p: f64) -> u64 {
    debug_assert!((0.0..=1.0).contains(&p), "probability out of range: {p}");
    if p <= 0.5 {
        // Adding zero turns -0.0 into 0.0.
        (p + 0.0).to_bits()
    } else {
        MAX_KEY - (1.0 - p).to_bits()
    }
}

/// The probability of an unshifted key; the inverse of [`key`].
#[must_use]
pub fn probability(key: u64) -> f64 {
    if key <= HALF { f64::from_bits(key) } else { 1.0 - f64::from_bits(MAX_KEY.saturating_sub(key)) }
}

/// What the keys of a spectrum stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Probabilities in `[0, 1]`.
    #[default]
    Probability,
    /// Finite numbers: the bits of the double, the sign turned so that keys order as numbers do.
    Real,
}

impl Scale {
    /// The largest key.
    #[must_use]
    pub fn max_key(self) -> u64 {
        match self {
            Self::Probability => MAX_KEY,
            Self::Real => Self::Real.key(f64::MAX),
        }
    }

    /// The key of a value.
    #[must_use]
    pub fn key(self, value: f64) -> u64 {
        match self {
            Self::Probability => key(value),
            Self::Real => {
                // Adding zero turns -0.0 into 0.0.
                let bits = (value + 0.0).to_bits();
                if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
            }
        }
    }

    /// The value of an unshifted key; the inverse of [`Scale::key`].
    #[must_use]
    pub fn value(self, key: u64) -> f64 {
        match self {
            Self::Probability => probability(key),
            Self::Real => f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key }),
        }
    }

    /// The closed range of values that share the channel `shifted` at `level`.
    #[must_use]
    pub fn range(self, shifted: u64, level: u8) -> (f64, f64) {
        let least = if self == Self::Real { self.key(f64::MIN) } else { 0 };
        let first = (shifted << level).max(least);
        let last = ((shifted << level) | ((1_u64 << level) - 1)).min(self.max_key());
        (self.value(first), self.value(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_and_the_middle_are_where_they_belong() {
        assert_eq!(key(0.0), 0);
        assert_eq!(key(-0.0), 0);
        assert_eq!(key(0.5), HALF);
        assert_eq!(key(1.0), MAX_KEY);
    }

    proptest! {
        #[test]
        fn a_key_gives_its_probability_back(p in 0.0..=1.0_f64) {
            prop_assert_eq!(probability(key(p)).to_bits(), p.to_bits());
        }

        #[test]
        fn keys_order_as_probabilities_do(a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
            prop_assert_eq!(a.partial_cmp(&b), Some(key(a).cmp(&key(b))));
        }

        #[test]
        fn any_finite_number_has_its_place(a in prop::num::f64::NORMAL, b in prop::num::f64::NORMAL, level in 0_u8..60) {
            let real = Scale::Real;
            prop_assert_eq!(real.value(real.key(a)).to_bits(), a.to_bits());
            prop_assert_eq!(a.partial_cmp(&b), Some(real.key(a).cmp(&real.key(b))));
            let (low, high) = real.range(real.key(a) >> level, level);
            prop_assert!(low <= a && a <= high, "{low} <= {a} <= {high}");
        }

        #[test]
        fn a_coarse_channel_contains_its_probabilities(p in 0.0..=1.0_f64, level in 0_u8..60) {
            let (low, high) = Scale::Probability.range(key(p) >> level, level);
            prop_assert!(low <= p && p <= high, "{low} <= {p} <= {high}");
        }
    }
}
