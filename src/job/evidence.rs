//! Rows as evidence: which cases are sealed on which day, for an output and a slice.
//!
//! The seal job, the streams' references and backtests all go through here, so a reference passes the gate that its stream passes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::Error;
use crate::config::{Feature, Measure, Model, Output, Quantity, SlicePattern, Watch};
use crate::detect::sealing::{Buckets, seal};
use crate::domain::truth::decide;
use crate::domain::{Assertion, Granularity, Prediction, Slice, Window};
use crate::stats::channel::Scale;
use crate::stats::projector::Projector;
use crate::stats::spectrum::{Class, Spectrum};
use crate::store::Store;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::ledger::{Needs, Received};
use crate::summary::sealed::{Pair, Sealed, category, grouped};

/// From when on a statement could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// From the start: cases enter on the day on which they were made, with the truth of today.
    Always,
    /// Once the hospital knew it.
    Observed,
    /// Of cases that came in before they were of age, once this installation had it; of history, once the hospital knew it.
    Lived,
    /// Once this installation had it. A prediction that came in after its own maturity is history: it does not enter.
    Received,
    /// As received, but with the truth of today: what sealed cases would have come to, had it been known.
    Revised,
}

/// Which cases enter the evidence and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gate {
    /// Days after which a case is of age.
    pub maturity_days: i64,
    /// Whether it waits for truth.
    pub with_truth: bool,
}

impl Gate {
    /// That of a watch.
    #[must_use]
    pub fn of(watch: &Watch) -> Self {
        Self { maturity_days: watch.maturity_days, with_truth: watch.measure.needs_truth() }
    }

    /// The same without waiting, for cases by the day on which they were made.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { maturity_days: 0, ..self }
    }
}

/// What a stream is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'m> {
    /// The scores of an output, of the cases of a slice.
    Output(&'m Output),
    /// Whether cases belong to a slice: 1 or 0.
    Membership,
    /// The values of a feature, of the cases of a slice; those that lack one have come of age all the same.
    Feature(&'m Feature),
    /// How far embeddings are from the middle of the reference's.
    Embedding,
}

impl Subject<'_> {
    fn scale(self) -> Scale {
        match self {
            Self::Feature(feature) if !feature.numeric => Scale::Probability,
            Self::Feature(_) | Self::Embedding => Scale::Real,
            Self::Output(_) | Self::Membership => Scale::Probability,
        }
    }
}

/// What embeddings are seen through.
#[derive(Clone, Debug)]
pub struct Lens {
    /// The reference in force.
    pub reference_id: i32,
    /// Its projector.
    pub projector: Arc<Projector>,
    /// Its window: one half of the cases in it made the projector, and look nearer through it than they are.
    pub window: Option<Window>,
}

/// Whether a case belongs to the half of a reference that its projector is fitted to: that follows from its pseudonym.
#[must_use]
pub fn is_fitted(case_id: &str) -> bool {
    Sha256::digest(case_id)[0] & 1 == 0
}

/// What has to be read of the rows of a version for watches. `versions` are those of its model.
#[must_use]
pub fn needs(watches: &[Watch], numbers: &ModelNumbers, (own, versions): (&Version, &[Version])) -> Needs {
    let rivals: BTreeSet<i32> = watches.iter().filter_map(|watch| rival(watch, own, versions)).collect();
    Needs {
        findings: numbers.findings.values().copied().collect(),
        rivals: rivals.into_iter().collect(),
        embeddings: watches.iter().any(|watch| watch.measure == Measure::EmbeddingDrift),
    }
}

/// The number of the version that a watch compares another one with; `None` where it compares nothing, or that version is not known yet.
#[must_use]
pub fn rival(watch: &Watch, own: &Version, versions: &[Version]) -> Option<i32> {
    let name = watch.against.as_ref()?;
    let mut same = versions.iter().filter(|version| version.model == own.model && version.name == *name);
    same.find(|version| version.version_id != own.version_id).map(|version| version.version_id)
}

/// Whether a watch is about a version: none is compared with itself.
#[must_use]
pub fn is_about(watch: &Watch, version: &Version) -> bool {
    watch.against.as_ref() != Some(&version.name)
}

