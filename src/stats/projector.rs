//! What is frozen of a reference's embeddings, and what one embedding looks like beside it: its distance from the middle, what
//! the main directions miss of it, and its random features.

use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::resample::normal;

/// Random features of the kernel mean embedding.
pub const FEATURES: usize = 256;
/// Share of the variance that the main directions explain.
pub const EXPLAINED: f64 = 0.65;
/// Fewer rows than this have no covariance worth freezing.
pub const LEAST_ROWS: usize = 20;
/// Rows that pairwise distances are taken over, at most.
const MOST_PAIRED: usize = 500;
/// Seed of the random features: the same for everybody, so that equal references are equal.
const SEED: u64 = 20_250_101;

/// The parameters of a projector, as they are stored with a reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Mean of each coordinate.
    pub mean: Vec<f64>,
    /// Standard deviation of each coordinate, 1 where it is constant.
    pub deviations: Vec<f64>,
    /// Rows of the lower triangle of `L^-1`, where `L L^T` is the shrunk covariance.
    pub whitener: Vec<Vec<f64>>,
    /// How far the covariance was shrunk towards a multiple of the identity, 0 to 1.
    pub shrinkage: f64,
    /// Main directions of the standardised coordinates, each of length one.
    pub components: Vec<Vec<f64>>,
    /// Bandwidth of the Gaussian kernel: the median distance of two embeddings.
    pub bandwidth: f64,
    /// Trace of the covariance of the random features, and that of its square.
    pub traces: [f64; 2],
}

/// A frozen projector, ready for use.
#[derive(Clone, Debug, PartialEq)]
pub struct Projector {
    frozen: Frozen,
    frequencies: Vec<Vec<f64>>,
    phases: Vec<f64>,
}

/// One embedding beside the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Squared Mahalanobis distance from the reference's mean.
    pub distance: f64,
    /// Euclidean distance, in standardised coordinates, from the plane of the main directions.
    pub error: f64,
    /// Random features; their product with those of another embedding is about the kernel of the two.
    pub features: Vec<f64>,
}

/// Why embeddings cannot be frozen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too few.
    #[error("{0} embeddings are too few to freeze a covariance of; it takes {LEAST_ROWS}: take a longer window")]
    TooFew(usize),
    /// All alike.
    #[error("all embeddings are the same")]
    Constant,
    /// They lie on a line or a plane in which rounding leaves nothing to tell them apart by.
    #[error("the embeddings do not vary enough to tell a covariance from: it is singular")]
    Singular,
}

impl Projector {
    /// Fit to embeddings of one length.
    ///
    /// The covariance is shrunk after Ledoit and Wolf (2004), as scikit-learn does. The main directions are those of the
    /// standardised coordinates that explain [`EXPLAINED`] of the variance, as in `NannyML`. The bandwidth is the median
    /// distance of two embeddings, of at most five hundred at equal steps.
    ///
    /// # Errors
    /// When they are too few, or all the same.
    pub fn fit(rows: &[Vec<f32>]) -> Result<Self, Unfit> {
        let n = rows.len();
        if n < LEAST_ROWS {
            return Err(Unfit::TooFew(n));
        }
        let dimensions = rows[0].len();
        let data = DMatrix::from_fn(n, dimensions, |row, column| f64::from(rows[row][column]));
        let count = n as f64;
        let mean: Vec<f64> = data.column_iter().map(|column| column.sum() / count).collect();
        let centred = DMatrix::from_fn(n, dimensions, |row, column| data[(row, column)] - mean[column]);
        let covariance = centred.tr_mul(&centred) / count;
        if covariance.trace() <= 0.0 {
            return Err(Unfit::Constant);
        }
        let shrinkage = ledoit_wolf(&centred, &covariance);
        let level = covariance.trace() / dimensions as f64;
        let shrunk = &covariance * (1.0 - shrinkage) + DMatrix::identity(dimensions, dimensions) * (shrinkage * level);
        let factor = shrunk.cholesky().ok_or(Unfit::Singular)?.l();
        let inverse =
            factor.solve_lower_triangular(&DMatrix::identity(dimensions, dimensions)).ok_or(Unfit::Singular)?;
        let whitener = (0..dimensions).map(|row| (0..=row).map(|column| inverse[(row, column)]).collect()).collect();

        let deviation = |at: usize| libm::sqrt(covariance[(at, at)]);
        let deviations: Vec<f64> =
            (0..dimensions).map(|at| if deviation(at) > 0.0 { deviation(at) } else { 1.0 }).collect();
        let components = main_directions(&covariance, &deviations);
        let step = n.div_ceil(MOST_PAIRED);
        let paired: Vec<&Vec<f32>> = rows.iter().step_by(step).collect();
        let bandwidth = median_distance(&paired).ok_or(Unfit::Constant)?;
        let frozen = Frozen { mean, deviations, whitener, shrinkage, components, bandwidth, traces: [0.0; 2] };
        let mut projector = Self::of(frozen);
        projector.frozen.traces = projector.traces(&paired);
        Ok(projector)
    }

