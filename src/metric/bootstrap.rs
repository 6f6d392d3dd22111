//! Intervals for anything, by drawing whole buckets with replacement: what happens within a day stays together.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::domain::estimate::Interval;
use crate::domain::{MetricKey, Outcome, Undefined};
use crate::stats::resample::{multiplicities, quantile};
use crate::summary::body::Body;

/// Fewer buckets say too little about how buckets vary.
pub const LEAST_BUCKETS: usize = 20;

/// Percentile intervals of every metric that `answer` gives of a window of these buckets, which are of one quantity. The same
/// seed gives the same intervals.
///
/// A metric that is undefined in more than a tenth of the resamples has none.
///
/// # Errors
/// With fewer than [`LEAST_BUCKETS`] buckets.
pub fn intervals(
    buckets: &[Body],
    resamples: u32,
    seed: u64,
    answer: &(dyn Fn(&Body) -> Vec<(MetricKey, Outcome)> + Sync),
) -> Result<BTreeMap<MetricKey, Interval>, Undefined> {
    if buckets.len() < LEAST_BUCKETS {
        return Err(Undefined::TooFewBuckets { buckets: buckets.len() as u64, minimum: LEAST_BUCKETS as u64 });
    }
    let one = |resample: u32| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(resample));
        let drawn = multiplicities(&mut rng, buckets.len());
        let weighted = buckets.iter().zip(drawn).filter(|(_, times)| *times > 0);
        let window = Body::merge_all(weighted.map(|(bucket, times)| bucket.times(times)).collect());
        window.as_ref().map(answer).unwrap_or_default()
    };
    let answers: Vec<_> = (0..resamples).into_par_iter().map(one).collect();
    let mut values: BTreeMap<MetricKey, Vec<f64>> = BTreeMap::new();
    for (key, outcome) in answers.into_iter().flatten() {
        if let Ok(estimate) = outcome {
            values.entry(key).or_default().push(estimate.value);
        }
    }
    let enough = (f64::from(resamples) * 0.9).max(1.0);
    let interval = |(key, mut values): (MetricKey, Vec<f64>)| {
        values.sort_unstable_by(f64::total_cmp);
        let (lower, upper) = (quantile(&values, 0.025), quantile(&values, 0.975));
        (key, Interval { lower, upper, method: "bucket-bootstrap".to_owned() })
    };
    Ok(values.into_iter().filter(|(_, values)| values.len() as f64 >= enough).map(interval).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Depth, Question, evaluate};
    use crate::stats::channel;
    use crate::stats::spectrum::Class;
    use crate::summary::Summary;

    /// Thirty days of fifty rows whose truth follows the score.
    fn days() -> Vec<Body> {
        let day = |day: u32| {
            let cells = (0..50_u32).map(|row| {
                let p = f64::from((row * 37 + day * 11) % 100) / 100.0;
                let positive = (row * 61 + day * 29) % 100 < (row * 37 + day * 11) % 100;
                (channel::key(p), if positive { Class::Positive } else { Class::Negative }, 1)
            });
            Body::Output(Summary::new(cells.collect(), BTreeMap::new(), &[]))
        };
        (0..30).map(day).collect()
    }

    fn question() -> Question<'static> {
        Question {
            thresholds: &[0.5],
            minimum_n: 0,
            reference: Err(Undefined::NoReference),
            costs: None,
            depth: Depth::Published,
            mixes: &[],
        }
    }

    #[test]
    fn a_seed_gives_the_same_intervals_and_they_hold_the_value() {
        let days = days();
        let answer = |window: &Body| evaluate(&question(), window.output().expect("an output"));
        let intervals = |seed| intervals(&days, 200, seed, &answer).expect("enough days");
        let first = intervals(7);
        assert_eq!(first, intervals(7));
        assert_ne!(first, intervals(8));
        let whole = answer(&Body::merge_all(days.clone()).expect("days"));
        for name in ["auroc", "average_precision", "partial_auroc", "f1", "brier"] {
            let (key, outcome) = whole.iter().find(|(key, _)| key.name == name).expect("answered");
            let (interval, value) = (&first[key], outcome.as_ref().expect("defined").value);
            assert!(interval.lower < value && value < interval.upper, "{name}: {interval:?} {value}");
        }
    }

    #[test]
    fn few_buckets_are_too_few() {
        let refused = intervals(&days()[..19], 10, 1, &|_| Vec::new()).expect_err("too few");
        assert_eq!(refused.code(), "too-few-buckets");
    }
}
