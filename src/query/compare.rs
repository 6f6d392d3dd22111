//! Two versions, or two slices: is one better than the other?

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{LabelledRow, labelled_rows};
use super::{Bootstrap, Error, Question, Row, ask, prepare};
use crate::domain::{MetricKey, Outcome, Slice};
use crate::job::Context;
use crate::job::answer::Asked;
use crate::metric::catalogue::{self, Chapter};
use crate::metric::comparison::{Pair, paired_accuracy, paired_auroc, paired_brier, unpaired};
use crate::metric::{Depth, evaluate};
use crate::summary::body::Body;
use crate::summary::fold::Parts;

/// The other side of a comparison: what it does not name is that of the first side.
#[derive(Clone, Debug)]
pub struct Against {
    /// The other version.
    pub version: Option<String>,
    /// The other slice.
    pub slice: Option<Slice>,
}

/// A comparison: the first side minus the second.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Comparison {
    /// The first side: version and slice.
    pub first: [String; 2],
    /// The second side.
    pub second: [String; 2],
    /// Cases with truth that both versions scored.
    pub shared: u64,
    /// Differences on these cases.
    pub paired: Vec<Row>,
    /// Differences between the two groups, each with all its cases: only where the groups share none.
    pub unpaired: Vec<Row>,
}

/// Compare.
///
/// # Errors
/// When a side names something unknown, both are the same, or the store fails.
pub async fn compare(context: &Context, question: &Question, against: &Against) -> Result<Comparison, Error> {
    let other = Question {
        version: against.version.clone().or_else(|| question.version.clone()),
        slice: against.slice.clone().unwrap_or_else(|| question.slice.clone()),
        ..question.clone()
    };
    let (first, second) = (prepare(context, question).await?, prepare(context, &other).await?);
    let side =
        |prepared: &super::Prepared, question: &Question| [prepared.version.name.clone(), question.slice.to_string()];
    let sides = (side(&first, question), side(&second, &other));
    if sides.0 == sides.1 {
        return Err(Error::Unknown("both sides are the same: name another version or another slice".to_owned()));
    }
    let pairs = pair(labelled_rows(context, &first, question).await?, labelled_rows(context, &second, &other).await?);
    if first.version.version_id == second.version.version_id && !pairs.is_empty() {
        return Err(Error::Unknown(format!(
            "the slices {} and {} share {} cases: compare slices that exclude each other, such as two values of one dimension",
            question.slice,
            other.slice,
            pairs.len()
        )));
    }
    let named = |(key, outcome): (MetricKey, Outcome)| Row::new(&key, outcome);
    let mut paired: Vec<(MetricKey, Outcome)> = Vec::new();
    if !pairs.is_empty() {
        paired.push((MetricKey::plain("auroc"), paired_auroc(&pairs)));
        paired.push((MetricKey::plain("brier"), paired_brier(&pairs)));
        for threshold in &first.output()?.thresholds {
            paired.push((MetricKey::at("accuracy", *threshold), paired_accuracy(&pairs, *threshold)));
        }
    }
    let apart = if pairs.is_empty() {
        let answers = |prepared: &super::Prepared| {
            let asked = Asked { reference: None, depth: Depth::Published, ..prepared.asked()? };
            let question = crate::metric::Question { minimum_n: 0, ..asked.question(prepared.output()?, &[]) };
            Ok::<_, Error>(evaluate(&question, &prepared.summary()))
        };
        let (mine, theirs) = (answers(&first)?, answers(&second)?);
        let theirs: BTreeMap<MetricKey, Outcome> = theirs.into_iter().collect();
        let differences = mine.into_iter().filter_map(|(key, outcome)| {
            let other = theirs.get(&key)?;
            // What is itself a comparison with the reference is no property of a group.
            let of_group = catalogue::find(&key.name).is_some_and(|entry| entry.chapter != Chapter::Drift);
            if !of_group {
                return None;
            }
            let comparable = outcome.as_ref().ok().is_none_or(|estimate| estimate.interval.is_some());
            comparable.then(|| (key, unpaired(&outcome, other)))
        });
        differences.collect()
    } else {
        Vec::new()
    };
    Ok(Comparison {
        first: sides.0,
        second: sides.1,
        shared: pairs.len() as u64,
        paired: paired.into_iter().map(named).collect(),
        unpaired: apart.into_iter().map(named).collect(),
    })
}

