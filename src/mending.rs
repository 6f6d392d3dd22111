//! What people do about refused records: export them as they stood, mend them, and send them through the door again.
//!
//! What passes is taken in by one transaction that marks its rejection as resolved; what does not keeps its place with the
//! new reason. Whoever sees or sends records gives a name and a reason; the audit trail keeps both, and nothing of the records.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::config::{Model, Source};
use crate::intake::{Collector, Kept};
use crate::job::commit::known_versions;
use crate::job::{self, Context};
use crate::person::Person;
use crate::source::mapping::Mapping;
use crate::source::{Problem, Row};
use crate::store::batch::{Position, Progress};
use crate::store::rejection::{Opened, Rejection, RejectionFilter};
use crate::store::{Error, Result};

/// A rejection to be sent through the door again.
#[derive(Clone, Debug)]
pub struct Mended {
    /// Its number.
    pub rejection_id: i64,
    /// The record as somebody mended it; as it stood when absent.
    pub record: Option<Value>,
}

/// What became of a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was taken in, by the batch of this number, or was known already.
    TakenIn(i64),
    /// It was refused again.
    Refused {
        /// The reason as one word.
        reason: String,
        /// What is wrong now.
        message: String,
    },
    /// It cannot be sent through the door.
    Left(String),
}

/// The records as they stood, the earliest first. Audited.
///
/// # Errors
/// When the store fails.
pub async fn export(context: &Context, filter: &RejectionFilter, person: &Person) -> Result<Vec<Opened>> {
    let opened = context.store.open_rejections(filter).await?;
    let ids: Vec<i64> = opened.iter().map(|opened| opened.rejection.rejection_id).collect();
    let detail = json!({ "rejections": ids });
    context.store.note_rejections("rejections exported", person.words(), detail, context.clock.now()).await?;
    Ok(opened)
}

/// Read what `export` wrote and somebody mended: a JSON object a line, with `rejection_id` and `record`.
///
/// # Errors
/// The line at fault, and why.
pub fn read_mended(text: &str) -> std::result::Result<Vec<Mended>, String> {
    let mut mended: Vec<Mended> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("line {number} is no JSON: {error}"))?;
        let rejection_id = value.get("rejection_id").and_then(Value::as_i64);
        let rejection_id = rejection_id.ok_or_else(|| format!("line {number} has no number rejection_id"))?;
        let record = value.get("record").filter(|record| record.is_object()).cloned();
        let record =
            record.ok_or_else(|| format!("line {number} has no object record; keep the shape of the export"))?;
        if mended.iter().any(|known| known.rejection_id == rejection_id) {
            return Err(format!("line {number}: rejection {rejection_id} stands there twice; keep one"));
        }
        mended.push(Mended { rejection_id, record: Some(record) });
    }
    Ok(mended)
}

/// Send rejections through the door again, under the plan in force. Audited. Returns what became of each, in their order.
///
/// # Errors
/// When there is no rejection of a number, or the store fails; batches that were committed before stand.
pub async fn replay(context: &Context, mended: Vec<Mended>, person: &Person) -> Result<Vec<(i64, Fate)>> {
    let ids: Vec<i64> = mended.iter().map(|one| one.rejection_id).collect();
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let filter = RejectionFilter { ids: Some(ids.clone()), limit, ..RejectionFilter::default() };
    let opened: BTreeMap<i64, Opened> = context
        .store
        .open_rejections(&filter)
        .await?
        .into_iter()
        .map(|opened| (opened.rejection.rejection_id, opened))
        .collect();
    if let Some(id) = ids.iter().find(|id| !opened.contains_key(id)) {
        return Err(Error::Missing(format!("there is no rejection {id}; retention may have removed it")));
    }
    let mut fates: HashMap<i64, Fate> = HashMap::new();
    // One batch per source and origin, so that what is taken in says where it came from.
    let mut groups: BTreeMap<(&str, &str), Vec<Sent<'_>>> = BTreeMap::new();
    for one in &mended {
        let opened = &opened[&one.rejection_id];
        match prepare(context, opened, one.record.as_ref()) {
            Ok(sent) => {
                let place = (opened.rejection.source.as_str(), opened.rejection.origin.as_str());
                groups.entry(place).or_default().push(sent);
            }
            Err(why) => {
                fates.insert(one.rejection_id, Fate::Left(why));
            }
        }
    }
    let most = context.plan.intake.batch_rows;
    for ((_, origin), sent) in &groups {
        for part in sent.chunks(most) {
            let batch_id = commit(context, origin, part).await?;
            for rejection in tried(context, part).await? {
                let fate = match rejection.resolved_at {
                    Some(_) => Fate::TakenIn(rejection.resolved_by.unwrap_or(batch_id)),
                    None => Fate::Refused { reason: rejection.reason, message: rejection.message },
                };
                fates.insert(rejection.rejection_id, fate);
            }
        }
    }
    let count = |wanted: fn(&Fate) -> bool| fates.values().filter(|fate| wanted(fate)).count();
    let detail = json!({
        "rejections": ids,
        "taken_in": count(|fate| matches!(fate, Fate::TakenIn(_))),
        "refused": count(|fate| matches!(fate, Fate::Refused { .. })),
        "left": count(|fate| matches!(fate, Fate::Left(_))),
    });
    context.store.note_rejections("rejections replayed", person.words(), detail, context.clock.now()).await?;
    Ok(ids.into_iter().filter_map(|id| fates.remove(&id).map(|fate| (id, fate))).collect())
}

