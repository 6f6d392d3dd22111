//! Making references: frozen from a window of rows, or imported from a file of scores and truth.
//!
//! A reference is in force only after a person has approved it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::config::{Classes, Finding, Quantity};
use crate::domain::{Opinion, Prediction, Real, Slice, Truth, Window};
use crate::intake::read_value;
use crate::job::evidence::is_fitted;
use crate::job::{Context, shape_of};
use crate::query::{Error, Extent, Place, find, from_rows};
use crate::source::Row;
use crate::source::file::{Reading, open};
use crate::stats::projector::{Projector, Unfit};
use crate::store::reference::NewReference;
use crate::store::rows::{Knowledge, Wanted};
use crate::summary::body::Body;
use crate::summary::embedding::EmbeddingSummary;
use crate::summary::fold::{Cell, Known, Parts, Shape, Truths, fold, over_buckets};

/// Who makes a reference, for which version, and why.
#[derive(Clone, Debug)]
pub struct Maker<'a> {
    /// The model.
    pub model: &'a str,
    /// The version; may be left out while there is only one.
    pub version: Option<&'a str>,
    /// The person.
    pub person: &'a str,
    /// The reason.
    pub reason: &'a str,
}

/// Freeze what is known now about a window. Returns the reference's number and the predictions in it.
///
/// # Errors
/// When the window holds no prediction, or the store fails.
pub async fn freeze(context: &Context, maker: &Maker<'_>, window: Window) -> Result<(i32, u64), Error> {
    let place = find(context, maker.model, maker.version).await?;
    let extent = Extent { window, knowledge: Knowledge::default(), only: None, projector: None };
    let known = from_rows(context, &place, extent).await?;
    if known.cells.is_empty() {
        return Err(Error::Unknown(format!("there are no predictions in {window}: nothing to freeze")));
    }
    let mut parts = over_buckets(known.cells);
    let mut projector = None;
    if place.model.embedding.is_some() {
        let recorded = Knowledge { known_at: None, recorded: Some(known.recorded) };
        let output_id = place.numbers.quantities.get(&Quantity::Embedding.name()).copied().unwrap_or_default();
        parts.remove(&(output_id, Slice::all()));
        match freeze_embeddings(context, &place, window, recorded).await? {
            Ok((fitted, held_out)) => {
                parts.insert((output_id, Slice::all()), Body::Embedding(held_out));
                projector = Some(fitted.frozen().clone());
            }
            Err(why) => tracing::warn!(
                model = place.model.name,
                "the embeddings are not frozen with this reference, everything else is: of one half of {window}, {why}"
            ),
        }
    }
    let new = NewReference {
        projector,
        version_id: place.version.version_id,
        window: Some(window),
        known_at: Some(known.known_at),
        recorded: Some(known.recorded),
        origin: "frozen".to_owned(),
        shape: place.model.shape(),
        person: maker.person.to_owned(),
        reason: maker.reason.to_owned(),
    };
    store(context, &new, &parts).await
}

/// Fit a projector to one half of the cases and look through it at the other half: what it was fitted to looks nearer than it
/// is. Which half a case belongs to follows from its pseudonym.
async fn freeze_embeddings(
    context: &Context,
    place: &Place,
    window: Window,
    knowledge: Knowledge,
) -> Result<Result<(Projector, EmbeddingSummary), Unfit>, Error> {
    let wanted = Wanted { outputs: &[], findings: &[], embeddings: true };
    let rows = context.store.load_rows(place.version.version_id, window, None, knowledge, wanted).await?;
    let work = move || {
        // A long file has several rows of one case and instant, and one input.
        let mut seen = HashSet::new();
        let first = |row: &Prediction| seen.insert((row.case_id.clone(), row.occurred_at));
        let given = rows.predictions.into_iter().filter(|row| row.embedding.is_some()).filter(first);
        let given = given.filter_map(|row| Some((row.case_id, row.embedding?)));
        let (fitted, held_out): (Vec<_>, Vec<_>) = given.partition(|(case, _)| is_fitted(case));
        let fitted: Vec<Vec<f32>> = fitted.into_iter().map(|(_, embedding)| embedding).collect();
        let projector = Projector::fit(&fitted)?;
        let projections = held_out.iter().map(|(_, embedding)| projector.project(embedding));
        let summary = EmbeddingSummary::of(projections);
        Ok::<_, Unfit>((projector, summary))
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(crate::job::Error::from)?)
}

/// Import a reference from a file with the columns `output`, `score`, `truth` and one for each slice dimension: a row per
/// case and output, `truth` blank where it is not known. A choice among classes has a row per class, so it needs the column
/// `case` too, by which its rows are brought together; its truth is the name of the true class.
///
/// # Errors
/// When a row cannot be read (the first one is named), or the store fails.
pub async fn import(context: &Context, maker: &Maker<'_>, path: &Path) -> Result<(i32, u64), Error> {
    let place = find(context, maker.model, maker.version).await?;
    let (predictions, truths) = read(&place, path).map_err(Error::Unknown)?;
    let shape = shape_of(&place.model, &place.numbers);
    let folded = tokio::task::spawn_blocking(move || fold_imported(&shape, &predictions, truths))
        .await
        .map_err(crate::job::Error::from)?
        .map_err(crate::job::Error::from)?;
    let parts = over_buckets(folded);
    let new = NewReference {
        projector: None,
        version_id: place.version.version_id,
        window: None,
        known_at: None,
        recorded: None,
        origin: format!("imported from {}", path.file_name().unwrap_or_default().to_string_lossy()),
        shape: place.model.shape(),
        person: maker.person.to_owned(),
        reason: maker.reason.to_owned(),
    };
    store(context, &new, &parts).await
}

