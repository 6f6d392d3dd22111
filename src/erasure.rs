//! Erasure of persons: finds what is kept of somebody, wherever it stands, and has it removed.
//!
//! Refused records are encrypted as they stood, and events of inference servers are texts: each of their values is turned into the
//! pseudonym that it would have, so the id itself is not needed. Must never: say, log or keep an id. The store removes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::intake::Pseudonyms;
use crate::job::Context;
use crate::person::Person;
use crate::store::Result;
use crate::store::erasure::{Doomed, Erased};
use crate::store::identifier::IdKind;
use crate::store::rejection::RejectionFilter;

/// Refused records and events that are read at once.
const AT_ONCE: i64 = 500;

/// Who is to be erased, as a pseudonym.
#[derive(Clone, Debug)]
pub struct Who {
    /// A case or a subject.
    pub kind: IdKind,
    /// The pseudonym.
    pub pseudonym: String,
}

impl Who {
    /// By the id as the senders write it.
    #[must_use]
    pub fn of_id(pseudonyms: &Pseudonyms, kind: IdKind, id: &str) -> Self {
        let pseudonym = match kind {
            IdKind::Case => pseudonyms.case(id.trim()),
            IdKind::Subject => pseudonyms.subject(id.trim()),
        };
        Self { kind, pseudonym }
    }
}

/// Everything that is kept of somebody, with how many rows of each table there are.
///
/// # Errors
/// When the store fails.
pub async fn find(context: &Context, who: &Who) -> Result<(Doomed, BTreeMap<&'static str, u64>)> {
    let store = &context.store;
    let Who { kind, pseudonym } = who.clone();
    let cases = match kind {
        IdKind::Case => vec![pseudonym.clone()],
        IdKind::Subject => store.cases_of(&pseudonym).await?,
    };
    let names = Names { pseudonyms: &context.pseudonyms, cases: cases.iter().collect(), who };
    let mut rejections = Vec::new();
    let mut filter = RejectionFilter { limit: AT_ONCE, ..RejectionFilter::default() };
    loop {
        let opened = store.open_rejections(&filter).await?;
        let Some(first) = opened.first() else { break };
        filter.before = Some(first.rejection.rejection_id);
        let about = opened.iter().filter(|opened| {
            opened.record.as_ref().is_ok_and(|record| names.are_in_text(record.expose()))
                || names.are_in(&opened.rejection.payload)
        });
        rejections.extend(about.map(|opened| opened.rejection.rejection_id));
    }
    let mut events = BTreeSet::new();
    let mut after = [String::new(), String::new(), String::new()];
    loop {
        let waiting = store.list_waiting_events((&after[0], &after[1], &after[2]), AT_ONCE).await?;
        let Some([source, event, half, _]) = waiting.last() else { break };
        after = [source.clone(), event.clone(), half.clone()];
        let about = waiting.iter().filter(|[_, event, _, body]| names.is(event) || names.are_in_text(body));
        events.extend(about.map(|[source, event, ..]| (source.clone(), event.clone())));
    }
    let doomed = Doomed { kind, pseudonym, cases, rejections, events: events.into_iter().collect() };
    let counts = store.count_doomed(&doomed).await?;
    Ok((doomed, counts))
}

/// Erase somebody, in a person's name. `None` when nothing is kept of them and they were erased before.
///
/// # Errors
/// When the store fails; then nothing is erased.
pub async fn erase(context: &Context, who: &Who, person: &Person) -> Result<Option<Erased>> {
    let (doomed, counts) = find(context, who).await?;
    if counts.values().all(|rows| *rows == 0) && context.store.is_erased(who.kind, &who.pseudonym).await? {
        return Ok(None);
    }
    context.store.erase(doomed, person.words(), context.clock.now()).await.map(Some)
}

/// The names under which somebody may stand in a text.
struct Names<'n> {
    pseudonyms: &'n Pseudonyms,
    cases: BTreeSet<&'n String>,
    who: &'n Who,
}

impl Names<'_> {
    /// Whether a value is one of them, or an id that has one of them as its pseudonym.
    fn is(&self, value: &str) -> bool {
        let value = value.trim();
        if value.is_empty() {
            return false;
        }
        let is_case = |name: &String| self.cases.contains(name);
        let is_subject = |name: &String| self.who.kind == IdKind::Subject && *name == self.who.pseudonym;
        let own = value.to_owned();
        is_case(&own)
            || is_subject(&own)
            || is_case(&self.pseudonyms.case(value))
            || is_subject(&self.pseudonyms.subject(value))
    }

    fn are_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is(text),
            Value::Number(number) => self.is(&number.to_string()),
            Value::Array(values) => values.iter().any(|value| self.are_in(value)),
            Value::Object(fields) => fields.values().any(|value| self.are_in(value)),
            Value::Null | Value::Bool(_) => false,
        }
    }

    fn are_in_text(&self, text: &str) -> bool {
        serde_json::from_str(text).map_or_else(|_| self.is(text), |value: Value| self.are_in(&value))
    }
}