/// What the door would say of a rejection now; nothing is taken in.
///
/// # Errors
/// Why it cannot be sent through the door.
pub fn rehearse(context: &Context, opened: &Opened) -> std::result::Result<Option<Problem>, String> {
    let sent = prepare(context, opened, None)?;
    let mapping = Mapping::new(&sent.source, sent.model);
    let (door, now) = (context.door(sent.model), context.clock.now());
    let verdicts = (0_i32..).zip(mapping.drafts(&sent.row)).map(|(item, draft)| {
        let position = Position { line: sent.rejection.rejection_id, item };
        (item, draft.and_then(|draft| door.admit(draft, position, now)).err())
    });
    let own = verdicts.filter(|(item, problem)| problem.is_some() && *item == sent.rejection.item);
    Ok(own.map(|(_, problem)| problem).next().flatten())
}

/// A rejection on its way to the door.
struct Sent<'a> {
    rejection: &'a Rejection,
    source: Source,
    model: &'a Model,
    row: Row,
    is_mended: bool,
}

#[allow(clippy::single_match_else, reason = "both ways are of equal weight")]
fn prepare<'a>(
    context: &'a Context,
    opened: &'a Opened,
    mended: Option<&Value>,
) -> std::result::Result<Sent<'a>, String> {
    let rejection = &opened.rejection;
    if let Some(batch) = rejection.resolved_by {
        return Err(format!("it was taken in by batch {batch}"));
    }
    let source = context.plan.source(&rejection.source);
    let source = source.ok_or_else(|| format!("the plan has no source {} any more", rejection.source))?;
    let model = context.plan.model(&source.model).ok_or_else(|| format!("the plan has no model {}", source.model))?;
    let is_mended = mended.is_some();
    let record = match mended {
        Some(record) => record.clone(),
        None => {
            let record = opened.record.as_ref().map_err(Clone::clone)?;
            serde_json::from_str(record.expose()).map_err(|error| format!("the stored record is no JSON: {error}"))?
        }
    };
    if record.get("columns").is_none() && record.get("said").is_some() {
        return Err(
            "it is kept as it was understood, without its columns: write them into a file for replay --file".to_owned()
        );
    }
    let row = Row::of_record(rejection.line, &record)?;
    // As when it was sent: a row that names an output says one thing.
    let source = if source.is_implied() && row.get("output").is_some() { source.long() } else { source };
    if Mapping::new(&source, model).ignores(&row) {
        return Err("the plan has no interest in it any more (ignore)".to_owned());
    }
    Ok(Sent { rejection, source, model, row, is_mended })
}

/// Take in what passes. All are of one source and origin. Returns the batch's number.
async fn commit(context: &Context, origin: &str, sent: &[Sent<'_>]) -> Result<i64> {
    let mut collector = Collector::default();
    for one in sent {
        admit(context, one, &mut collector).await?;
    }
    let Some(source) = sent.first().map(|one| &one.source) else { return Ok(0) };
    let known = known_versions(context, &source.model).await?;
    collector.limit_versions(known.keys().cloned(), context.plan.intake.most_versions);
    let progress = Progress::Replayed(sent.iter().map(|one| one.rejection.rejection_id).collect());
    let taken = job::commit::commit(context, None, source, origin, progress, collector, known).await?;
    Ok(taken.committed.batch_id)
}

/// Let a row's records pass or be refused. A record that is refused on its own is left to its own rejection, unless somebody
/// mended the row as a whole.
async fn admit(context: &Context, sent: &Sent<'_>, collector: &mut Collector) -> Result<()> {
    let mapping = Mapping::new(&sent.source, sent.model);
    let (door, now) = (context.door(sent.model), context.clock.now());
    let kept = || Kept::of_row(&mapping, &sent.row);
    let own = sent.rejection.item;
    for (item, draft) in (0_i32..).zip(mapping.drafts(&sent.row)) {
        // The first record's rejection may have been that of the whole row, whose other records have none.
        if item != own && own != 0 && !sent.is_mended {
            continue;
        }
        let position = Position { line: sent.rejection.rejection_id, item };
        match draft.and_then(|draft| door.admit(draft, position.clone(), now)) {
            Ok(admitted) => collector.admit(admitted, kept),
            Err(_) if item != own && !sent.is_mended && context.store.is_refused(sent.rejection, item).await? => {}
            Err(problem) => collector.reject(problem, position, kept()),
        }
    }
    Ok(())
}

/// The rejections of a batch, as they are now.
async fn tried(context: &Context, sent: &[Sent<'_>]) -> Result<Vec<Rejection>> {
    let ids: Vec<i64> = sent.iter().map(|one| one.rejection.rejection_id).collect();
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    context.store.list_rejections(&RejectionFilter { ids: Some(ids), limit, ..RejectionFilter::default() }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mended_file_names_its_rejections_and_says_what_is_wrong_with_it() {
        let good = "{\"rejection_id\": 3, \"record\": {\"columns\": {}}, \"message\": \"x\"}\n\n";
        let read = read_mended(good).expect("a file");
        assert_eq!((read.len(), read[0].rejection_id), (1, 3));
        for (text, wanted) in [
            ("nonsense", "line 1 is no JSON"),
            ("{\"record\": {}}", "line 1 has no number rejection_id"),
            ("\n{\"rejection_id\": 3}", "line 2 has no object record"),
            (&good.repeat(2), "rejection 3 stands there twice"),
        ] {
            let told = read_mended(text).expect_err(wanted);
            assert!(told.contains(wanted), "{told}");
        }
    }
}
