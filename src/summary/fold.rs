//! The fold: rows become summaries.
//!
//! Predictions are joined with truth, exploded over outputs and sorted by score in polars; then one pass per crossing counts
//! them by slice, bucket, score channel and class. Polars only joins and sorts: floating-point sums there would depend on the
//! order of rows, so powers and losses are fixed-point terms, computed once per row and added as integers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use polars::prelude::*;
use rayon::prelude::*;

use super::body::Body;
use super::{Summary, by_case, by_place};
use crate::domain::slice::TOO_MANY;
use crate::domain::truth::Truth;
use crate::domain::{Dimension, Granularity, Opinion, Prediction, Slice};
use crate::stats::channel::{self, Scale};
use crate::stats::moments::{Moments, Terms};
use crate::stats::projector::Projector;
use crate::stats::spectrum::{Channel, Class, Spectrum};

/// What the rows of one version are folded into.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Outputs of the model.
    pub outputs: Vec<OutputShape>,
    /// Slice dimensions; every value becomes a slice.
    pub dimensions: Vec<Dimension>,
    /// Crossings: each is a list of indices into `dimensions`.
    pub crossings: Vec<Vec<usize>>,
    /// Features of the input.
    pub features: Vec<FeatureShape>,
    /// Findings whose readers are compared.
    pub readers: Vec<ReadersShape>,
    /// Choices among classes.
    pub classes: Vec<ClassesShape>,
    /// Predicted values.
    pub values: Vec<ValueShape>,
    /// The embeddings, if the model has some.
    pub embedding: Option<EmbeddingShape>,
    /// Length of a bucket.
    pub granularity: Granularity,
}

/// One feature of the input.
#[derive(Clone, Debug)]
pub struct FeatureShape {
    /// The feature's number in the store.
    pub output_id: i32,
    /// The attribute that holds it.
    pub name: String,
    /// Whether it is a number; else a category.
    pub numeric: bool,
}

/// One finding whose readers are compared.
#[derive(Clone, Copy, Debug)]
pub struct ReadersShape {
    /// The quantity's number in the store.
    pub output_id: i32,
    /// The finding.
    pub truth_id: i32,
}

/// One choice among classes.
#[derive(Clone, Debug)]
pub struct ClassesShape {
    /// The quantity's number in the store.
    pub output_id: i32,
    /// The finding that its truth is stated about.
    pub truth_id: i32,
    /// The output of each class.
    pub classes: Vec<i32>,
}

/// One predicted value.
#[derive(Clone, Copy, Debug)]
pub struct ValueShape {
    /// The output's number in the store.
    pub output_id: i32,
    /// The finding that its truth is stated about.
    pub truth_id: i32,
}

/// The embeddings of a model's input.
#[derive(Clone, Debug)]
pub struct EmbeddingShape {
    /// The quantity's number in the store.
    pub output_id: i32,
    /// Numbers that an embedding has.
    pub dimensions: usize,
    /// What the reference froze of them; without one they are only counted.
    pub projector: Option<Arc<Projector>>,
}

/// One output of a model.
#[derive(Clone, Debug)]
pub struct OutputShape {
    /// The output's number in the store.
    pub output_id: i32,
    /// The finding that its truth is stated about.
    pub truth_id: i32,
    /// Whether it is the probability of a class, of several.
    pub is_class: bool,
    /// Operating points of the plan.
    pub thresholds: Vec<f64>,
}

/// Truth by case and finding, as a policy decided it.
pub type Truths = HashMap<(String, i32), Truth>;

/// What is known of the truth of cases.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Truth as the policy decides it.
    pub truths: Truths,
    /// What each reader says of a case and finding, in alphabetical order of reader.
    pub readings: Readings,
}

/// The opinion of each reader, by case and finding.
pub type Readings = HashMap<(String, i32), Vec<(String, Opinion)>>;

impl Shape {
    /// The numbers of the outputs whose scores are needed.
    #[must_use]
    pub fn output_ids(&self) -> Vec<i32> {
        let classes = self.classes.iter().flat_map(|choice| choice.classes.iter().copied());
        let values = self.values.iter().map(|value| value.output_id);
        self.outputs.iter().map(|output| output.output_id).chain(classes).chain(values).collect()
    }

