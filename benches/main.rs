//! Ratios: what this program takes against what the obvious way takes, on the same data, one after the other.
//!
//! `make bench`. Every line is the best of five runs of each side.

#![allow(
    clippy::disallowed_methods,
    reason = "tests and benchmarks read the environment and need not give the same bits everywhere"
)]
#![allow(missing_docs, reason = "nobody links this")]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use dosimeter::domain::{Dimension, Opinion, Prediction, Truth};
use dosimeter::metric::{Question, evaluate};
use dosimeter::stats::channel;
use dosimeter::store::batch::{Batch, NewPrediction, Position, Progress};
use dosimeter::summary::body::Body;
use dosimeter::summary::fold::{FeatureShape, Known, OutputShape, Shape, Truths, fold, over_buckets};
use rand::{RngExt, SeedableRng};
use sqlx::postgres::PgPoolCopyExt;

mod history;
mod push;
mod realised;

const OUTPUTS: i32 = 5;
const DAYS: i64 = 30;

/// `cargo bench -- large`: the data of a big network. scripts/bench/ has what other programs take for the same.
fn large(cases: u32) {
    const LARGE_OUTPUTS: i32 = 14;
    const LARGE_DAYS: i64 = 90;
    let dimensions = [("site", 4_u32), ("sex", 2), ("view", 2), ("age", 3)];
    let shape = Shape {
        outputs: (1..=LARGE_OUTPUTS)
            .map(|id| OutputShape { output_id: id, truth_id: id, is_class: false, thresholds: vec![0.5] })
            .collect(),
        dimensions: dimensions.iter().map(|(name, _)| Dimension::any(name)).collect(),
        ..shape()
    };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let mut days: Vec<Vec<(dosimeter::summary::fold::Cell, Body)>> = Vec::new();
    let (mut folding, mut counting) = (Duration::ZERO, Duration::ZERO);
    for day in 0..LARGE_DAYS {
        let mut known = Known::default();
        let midnight = start() + TimeDelta::days(day);
        let predictions: Vec<Prediction> = (0..cases / 90)
            .map(|case| {
                let case_id = format!("{day:08x}{case:024x}");
                let occurred_at = midnight + TimeDelta::seconds(rng.random_range(0..86_400));
                let scores = (1..=LARGE_OUTPUTS).map(|output| {
                    let score: f64 = rng.random::<f64>().powi(3);
                    if rng.random_bool(0.9) {
                        let truth = Truth {
                            stated: stated(rng.random_bool(score)),
                            known_at: occurred_at + TimeDelta::hours(rng.random_range(1..200)),
                        };
                        known.truths.insert((case_id.clone(), output), truth);
                    }
                    (output, score)
                });
                let scores = scores.collect();
                let value = |(name, n): &(&str, u32)| ((*name).to_owned(), rng.random_range(0..*n).to_string());
                let attributes = dimensions.iter().map(value).collect();
                Prediction { case_id, subject_id: None, occurred_at, scores, attributes, embedding: None }
            })
            .collect();
        let began = Instant::now();
        let folded = fold(&shape, &predictions, &known).expect("a fold");
        folding += began.elapsed();
        days.push(folded.into_iter().collect());
        let began = Instant::now();
        black_box(counted(&predictions, &known));
        counting += began.elapsed();
    }
    let began = Instant::now();
    let mut groups = 0;
    let windows = [0..90, 0..30, 30..60, 60..90];
    for window in windows.clone() {
        groups += closed_form(days[window].iter().flatten().cloned());
    }
    let evaluating = began.elapsed();
    println!(
        "large: {cases} cases x {LARGE_OUTPUTS} outputs x 12 slices, {LARGE_DAYS} days, {} windows: fold {folding:.1?} ({:.2} of a \
         counting loop), {groups} groups in {evaluating:.1?}, together {:.1} s, peak memory {} MB",
        windows.len(),
        folding.as_secs_f64() / counting.as_secs_f64(),
        (folding + evaluating).as_secs_f64(),
        peak_megabytes()
    );
}

