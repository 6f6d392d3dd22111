//! What was known then and what is known now: each metric on both sides, and the labels that account for the change.
//!
//! Then is an instant of both clocks: what the hospital had observed and what had been taken in here by then. The window is made
//! anew with the late truths alone, the revised ones alone and the late predictions alone: how far each of them moves a metric.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Prepared, Question, Row, settle};
use crate::config::Quantity;
use crate::domain::truth::Truth;
use crate::domain::{Assertion, Opinion, Prediction};
use crate::job::fold::truths_of;
use crate::job::{Context, shape_of};
use crate::store::estimate::Metrics;
use crate::store::rows::{Knowledge, Rows, Wanted};
use crate::summary::body::Body;
use crate::summary::fold::{Known, Shape, Truths, fold, over_buckets};

/// What became known of a case between two instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It had no truth then.
    Late,
    /// It had another truth then.
    Revised,
    /// It had a truth then, and has none now.
    Retracted,
    /// Its prediction was not there then.
    NewPrediction,
}

impl ChangeKind {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Revised => "revised",
            Self::Retracted => "retracted",
            Self::NewPrediction => "new-prediction",
        }
    }
}

/// A case of which something else is known now.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = DiffCase)]
pub struct ChangedCase {
    /// The case, as a pseudonym.
    pub case_id: String,
    /// When its first prediction in the window was made.
    pub occurred_at: DateTime<Utc>,
    /// What became known.
    pub kind: ChangeKind,
    /// Its truth then.
    pub then: Option<String>,
    /// Its truth now.
    pub now: Option<String>,
    /// Where the statement comes from that made the difference.
    pub source: Option<String>,
    /// When that was observed.
    pub observed_at: Option<DateTime<Utc>>,
    /// Whether the hospital had observed it by then, and it had only not been taken in here.
    pub observed_by_then: bool,
}

/// Cases by what became known, and where from.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = DiffCount)]
pub struct Counted {
    /// What became known.
    pub kind: ChangeKind,
    /// Where the statement comes from; absent for new predictions.
    pub source: Option<String>,
    /// How many cases.
    pub cases: u64,
    /// Those of them whose statement the hospital had by then.
    pub observed_by_then: u64,
    /// Half of them were stated within so many seconds of the prediction.
    pub delay_p50_seconds: Option<i64>,
    /// Nine of ten were.
    pub delay_p90_seconds: Option<i64>,
}

/// One metric then and now, and with parts of what became known alone.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DiffMetric)]
pub struct Change {
    /// The metric.
    pub metric: String,
    /// As known then.
    pub then: Row,
    /// As known now.
    pub now: Row,
    /// As known then, and the late truths.
    pub with_late: Row,
    /// As known then, but with what was revised or retracted.
    pub with_revised: Row,
    /// As known then, and the predictions that came later, with the truth of now.
    pub with_predictions: Row,
}

/// The two clocks of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = DiffClocks)]
pub struct Clocks {
    /// Truth observed up to then.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one.
    pub recorded: i64,
}

/// What was known then and what is known now.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Diff {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// First instant of the window.
    pub from: DateTime<Utc>,
    /// First instant after it.
    pub to: DateTime<Utc>,
    /// The one side.
    pub then: Clocks,
    /// The other.
    pub now: Clocks,
    /// The metrics.
    pub metrics: Vec<Change>,
    /// What became known, counted.
    pub counts: Vec<Counted>,
    /// The cases, in order of their predictions; people may see them by themselves only.
    #[serde(skip)]
    pub cases: Vec<ChangedCase>,
}

/// Compare what was known at an instant with what is known at another, now if none is given. The question's own knowledge is not
/// looked at.
///
/// # Errors
/// When the question names something unknown or something without truth, or the store fails.
pub async fn diff(
    context: &Context,
    question: &Question,
    then: DateTime<Utc>,
    now: Option<DateTime<Utc>>,
) -> Result<Diff, Error> {
    let prepared = settle(context, question).await?;
    let sides = Sides::read(context, &prepared, question, then, now).await?;
    let (then, now) = (sides.then.clocks, sides.now.clocks);
    let work = tokio::task::spawn_blocking(move || {
        let found = sides.compare(&prepared)?;
        Ok::<_, Error>((found, prepared))
    });
    let ((metrics, cases), prepared) = work.await.map_err(crate::job::Error::from)??;
    Ok(Diff {
        model: question.model.clone(),
        version: prepared.version.name.clone(),
        output: question.output.clone(),
        slice: question.slice.to_string(),
        from: question.window.from,
        to: question.window.to,
        then,
        now,
        metrics,
        counts: count(&cases),
        cases,
    })
}

/// One side: the predictions of the slice, and what is known of their cases.
struct Side {
    clocks: Clocks,
    predictions: Vec<Prediction>,
    assertions: HashMap<String, Vec<Assertion>>,
    truths: Truths,
}