/// What the embeddings of a version are seen through; `None` without a reference that has a projector.
///
/// # Errors
/// When the store fails.
pub async fn lens(store: &Store, version_id: i32) -> Result<Option<Lens>, Error> {
    let Some((reference_id, window)) = store.reference_window(version_id).await? else { return Ok(None) };
    let projector = store.load_reference(reference_id).await?.projector.clone();
    Ok(projector.map(|projector| Lens { reference_id, projector, window }))
}

/// What a watch is about, each with its name among the model's quantities.
#[must_use]
pub fn subjects<'m>(model: &'m Model, watch: &'m Watch) -> Vec<(Subject<'m>, String)> {
    let feature = model.features.iter().find(|feature| watch.feature.as_ref() == Some(&feature.name));
    match (watch.measure, feature) {
        (Measure::SliceShare, _) => vec![(Subject::Membership, Quantity::Whole.name())],
        (Measure::EmbeddingDrift, _) => vec![(Subject::Embedding, Quantity::Embedding.name())],
        (_, Some(feature)) => vec![(Subject::Feature(feature), Quantity::Feature(feature).name())],
        (_, None) => {
            let own =
                model.outputs.iter().filter(|output| watch.output.as_ref().is_none_or(|name| *name == output.name));
            own.map(|output| (Subject::Output(output), output.name.clone())).collect()
        }
    }
}

/// How much older than its window a reference's stragglers may be, in days: they are sealed in it as they are in the stream.
pub const STRAGGLING: i64 = 365;

/// Rows of one version with what was said about their cases.
pub struct Evidence<'a> {
    model: &'a Model,
    numbers: &'a ModelNumbers,
    predictions: Vec<(Prediction, DateTime<Utc>)>,
    assertions: HashMap<(String, i32), Vec<(Assertion, DateTime<Utc>)>>,
    /// The first prediction of each case by other versions.
    rivals: BTreeMap<i32, HashMap<String, (Prediction, DateTime<Utc>)>>,
    lens: Option<Lens>,
}

/// Cells of a day, by which subjects have several, and what else is sealed of it.
#[derive(Default)]
struct Gathered {
    cells: Vec<(u64, Class, u64)>,
    matured: u64,
    settled: u64,
    subjects: HashMap<String, Vec<(u64, Class, u64)>>,
    pairs: BTreeMap<i32, Vec<Pair>>,
}

impl Gathered {
    fn sealed(self, scale: Scale, seen_through: Option<i32>) -> Sealed {
        let named = self.subjects.values().map(|cells| cells.len() as u64).sum();
        let pairs = self.pairs.into_iter().map(|(version, mut pairs)| {
            pairs.sort_unstable();
            (version, pairs)
        });
        Sealed {
            spectrum: Spectrum::from_cells(scale, self.cells),
            matured: self.matured,
            settled: self.settled,
            named,
            subjects: grouped(scale, self.subjects.into_values()),
            pairs: pairs.collect(),
            seen_through,
        }
    }
}

impl<'a> Evidence<'a> {
    /// Rows, grouped by what they are about; embeddings are seen through a lens.
    #[must_use]
    pub fn new(model: &'a Model, numbers: &'a ModelNumbers, rows: Received, lens: Option<Lens>) -> Self {
        let mut assertions: HashMap<(String, i32), Vec<(Assertion, DateTime<Utc>)>> = HashMap::new();
        for (assertion, received_at) in rows.assertions {
            let about = (assertion.case_id.clone(), assertion.truth_id);
            assertions.entry(about).or_default().push((assertion, received_at));
        }
        let rivals = rows.rivals.into_iter().map(|(version, rows)| (version, first_of_each(rows)));
        Self { model, numbers, predictions: rows.predictions, assertions, rivals: rivals.collect(), lens }
    }

    /// The slices that a pattern means: of a dimension, the values of the cases of a window.
    #[must_use]
    pub fn slices(&self, pattern: &SlicePattern, window: Window) -> Vec<Slice> {
        match pattern {
            SlicePattern::One(slice) => vec![slice.clone()],
            SlicePattern::Each(name) => {
                let own = self.predictions.iter().filter(|(row, _)| window.contains(row.occurred_at));
                let values: BTreeSet<String> = own.map(|(row, _)| value_of(self.model, row, name)).collect();
                values.into_iter().map(|value| Slice::crossing([(name.clone(), value)])).collect()
            }
        }
    }

