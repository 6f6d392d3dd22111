//! How it stands with the sources: what each is, how far behind it is, and why it fails if it does.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::{Kind, RecordKind, Source};
use crate::job::Context;
use crate::store;
use crate::store::cursor::Pulled;

/// How it stands with a source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceRow {
    /// Its name.
    pub source: String,
    /// How its records come.
    pub kind: &'static str,
    /// The model that they belong to.
    pub model: String,
    /// What they are.
    pub record: RecordKind,
    /// Where they come from, without secrets.
    pub place: String,
    /// When it last took records in.
    pub last_progress_at: Option<DateTime<Utc>>,
    /// Seconds that the latest time of its records is behind the clock; of sources that are asked.
    pub lag_seconds: Option<f64>,
    /// How it stands with one that is asked; nothing before the first time.
    #[serde(flatten)]
    pub pulled: Option<Pulled>,
}

/// Every source of the plan, in its order.
///
/// # Errors
/// When the store fails.
pub async fn list(context: &Context) -> store::Result<Vec<SourceRow>> {
    let (mut pulled, progress) = (context.store.list_pulled().await?, context.store.source_progress().await?);
    let now = context.clock.now();
    let row = |source: &Source| {
        let pulled = pulled.remove(&source.name).filter(|_| source.pull().is_some());
        let newest_at = pulled.as_ref().and_then(|pulled| pulled.newest_at);
        let (kind, place) = match &source.kind {
            Kind::File(files) => ("file", files.paths.join(", ")),
            Kind::Push => ("push", format!("POST /api/v1/models/{}/{}", source.model, source.record.as_str())),
            Kind::Events(_) => ("cloudevents", format!("POST /api/v1/models/{}/events", source.model)),
            Kind::Pull(pull) => (pull.upstream.word(), pull.upstream.place()),
        };
        SourceRow {
            source: source.name.clone(),
            kind,
            model: source.model.clone(),
            record: source.record,
            place,
            last_progress_at: progress.get(&source.name).copied(),
            lag_seconds: newest_at.map(|at| (now - at).as_seconds_f64().max(0.0)),
            pulled,
        }
    };
    Ok(context.plan.sources.iter().map(row).collect())
}