struct Sides {
    then: Side,
    now: Side,
    shape: Shape,
    truth_id: i32,
    is_class: Option<i32>,
}

impl Sides {
    async fn read(
        context: &Context,
        prepared: &Prepared,
        question: &Question,
        then: DateTime<Utc>,
        now: Option<DateTime<Utc>>,
    ) -> Result<Self, Error> {
        let Prepared { model, numbers, output_id, .. } = prepared;
        let has_truth =
            matches!(prepared.asked()?.quantity, Quantity::Output(_) | Quantity::Classes(_) | Quantity::Value(_));
        let finding = model.finding(&question.output).filter(|_| has_truth);
        let truth_id = finding.and_then(|(finding, _)| numbers.findings.get(finding).copied());
        let truth_id = truth_id.ok_or_else(|| {
            Error::Unknown(format!(
                "{} has no truth of its own: ask for an output, a choice or a value",
                question.output
            ))
        })?;
        let is_class = model.output(&question.output).filter(|output| output.class.is_some()).map(|_| *output_id);
        let mut shape = shape_of(model, numbers);
        shape.keep_only(*output_id);
        let side = async |at: Option<DateTime<Utc>>| {
            let store = &context.store;
            let recorded = match at {
                Some(at) => Some(store.batch_as_of(at).await?),
                None => None,
            };
            let knowledge = Knowledge { known_at: at, recorded };
            super::check_size(context, prepared.version.version_id, question).await?;
            let (outputs, findings) = (shape.output_ids(), [truth_id]);
            let what = Wanted { outputs: &outputs, findings: &findings, embeddings: false };
            let rows = store.load_rows(prepared.version.version_id, question.window, None, knowledge, what).await?;
            let clocks = Clocks { known_at: at.unwrap_or(context.clock.now()), recorded: rows.batch_id };
            Ok::<_, Error>(Side::new(prepared, question, clocks, rows))
        };
        let (then, now) = (side(Some(then)).await?, side(now).await?);
        Ok(Self { then, now, shape, truth_id, is_class })
    }

    fn compare(&self, prepared: &Prepared) -> Result<(Vec<Change>, Vec<ChangedCase>), Error> {
        let cases = self.changed();
        let of = |kinds: &[ChangeKind]| -> BTreeSet<&str> {
            let own = cases.iter().filter(|case| kinds.contains(&case.kind));
            own.map(|case| case.case_id.as_str()).collect()
        };
        let (then, now) = (&self.then, &self.now);
        let late = self.mixed(&of(&[ChangeKind::Late]));
        let revised = self.mixed(&of(&[ChangeKind::Revised, ChangeKind::Retracted]));
        let fresh = of(&[ChangeKind::NewPrediction]);
        let added = self.mixed(&fresh);
        let known: BTreeSet<(&str, DateTime<Utc>)> =
            then.predictions.iter().map(|one| (one.case_id.as_str(), one.occurred_at)).collect();
        let new = now.predictions.iter().filter(|one| !known.contains(&(one.case_id.as_str(), one.occurred_at)));
        let more: Vec<Prediction> = then.predictions.iter().chain(new).cloned().collect();
        let answers = [
            self.metrics(prepared, &then.predictions, &then.truths)?,
            self.metrics(prepared, &now.predictions, &now.truths)?,
            self.metrics(prepared, &then.predictions, &late)?,
            self.metrics(prepared, &then.predictions, &revised)?,
            self.metrics(prepared, &more, &added)?,
        ];
        let [before, after, late, revised, added] = answers;
        let [after, late, revised, added] =
            [after, late, revised, added].map(|metrics| metrics.into_iter().collect::<BTreeMap<_, _>>());
        let changes = before.iter().filter_map(|(key, outcome)| {
            let side = |of: &BTreeMap<_, _>| Some(Row::new(key, of.get(key).cloned()?));
            Some(Change {
                metric: key.to_string(),
                then: Row::new(key, outcome.clone()),
                now: side(&after)?,
                with_late: side(&late)?,
                with_revised: side(&revised)?,
                with_predictions: side(&added)?,
            })
        });
        Ok((changes.collect(), cases.clone()))
    }

    /// The truths of then, but those of now of some cases.
    fn mixed(&self, cases: &BTreeSet<&str>) -> Truths {
        let is_own = |key: &(String, i32)| cases.contains(key.0.as_str());
        let kept = self.then.truths.iter().filter(|(key, _)| !is_own(key));
        let taken = self.now.truths.iter().filter(|(key, _)| is_own(key));
        kept.chain(taken).map(|(key, truth)| (key.clone(), *truth)).collect()
    }