    /// What is sealed on each day of a window; every day is there.
    #[must_use]
    pub fn buckets(
        &self,
        gate: Gate,
        known: Known,
        (subject, slice): (Subject<'_>, &Slice),
        window: Window,
    ) -> Buckets {
        let mut days: HashMap<DateTime<Utc>, Gathered> = HashMap::new();
        for row in &self.predictions {
            let belongs = slice.cells().all(|(name, value)| value_of(self.model, &row.0, name) == value);
            if !belongs && !matches!(subject, Subject::Membership) {
                continue;
            }
            let value = self.value(subject, &row.0, belongs);
            if value == Value::NoCase {
                continue;
            }
            let entrance = self.entrance((gate, known), subject, (row.0.occurred_at, row.1), &row.0.case_id);
            let Some(Entrance { mature, sealed }) = entrance else { continue };
            days.entry(mature).or_default().matured += 1;
            let Some((sealed_on, class)) = sealed else { continue };
            let day = days.entry(sealed_on).or_default();
            day.settled += u64::from(sealed_on == mature);
            if let Value::Key(key) = value {
                day.cells.push((key, class, 1));
                if let Some(subject) = &row.0.subject_id {
                    day.subjects.entry(subject.clone()).or_default().push((key, class, 1));
                }
            }
        }
        if let Subject::Output(output) = subject {
            self.add_pairs(&mut days, (gate, known), (output, slice));
        }
        let seen_through = self.lens.as_ref().filter(|_| matches!(subject, Subject::Embedding)).map(|l| l.reference_id);
        let sealed = |gathered: Gathered| gathered.sealed(subject.scale(), seen_through);
        let dates = std::iter::successors(Some(day(window.from)), |at| Some(*at + TimeDelta::days(1)));
        let dates = dates.take_while(|at| *at < window.to);
        dates.map(|date| (date, days.remove(&date).map(sealed).unwrap_or_default())).collect()
    }

    /// What a case has to be sealed.
    fn value(&self, subject: Subject<'_>, row: &Prediction, belongs: bool) -> Value {
        let scale = subject.scale();
        let or_missing = |key: Option<u64>| key.map_or(Value::Missing, Value::Key);
        let or_no_case = |key: Option<u64>| key.map_or(Value::NoCase, Value::Key);
        match subject {
            Subject::Membership => Value::Key(scale.key(f64::from(u8::from(belongs)))),
            Subject::Output(output) => or_no_case(score(row, self.number(&output.name)).map(|score| scale.key(score))),
            Subject::Feature(feature) => {
                let text = row.attributes.get(&feature.name).map(|text| text.trim()).filter(|text| !text.is_empty());
                if !feature.numeric {
                    return or_missing(text.map(category));
                }
                let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|value| value.is_finite());
                or_missing(number.map(|number| scale.key(number)))
            }
            Subject::Embedding => {
                let Some(lens) = &self.lens else { return Value::NoCase };
                let is_fitted = lens.window.is_some_and(|w| w.contains(row.occurred_at)) && is_fitted(&row.case_id);
                let embedding = row.embedding.as_ref().filter(|own| own.len() == lens.projector.dimensions());
                let distance = embedding.filter(|_| !is_fitted).map(|own| lens.projector.project(own).distance);
                or_no_case(distance.map(|distance| scale.key(distance)))
            }
        }
    }

    /// When a case comes of age and when it is sealed with which truth; `None` of history.
    fn entrance(
        &self,
        (gate, known): (Gate, Known),
        subject: Subject<'_>,
        (occurred_at, received_at): (DateTime<Utc>, DateTime<Utc>),
        case_id: &str,
    ) -> Option<Entrance> {
        let mature = occurred_at + TimeDelta::days(gate.maturity_days);
        let is_history = received_at >= day(mature) + TimeDelta::days(1);
        if matches!(known, Known::Received | Known::Revised) && is_history {
            return None;
        }
        let (true, Subject::Output(output)) = (gate.with_truth, subject) else {
            return Some(Entrance { mature: day(mature), sealed: Some((day(mature), Class::Unlabelled)) });
        };
        let truth_id = self.numbers.findings.get(&output.truth).copied().unwrap_or_default();
        let said = self.assertions.get(&(case_id.to_owned(), truth_id)).map(Vec::as_slice).unwrap_or_default();
        let usable = |(assertion, received_at): &(Assertion, DateTime<Utc>)| match known {
            Known::Always => mature,
            Known::Observed => assertion.observed_at,
            Known::Lived if is_history => assertion.observed_at,
            Known::Lived | Known::Received | Known::Revised => *received_at,
        };
        let usable: Vec<(DateTime<Utc>, &Assertion)> = said.iter().map(|one| (usable(one), &one.0)).collect();
        let about = (self.number(&output.name), output.class.is_some());
        let sealed = seal(self.model, about, mature, &usable).and_then(|(on, at_seal)| {
            let today = || truth_of_today(self.model, about, said);
            // A case whose truth was withdrawn is in the ledger, and not in its shadow.
            let holds = if known == Known::Revised { today() } else { Some(at_seal) }?;
            Some((on, if holds { Class::Positive } else { Class::Negative }))
        });
        Some(Entrance { mature: day(mature), sealed })
    }

