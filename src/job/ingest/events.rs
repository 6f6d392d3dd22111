//! Events of inference servers to rows: those whose halves are both there, or whose response is enough.

use chrono::TimeDelta;

use super::Tally;
use super::way::Way;
use crate::config::Events;
use crate::domain::Reason;
use crate::intake::{Collector, Kept, admit_row};
use crate::job::Error;
use crate::source::Problem;
use crate::source::inference::{self, Event};
use crate::source::mapping::Mapping;
use crate::store::batch::{Position, Progress};
use crate::store::event::Inference;

/// Inferences that are taken in at once.
const AT_ONCE: i64 = 500;

/// Take in what is complete; what has waited too long for its other half becomes a rejection.
pub(super) async fn take_in(way: &Way<'_>, events: &Events, tally: &mut Tally) -> Result<(), Error> {
    let (store, source) = (&way.context.store, way.source);
    loop {
        let found = store.list_inferences(&source.name, source.needs_request(), AT_ONCE).await?;
        if found.is_empty() {
            break;
        }
        let mut collector = Collector::default();
        for (line, inference) in (1..).zip(&found) {
            admit(way, line, inference, &mut collector);
        }
        let ids = found.into_iter().map(|(id, ..)| id).collect();
        way.commit(collector, "events".into(), Progress::Events(ids), tally).await?;
    }
    let before = way.context.clock.now() - TimeDelta::from_std(events.patience).unwrap_or(TimeDelta::MAX);
    loop {
        let found = store.list_halves(&source.name, before, AT_ONCE).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut collector = Collector::default();
        for (id, half) in &found {
            let other = if half == "request" { "response" } else { "request" };
            let message = format!(
                "the {half} of inference {id:?} waited for its {other} in vain; does the server log both, to this address? \
                 (source.patience)"
            );
            let kept = Kept { payload: serde_json::json!({ "event": id, "half": half }), ..Kept::of_text(&message) };
            collector.reject(Problem::new("event", Reason::Unpaired, message), Position { line: 0, item: 0 }, kept);
        }
        let ids = found.into_iter().map(|(id, _)| id).collect();
        way.commit(collector, "events".into(), Progress::Events(ids), tally).await?;
    }
}

/// Take one inference's cases to the door.
fn admit(way: &Way<'_>, line: i64, (id, request, response): &Inference, collector: &mut Collector) {
    let read = |text: &String| serde_json::from_str::<Event>(text).map_err(|error| error.to_string());
    let mapping = Mapping::new(way.source, way.model);
    let rows = request.as_ref().map(read).transpose().and_then(|request| {
        let response = read(response)?;
        inference::rows(request.as_ref(), &response, &mapping.columns())
    });
    let door = way.door();
    match rows {
        Ok(rows) => {
            for row in rows {
                admit_row(&door, &mapping, Ok(row), way.context.clock.now(), collector);
            }
        }
        Err(message) => {
            let kept =
                Kept { payload: serde_json::json!({ "event": id }), ..Kept::of_text(&format!("{id} {message}")) };
            let message = format!("inference {id:?}: {message}");
            collector.reject(Problem::new("data", Reason::MalformedRow, message), Position { line, item: 0 }, kept);
        }
    }
}
