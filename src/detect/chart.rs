//! Control charts of the classic kind: CUSUM and EWMA of a bucket's value, with limits for a stated run length.
//!
//! A chart promises an average run length, the expected number of buckets until a false alarm, if the values are independent and
//! normal with the reference's mean and deviation. It says nothing of several charts together; watches with a budget do.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::stats::special::normal_upper_tail;

/// Nodes of the quadrature.
const NODES: usize = 60;

/// Half the shift, in deviations, that a CUSUM is quickest to find.
pub const ALLOWANCE: f64 = 0.5;
/// Weight of the newest value of an EWMA.
pub const NEWEST: f64 = 0.1;

/// A chart of standardised values: up is bad.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Chart {
    /// Page's cumulative sum `S = max(0, S + z - k)`, alarm at `S > h`.
    Cusum {
        /// The allowance.
        k: f64,
        /// The limit.
        h: f64,
    },
    /// The one-sided exponentially weighted moving average `Z = max(0, (1 - l) Z + l z)`, alarm at `Z > c sqrt(l / (2 - l))`.
    Ewma {
        /// Weight of the newest value.
        l: f64,
        /// The limit in deviations of the average.
        c: f64,
    },
}

impl Chart {
    /// A CUSUM whose false alarms are so many buckets apart on average.
    #[must_use]
    pub fn cusum(run_length: f64) -> Self {
        let h = limit(run_length, 20.0, |h| Self::Cusum { k: ALLOWANCE, h });
        Self::Cusum { k: ALLOWANCE, h }
    }

    /// An EWMA whose false alarms are so many buckets apart on average.
    #[must_use]
    pub fn ewma(run_length: f64) -> Self {
        let c = limit(run_length, 8.0, |c| Self::Ewma { l: NEWEST, c });
        Self::Ewma { l: NEWEST, c }
    }

    /// The average run length while values are normal with variance one about `mean`: the chart's integral equation, by
    /// Gauss and Legendre's quadrature (Crowder 1987; Knoth's spc).
    #[must_use]
    pub fn run_length(&self, mean: f64) -> f64 {
        match *self {
            Self::Cusum { k, h } => {
                let stays = |from: f64| normal_upper_tail(from - k + mean);
                from_zero(h, stays, |to, from| density(to - from + k - mean))
            }
            Self::Ewma { l, .. } => {
                let stays = |from: f64| normal_upper_tail((1.0 - l) * from / l + mean);
                from_zero(self.limit(), stays, |to, from| density((to - (1.0 - l) * from) / l - mean) / l)
            }
        }
    }

    /// The state after a value.
    #[must_use]
    pub fn next(&self, state: f64, value: f64) -> f64 {
        match *self {
            Self::Cusum { k, .. } => (state + value - k).max(0.0),
            Self::Ewma { l, .. } => ((1.0 - l) * state + l * value).max(0.0),
        }
    }

    /// The state beyond which there is an alarm; after one the state starts anew at zero.
    #[must_use]
    pub fn limit(&self) -> f64 {
        match *self {
            Self::Cusum { h, .. } => h,
            Self::Ewma { l, c } => c * libm::sqrt(l / (2.0 - l)),
        }
    }
}

/// The run length from zero of a chart that rests at zero and alarms beyond `end`: `stays` is the probability of coming to rest at
/// zero, `density` that of coming from one state to another.
fn from_zero(end: f64, stays: impl Fn(f64) -> f64, density: impl Fn(f64, f64) -> f64) -> f64 {
    let (nodes, weights) = quadrature(0.0, end);
    // The first unknown is the run length from zero, where the chart rests with positive probability.
    let at = |row: usize| if row == 0 { 0.0 } else { nodes[row - 1] };
    let kernel = |row: usize, column: usize| match column {
        0 => stays(at(row)),
        _ => weights[column - 1] * density(nodes[column - 1], at(row)),
    };
    solve(NODES + 1, kernel)[0]
}

/// The limit at which a chart has a run length, by bisection.
fn limit(run_length: f64, most: f64, chart: impl Fn(f64) -> Chart) -> f64 {
    let (mut low, mut high) = (0.01, most);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if chart(middle).run_length(0.0) < run_length {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * core::f64::consts::PI)
}

/// `L = 1 + K L`.
fn solve(size: usize, kernel: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let matrix =
        DMatrix::from_fn(size, size, |row, column| (if row == column { 1.0 } else { 0.0 }) - kernel(row, column));
    let solved = matrix.lu().solve(&DVector::from_element(size, 1.0));
    // The kernel's rows sum to less than one: the matrix has an inverse.
    solved.map_or_else(|| vec![f64::INFINITY; size], |lengths| lengths.iter().copied().collect())
}

/// Nodes and weights of Gauss and Legendre's rule between two ends, by Newton's method on the polynomial.
fn quadrature(from: f64, to: f64) -> (Vec<f64>, Vec<f64>) {
    let n = NODES as f64;
    let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
    (0..NODES)
        .map(|at| {
            let mut x = libm::cos(core::f64::consts::PI * (at as f64 + 0.75) / (n + 0.5));
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut value) = (0.0, 1.0);
                for degree in 0..NODES {
                    let j = degree as f64;
                    (before, value) = (value, ((2.0 * j + 1.0) * x * value - j * before) / (j + 1.0));
                }
                slope = n * (x * value - before) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (middle - half * x, 2.0 * half / ((1.0 - x * x) * slope * slope))
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::resample::normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde_json::Value;

    #[test]
    fn run_lengths_are_those_of_spc() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/r.json")).expect("JSON");
        let mut compared = 0;
        for case in golden["run_lengths"].as_array().expect("cases") {
            let number = |key: &str| case[key].as_f64().expect("a number");
            let (ours, mean) = match case["chart"].as_str() {
                Some("cusum") => (Chart::Cusum { k: number("k"), h: number("h") }, number("mu")),
                _ => (Chart::Ewma { l: number("l"), c: number("c") }, number("mu")),
            };
            // Two one-sided sums alarm as often as both do together.
            let length = match (case["chart"].as_str(), case["sided"].as_str()) {
                (Some("cusum"), Some("two")) => 1.0 / (1.0 / ours.run_length(mean) + 1.0 / ours.run_length(-mean)),
                _ => ours.run_length(mean),
            };
            assert!((length / number("arl") - 1.0).abs() < 1e-6, "{case}: {length}");
            compared += 1;
        }
        assert_eq!(compared, 8);
    }

    #[test]
    fn a_limit_gives_its_run_length_and_simulation_agrees() {
        for chart in [Chart::cusum(365.0), Chart::ewma(365.0)] {
            assert!((chart.run_length(0.0) - 365.0).abs() < 0.01);
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let (mut state, mut alarms) = (0.0, 0_u32);
            for _ in 0..200_000 {
                state = chart.next(state, normal(&mut rng));
                if state > chart.limit() {
                    alarms += 1;
                    state = 0.0;
                }
            }
            let length = 200_000.0 / f64::from(alarms);
            assert!((length / 365.0 - 1.0).abs() < 0.15, "{chart:?}: {length}");
            assert!(chart.run_length(1.0) < 15.0, "a shift of one deviation is found soon");
        }
    }
}