    /// The findings that truth is needed of.
    #[must_use]
    pub fn truth_ids(&self) -> Vec<i32> {
        let readers = self.readers.iter().map(|finding| finding.truth_id);
        let classes = self.classes.iter().map(|choice| choice.truth_id);
        let values = self.values.iter().map(|value| value.truth_id);
        self.outputs.iter().map(|output| output.truth_id).chain(readers).chain(classes).chain(values).collect()
    }

    /// Leave out everything but one quantity.
    pub fn keep_only(&mut self, output_id: i32) {
        self.outputs.retain(|output| output.output_id == output_id);
        self.features.retain(|feature| feature.output_id == output_id);
        self.readers.retain(|finding| finding.output_id == output_id);
        self.classes.retain(|choice| choice.output_id == output_id);
        self.values.retain(|value| value.output_id == output_id);
        self.embedding = self.embedding.take().filter(|embedding| embedding.output_id == output_id);
    }
}

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
pub type Parts = BTreeMap<(i32, Slice), Body>;

/// Merge the summaries of buckets into those of the window that the buckets make up.
#[must_use]
pub fn over_buckets(summaries: impl IntoIterator<Item = (Cell, Body)>) -> Parts {
    let mut buckets: BTreeMap<(i32, Slice), Vec<Body>> = BTreeMap::new();
    for (Cell { output_id, slice, .. }, summary) in summaries {
        buckets.entry((output_id, slice)).or_default().push(summary);
    }
    buckets.into_par_iter().filter_map(|(key, buckets)| Some((key, Body::merge_all(buckets)?))).collect()
}

/// Fold the predictions of one version. The order of the rows does not matter.
///
/// # Errors
/// When polars refuses a frame, which its documentation allows for lack of memory only.
pub fn fold(shape: &Shape, predictions: &[Prediction], known: &Known) -> PolarsResult<BTreeMap<Cell, Body>> {
    if predictions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let codes = Codes::new(shape, predictions);
    let sorted = join(shape, predictions, &known.truths)?;
    let mut summaries = count(shape, &codes, &Rows::of(&sorted)?);
    summaries.extend(by_case::fold(shape, predictions, known));
    summaries.extend(by_place::fold(shape, &codes, predictions, &known.truths));
    Ok(summaries)
}

/// Where rows count: buckets and slice values as small numbers.
pub(super) struct Codes {
    /// `values[dimension][code]`.
    values: Vec<Vec<String>>,
    /// The crossings of dimensions: of none (everything), of each one, and the declared ones.
    pub(super) crossings: Vec<Crossing>,
    buckets: Vec<DateTime<Utc>>,
}

/// One crossing of dimensions.
pub(super) struct Crossing {
    dimensions: Vec<usize>,
    /// The distinct places: the bucket and the value of each dimension as the digits of one number.
    pub(super) places: Vec<u64>,
    /// The position in `places` of each prediction.
    pub(super) place_of: Vec<u32>,
}

impl Codes {
    fn new(shape: &Shape, predictions: &[Prediction]) -> Self {
        let starts = predictions.iter().map(|prediction| shape.granularity.start_of(prediction.occurred_at));
        let (buckets, bucket_of) = numbered(starts);
        let columns = shape.dimensions.iter().map(|dimension| {
            let attribute = |p: &Prediction| dimension.value(p.attributes.get(&dimension.name).map(String::as_str));
            let values = predictions.iter().map(attribute).collect();
            numbered(bounded(dimension, values, &bucket_of).into_iter())
        });
        let (values, codes): (Vec<Vec<String>>, Vec<Vec<u64>>) = columns.unzip();
        let singles = (0..values.len()).map(|index| vec![index]);
        let crossings: Vec<Vec<usize>> =
            std::iter::once(Vec::new()).chain(singles).chain(shape.crossings.iter().cloned()).collect();
        let crossing = |dimensions: Vec<usize>| {
            let place = |row: usize| {
                dimensions.iter().fold(bucket_of[row], |place, at| place * values[*at].len() as u64 + codes[*at][row])
            };
            let (places, place_of) = numbered((0..predictions.len()).map(place));
            let place_of = place_of.into_iter().map(|place| u32::try_from(place).unwrap_or(u32::MAX)).collect();
            Crossing { dimensions, places, place_of }
        };
        Self { crossings: crossings.into_iter().map(crossing).collect(), values, buckets }
    }

