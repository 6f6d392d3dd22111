//! What a notice shows: a chart of what it speaks of.

use super::{Context, Error};
use crate::alert::report::Report;
use crate::config::{AlertRule, Limit};
use crate::domain::Estimate;
use crate::notify::chart::{Chart, Point};
use crate::store::estimate::StoredEstimate;

/// A chart shows so many windows at most.
const MOST_WINDOWS: i64 = 60;

/// What a notice can show.
pub enum Picture<'a> {
    /// The metric over the last windows.
    Metric {
        /// The rule that watches it.
        rule: &'a AlertRule,
        /// The decisive estimate.
        estimate: &'a StoredEstimate,
        /// The metric on the reference.
        reference: Option<Estimate>,
    },
}

/// Draw a picture for a report: what it shows in words, and a PNG. Nothing when it cannot be drawn: a notice without a picture
/// is better than none.
///
/// # Errors
/// When the store fails.
pub async fn draw(
    context: &Context,
    picture: &Picture<'_>,
    report: &Report,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let chart = match picture {
        Picture::Metric { rule, estimate, reference } => {
            history(context, rule, estimate, reference.as_ref(), report).await?
        }
    };
    match chart.png() {
        Ok(bytes) => Ok(Some((chart.alt(), bytes))),
        Err(error) => {
            tracing::warn!(rule = report.rule, error = format!("{error:#}"), "a notice has no chart");
            Ok(None)
        }
    }
}

/// The metric over the last windows, with its limit, its reference and when the condition began to hold.
async fn history(
    context: &Context,
    rule: &AlertRule,
    estimate: &StoredEstimate,
    reference: Option<&Estimate>,
    report: &Report,
) -> Result<Chart, Error> {
    let windows = context.store.estimate_history(estimate, MOST_WINDOWS).await?;
    let points = windows.iter().filter_map(|(at, metrics)| {
        let outcome = metrics.iter().find(|(key, _)| *key == rule.metric).map(|(_, outcome)| outcome);
        let known = outcome?.as_ref().ok()?;
        let interval = known.interval.as_ref().map(|interval| (interval.lower, interval.upper));
        Some(Point { at: *at, value: known.value, interval })
    });
    let (Limit::Below(limit) | Limit::Above(limit)) = rule.limit;
    let mut lines = vec![("limit".to_owned(), limit)];
    lines.extend(reference.map(|reference| ("reference".to_owned(), reference.value)));
    let (output, slice) = report.place.as_ref().map_or(("", ""), |place| (&place.output, &place.slice));
    Ok(Chart {
        title: format!("{} of {output}, {slice} ({})", rule.metric, rule.window),
        y_label: rule.metric.to_string(),
        points: points.collect(),
        lines,
        mark: Some(("since".to_owned(), report.since)),
        logarithmic: false,
    })
}