    /// Make stored parameters ready for use.
    #[must_use]
    pub fn of(frozen: Frozen) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut frequency = |_| frozen.mean.iter().map(|_| normal(&mut rng) / frozen.bandwidth).collect();
        let frequencies = (0..FEATURES).map(&mut frequency).collect();
        let phases = (0..FEATURES).map(|_| rng.random::<f64>() * 2.0 * core::f64::consts::PI).collect();
        Self { frozen, frequencies, phases }
    }

    /// The parameters that are stored.
    #[must_use]
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// Numbers that an embedding has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.frozen.mean.len()
    }

    /// Look at one embedding, which has as many numbers as those that were frozen.
    #[must_use]
    pub fn project(&self, embedding: &[f32]) -> Projection {
        let frozen = &self.frozen;
        let centred: Vec<f64> = embedding.iter().zip(&frozen.mean).map(|(x, mean)| f64::from(*x) - mean).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let whitened = frozen.whitener.iter().map(|row| dot(row, &centred));
        let distance = whitened.map(|part| part * part).sum();
        let standard: Vec<f64> = centred.iter().zip(&frozen.deviations).map(|(x, deviation)| x / deviation).collect();
        // What the plane explains is taken off, one direction at a time.
        let mut rest = standard.clone();
        for component in &frozen.components {
            let along = dot(component, &standard);
            rest.iter_mut().zip(component).for_each(|(rest, part)| *rest -= along * part);
        }
        Projection { distance, error: libm::sqrt(dot(&rest, &rest)), features: self.features(embedding) }
    }

    /// `sqrt(2 / D) cos(w x + b)` (Rahimi and Recht 2007).
    fn features(&self, embedding: &[f32]) -> Vec<f64> {
        let scale = libm::sqrt(2.0 / FEATURES as f64);
        let angle = |frequency: &[f64], phase: f64| {
            frequency.iter().zip(embedding).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + phase
        };
        self.frequencies.iter().zip(&self.phases).map(|(w, phase)| scale * libm::cos(angle(w, *phase))).collect()
    }

    /// The trace of the covariance of the features and of its square, without the bias of the diagonal.
    fn traces(&self, rows: &[&Vec<f32>]) -> [f64; 2] {
        let n = rows.len() as f64;
        let mut features: Vec<Vec<f64>> = rows.iter().map(|row| self.features(row)).collect();
        let mean: Vec<f64> = (0..FEATURES).map(|at| features.iter().map(|row| row[at]).sum::<f64>() / n).collect();
        features.iter_mut().for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let trace = features.iter().map(|row| dot(row, row)).sum::<f64>() / (n - 1.0);
        let pairs = features.iter().enumerate().flat_map(|(at, a)| features[..at].iter().map(move |b| (a, b)));
        let square: f64 = pairs.map(|(a, b)| dot(a, b)).map(|product| product * product).sum();
        [trace, 2.0 * square / (n * (n - 1.0))]
    }
}

/// Ledoit and Wolf's shrinkage of a covariance with divisor N towards `mu I`.
fn ledoit_wolf(centred: &DMatrix<f64>, covariance: &DMatrix<f64>) -> f64 {
    let (n, p) = (centred.nrows() as f64, centred.ncols() as f64);
    let squares = centred.map(|x| x * x);
    let beta: f64 = squares.row_iter().map(|row| row.sum() * row.sum()).sum();
    let delta: f64 = covariance.iter().map(|x| x * x).sum();
    let level = covariance.trace() / p;
    let error = (beta / n - delta) / (p * n);
    let spread = (delta - 2.0 * level * covariance.trace() + p * level * level) / p;
    if error <= 0.0 || spread <= 0.0 { 0.0 } else { error.min(spread) / spread }
}

/// The eigenvectors of the correlation matrix with the largest eigenvalues, until they explain enough.
fn main_directions(covariance: &DMatrix<f64>, deviations: &[f64]) -> Vec<Vec<f64>> {
    let dimensions = deviations.len();
    let correlation =
        DMatrix::from_fn(dimensions, dimensions, |i, j| covariance[(i, j)] / (deviations[i] * deviations[j]));
    let total = correlation.trace();
    let eigen = SymmetricEigen::new(correlation);
    let mut order: Vec<usize> = (0..dimensions).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let mut explained = 0.0;
    let mut components = Vec::new();
    for at in order {
        // As scikit-learn has it: as many as it takes to explain more.
        if explained > EXPLAINED * total {
            break;
        }
        explained += eigen.eigenvalues[at];
        components.push(eigen.eigenvectors.column(at).iter().copied().collect());
    }
    components
}

