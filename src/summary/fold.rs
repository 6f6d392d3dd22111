//! The fold: rows become summaries.
//!
//! Predictions are joined with truth, exploded over outputs, and counted by slice, bucket, score channel and class in
//! polars. Polars only joins and counts integers: floating-point sums there would depend on the order of rows, so powers
//! and losses are computed once per distinct channel, in [`Summary::new`].

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use polars::prelude::*;

use super::Summary;
use crate::domain::truth::Truth;
use crate::domain::{Dimension, Granularity, Prediction, Slice};
use crate::stats::channel;
use crate::stats::spectrum::Class;

/// What the rows of one version are folded into.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Outputs of the model.
    pub outputs: Vec<OutputShape>,
    /// Slice dimensions; every value becomes a slice.
    pub dimensions: Vec<Dimension>,
    /// Crossings: each is a list of indices into `dimensions`.
    pub crossings: Vec<Vec<usize>>,
    /// Length of a bucket.
    pub granularity: Granularity,
}

/// One output of a model.
#[derive(Clone, Debug)]
pub struct OutputShape {
    /// The output's number in the store.
    pub output_id: i32,
    /// The finding that its truth is stated about.
    pub truth_id: i32,
    /// Operating points of the plan.
    pub thresholds: Vec<f64>,
}

/// Truth by case and finding, as a policy decided it.
pub type Truths = HashMap<(String, i32), Truth>;

/// Where a summary belongs within its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The output's number in the store.
    pub output_id: i32,
    /// The slice.
    pub slice: Slice,
    /// Start of the bucket.
    pub bucket: DateTime<Utc>,
}

/// Summaries of a window by output and slice.
pub type Parts = BTreeMap<(i32, Slice), Summary>;

/// Merge the summaries of buckets into those of the window that the buckets make up.
#[must_use]
pub fn over_buckets(summaries: impl IntoIterator<Item = (Cell, Summary)>) -> Parts {
    let mut buckets: BTreeMap<(i32, Slice), Vec<Summary>> = BTreeMap::new();
    for (Cell { output_id, slice, .. }, summary) in summaries {
        buckets.entry((output_id, slice)).or_default().push(summary);
    }
    buckets.into_iter().map(|(key, buckets)| (key, Summary::merge_all(buckets))).collect()
}

/// Fold the predictions of one version. The order of the rows does not matter.
///
/// # Errors
/// When polars refuses a frame, which its documentation allows for lack of memory only.
pub fn fold(shape: &Shape, predictions: &[Prediction], truths: &Truths) -> PolarsResult<BTreeMap<Cell, Summary>> {
    if predictions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let codes = Codes::new(shape, predictions);
    let joined = join(shape, predictions, truths, &codes)?;
    let mut summaries = BTreeMap::new();
    let crossings = (0..shape.dimensions.len()).map(|index| vec![index]).chain(shape.crossings.iter().cloned());
    for crossing in std::iter::once(Vec::new()).chain(crossings) {
        let mut cells = count_by(&joined, &crossing, "key")?;
        let mut delays = count_by(&joined, &crossing, "delay")?;
        for (place, cells) in cells.drain() {
            let delays = delays.remove(&place).unwrap_or_default();
            let output_id = place.output_id;
            let thresholds = shape.outputs.iter().find(|output| output.output_id == output_id);
            let thresholds = thresholds.map_or(&[][..], |output| &output.thresholds);
            let hours = hours_of(delays);
            let key_cells = cells.into_iter().map(|(key, class, count)| (key, class, count)).collect();
            summaries.insert(place.cell(shape, &crossing, &codes), Summary::new(key_cells, hours, thresholds));
        }
    }
    Ok(summaries)
}

/// Slice values as small numbers, per dimension.
struct Codes {
    /// `rows[dimension][prediction]`.
    rows: Vec<Vec<u32>>,
    /// `values[dimension][code]`.
    values: Vec<Vec<String>>,
}

impl Codes {
    fn new(shape: &Shape, predictions: &[Prediction]) -> Self {
        let mut codes = Self { rows: Vec::new(), values: Vec::new() };
        for dimension in &shape.dimensions {
            let mut known: HashMap<String, u32> = HashMap::new();
            let mut values = Vec::new();
            let mut rows = Vec::with_capacity(predictions.len());
            for prediction in predictions {
                let value = dimension.value(prediction.attributes.get(&dimension.name).map(String::as_str));
                let next = u32::try_from(values.len()).unwrap_or(u32::MAX);
                rows.push(*known.entry(value).or_insert_with_key(|value| {
                    values.push(value.clone());
                    next
                }));
            }
            codes.rows.push(rows);
            codes.values.push(values);
        }
        codes
    }
}

