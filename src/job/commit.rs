//! Commit what was collected: the last step of every way in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Context;
use crate::config::Source;
use crate::intake::Collector;
use crate::store::Result;
use crate::store::batch::{Progress, Taken};
use crate::store::lease::Lease;

/// The versions of a model that are known, with their numbers.
///
/// # Errors
/// When Postgres fails.
pub async fn known_versions(context: &Context, model: &str) -> Result<BTreeMap<String, i32>> {
    let versions = context.store.list_versions().await?;
    let own = versions.into_iter().filter(|version| version.model == model);
    Ok(own.map(|version| (version.name, version.version_id)).collect())
}

/// Commit a collector's records in one transaction. Versions that are not among the `known` ones get their numbers first.
///
/// # Errors
/// When Postgres fails or the lease is lost; then nothing is kept.
pub async fn commit(
    context: &Context,
    lease: Option<&Lease>,
    source: &Source,
    origin: &str,
    progress: Progress,
    collector: Collector,
    mut known: BTreeMap<String, i32>,
) -> Result<Taken> {
    let now = context.clock.now();
    let model = context.catalog.models.get(&source.model);
    let model_id = model.map(|model| model.model_id).unwrap_or_default();
    for version in collector.versions() {
        if let Entry::Vacant(place) = known.entry(version) {
            let number = context.store.version_number(model_id, place.key(), now).await?;
            place.insert(number);
        }
    }
    let batch = collector.into_batch(source.name.clone(), origin.to_owned(), progress, &known);
    // The largest of all futures: on the heap, it does not weigh on whoever waits for it.
    Box::pin(context.store.commit_batch(lease, batch, now)).await
}