    /// The cases of a slice that another version has as well. A pair comes of age with the later of its two predictions, of which each is
    /// the version's first of the case.
    fn add_pairs(
        &self,
        days: &mut HashMap<DateTime<Utc>, Gathered>,
        (gate, known): (Gate, Known),
        (output, slice): (&Output, &Slice),
    ) {
        if self.rivals.is_empty() {
            return;
        }
        let output_id = self.number(&output.name);
        let mut first: HashMap<&str, &(Prediction, DateTime<Utc>)> = HashMap::new();
        for row in &self.predictions {
            let known = first.entry(&row.0.case_id).or_insert(row);
            if row.0.occurred_at < known.0.occurred_at {
                *known = row;
            }
        }
        for (own, received_at) in first.into_values() {
            if !slice.cells().all(|(name, value)| value_of(self.model, own, name) == value) {
                continue;
            }
            let Some(own_score) = score(own, output_id) else { continue };
            for (version, rows) in &self.rivals {
                let Some((other, other_received_at)) = rows.get(&own.case_id) else { continue };
                let Some(other_score) = score(other, output_id) else { continue };
                let later = (own.occurred_at.max(other.occurred_at), (*received_at).max(*other_received_at));
                let entrance = self.entrance((gate, known), Subject::Output(output), later, &own.case_id);
                let Some((sealed_on, class)) = entrance.and_then(|entrance| entrance.sealed) else { continue };
                let [own, other] = [own_score, other_score].map(|score| Scale::Probability.key(score));
                days.entry(sealed_on).or_default().pairs.entry(*version).or_default().push(Pair { own, other, class });
            }
        }
    }

    fn number(&self, output: &str) -> i32 {
        self.numbers.outputs.get(output).copied().unwrap_or_default()
    }
}

/// What a case has to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// The key of its score, its value or its category.
    Key(u64),
    /// It is a case, and lacks a value.
    Missing,
    /// It is no case of this kind.
    NoCase,
}

/// When a case comes of age, and the day of its seal with its class, if its truth has settled.
struct Entrance {
    mature: DateTime<Utc>,
    sealed: Option<(DateTime<Utc>, Class)>,
}

fn day(at: DateTime<Utc>) -> DateTime<Utc> {
    Granularity::Day.start_of(at)
}

fn score(row: &Prediction, output_id: i32) -> Option<f64> {
    row.scores.iter().find(|(id, _)| *id == output_id).map(|(_, score)| *score)
}

/// The first prediction of each case.
fn first_of_each(rows: Vec<(Prediction, DateTime<Utc>)>) -> HashMap<String, (Prediction, DateTime<Utc>)> {
    let mut first: HashMap<String, (Prediction, DateTime<Utc>)> = HashMap::new();
    for row in rows {
        match first.entry(row.0.case_id.clone()) {
            Entry::Occupied(mut known) if known.get().0.occurred_at > row.0.occurred_at => {
                known.insert(row);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(row);
            }
        }
    }
    first
}

fn truth_of_today(
    model: &Model,
    (output_id, is_class): (i32, bool),
    said: &[(Assertion, DateTime<Utc>)],
) -> Option<bool> {
    let all: Vec<Assertion> = said.iter().map(|(assertion, _)| assertion.clone()).collect();
    decide(model.truth_policy, model.uncertain, &all)?.holds_for(output_id, is_class)
}

fn value_of(model: &Model, row: &Prediction, name: &str) -> String {
    let attribute = row.attributes.get(name).map(String::as_str);
    let dimension = model.dimensions.iter().find(|dimension| dimension.name == name);
    dimension.map_or_else(|| attribute.unwrap_or_default().to_owned(), |dimension| dimension.value(attribute))
}