/// One row per prediction and output: output, bucket, key, class, delay in hours, and a code per dimension.
fn join(shape: &Shape, predictions: &[Prediction], truths: &Truths, codes: &Codes) -> PolarsResult<DataFrame> {
    let mut cases: HashMap<&str, u32> = HashMap::with_capacity(predictions.len());
    let mut case_of = Vec::with_capacity(predictions.len());
    for prediction in predictions {
        let next = u32::try_from(cases.len()).unwrap_or(u32::MAX);
        case_of.push(*cases.entry(&prediction.case_id).or_insert(next));
    }

    let truth_of: HashMap<i32, i32> = shape.outputs.iter().map(|output| (output.output_id, output.truth_id)).collect();
    let scored = predictions.iter().enumerate().flat_map(|(row, prediction)| {
        prediction
            .scores
            .iter()
            .filter_map(|(output, score)| {
                truth_of.get(output).map(|truth| (u32::try_from(row).unwrap_or(u32::MAX), *output, *truth, *score))
            })
            .collect::<Vec<_>>()
    });
    let (mut row, mut output, mut truth, mut key) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, output_id, truth_id, score) in scored {
        row.push(at);
        output.push(output_id);
        truth.push(truth_id);
        key.push(channel::key(score));
    }
    let scores = df!("row" => row, "output" => output, "truth" => truth, "key" => key)?;

    let bucket = predictions.iter().map(|p| shape.granularity.start_of(p.occurred_at).timestamp_micros());
    let occurred = predictions.iter().map(|p| p.occurred_at.timestamp_micros());
    let mut rows = df!(
        "row" => (0..predictions.len()).map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect::<Vec<_>>(),
        "case" => case_of,
        "bucket" => bucket.collect::<Vec<_>>(),
        "occurred" => occurred.collect::<Vec<_>>(),
    )?;
    for (index, column) in codes.rows.iter().enumerate() {
        rows.with_column(Column::new(dimension_column(index).into(), column))?;
    }

    let known =
        truths.iter().filter_map(|((case, truth), settled)| Some((*cases.get(case.as_str())?, *truth, settled)));
    let (mut case, mut truth, mut class, mut known_at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (case_index, truth_id, settled) in known {
        case.push(case_index);
        truth.push(truth_id);
        class.push(if settled.positive { 2_u32 } else { 1 });
        known_at.push(settled.known_at.timestamp_micros());
    }
    let truth = df!("case" => case, "truth" => truth, "class" => class, "known" => known_at)?;

    // Truth may be stated before the prediction is made; that is no delay at all.
    let delay = when(col("known").lt(col("occurred")))
        .then(lit(0_i64))
        .otherwise((col("known") - col("occurred")) / lit(3_600_000_000_i64));
    scores
        .lazy()
        .join(rows.lazy(), [col("row")], [col("row")], JoinArgs::new(JoinType::Inner))
        .join(truth.lazy(), [col("case"), col("truth")], [col("case"), col("truth")], JoinArgs::new(JoinType::Left))
        .with_columns([col("class").fill_null(lit(0_u32)), delay.cast(DataType::UInt64).alias("delay")])
        .collect()
}

/// A place within one crossing: output, bucket and a code per dimension of the crossing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    output_id: i32,
    bucket: i64,
    codes: Vec<u32>,
}

impl Place {
    fn cell(&self, shape: &Shape, crossing: &[usize], codes: &Codes) -> Cell {
        let cells = crossing.iter().zip(&self.codes).map(|(dimension, code)| {
            let value = codes.values[*dimension][usize::try_from(*code).unwrap_or(usize::MAX)].clone();
            (shape.dimensions[*dimension].name.clone(), value)
        });
        Cell {
            output_id: self.output_id,
            slice: Slice::crossing(cells),
            // unwrap safety: the number came from a DateTime.
            bucket: DateTime::from_timestamp_micros(self.bucket).unwrap_or_default(),
        }
    }
}

type Counts = HashMap<Place, Vec<(u64, Class, u64)>>;

/// Count rows by output, bucket, the crossing's values, `value` and class; rows without a `value` are left out.
fn count_by(joined: &DataFrame, crossing: &[usize], value: &str) -> PolarsResult<Counts> {
    let dimensions: Vec<String> = crossing.iter().map(|index| dimension_column(*index)).collect();
    let mut by = vec![col("output"), col("bucket"), col(value), col("class")];
    by.extend(dimensions.iter().map(|name| col(name.as_str())));
    let counted = joined
        .clone()
        .lazy()
        .filter(col(value).is_not_null())
        .group_by(by)
        .agg([len().cast(DataType::UInt64).alias("rows")])
        .collect()?;
    let (output, bucket) = (counted.column("output")?.i32()?, counted.column("bucket")?.i64()?);
    let (value, class) = (counted.column(value)?.u64()?, counted.column("class")?.u32()?);
    let rows = counted.column("rows")?.u64()?;
    let codes: Vec<&UInt32Chunked> =
        dimensions.iter().map(|name| counted.column(name)?.u32()).collect::<PolarsResult<_>>()?;
    let mut counts = Counts::new();
    for at in 0..counted.height() {
        // unwrap safety: none of these columns has a null: `value` is filtered, the others are never null.
        let place = Place {
            output_id: output.get(at).unwrap_or_default(),
            bucket: bucket.get(at).unwrap_or_default(),
            codes: codes.iter().map(|column| column.get(at).unwrap_or_default()).collect(),
        };
        let class = Class::ALL[usize::try_from(class.get(at).unwrap_or_default()).unwrap_or_default()];
        let cell = (value.get(at).unwrap_or_default(), class, rows.get(at).unwrap_or_default());
        counts.entry(place).or_default().push(cell);
    }
    Ok(counts)
}

