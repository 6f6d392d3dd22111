//! What is put into the outbox: the report for everybody whom the plan names, with a chart for those who see one.

use super::{Context, Error};
use crate::alert::notice::{Addressee, addressees_of};
use crate::alert::report::Report;
use crate::config::{AlertRule, Limit};
use crate::domain::Estimate;
use crate::notify::chart::{Chart, Point};
use crate::store::estimate::StoredEstimate;
use crate::store::outbox::NewNotice;

/// A chart shows so many windows at most.
const MOST_WINDOWS: i64 = 60;

/// One notice per addressee of an alert.
///
/// # Errors
/// When the store fails.
pub async fn of_alert(
    context: &Context,
    rule: &AlertRule,
    estimate: &StoredEstimate,
    reference: Option<&Estimate>,
    report: Report,
) -> Result<Vec<NewNotice>, Error> {
    let model = report.place.as_ref().map_or("", |place| place.model.as_str());
    let addressees = addressees_of(&context.plan.notify, rule.severity, model);
    let is_shown = |addressee: &Addressee| addressee.channel == "email";
    let mut png = None;
    let mut with_chart = report.clone();
    if addressees.iter().any(is_shown) {
        let chart = history(context, rule, estimate, reference, &report).await?;
        match chart.png() {
            Ok(bytes) => {
                with_chart.chart = Some(chart.alt());
                png = Some(bytes);
            }
            // A notice without a picture is better than none.
            Err(error) => tracing::warn!(rule = rule.name, error = format!("{error:#}"), "a notice has no chart"),
        }
    }
    let notice = |addressee: Addressee| {
        let (report, chart) = if is_shown(&addressee) { (&with_chart, png.clone()) } else { (&report, None) };
        NewNotice { addressee, report: report.clone(), chart }
    };
    Ok(addressees.into_iter().map(notice).collect())
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
