//! What a notice shows: a chart of what it speaks of.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Error};
use crate::alert::report::Report;
use crate::config::{AlertRule, Limit, Severity, Tier};
use crate::domain::Estimate;
use crate::picture::{Chart, Picture as _, Point, REFERENCE, png};
use crate::store::estimate::StoredEstimate;
use crate::store::stream::StoredStream;

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
    /// What sealed days measured, where the measure has a mean, and the evidence that they make.
    Stream {
        /// The stream.
        stored: Arc<StoredStream>,
        /// The tier.
        tier: Severity,
        /// What is measured where.
        title: String,
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
    let charts = match picture {
        Picture::Metric { rule, estimate, reference } => {
            vec![history(context, rule, estimate, reference.as_ref(), report).await?]
        }
        Picture::Stream { stored, tier, title } => sealed(context, stored, (*tier, title), report.since).await?,
    };
    let words: Vec<String> = charts.iter().map(Chart::words).collect();
    match png(&charts) {
        Ok(bytes) => Ok(Some((words.join(". "), bytes))),
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
        Some(point(*at, outcome?.as_ref().ok()?))
    });
    let (Limit::Below(limit) | Limit::Above(limit)) = rule.limit;
    let mut lines = vec![("limit".to_owned(), limit)];
    lines.extend(reference.map(|reference| (REFERENCE.to_owned(), reference.value)));
    let (output, slice) = report.place.as_ref().map_or(("", ""), |place| (&place.output, &place.slice));
    Ok(Chart {
        title: format!("{} of {output}, {slice} ({})", rule.metric, rule.window),
        y_label: rule.metric.to_string(),
        points: points.collect(),
        lines,
        mark: Some(("since".to_owned(), report.since)),
        provisional_from: None,
        logarithmic: false,
    })
}

fn point(at: DateTime<Utc>, estimate: &Estimate) -> Point {
    let interval = estimate.interval.as_ref().map(|interval| (interval.lower, interval.upper));
    Point { at, value: estimate.value, interval }
}

/// What a stream's sealed days measured, a week together, and its evidence.
async fn sealed(
    context: &Context,
    stored: &StoredStream,
    (tier, title): (Severity, &str),
    since: DateTime<Utc>,
) -> Result<Vec<Chart>, Error> {
    let Ok(stream) = &stored.stream else { return Ok(Vec::new()) };
    let to = stored.looked_until;
    let from = to - TimeDelta::days(MOST_WINDOWS);
    let days = context.store.load_sealed(stored.book(), stored.place(), (from - TimeDelta::days(6), to)).await?;
    let week = |last: &DateTime<Utc>| days.range(*last - TimeDelta::days(6)..=*last).map(|(_, sealed)| sealed);
    let recent = days.keys().filter(|day| **day >= from);
    let points: Vec<Point> = recent.filter_map(|day| Some(point(*day, &stream.estimated(week(day))?))).collect();
    let mark = Some(("since".to_owned(), since));
    let mut charts = Vec::new();
    if !points.is_empty() {
        let limit = |stratum: &crate::detect::stream::Stratum| {
            let label =
                if stream.strata.len() == 1 { "limit".to_owned() } else { format!("limit, {}", stratum.days.as_str()) };
            Some((label, stratum.null.as_ref()?.limit))
        };
        let reference = stream.reference().map(|reference| (REFERENCE.to_owned(), reference));
        charts.push(Chart {
            title: format!("{title} (seven sealed days)"),
            y_label: stream.measure.to_string(),
            points,
            lines: stream.strata.iter().filter_map(limit).chain(reference).collect(),
            mark: mark.clone(),
            provisional_from: None,
            logarithmic: false,
        });
    }
    let evidence = context.store.list_evidence(stored.stream_id, Tier::of(tier).as_str(), from, None).await?;
    let threshold = evidence.last().map(|last| ("alarm".to_owned(), last.threshold));
    let evidence_point =
        |one: &crate::store::stream::EvidencePoint| Point { at: one.day, value: one.evidence, interval: None };
    charts.push(Chart {
        title: format!("Evidence of the {} tier", tier.as_str()),
        y_label: "M".to_owned(),
        points: evidence.iter().map(evidence_point).collect(),
        lines: threshold.into_iter().collect(),
        mark,
        provisional_from: None,
        logarithmic: true,
    });
    Ok(charts)
}