async fn store(context: &Context, new: &NewReference, parts: &Parts) -> Result<(i32, u64), Error> {
    let whole = parts.iter().filter(|((_, slice), body)| slice.is_all() && body.readers().is_none());
    let largest = whole.map(|(_, body)| body.rows()).max().unwrap_or(0);
    let reference_id = context.store.insert_reference(new, parts, context.clock.now()).await?;
    Ok((reference_id, largest))
}

/// Every row is a case and output; the features of a case are counted with its first output.
fn fold_imported(
    shape: &Shape,
    predictions: &[Prediction],
    truths: Truths,
) -> polars::error::PolarsResult<BTreeMap<Cell, Body>> {
    let known = Known { truths, ..Known::default() };
    let outputs = Shape { features: Vec::new(), ..shape.clone() };
    let mut folded = fold(&outputs, predictions, &known)?;
    let first = shape.output_ids().first().copied();
    let of_first = |p: &&Prediction| p.scores.first().map(|(output, _)| *output) == first;
    let cases: Vec<Prediction> = predictions.iter().filter(of_first).cloned().collect();
    let features = Shape { outputs: Vec::new(), classes: Vec::new(), values: Vec::new(), ..shape.clone() };
    folded.extend(fold(&features, &cases, &known)?);
    Ok(folded)
}

fn read(place: &Place, path: &Path) -> Result<(Vec<Prediction>, Truths), String> {
    let check = |columns: &HashMap<String, usize>| {
        let missing: Vec<&str> =
            ["output", "score", "truth"].into_iter().filter(|name| !columns.contains_key(*name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("the file lacks the column(s) {}", missing.join(", "))) }
    };
    let named = |message: String| format!("{}: {message}", path.display());
    let rows = open(&Reading { format: None, delimiter: ',', wanted: None }, path, 0, &check)
        .map_err(|e| named(e.to_string()))?;
    let (mut predictions, mut truths) = (Vec::new(), Truths::new());
    for (index, row) in rows.enumerate() {
        let row = row.map_err(|error| named(error.to_string()))?;
        let row = row.map_err(|broken| named(format!("line {}: {}", broken.line, broken.message)))?;
        let at = |message: String| named(format!("line {}: {message}", row.line));
        let (prediction, truth) = record(place, &row, index).map_err(at)?;
        if let Some((key, truth)) = truth {
            let case = key.0.clone();
            if truths.insert(key, truth).is_some_and(|known| known != truth) {
                return Err(at(format!("the truth of case {case:?} contradicts an earlier row")));
            }
        }
        predictions.push(prediction);
    }
    if predictions.is_empty() {
        return Err(named("the file has no rows".into()));
    }
    Ok((predictions, truths))
}

type Labelled = Option<((String, i32), Truth)>;

fn record(place: &Place, row: &Row, index: usize) -> Result<(Prediction, Labelled), String> {
    let name = row.get("output").ok_or("output is empty")?;
    let is_output = place.model.scores().any(|known| known == name);
    let (finding, kind) =
        place.model.finding(name).filter(|_| is_output).ok_or_else(|| format!("{name:?} is no output of the model"))?;
    let number = |map: &HashMap<String, i32>, name: &str| map.get(name).copied().unwrap_or_default();
    let score = row.get("score").ok_or("score is empty")?;
    let score = read_value(score).ok_or_else(|| format!("{score:?} is no number between -1e75 and 1e75"))?;
    if !matches!(kind, Finding::Value) && !(0.0..=1.0).contains(&score) {
        return Err(format!("{score} is not a probability from 0 to 1"));
    }
    // Rows of one case belong together, if the file says which they are.
    if matches!(kind, Finding::Classes(_)) && row.get("case").is_none() {
        return Err(format!(
            "{name} is one class of several: the column \"case\" has to say which rows belong together"
        ));
    }
    let case_id = row.get("case").map_or_else(|| index.to_string(), str::to_owned);
    let occurred_at = chrono::DateTime::UNIX_EPOCH;
    let class = |choice: &Classes, text: &str| {
        let class = choice.classes.iter().find(|class| *class == text)?;
        Some(Opinion::Class(number(&place.numbers.outputs, &choice.output_of(class))))
    };
    let stated = match (row.get("truth"), kind) {
        (None, _) => None,
        (Some(text), Finding::Value) => {
            let real = read_value(text).and_then(Real::new);
            let real = real.ok_or_else(|| format!("the truth {text:?} is no number between -1e75 and 1e75"))?;
            Some(Opinion::Value(real))
        }
        (Some(text), Finding::Classes(choice)) => {
            let known = choice.classes.join(", ");
            Some(class(choice, text).ok_or_else(|| format!("the truth {text:?} is none of the classes {known}"))?)
        }
        (Some(text), Finding::YesNo) => match Opinion::parse(text) {
            Some(Opinion::Uncertain) => None,
            Some(opinion) => Some(opinion),
            None => return Err("truth is none of 0, 1, -1 or blank".into()),
        },
    };
    let truth = stated.map(|stated| {
        let key = (case_id.clone(), number(&place.numbers.findings, finding));
        (key, Truth { stated, known_at: occurred_at })
    });
    let dimensions = place.model.dimensions.iter().map(|dimension| &dimension.name);
    let names = dimensions.chain(place.model.features.iter().map(|feature| &feature.name));
    let attributes: BTreeMap<String, String> =
        names.filter_map(|name| Some((name.clone(), row.get(name)?.to_owned()))).collect();
    let scores = vec![(number(&place.numbers.outputs, name), score + 0.0)];
    Ok((Prediction { case_id, subject_id: None, occurred_at, scores, attributes, embedding: None }, truth))
}