/// The cases that both sides have: by case the latest prediction of each.
fn pair(first: Vec<LabelledRow>, second: Vec<LabelledRow>) -> Vec<Pair> {
    let latest = |rows: Vec<LabelledRow>| {
        let mut by_case: BTreeMap<String, LabelledRow> = BTreeMap::new();
        for row in rows {
            let is_later = by_case.get(&row.case_id).is_none_or(|known| known.occurred_at < row.occurred_at);
            if is_later {
                by_case.insert(row.case_id.clone(), row);
            }
        }
        by_case
    };
    let (first, second) = (latest(first), latest(second));
    let both = first.into_iter().filter_map(|(case, mine)| Some((mine, second.get(&case)?)));
    both.map(|(mine, theirs)| Pair { first: mine.score, second: theirs.score, positive: mine.positive }).collect()
}

/// The AUROC whose variance lets the studies of one subject depend on each other.
///
/// # Errors
/// When the store fails.
pub async fn by_subject(context: &Context, question: &Question) -> Result<Row, Error> {
    let prepared = prepare(context, question).await?;
    let rows = labelled_rows(context, &prepared, question).await?;
    // A case without a subject is a cluster of its own.
    let clustered: Vec<crate::metric::comparison::Clustered<'_>> = rows
        .iter()
        .map(|row| crate::metric::comparison::Clustered {
            cluster: row.subject_id.as_deref().unwrap_or(&row.case_id),
            score: row.score,
            positive: row.positive,
        })
        .collect();
    Ok(Row::new(&MetricKey::plain("auroc_by_subject"), crate::metric::comparison::clustered_auroc(&clustered)))
}

/// All metrics with intervals by drawing buckets; see [`crate::metric::bootstrap`].
///
/// # Errors
/// When there are too few buckets, or as [`ask`].
pub async fn ask_with_bootstrap(
    context: &Context,
    question: &Question,
    resamples: u32,
    seed: u64,
) -> Result<super::Answer, Error> {
    let prepared = prepare(context, question).await?;
    let mut answer = ask(context, question).await?;
    if prepared.asked()?.quantity.kind().is_none() {
        return Err(Error::Unknown("the means over all outputs are not resampled: ask for one output".to_owned()));
    }
    let intervals = tokio::task::spawn_blocking(move || {
        let asked = Asked { depth: Depth::Published, ..prepared.asked()? };
        let key = (asked.output_id, asked.slice.clone());
        // The mixes of the dimensions, which need the other slices, have no case-level scatter to resample.
        let answer = |window: &Body| asked.answer(&Parts::from([(key.clone(), window.clone())])).unwrap_or_default();
        crate::metric::bootstrap::intervals(&prepared.bodies(), resamples, seed, &answer)
            .map_err(|why| Error::Unknown(why.to_string()))
    });
    let intervals = intervals.await.map_err(crate::job::Error::from)??;
    answer.bootstrap = Some(Bootstrap { resamples, seed });
    // What was measured on the reference does not depend on the window's buckets.
    for (key, interval) in intervals.into_iter().filter(|(key, _)| !key.name.starts_with("reference_")) {
        let name = key.to_string();
        if let Some(estimate) =
            answer.metrics.iter_mut().find(|row| row.metric == name).and_then(|row| row.estimate.as_mut())
        {
            estimate.interval = Some(interval);
            estimate.standard_error = None;
        }
    }
    Ok(answer)
}
