//! Exact sums of doubles and of their products: as integers, so that additions are associative to the last bit, and a
//! variance of values far from zero loses no digit.

use num_bigint::BigInt;

/// The unit of sums is two to the minus this: the least double above zero.
pub const UNIT: i32 = 1074;

/// A finite number in units of 2^-1074.
///
/// Values that are not finite count as nothing: the door refuses them.
#[must_use]
pub fn of(value: f64) -> BigInt {
    let (magnitude, shift) = parts(value);
    signed(BigInt::from(magnitude) << shift, value.is_sign_negative())
}

/// The product of two finite numbers in units of 2^-2148.
#[must_use]
pub fn product(a: f64, b: f64) -> BigInt {
    let ((of_a, shift_a), (of_b, shift_b)) = (parts(a), parts(b));
    let magnitude = BigInt::from(u128::from(of_a) * u128::from(of_b)) << (shift_a + shift_b);
    signed(magnitude, a.is_sign_negative() != b.is_sign_negative())
}

/// The magnitude of a number: an integer and how far it is shifted.
fn parts(value: f64) -> (u64, u64) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) & 0x7FF {
        0x7FF => (0, 0),
        0 => (fraction, 0),
        exponent => (fraction | 1 << 52, exponent - 1),
    }
}

fn signed(magnitude: BigInt, is_negative: bool) -> BigInt {
    if is_negative { -magnitude } else { magnitude }
}

/// A sum in units of 2^-1074 as the nearest double; infinite beyond the doubles.
#[must_use]
pub fn sum_to_f64(sum: &BigInt) -> f64 {
    ratio(sum, &BigInt::from(1), -UNIT)
}

/// `numerator / denominator * 2^exponent`, to the nearest double or one beside it; the denominator is positive.
///
/// Both are cut to 64 and more significant bits before they are divided, so the relative error is below 2^-52.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what is cut to so many bits fits")]
pub fn ratio(numerator: &BigInt, denominator: &BigInt, exponent: i32) -> f64 {
    let bits = |number: &BigInt| i32::try_from(number.bits()).unwrap_or(i32::MAX);
    // The quotient gets at least 64 bits.
    let shift = (64 + bits(denominator) - bits(numerator)).max(0);
    let quotient = (numerator << shift) / denominator;
    let spare = (bits(&quotient) - 96).max(0);
    let cut = i128::try_from(&(quotient >> spare)).unwrap_or_default();
    libm::scalbn(cut as f64, exponent - shift + spare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_doubles_are_exact() {
        for value in [0.0, f64::from_bits(1), f64::MIN_POSITIVE, 1.0, -0.1, 1e300, f64::MAX, f64::MIN] {
            assert_eq!(sum_to_f64(&of(value)), value);
        }
        assert_eq!(sum_to_f64(&(of(1e16) + of(1.0) + of(-1e16))), 1.0, "what a sum of doubles loses");
    }

    proptest! {
        #[test]
        fn a_quotient_is_that_of_the_doubles(a in -1e9..1e9_f64, b in 1e-9..1e9_f64) {
            let exact = ratio(&of(a), &of(b), 0);
            prop_assert!((exact - a / b).abs() <= (a / b).abs() * f64::EPSILON);
            prop_assert_eq!(product(a, b), of(a) * of(b));
        }
    }
}