    /// The cell of a quantity in a place.
    pub(super) fn cell(&self, shape: &Shape, crossing: &Crossing, output_id: i32, place: u64) -> Cell {
        let mut rest = place;
        let mut pairs = Vec::new();
        for index in crossing.dimensions.iter().rev() {
            let values = &self.values[*index];
            let digit = usize::try_from(rest % values.len() as u64).unwrap_or_default();
            rest /= values.len() as u64;
            pairs.push((shape.dimensions[*index].name.clone(), values[digit].clone()));
        }
        let bucket = self.buckets[usize::try_from(rest).unwrap_or_default()];
        Cell { output_id, slice: Slice::crossing(pairs), bucket }
    }
}

/// The values of a dimension, but of buckets that have too many of them. Which buckets those are depends on their rows alone.
fn bounded(dimension: &Dimension, mut values: Vec<String>, bucket_of: &[u64]) -> Vec<String> {
    let mut distinct: HashMap<u64, HashSet<&str>> = HashMap::new();
    for (value, bucket) in values.iter().zip(bucket_of) {
        distinct.entry(*bucket).or_default().insert(value);
    }
    distinct.retain(|_, values| values.len() > dimension.most_values);
    let crowded: HashSet<u64> = distinct.into_keys().collect();
    for (value, _) in values.iter_mut().zip(bucket_of).filter(|(_, bucket)| crowded.contains(bucket)) {
        TOO_MANY.clone_into(value);
    }
    values
}

/// Distinct values in the order of their first appearance, and the number of each item's value.
fn numbered<T: Clone + Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> (Vec<T>, Vec<u64>) {
    let mut known: HashMap<T, u64> = HashMap::new();
    let mut values = Vec::new();
    let numbers = items.map(|item| {
        let next = values.len() as u64;
        *known.entry(item).or_insert_with_key(|item| {
            values.push(item.clone());
            next
        })
    });
    let numbers = numbers.collect();
    (values, numbers)
}