/// `cargo bench -- features`: drift of many numeric features, from the rows of two periods.
fn features(rows: u32, count: u32) {
    use rayon::prelude::*;
    let features = (1..).map(|id| FeatureShape { output_id: id, name: format!("f{id:03}"), numeric: true });
    let shape =
        Shape { outputs: vec![], dimensions: vec![], features: features.take(count as usize).collect(), ..shape() };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let (mut folding, mut cells) = (Duration::ZERO, [Vec::new(), Vec::new()]);
    for day in 0..2 * DAYS {
        let current = usize::from(day >= DAYS);
        let predictions: Vec<Prediction> = (0..rows / u32::try_from(DAYS).expect("days"))
            .map(|case| {
                // A quarter of the features moves by a tenth of its range.
                let value = |(at, feature): (usize, &FeatureShape)| {
                    let moved = if current == 1 && at % 4 == 0 { 0.1 } else { 0.0 };
                    (feature.name.clone(), format!("{:.6}", rng.random::<f64>() + moved))
                };
                Prediction {
                    case_id: format!("{day:08x}{case:024x}"),
                    subject_id: None,
                    occurred_at: start() + TimeDelta::days(day),
                    scores: vec![],
                    attributes: shape.features.iter().enumerate().map(value).collect(),
                    embedding: None,
                }
            })
            .collect();
        let began = Instant::now();
        cells[current].extend(fold(&shape, &predictions, &Known::default()).expect("a fold"));
        folding += began.elapsed();
    }
    let began = Instant::now();
    let [reference, current] = cells.map(over_buckets);
    let answers = current.par_iter().filter_map(|(cell, body)| {
        let reference = reference.get(cell)?.feature()?;
        Some(dosimeter::metric::feature::evaluate(Ok(reference), body.feature()?).len())
    });
    let metrics: usize = black_box(answers.sum());
    let evaluating = began.elapsed();
    println!(
        "features: {count} numeric features x 2 x {rows} rows: fold {folding:.1?}, {metrics} metrics in {evaluating:.1?}, together \
         {:.1} s, peak memory {} MB",
        (folding + evaluating).as_secs_f64(),
        peak_megabytes()
    );
}

/// The metrics with closed forms, of every group; returns how many groups there are.
fn closed_form(cells: impl Iterator<Item = (dosimeter::summary::fold::Cell, Body)>) -> usize {
    use dosimeter::metric::{calibration, discrimination, operating_point};
    use rayon::prelude::*;
    let parts = over_buckets(cells);
    parts.par_iter().filter_map(|(_, body)| body.output()).for_each(|summary| {
        black_box(discrimination::auroc(summary).is_ok());
        black_box(discrimination::average_precision(summary).is_ok());
        black_box(calibration::brier(summary).is_ok());
        black_box(calibration::log_loss(summary).is_ok());
        black_box(calibration::observed_expected(summary).is_ok());
        black_box(dosimeter::metric::curve::read(dosimeter::metric::curve::Curve::Reliability, summary).is_ok());
        black_box(operating_point::evaluate(summary, 0.5, None, None).len());
    });
    parts.len()
}

/// A hand-written single-threaded loop that counts by output, slice value and score.
fn counted(predictions: &[Prediction], known: &Known) -> usize {
    let mut counts: HashMap<(i32, u8, &str, u64, u8), u64> = HashMap::new();
    for prediction in predictions {
        for (output, score) in &prediction.scores {
            let truth = known.truths.get(&(prediction.case_id.clone(), *output));
            let class = truth.map_or(0, |truth| 1 + u8::from(truth.stated == Opinion::Positive));
            let key = channel::key(*score);
            *counts.entry((*output, 0, "", key, class)).or_default() += 1;
            for (at, value) in (1_u8..).zip(prediction.attributes.values()) {
                *counts.entry((*output, at, value, key, class)).or_default() += 1;
            }
        }
    }
    counts.len()
}

