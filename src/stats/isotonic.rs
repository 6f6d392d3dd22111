//! Isotonic regression by pooling adjacent violators, weighted.

/// One level of a non-decreasing step function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Points that were pooled into it.
    pub points: usize,
    /// Their weight.
    pub weight: f64,
    /// Their mean, the fitted value.
    pub mean: f64,
}

/// The non-decreasing step function that is closest to `points` (`(weight, mean)` in ascending order of the predictor) in
/// weighted squares (Ayer et al. 1955).
#[must_use]
pub fn fit(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for (weight, mean) in points {
        let mut last = Level { points: 1, weight, mean };
        while let Some(before) = levels.last().filter(|before| before.mean >= last.mean) {
            let weight = before.weight + last.weight;
            last = Level {
                points: before.points + last.points,
                weight,
                mean: (before.weight * before.mean + last.weight * last.mean) / weight,
            };
            levels.pop();
        }
        levels.push(last);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn violators_are_pooled() {
        let levels = fit([(1.0, 0.0), (1.0, 1.0), (1.0, 0.0), (2.0, 1.0)]);
        let shape: Vec<(usize, f64)> = levels.iter().map(|level| (level.points, level.mean)).collect();
        assert_eq!(shape, [(1, 0.0), (2, 0.5), (1, 1.0)]);
    }

    proptest! {
        #[test]
        fn the_fit_ascends_and_keeps_the_total(points in prop::collection::vec((0.1..9.0_f64, 0.0..1.0_f64), 1..40)) {
            let levels = fit(points.clone());
            prop_assert!(levels.windows(2).all(|pair| pair[0].mean < pair[1].mean));
            let total: f64 = points.iter().map(|(weight, mean)| weight * mean).sum();
            let fitted: f64 = levels.iter().map(|level| level.weight * level.mean).sum();
            prop_assert!((total - fitted).abs() < 1e-9);
            prop_assert_eq!(levels.iter().map(|level| level.points).sum::<usize>(), points.len());
        }
    }
}