/// One row per prediction and output: its prediction, output, key, class, and delay in hours where there is truth; by output
/// and key in ascending order.
fn join(shape: &Shape, predictions: &[Prediction], truths: &Truths) -> PolarsResult<DataFrame> {
    let mut cases: HashMap<&str, u32> = HashMap::with_capacity(predictions.len());
    let mut case_of = Vec::with_capacity(predictions.len());
    for prediction in predictions {
        let next = u32::try_from(cases.len()).unwrap_or(u32::MAX);
        case_of.push(*cases.entry(&prediction.case_id).or_insert(next));
    }

    let mut outputs_of: HashMap<i32, Vec<&OutputShape>> = HashMap::new();
    shape.outputs.iter().for_each(|output| outputs_of.entry(output.truth_id).or_default().push(output));
    let known_outputs: HashSet<i32> = shape.outputs.iter().map(|output| output.output_id).collect();
    let (mut row, mut output, mut key) = (Vec::new(), Vec::new(), Vec::new());
    for (at, prediction) in (0_u32..).zip(predictions) {
        for (output_id, score) in prediction.scores.iter().filter(|(output_id, _)| known_outputs.contains(output_id)) {
            row.push(at);
            output.push(*output_id);
            key.push(channel::key(*score));
        }
    }
    let scores = df!("row" => row, "output" => output, "key" => key)?;

    let occurred = predictions.iter().map(|p| p.occurred_at.timestamp_micros());
    let rows = df!(
        "row" => (0..predictions.len()).map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect::<Vec<_>>(),
        "case" => case_of,
        "occurred" => occurred.collect::<Vec<_>>(),
    )?;
    // A finding may be the truth of several outputs, and a class is that of one and not of the others.
    let (mut case, mut output, mut class, mut known_at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((case_id, truth_id), settled) in truths {
        let Some(case_index) = cases.get(case_id.as_str()) else { continue };
        for of in outputs_of.get(truth_id).into_iter().flatten() {
            let Some(positive) = settled.holds_for(of.output_id, of.is_class) else { continue };
            case.push(*case_index);
            output.push(of.output_id);
            class.push(if positive { 2_u32 } else { 1 });
            known_at.push(settled.known_at.timestamp_micros());
        }
    }
    let truth = df!("case" => case, "output" => output, "class" => class, "known" => known_at)?;

    // Truth may be stated before the prediction is made; that is no delay at all.
    let delay = when(col("known").lt(col("occurred")))
        .then(lit(0_i64))
        .otherwise((col("known") - col("occurred")) / lit(3_600_000_000_i64));
    scores
        .lazy()
        .join(rows.lazy(), [col("row")], [col("row")], JoinArgs::new(JoinType::Inner))
        .join(truth.lazy(), [col("case"), col("output")], [col("case"), col("output")], JoinArgs::new(JoinType::Left))
        .with_columns([col("class").fill_null(lit(0_u32)), delay.cast(DataType::UInt32).alias("delay")])
        .select([col("row"), col("output"), col("key"), col("class"), col("delay").fill_null(lit(u32::MAX))])
        .sort(["output", "key"], SortMultipleOptions::default())
        .collect()
}

/// The columns of the joined frame.
struct Rows {
    row: Vec<u32>,
    output: Vec<i32>,
    key: Vec<u64>,
    class: Vec<Class>,
    /// `u32::MAX` without truth.
    delay: Vec<u32>,
}

impl Rows {
    fn of(joined: &DataFrame) -> PolarsResult<Self> {
        // None of these columns has a null: the joins are inner, or filled.
        Ok(Self {
            row: joined.column("row")?.u32()?.into_no_null_iter().collect(),
            output: joined.column("output")?.i32()?.into_no_null_iter().collect(),
            key: joined.column("key")?.u64()?.into_no_null_iter().collect(),
            class: joined
                .column("class")?
                .u32()?
                .into_no_null_iter()
                .map(|class| Class::ALL[class as usize % 3])
                .collect(),
            delay: joined.column("delay")?.u32()?.into_no_null_iter().collect(),
        })
    }
}

/// Count the rows of every output in every crossing. They ascend by score, so the channels of every place come out in order
/// and nothing has to be looked up; what a row adds to the sums is computed once for all crossings.
fn count(shape: &Shape, codes: &Codes, rows: &Rows) -> BTreeMap<Cell, Body> {
    let outputs: Vec<std::ops::Range<usize>> = rows
        .output
        .chunk_by(|a, b| a == b)
        .scan(0, |start, chunk| {
            let range = *start..*start + chunk.len();
            *start = range.end;
            Some(range)
        })
        .collect();
    let counted = outputs.into_par_iter().flat_map_iter(|range| {
        let output_id = rows.output[range.start];
        let output = shape.outputs.iter().find(|output| output.output_id == output_id);
        let thresholds = output.map_or(&[][..], |output| &output.thresholds);
        let terms: Vec<Terms> =
            range.clone().map(|at| Terms::of(Scale::Probability.value(rows.key[at]), rows.class[at])).collect();
        codes
            .crossings
            .iter()
            .flat_map(move |crossing| {
                let mut places: Vec<Counting> = Vec::new();
                places.resize_with(crossing.places.len(), Counting::default);
                for (at, terms) in range.clone().zip(&terms) {
                    let place = crossing.place_of[rows.row[at] as usize] as usize;
                    places[place].add(rows.key[at], rows.class[at], rows.delay[at], terms);
                }
                let counted = places.into_iter().zip(&crossing.places).filter(|(place, _)| !place.channels.is_empty());
                let summaries = counted.map(|(counting, place)| {
                    (codes.cell(shape, crossing, output_id, *place), Body::Output(counting.finish(thresholds)))
                });
                summaries.collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    });
    counted.collect::<Vec<_>>().into_iter().collect()
}

/// What has been counted of one place.
#[derive(Default)]
struct Counting {
    channels: Vec<Channel>,
    moments: Moments,
    /// Labelled rows by hours, as long as these are few; then by hours in a map.
    hours: Vec<u64>,
    far: BTreeMap<u32, u64>,
}

/// Delays below this many hours are counted in a list.
const NEAR: usize = 1 << 13;

impl Counting {
    fn add(&mut self, key: u64, class: Class, delay: u32, terms: &Terms) {
        match self.channels.last_mut() {
            Some(last) if last.key == key => last.counts[class.index()] += 1,
            _ => {
                let mut channel = Channel::empty(key);
                channel.counts[class.index()] = 1;
                self.channels.push(channel);
            }
        }
        self.moments.add_terms(terms, class, 1);
        if class == Class::Unlabelled {
            return;
        }
        let hours = delay as usize;
        if hours >= NEAR {
            *self.far.entry(delay).or_default() += 1;
            return;
        }
        if self.hours.len() <= hours {
            self.hours.resize(hours + 1, 0);
        }
        self.hours[hours] += 1;
    }

    fn finish(self, thresholds: &[f64]) -> Summary {
        let near = (0_u32..).zip(self.hours).filter(|(_, count)| *count > 0);
        let delays = near.chain(self.far).collect();
        let spectrum = Spectrum::from_ascending(Scale::Probability, self.channels);
        Summary::of_exact(spectrum, self.moments, delays, thresholds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::domain::Real;
    use crate::summary::agreement::Agreement;
    use crate::summary::classes::{Choice, ClassSummary};
    use crate::summary::feature::FeatureSummary;
    use crate::summary::value::{ValueSummary, Valued};
    use proptest::prelude::*;

    fn shape() -> Shape {
        Shape {
            outputs: vec![
                OutputShape { output_id: 7, truth_id: 70, is_class: false, thresholds: vec![0.5] },
                OutputShape { output_id: 8, truth_id: 80, is_class: false, thresholds: vec![] },
            ],
            dimensions: vec![Dimension::any("view"), Dimension::any("sex")],
            crossings: vec![vec![0, 1]],
            features: vec![
                FeatureShape { output_id: 21, name: "view".into(), numeric: true },
                FeatureShape { output_id: 20, name: "sex".into(), numeric: false },
            ],
            readers: vec![ReadersShape { output_id: 30, truth_id: 70 }],
            classes: vec![ClassesShape { output_id: 40, truth_id: 90, classes: vec![7, 8] }],
            values: vec![ValueShape { output_id: 9, truth_id: 91 }],
            embedding: None,
            granularity: Granularity::Day,
        }
    }

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(day * 86_400 + 4000, 0).expect("a valid day")
    }

    /// The obvious way: for every cell that any row belongs to, walk all rows.
    fn plain(shape: &Shape, predictions: &[Prediction], known: &Known) -> BTreeMap<Cell, Body> {
        let truths = &known.truths;
        let mut rows: BTreeMap<Cell, (Vec<(u64, Class, u64)>, BTreeMap<u32, u64>)> = BTreeMap::new();
        for prediction in predictions {
            let value = |name: &str| {
                let dimension = shape.dimensions.iter().find(|d| d.name == name).expect("a declared dimension");
                dimension.value(prediction.attributes.get(name).map(String::as_str))
            };
            let pair = |name: &str| (name.to_owned(), value(name));
            let slices =
                [vec![], vec![pair("view")], vec![pair("sex")], vec![pair("view"), pair("sex")]].map(Slice::crossing);
            for (output_id, score) in prediction.scores.iter().filter(|(output_id, _)| *output_id < 9) {
                let truth = truths.get(&(prediction.case_id.clone(), output_id * 10));
                for slice in &slices {
                    let bucket = Granularity::Day.start_of(prediction.occurred_at);
                    let cell = Cell { output_id: *output_id, slice: slice.clone(), bucket };
                    let (cells, delays) = rows.entry(cell).or_default();
                    let class = match truth {
                        None => Class::Unlabelled,
                        Some(truth) if truth.holds_for(*output_id, false) == Some(true) => Class::Positive,
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
        let mut bodies: BTreeMap<Cell, Body> = rows
            .into_iter()
            .map(|(cell, (cells, delays))| {
                let summary = Summary::new(cells, delays, &thresholds(&cell));
                (cell, Body::Output(summary))
            })
            .collect();
        for start in predictions.iter().map(|p| Granularity::Day.start_of(p.occurred_at)).collect::<BTreeSet<_>>() {
            let own: Vec<&Prediction> =
                predictions.iter().filter(|p| Granularity::Day.start_of(p.occurred_at) == start).collect();
            let cell = |output_id| Cell { output_id, slice: Slice::all(), bucket: start };
            let (mut sex, mut view) = (FeatureSummary::default(), FeatureSummary::default());
            let inputs: BTreeSet<_> = own.iter().map(|p| (&p.case_id, &p.attributes)).collect();
            for (_, attributes) in inputs {
                *sex.categories.entry(attributes["sex"].clone()).or_default() += 1;
                if attributes["view"].is_empty() {
                    view.special.missing += 1;
                } else {
                    view.special.not_a_number += 1;
                }
            }
            bodies.insert(cell(20), Body::Feature(sex));
            bodies.insert(cell(21), Body::Feature(view));
            for slice in [vec![], vec!["sex"], vec!["view"], vec!["sex", "view"]] {
                let place = |p: &Prediction| {
                    let value = |name: &&str| {
                        let dimension =
                            shape.dimensions.iter().find(|d| d.name == **name).expect("a declared dimension");
                        ((*name).to_owned(), dimension.value(p.attributes.get(*name).map(String::as_str)))
                    };
                    Slice::crossing(slice.iter().map(value))
                };
                for here in own.iter().map(|p| place(p)).collect::<BTreeSet<_>>() {
                    let rows = own.iter().filter(|p| place(p) == here);
                    let (mut choices, mut values) = (Vec::new(), Vec::new());
                    for p in rows {
                        let stated = |finding| {
                            let truth: &Truth = truths.get(&(p.case_id.clone(), finding))?;
                            let hours = (truth.known_at - p.occurred_at).num_hours().max(0);
                            Some((truth.stated, u32::try_from(hours).expect("small")))
                        };
                        choices.push(Choice {
                            scores: Some(vec![p.scores[0].1, p.scores[1].1]),
                            truth: stated(90).map(|(is, hours)| (usize::from(is == Opinion::Class(8)), hours)),
                        });
                        let number = |(is, hours)| {
                            let Opinion::Value(real) = is else { panic!("a value") };
                            (real.get(), hours)
                        };
                        values.push(Valued { predicted: p.scores[2].1, truth: stated(91).map(number) });
                    }
                    let cell = |output_id| Cell { output_id, slice: here.clone(), bucket: start };
                    bodies.insert(cell(40), Body::Classes(ClassSummary::of(2, choices.iter())));
                    bodies.insert(cell(9), Body::Value(ValueSummary::of(values.into_iter())));
                }
            }
            let mut agreement = Agreement::default();
            let cases: BTreeSet<&str> = own.iter().map(|p| p.case_id.as_str()).collect();
            for case in cases {
                if let Some(opinions) = known.readings.get(&(case.to_owned(), 70)) {
                    agreement.add(opinions);
                }
            }
            if agreement.cases() > 0 {
                bodies.insert(cell(30), Body::Readers(agreement));
            }
        }
        bodies
    }

    fn predictions() -> impl Strategy<Value = Vec<Prediction>> {
        let one = (0..30_u32, 0..3_i64, 0..=20_u32, 0..=20_u32, 0..3_usize, 0..2_usize);
        prop::collection::vec(one, 1..60).prop_map(|rows| {
            rows.into_iter()
                .map(|(case, on, first, second, view, sex)| Prediction {
                    case_id: format!("case {case}"),
                    subject_id: None,
                    occurred_at: day(on),
                    scores: vec![
                        (7, f64::from(first) / 20.0),
                        (8, f64::from(second) / 20.0),
                        (9, f64::from(first) - 1.5 * f64::from(second)),
                    ],
                    attributes: [("view", ["AP", "PA", ""][view]), ("sex", ["F", "M"][sex])]
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .into(),
                    embedding: None,
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_fold_agrees_with_the_obvious_way(
            rows in predictions(),
            labels in prop::collection::vec((0..30_u32, 0..4_usize, any::<bool>(), -1..9_i64), 0..80),
        ) {
            let truths: Truths = labels.into_iter().map(|(case, finding, positive, on)| {
                let stated = match (finding, positive) {
                    (2, _) => Opinion::Class(if positive { 7 } else { 8 }),
                    (3, _) => Opinion::Value(Real::new(if positive { 2.5 } else { -7.0 }).expect("finite")),
                    (_, true) => Opinion::Positive,
                    (_, false) => Opinion::Negative,
                };
                let truth = Truth { stated, known_at: day(on) };
                ((format!("case {case}"), [70, 80, 90, 91][finding]), truth)
            }).collect();
            let readings = truths
                .iter()
                .filter(|((_, finding), _)| *finding == 70)
                .map(|(key, truth)| {
                    (key.clone(), vec![("a".to_owned(), Opinion::Positive), ("b".to_owned(), truth.stated)])
                })
                .collect();
            let known = Known { truths, readings };
            let folded = fold(&shape(), &rows, &known).expect("a fold");
            prop_assert_eq!(folded, plain(&shape(), &rows, &known));
        }
    }
}