fn median_distance(rows: &[&Vec<f32>]) -> Option<f64> {
    let distance = |a: &[f32], b: &[f32]| {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).map(|gap| gap * gap);
        libm::sqrt(squares.sum())
    };
    let pairs = rows.iter().enumerate().flat_map(|(at, a)| rows[..at].iter().map(move |b| distance(a, b)));
    // Embeddings that are the same say nothing of a scale.
    let mut distances: Vec<f64> = pairs.filter(|distance| *distance > 0.0).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let n = distances.len();
    (n > 0).then(|| 0.5 * (distances[(n - 1) / 2] + distances[n / 2]))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "golden numbers come with a tolerance")]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../tests/golden/embeddings.json")).expect("JSON")
    }

    fn rows(value: &Value) -> Vec<Vec<f32>> {
        serde_json::from_value(value.clone()).expect("rows of numbers")
    }

    fn numbers(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).expect("numbers")
    }

    #[test]
    fn distances_and_errors_are_those_of_scikit_learn() {
        let golden = golden();
        let values = &golden["values"];
        let projector = Projector::fit(&rows(&golden["reference"])).expect("enough of them");
        let close = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours} against {theirs}");
        close(projector.frozen().shrinkage, values["ledoit_wolf_shrinkage"].as_f64().expect("a number"));
        assert_eq!(Some(projector.frozen().components.len() as u64), values["components"].as_u64());
        let current: Vec<Projection> = rows(&golden["current"]).iter().map(|row| projector.project(row)).collect();
        for (ours, theirs) in current.iter().zip(numbers(&values["squared_mahalanobis"])) {
            close(ours.distance, theirs);
        }
        for (ours, theirs) in current.iter().zip(numbers(&values["reconstruction_error"])) {
            close(ours.error, theirs);
        }
    }

    /// Random features are random: with this many the kernel is known to a few hundredths.
    #[test]
    fn products_of_features_are_about_the_kernel_and_their_means_about_its_discrepancy() {
        let golden = golden();
        let (reference, current) = (rows(&golden["reference"]), rows(&golden["current"]));
        let projector = Projector::fit(&reference).expect("enough of them");
        let bandwidth = golden["values"]["bandwidth"].as_f64().expect("a number");
        assert!((projector.frozen().bandwidth - bandwidth).abs() < 1e-9);
        let mean = |rows: &[Vec<f32>]| -> Vec<f64> {
            let features: Vec<Vec<f64>> = rows.iter().map(|row| projector.project(row).features).collect();
            (0..FEATURES).map(|at| features.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64).collect()
        };
        let (before, after) = (mean(&reference), mean(&current));
        let discrepancy: f64 = before.iter().zip(&after).map(|(a, b)| (a - b) * (a - b)).sum();
        let exact = golden["values"]["mmd2_biased"].as_f64().expect("a number");
        assert!((discrepancy - exact).abs() < 0.35 * exact, "{discrepancy} against {exact}");
        for pair in current.windows(2).take(50) {
            let squared: f64 = pair[0].iter().zip(&pair[1]).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum();
            let kernel = (-squared / (2.0 * bandwidth * bandwidth)).exp();
            let [a, b] = [0, 1].map(|at| projector.project(&pair[at]).features);
            let product: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((product - kernel).abs() < 0.25, "{product} against {kernel}");
        }
    }

    #[test]
    fn what_is_stored_is_read_back_and_what_cannot_be_frozen_is_refused() {
        let projector = Projector::fit(&rows(&golden()["reference"])).expect("enough of them");
        let text = serde_json::to_string(projector.frozen()).expect("it serialises");
        assert_eq!(Projector::of(serde_json::from_str(&text).expect("it is read back")), projector);
        assert_eq!(Projector::fit(&vec![vec![1.0, 2.0]; 5]), Err(Unfit::TooFew(5)));
        assert_eq!(Projector::fit(&vec![vec![1.0, 2.0]; 50]), Err(Unfit::Constant));
        // A coordinate that never varied has no direction of its own, and still no division by zero.
        let flat: Vec<Vec<f32>> = (0..50_u8).map(|row| vec![f32::from(row), 3.0]).collect();
        let projection = Projector::fit(&flat).expect("one coordinate varies").project(&[1.0, 4.0]);
        assert!(projection.distance.is_finite() && projection.error.is_finite());
    }
}
