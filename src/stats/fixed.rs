//! Fixed-point sums: additions that are associative to the last bit.

/// Binary digits after the point.
const FRACTION_BITS: i32 = 60;

/// A real number of at most 2^66 in units of 2^-60. The rounding error of one conversion is at most 2^-61.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "scores and losses are far below 2^66; `as` saturates beyond")]
pub fn from_f64(value: f64) -> i128 {
    libm::round(libm::scalbn(value, FRACTION_BITS)) as i128
}

/// The nearest double.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "rounding to the nearest double is what is wanted")]
pub fn to_f64(fixed: i128) -> f64 {
    libm::scalbn(fixed as f64, -FRACTION_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_round_trip_is_within_half_a_unit(x in -40.0..40.0_f64) {
            prop_assert!((to_f64(from_f64(x)) - x).abs() <= libm::scalbn(1.0, -52));
        }
    }
}