/// The process's peak memory, as Linux tells it; 0 elsewhere.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    if let Some(at) = std::env::args().position(|argument| argument == "large") {
        let cases = std::env::args().nth(at + 1).and_then(|text| text.parse().ok());
        return large(cases.unwrap_or(1_000_000));
    }
    if let Some(at) = std::env::args().position(|argument| argument == "features") {
        let number =
            |nth: usize, usual| std::env::args().nth(at + nth).and_then(|text| text.parse().ok()).unwrap_or(usual);
        return features(number(1, 100_000), number(2, 200));
    }
    if let Some(at) = std::env::args().position(|argument| argument == "realised") {
        return realised::run(std::env::args().nth(at + 1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::args().any(|argument| argument == "history") {
        return runtime.block_on(history::run());
    }
    if let Some(at) = std::env::args().position(|argument| argument == "push") {
        return runtime
            .block_on(push::run(std::env::args().nth(at + 1).and_then(|text| text.parse().ok()).unwrap_or(200_000)));
    }
    for cases in [6_000, 60_000] {
        let (predictions, known) = cases_of(cases);
        let name = |what: &str| format!("{what}, {cases} cases x {OUTPUTS} outputs x 6 slices, {DAYS} days");
        compare(
            &name("fold / hash-map counting loop"),
            || black_box(fold(&shape(), &predictions, &known)),
            || black_box(plain_counts(&predictions, &known)),
        );
        let summaries: Vec<_> = fold(&shape(), &predictions, &known).expect("a fold").into_iter().collect();
        compare(
            &name("a window from summaries / from rows"),
            || answers(summaries.clone()),
            || answers(fold(&shape(), &predictions, &known).expect("a fold")),
        );
    }
    runtime.block_on(intake(20_000));
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_740_787_200, 0).expect("an instant")
}

fn shape() -> Shape {
    let output = |id| OutputShape { output_id: id, truth_id: id, is_class: false, thresholds: vec![0.5] };
    Shape {
        outputs: (1..=OUTPUTS).map(output).collect(),
        dimensions: vec![Dimension::any("site"), Dimension::any("sex")],
        ..Shape::default()
    }
}

fn stated(positive: bool) -> Opinion {
    if positive { Opinion::Positive } else { Opinion::Negative }
}

fn cases_of(cases: u32) -> (Vec<Prediction>, Known) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut truths = Truths::new();
    let predictions = (0..cases).map(|case| {
        let occurred_at = start() + TimeDelta::seconds(rng.random_range(0..DAYS * 86_400));
        let case_id = format!("{case:032x}");
        let scores = (1..=OUTPUTS).map(|output| {
            let score: f64 = rng.random::<f64>().powi(3);
            if rng.random_bool(0.9) {
                let truth =
                    Truth { stated: stated(rng.random_bool(score)), known_at: occurred_at + TimeDelta::hours(30) };
                truths.insert((case_id.clone(), output), truth);
            }
            (output, score)
        });
        Prediction {
            scores: scores.collect(),
            attributes: BTreeMap::from([
                ("site".to_owned(), ["north", "south", "west"][rng.random_range(0..3)].to_owned()),
                ("sex".to_owned(), ["F", "M"][rng.random_range(0..2)].to_owned()),
            ]),
            case_id,
            subject_id: None,
            occurred_at,
            embedding: None,
        }
    });
    let predictions = predictions.collect();
    (predictions, Known { truths, ..Known::default() })
}

/// The same counts by one loop over a hash map.
fn plain_counts(predictions: &[Prediction], known: &Known) -> HashMap<(i32, String, i64, u64, u8), u64> {
    let mut counts = HashMap::new();
    for prediction in predictions {
        let day = prediction.occurred_at.timestamp() / 86_400;
        let slices = ["all".to_owned(), prediction.attributes["site"].clone(), prediction.attributes["sex"].clone()];
        for (output, score) in &prediction.scores {
            let class = known
                .truths
                .get(&(prediction.case_id.clone(), *output))
                .map_or(0, |truth| 1 + u8::from(truth.stated == Opinion::Positive));
            for slice in &slices {
                *counts.entry((*output, slice.clone(), day, channel::key(*score), class)).or_default() += 1;
            }
        }
    }
    counts
}

