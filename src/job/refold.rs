//! Are the summaries what their rows make? Every bucket that is not waiting to be folded is folded again and compared, byte by byte.
//!
//! Summaries are a cache and stand in no chain: they follow from rows, which do. It reads every row, so it is part of
//! `dosimeter audit verify --full` alone; on the schedule, the replay of estimates looks at a sample.

use std::collections::BTreeMap;

use super::fold::refold;
use super::{Context, Error};
use crate::store::summary::Place;
use crate::summary::codec;
use crate::verify::Report;

/// Predictions that are folded at once, unless one bucket alone has more.
const MOST_ROWS: i64 = 50_000;

/// Fold every bucket again and note which summaries differ. Versions whose model has another shape in this plan are left out.
///
/// # Errors
/// When the store or the fold fails.
pub async fn check_summaries(context: &Context, report: &mut Report) -> Result<(), Error> {
    report.count("summary", 0);
    // Whatever comes later marks its bucket, or is not read.
    let recorded = context.store.last_batch().await?;
    for version in context.store.list_versions().await? {
        let Some((model, _)) = context.model_of(&version) else { continue };
        let buckets = context.store.list_clean_buckets(version.version_id, &model.fold_digest()).await?;
        for some in context.store.by_rows(version.version_id, &buckets, MOST_ROWS).await? {
            let stored = context.store.load_bodies(version.version_id, &some).await?;
            let Some(refolded) = refold(context, &version, (&some, recorded)).await? else { continue };
            let made: BTreeMap<Place, Vec<u8>> = refolded
                .summaries
                .iter()
                .map(|(cell, body)| ((cell.output_id, cell.slice.to_string(), cell.bucket), codec::encode(body)))
                .collect();
            report.count("summary", stored.len() as u64);
            let places: std::collections::BTreeSet<&Place> = stored.keys().chain(made.keys()).collect();
            for place in places {
                let what = match (stored.get(place), made.get(place)) {
                    (stored, made) if stored == made => continue,
                    (None, _) => "is missing: its rows are there",
                    (_, None) => "was put in: no rows make it",
                    _ => "is not what its rows make",
                };
                let (output_id, slice, bucket) = place;
                let bucket = bucket.format("%Y-%m-%dT%H:%M");
                let row =
                    format!("version_id {}, output_id {output_id}, slice {slice}, bucket {bucket}", version.version_id);
                report.breach("summary", row, what);
            }
        }
    }
    Ok(())
}
