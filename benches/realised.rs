//! Realised performance by day of one output: fold and metrics. `scripts/bench/nannyml_realised.py` has what `NannyML` takes.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dosimeter::domain::{Prediction, Truth};
use dosimeter::metric::{calibration, discrimination, operating_point};
use dosimeter::summary::fold::{Known, OutputShape, Shape, fold};
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use crate::{peak_megabytes, start, stated};

/// Two periods of thirty days with so many rows each.
pub fn run(rows: u32) {
    let output = OutputShape { output_id: 1, truth_id: 1, is_class: false, thresholds: vec![0.5] };
    let shape = Shape { outputs: vec![output], ..Shape::default() };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let (mut spent, mut metrics) = (Duration::ZERO, 0);
    for day in 0..60_i64 {
        let mut known = Known::default();
        let predictions: Vec<Prediction> = (0..rows / 30)
            .map(|case| {
                let case_id = format!("{day:08x}{case:024x}");
                let occurred_at = start() + TimeDelta::days(day) + TimeDelta::seconds(rng.random_range(0..86_400));
                let score = rng.random::<f64>().powi(3);
                let truth =
                    Truth { stated: stated(rng.random_bool(score)), known_at: occurred_at + TimeDelta::hours(9) };
                known.truths.insert((case_id.clone(), 1), truth);
                let (scores, attributes) = (vec![(1, score)], BTreeMap::new());
                Prediction { case_id, subject_id: None, occurred_at, scores, attributes, embedding: None }
            })
            .collect();
        let began = Instant::now();
        let folded = fold(&shape, &predictions, &known).expect("a fold");
        let answers = folded.par_iter().filter_map(|(_, body)| body.output()).map(|summary| {
            let at_threshold = operating_point::evaluate(summary, 0.5, None, None).len();
            let areas = discrimination::evaluate(summary, None).len();
            black_box(calibration::brier(summary).is_ok());
            at_threshold + areas
        });
        metrics += answers.sum::<usize>();
        spent += began.elapsed();
    }
    println!(
        "realised: 2 x {rows} rows, 60 days: {metrics} metrics with their intervals in {:.2} s, peak memory {} MB",
        spent.as_secs_f64(),
        peak_megabytes()
    );
}