fn answers(summaries: impl IntoIterator<Item = (dosimeter::summary::fold::Cell, Body)>) -> usize {
    let question = Question {
        thresholds: &[0.5],
        minimum_n: 0,
        reference: Err(dosimeter::domain::Undefined::NoReference),
        costs: None,
        depth: dosimeter::metric::Depth::Published,
        mixes: &[],
    };
    let parts = over_buckets(summaries);
    parts.values().filter_map(Body::output).map(|summary| black_box(evaluate(&question, summary)).len()).sum()
}

/// A committed batch, with identities, duplicates and dirty buckets, against `COPY` of the same rows into a bare table.
async fn intake(cases: u32) {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        println!("skipped: DATABASE_URL names no Postgres for the intake");
        return;
    };
    let url = dosimeter::store::fresh_database(&url, "dosimeter_bench").await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let parsed = dosimeter::config::parse(dosimeter::demo::PLAN, folder.path(), &|_| None);
    let (mut plan, _) = parsed.expect("the demo's plan");
    plan.database.url = Some(dosimeter::config::Secret::new(&url));
    let app = dosimeter::app::App::start(plan, dosimeter::clock::Clock::system()).await.expect("an app");
    let store = app.context().store;
    let version_id = store.version_number(1, "bench", start()).await.expect("a version");
    let pool = sqlx::PgPool::connect(&url).await.expect("the database answers");
    sqlx::raw_sql("create table bare (case_id text, record_id text, version_id integer, occurred_at timestamptz, scores float8[], attributes jsonb)")
        .execute(&pool)
        .await
        .expect("a table");
    let mut best = [Duration::MAX; 2];
    for run in 0..5_u32 {
        let (predictions, _) = cases_of(cases);
        let mut text = String::new();
        let rows = predictions.into_iter().enumerate().map(|(row, mut prediction)| {
            prediction.case_id = format!("{run}-{}", prediction.case_id);
            let scores: Vec<String> = prediction.scores.iter().map(|(_, score)| score.to_string()).collect();
            let attributes = serde_json::to_string(&prediction.attributes).expect("JSON");
            let (case, at) = (&prediction.case_id, prediction.occurred_at.to_rfc3339());
            text.push_str(&format!("{case}\t{row}\t{version_id}\t{at}\t{{{}}}\t{attributes}\n", scores.join(",")));
            NewPrediction {
                record_id: row.to_string(),
                digest: [7; 32],
                version: "bench".to_owned(),
                version_id,
                prediction,
                position: Position { line: 0, item: 0 },
            }
        });
        let batch = Batch {
            predictions: rows.collect(),
            assertions: vec![],
            rejections: vec![],
            duplicates: 0,
            ignored: 0,
            source: "predictions".into(),
            origin: run.to_string(),
            progress: Progress::Sent,
        };
        let began = Instant::now();
        let committed = store.commit_batch(None, batch, start()).await.expect("a batch").committed;
        best[0] = best[0].min(began.elapsed());
        assert_eq!(committed.accepted, u64::from(cases));
        let began = Instant::now();
        let mut copy = pool.copy_in_raw("copy bare from stdin").await.expect("a copy");
        copy.send(text.as_bytes()).await.expect("rows");
        copy.finish().await.expect("an end");
        best[1] = best[1].min(began.elapsed());
    }
    report(&format!("a committed batch of {cases} predictions / COPY into a bare table"), best);
    let rate = f64::from(cases) / best[0].as_secs_f64();
    println!("{rate:>10.0} predictions a second");
}

fn compare<A, B>(name: &str, mut ours: impl FnMut() -> A, mut theirs: impl FnMut() -> B) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..5 {
        let began = Instant::now();
        black_box(ours());
        best[0] = best[0].min(began.elapsed());
        let began = Instant::now();
        black_box(theirs());
        best[1] = best[1].min(began.elapsed());
    }
    report(name, best);
}

fn report(name: &str, [ours, theirs]: [Duration; 2]) {
    println!("{:>10.2} = {ours:.1?} / {theirs:.1?}  {name}", ours.as_secs_f64() / theirs.as_secs_f64());
}
