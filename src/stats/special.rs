//! Special functions on top of `libm`, so that their results are the same bits on every platform.

/// The standard normal quantile at 0.975.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Logistic function `1 / (1 + e^-x)`.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

/// Log odds `ln(p / (1 - p))`.
#[must_use]
pub fn logit(p: f64) -> f64 {
    libm::log(p) - libm::log1p(-p)
}

/// Upper tail of the standard normal distribution.
#[must_use]
pub fn normal_upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / core::f64::consts::SQRT_2)
}

/// Upper tail of the chi-square distribution with `freedom` degrees of freedom: the regularised upper incomplete gamma
/// function Q(k/2, x/2), by its series or its continued fraction (Numerical Recipes 6.2).
#[must_use]
pub fn chi_square_upper_tail(x: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let scale = libm::exp(-x + a * libm::log(x) - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-17 {
            k += 1.0;
            term *= x / k;
            sum += term;
        }
        return (1.0 - sum * scale).clamp(0.0, 1.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / nonzero(an * d + b, tiny);
        c = nonzero(b + an / c, tiny);
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (scale * h).clamp(0.0, 1.0)
}

/// The value that a chi-square variable exceeds with probability `tail`, by bisection of [`chi_square_upper_tail`].
#[must_use]
pub fn chi_square_upper_quantile(tail: f64, freedom: f64) -> f64 {
    let mut high = freedom + 10.0;
    while chi_square_upper_tail(high, freedom) > tail {
        high *= 2.0;
    }
    bisected(0.0, high, |x| chi_square_upper_tail(x, freedom) > tail)
}

/// The value that a standard normal variable exceeds with probability `tail`, by bisection of [`normal_upper_tail`].
#[must_use]
pub fn normal_upper_quantile(tail: f64) -> f64 {
    bisected(-40.0, 40.0, |x| normal_upper_tail(x) > tail)
}

/// The value up to which a beta variable lies with probability `share`, by bisection of [`beta_lower_tail`].
#[must_use]
pub fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    bisected(0.0, 1.0, |x| beta_lower_tail(x, a, b) < share)
}

/// The value up to which an F variable lies with probability `share`.
#[must_use]
pub fn f_quantile(share: f64, numerator: f64, denominator: f64) -> f64 {
    let x = beta_quantile(share, numerator / 2.0, denominator / 2.0);
    denominator * x / (numerator * (1.0 - x))
}

/// The value that Student's t with so many degrees of freedom exceeds with probability `tail`, below one half: its square is
/// distributed as F with one and as many.
#[must_use]
pub fn student_upper_quantile(tail: f64, freedom: f64) -> f64 {
    libm::sqrt(f_quantile(1.0 - 2.0 * tail, 1.0, freedom))
}

/// The end of the range in which `is_below` is true.
fn bisected(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        // Nothing lies between two neighbouring numbers.
        if middle == low || middle == high {
            break;
        }
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Lower tail of the beta distribution: the regularised incomplete beta function, by its continued fraction (Numerical Recipes
/// 6.4).
#[must_use]
pub fn beta_lower_tail(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let log = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    // The fraction converges quickly on the side of the mean where x lies.
    if x < (a + 1.0) / (a + b + 2.0) {
        (libm::exp(log) * beta_fraction(x, a, b) / a).clamp(0.0, 1.0)
    } else {
        (1.0 - libm::exp(log) * beta_fraction(1.0 - x, b, a) / b).clamp(0.0, 1.0)
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0), TINY);
    let mut h = d;
    for step in 1..10_000_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d, TINY);
        c = nonzero(1.0 + even / c, TINY);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d, TINY);
        c = nonzero(1.0 + odd / c, TINY);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// Upper tail of the Kolmogorov distribution at `x = sqrt(nm/(n+m)) * D`: `2 sum (-1)^(k-1) exp(-2 k^2 x^2)`.
#[must_use]
pub fn kolmogorov_upper_tail(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.18 {
        // The theta-function form converges quickly for small x.
        let y = libm::exp(-core::f64::consts::PI * core::f64::consts::PI / (8.0 * x * x));
        let lower = libm::sqrt(2.0 * core::f64::consts::PI) / x * (y + libm::pow(y, 9.0) + libm::pow(y, 25.0));
        return (1.0 - lower).clamp(0.0, 1.0);
    }
    let y = libm::exp(-2.0 * x * x);
    (2.0 * (y - libm::pow(y, 4.0) + libm::pow(y, 9.0))).clamp(0.0, 1.0)
}

fn nonzero(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1e-300), "{a} against {b}");
    }

    /// Golden numbers: scipy 1.14.1, `scipy.stats.chi2.sf`, `kstwobign.sf`, `norm.sf`, `chi2.isf`.
    #[test]
    fn tails_agree_with_scipy() {
        close(chi_square_upper_tail(9.0, 9.0), 0.437_274_188_913_866_93, 1e-12);
        close(chi_square_upper_tail(40.0, 9.0), 7.598_525_229_464_264e-6, 1e-11);
        close(chi_square_upper_tail(0.5, 3.0), 0.918_891_411_654_675_8, 1e-12);
        close(kolmogorov_upper_tail(0.8), 0.544_142_411_574_198_1, 1e-10);
        close(kolmogorov_upper_tail(1.5), 0.022_217_962_616_525_127, 1e-10);
        close(normal_upper_tail(Z_95), 0.025, 1e-12);
        close(chi_square_upper_quantile(0.05, 15.0), 24.995_790_139_728_63, 1e-10);
    }

    /// scipy.stats 1.17: beta.cdf, beta.ppf, f.ppf, norm.isf.
    #[test]
    fn beta_f_and_normal_agree_with_scipy() {
        let close =
            |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-10 * theirs.abs().max(1.0), "{ours} {theirs}");
        close(beta_lower_tail(0.3, 2.5, 4.0), 0.3521975859067672);
        close(beta_quantile(0.95, 11.0, 90.0), 0.16371762327581477);
        close(beta_quantile(0.95, 0.5, 2000.25), 0.000959903685485024);
        close(f_quantile(0.9, 59.0, 1730.0), 1.2478339880187728);
        close(normal_upper_quantile(0.025), Z_95);
    }
}