fn hours_of(delays: Vec<(u64, Class, u64)>) -> BTreeMap<u32, u64> {
    let mut hours = BTreeMap::new();
    for (delay, _, count) in delays {
        *hours.entry(u32::try_from(delay).unwrap_or(u32::MAX)).or_default() += count;
    }
    hours
}

fn dimension_column(index: usize) -> String {
    format!("dimension {index}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape() -> Shape {
        Shape {
            outputs: vec![
                OutputShape { output_id: 7, truth_id: 70, thresholds: vec![0.5] },
                OutputShape { output_id: 8, truth_id: 80, thresholds: vec![] },
            ],
            dimensions: vec![Dimension::any("view"), Dimension::any("sex")],
            crossings: vec![vec![0, 1]],
            granularity: Granularity::Day,
        }
    }

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(day * 86_400 + 4000, 0).expect("a valid day")
    }

    /// The obvious way: for every cell that any row belongs to, walk all rows.
    fn plain(shape: &Shape, predictions: &[Prediction], truths: &Truths) -> BTreeMap<Cell, Summary> {
        let mut rows: BTreeMap<Cell, (Vec<(u64, Class, u64)>, BTreeMap<u32, u64>)> = BTreeMap::new();
        for prediction in predictions {
            let value = |name: &str| {
                let dimension = shape.dimensions.iter().find(|d| d.name == name).expect("a declared dimension");
                dimension.value(prediction.attributes.get(name).map(String::as_str))
            };
            let pair = |name: &str| (name.to_owned(), value(name));
            let slices =
                [vec![], vec![pair("view")], vec![pair("sex")], vec![pair("view"), pair("sex")]].map(Slice::crossing);
            for (output_id, score) in &prediction.scores {
                let truth = truths.get(&(prediction.case_id.clone(), output_id * 10));
                for slice in &slices {
                    let bucket = Granularity::Day.start_of(prediction.occurred_at);
                    let cell = Cell { output_id: *output_id, slice: slice.clone(), bucket };
                    let (cells, delays) = rows.entry(cell).or_default();
                    let class = match truth {
                        None => Class::Unlabelled,
                        Some(truth) if truth.positive => Class::Positive,
                        Some(_) => Class::Negative,
                    };
                    cells.push((channel::key(*score), class, 1));
                    if let Some(truth) = truth {
                        let hours = (truth.known_at - prediction.occurred_at).num_hours().max(0);
                        *delays.entry(u32::try_from(hours).expect("small")).or_default() += 1;
                    }
                }
            }
        }
        let thresholds = |cell: &Cell| if cell.output_id == 7 { vec![0.5] } else { vec![] };
        rows.into_iter()
            .map(|(cell, (cells, delays))| {
                let summary = Summary::new(cells, delays, &thresholds(&cell));
                (cell, summary)
            })
            .collect()
    }

    fn predictions() -> impl Strategy<Value = Vec<Prediction>> {
        let one = (0..30_u32, 0..3_i64, 0..=20_u32, 0..=20_u32, 0..3_usize, 0..2_usize);
        prop::collection::vec(one, 1..60).prop_map(|rows| {
            rows.into_iter()
                .map(|(case, on, first, second, view, sex)| Prediction {
                    case_id: format!("case {case}"),
                    occurred_at: day(on),
                    scores: vec![(7, f64::from(first) / 20.0), (8, f64::from(second) / 20.0)],
                    attributes: [("view", ["AP", "PA", ""][view]), ("sex", ["F", "M"][sex])]
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .into(),
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_fold_agrees_with_the_obvious_way(
            rows in predictions(),
            labels in prop::collection::vec((0..30_u32, any::<bool>(), any::<bool>(), -1..9_i64), 0..40),
        ) {
            let truths: Truths = labels.into_iter().map(|(case, second, positive, on)| {
                let truth = Truth { positive, known_at: day(on) };
                ((format!("case {case}"), if second { 80 } else { 70 }), truth)
            }).collect();
            let folded = fold(&shape(), &rows, &truths).expect("a fold");
            prop_assert_eq!(folded, plain(&shape(), &rows, &truths));
        }
    }
}
