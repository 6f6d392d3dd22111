//! Rows as evidence: which cases are sealed on which day, for an output and a slice.
//!
//! The seal job, the streams' references and backtests all go through here, so a reference passes the gate that its stream passes.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Feature, Measure, Model, Output, Quantity, SlicePattern, Watch};
use crate::detect::sealing::{Buckets, seal};
use crate::domain::truth::decide;
use crate::domain::{Assertion, Granularity, Prediction, Slice, Window};
use crate::stats::channel::Scale;
use crate::stats::spectrum::{Class, Spectrum};
use crate::store::catalog::ModelNumbers;
use crate::store::ledger::Received;
use crate::summary::sealed::Sealed;

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
    /// The values of a numeric feature, of the cases of a slice; those that lack one have come of age all the same.
    Feature(&'m Feature),
}

/// What a watch is about, each with its name among the model's quantities.
#[must_use]
pub fn subjects<'m>(model: &'m Model, watch: &'m Watch) -> Vec<(Subject<'m>, String)> {
    let feature = model.features.iter().find(|feature| watch.feature.as_ref() == Some(&feature.name));
    match (watch.measure, feature) {
        (Measure::SliceShare, _) => vec![(Subject::Membership, Quantity::Whole.name())],
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
}

impl<'a> Evidence<'a> {
    /// Rows, grouped by what they are about.
    #[must_use]
    pub fn new(model: &'a Model, numbers: &'a ModelNumbers, rows: Received) -> Self {
        let mut assertions: HashMap<(String, i32), Vec<(Assertion, DateTime<Utc>)>> = HashMap::new();
        for (assertion, received_at) in rows.assertions {
            let about = (assertion.case_id.clone(), assertion.truth_id);
            assertions.entry(about).or_default().push((assertion, received_at));
        }
        Self { model, numbers, predictions: rows.predictions, assertions }
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
        let day = |at: DateTime<Utc>| Granularity::Day.start_of(at);
        let scale = if matches!(subject, Subject::Feature(_)) { Scale::Real } else { Scale::Probability };
        let mut days: HashMap<DateTime<Utc>, (Vec<(u64, Class, u64)>, u64, u64)> = HashMap::new();
        for (row, received_at) in &self.predictions {
            let belongs = slice.cells().all(|(name, value)| value_of(self.model, row, name) == value);
            let value = match subject {
                Subject::Membership => Some(f64::from(u8::from(belongs))),
                _ if !belongs => continue,
                Subject::Output(output) => {
                    let output_id = self.number(&output.name);
                    let score = row.scores.iter().find(|(id, _)| *id == output_id).map(|(_, score)| *score);
                    if score.is_none() {
                        continue;
                    }
                    score
                }
                Subject::Feature(feature) => {
                    let text = row.attributes.get(&feature.name);
                    text.and_then(|text| text.trim().parse::<f64>().ok()).filter(|value| value.is_finite())
                }
            };
            let mature = row.occurred_at + TimeDelta::days(gate.maturity_days);
            let is_history = *received_at >= day(mature) + TimeDelta::days(1);
            if matches!(known, Known::Received | Known::Revised) && is_history {
                continue;
            }
            days.entry(day(mature)).or_default().1 += 1;
            let (sealed_on, class) = if let (true, Subject::Output(output)) = (gate.with_truth, subject) {
                let truth_id = self.numbers.findings.get(&output.truth).copied().unwrap_or_default();
                let said = self.assertions.get(&(row.case_id.clone(), truth_id)).map(Vec::as_slice).unwrap_or_default();
                let usable = |(assertion, received_at): &(Assertion, DateTime<Utc>)| match known {
                    Known::Always => mature,
                    Known::Observed => assertion.observed_at,
                    Known::Lived if is_history => assertion.observed_at,
                    Known::Lived | Known::Received | Known::Revised => *received_at,
                };
                let usable: Vec<(DateTime<Utc>, &Assertion)> = said.iter().map(|one| (usable(one), &one.0)).collect();
                let about = (self.number(&output.name), output.class.is_some());
                let Some((on, at_seal)) = seal(self.model, about, mature, &usable) else { continue };
                let today = || truth_of_today(self.model, about, said);
                let holds = if known == Known::Revised { today() } else { Some(at_seal) };
                // A case whose truth was withdrawn is in the ledger, and not in its shadow.
                let Some(holds) = holds else { continue };
                (on, if holds { Class::Positive } else { Class::Negative })
            } else {
                (day(mature), Class::Unlabelled)
            };
            let entry = days.entry(sealed_on).or_default();
            entry.0.extend(value.map(|value| (scale.key(value), class, 1)));
            entry.2 += u64::from(sealed_on == day(mature));
        }
        let sealed =
            |(cells, matured, settled)| Sealed { spectrum: Spectrum::from_cells(scale, cells), matured, settled };
        let dates = std::iter::successors(Some(day(window.from)), |at| Some(*at + TimeDelta::days(1)));
        let dates = dates.take_while(|at| *at < window.to);
        dates.map(|date| (date, days.remove(&date).map(sealed).unwrap_or_default())).collect()
    }

    fn number(&self, output: &str) -> i32 {
        self.numbers.outputs.get(output).copied().unwrap_or_default()
    }
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