    fn metrics(&self, prepared: &Prepared, predictions: &[Prediction], truths: &Truths) -> Result<Metrics, Error> {
        let known = Known { truths: truths.clone(), readings: HashMap::new() };
        let cells = fold(&self.shape, predictions, &known).map_err(crate::job::Error::from)?;
        let mut parts = over_buckets(cells);
        let asked = prepared.asked()?;
        if let Some(kind) = asked.quantity.kind() {
            let key = (prepared.output_id, prepared.slice.clone());
            parts.entry(key).or_insert_with(|| Body::empty(kind));
        }
        Ok(asked.answer(&parts).unwrap_or_default())
    }

    /// The cases of which something else is known now, in order of their predictions.
    fn changed(&self) -> Vec<ChangedCase> {
        let before: BTreeSet<&str> = self.then.predictions.iter().map(|one| one.case_id.as_str()).collect();
        let mut first: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
        for one in &self.now.predictions {
            let at = first.entry(one.case_id.as_str()).or_insert(one.occurred_at);
            *at = (*at).min(one.occurred_at);
        }
        let changed = first.into_iter().filter_map(|(case_id, occurred_at)| {
            let key = (case_id.to_owned(), self.truth_id);
            let (then, now) = (self.said(self.then.truths.get(&key)), self.said(self.now.truths.get(&key)));
            let kind = match (before.contains(case_id), then, now) {
                (false, ..) => ChangeKind::NewPrediction,
                (_, then, now) if then == now => return None,
                (_, None, _) => ChangeKind::Late,
                (_, _, None) => ChangeKind::Retracted,
                _ => ChangeKind::Revised,
            };
            let cause = self.cause(case_id).filter(|_| kind != ChangeKind::NewPrediction);
            let word = |opinion: Opinion| opinion.to_word().into_owned();
            Some(ChangedCase {
                case_id: case_id.to_owned(),
                occurred_at,
                kind,
                then: then.map(word),
                now: now.map(word),
                source: cause.map(|cause| cause.source.clone()),
                observed_at: cause.map(|cause| cause.observed_at),
                observed_by_then: cause.is_some_and(|cause| cause.observed_at <= self.then.clocks.known_at),
            })
        });
        let mut changed: Vec<ChangedCase> = changed.collect();
        changed.sort_by(|a, b| (a.occurred_at, &a.case_id).cmp(&(b.occurred_at, &b.case_id)));
        changed
    }

    /// What a truth says of the output: of a class whether it is the case's.
    fn said(&self, truth: Option<&Truth>) -> Option<Opinion> {
        let truth = truth?;
        match self.is_class {
            None => Some(truth.stated),
            Some(output_id) => {
                truth.holds_for(output_id, true).map(|holds| if holds { Opinion::Positive } else { Opinion::Negative })
            }
        }
    }

    /// The latest statement about a case that was not known then.
    fn cause(&self, case_id: &str) -> Option<&Assertion> {
        let known = self.then.assertions.get(case_id).map(Vec::as_slice).unwrap_or_default();
        let new = self.now.assertions.get(case_id)?.iter().filter(|statement| !known.contains(statement));
        new.max_by_key(|statement| statement.observed_at)
    }
}

impl Side {
    fn new(prepared: &Prepared, question: &Question, clocks: Clocks, rows: Rows) -> Self {
        let model = &prepared.model;
        let belongs = |prediction: &Prediction| {
            question.slice.cells().all(|(name, value)| {
                let dimension = model.dimensions.iter().find(|dimension| dimension.name == name);
                let own = prediction.attributes.get(name).map(String::as_str);
                dimension.is_some_and(|dimension| dimension.value(own) == value)
            })
        };
        let truths = truths_of(model, &rows.assertions);
        let mut assertions: HashMap<String, Vec<Assertion>> = HashMap::new();
        for assertion in rows.assertions {
            assertions.entry(assertion.case_id.clone()).or_default().push(assertion);
        }
        let predictions = rows.predictions.into_iter().filter(belongs).collect();
        Self { clocks, predictions, assertions, truths }
    }
}

/// The cases by kind and source.
fn count(cases: &[ChangedCase]) -> Vec<Counted> {
    let mut groups: BTreeMap<(ChangeKind, Option<&str>), Vec<&ChangedCase>> = BTreeMap::new();
    for case in cases {
        groups.entry((case.kind, case.source.as_deref())).or_default().push(case);
    }
    let counted = groups.into_iter().map(|((kind, source), own)| {
        let delay = |case: &&ChangedCase| Some((case.observed_at? - case.occurred_at).num_seconds());
        let mut delays: Vec<i64> = own.iter().filter_map(delay).collect();
        delays.sort_unstable();
        let within = |tenths: usize| {
            let rank = (delays.len() * tenths).div_ceil(10);
            delays.get(rank.saturating_sub(1)).copied()
        };
        Counted {
            kind,
            source: source.map(str::to_owned),
            cases: own.len() as u64,
            observed_by_then: own.iter().filter(|case| case.observed_by_then).count() as u64,
            delay_p50_seconds: within(5),
            delay_p90_seconds: within(9),
        }
    });
    counted.collect()
}
