//! What Prometheus reads: an immutable snapshot behind a collector.
//!
//! A snapshot replaces the one before it whole, so series of what no longer exists are gone with the next scrape. Every
//! family is declared in [`FAMILIES`] or is a metric of the catalogue, with its help.
//! Must never: ask the database during a scrape.

pub mod traffic;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};

use crate::metric::catalogue;

/// The daemon's own families: name without the prefix `dosimeter_`, and help. Names that end in `_total` are counters. The
/// families of metrics are those of `metric::catalogue`.
pub const FAMILIES: &[(&str, &str)] = &[
    ("undefined", "A metric of the slice \"all\" that has no value, with the reason."),
    ("window_end_timestamp_seconds", "End of the window that was estimated last."),
    ("estimated_timestamp_seconds", "When the window was estimated last."),
    (
        "day_predictions",
        "Predictions of one of the last fourteen days by its age in days, 0 being today; of the slice \"all\".",
    ),
    ("day_labelled", "Those of them whose truth is known."),
    (
        "day_provisional",
        "1 while a day is younger than the delay within which 90 % of the labels come, so that its truth is not all there; else 0. \
         Absent while that delay is not known.",
    ),
    (
        "alert_timestamp_seconds",
        "When an open alert fired, or, while it is pending, since when its condition has held. By state as in dosimeter_alerts.",
    ),
    ("alerts", "Open alerts by rule and state; silenced or inhibited while something keeps them quiet."),
    ("evidence", "Evidence of a stream in a tier, or the sum or average of a chart; 0 before its first sealed day."),
    ("evidence_threshold", "The evidence at which a stream alarms in a tier."),
    (
        "stream_listed",
        "1 while a stream is listed as watched: by all evidence together it is worth a look, and nobody is told.",
    ),
    ("stream_watched", "1 while a stream is watched, 0 while something it needs is missing."),
    (
        "stream_limit",
        "What a stream bets on: the value that is still well, in the measure's own terms, by kind of day.",
    ),
    ("sealed_until_timestamp_seconds", "Days before this one are sealed, by maturity of their cases."),
    ("alarms_allowed_per_year", "False alarms a year that the plan allows in a tier."),
    ("alarms_raised_365d", "Alarms of a tier in the last 365 days, true or false."),
    ("health", "Whether a rule on the data of a model is broken (1) or kept (0); absent while nothing can be said."),
    ("model_versions", "Versions of a model that have made a prediction."),
    ("audit_entries", "Entries of the audit trail."),
    ("audit_seals", "Seals of rows in tables that only grow."),
    (
        "audit_anchored_timestamp_seconds",
        "When the heads of the chains were last anchored; absent before the first time.",
    ),
    ("audit_verified_timestamp_seconds", "When every row was last verified; absent before the first time."),
    ("audit_breaches", "Rows that did not fit at the last verification; absent before the first."),
    ("heartbeat_timestamp_seconds", "When a whole pass of the pipeline last succeeded."),
    ("heartbeat_pings_total", "Attempts to tell heartbeat.url of a whole pass, by outcome."),
    ("build_info", "The running release; always 1."),
    ("start_timestamp_seconds", "When the daemon started."),
    ("snapshot_timestamp_seconds", "When these numbers were put together."),
    ("series", "Series in this exposition."),
    ("http_requests_total", "Requests over HTTP by route, method and class of the answer's status."),
    ("http_request_seconds", "Time until the answer to a request began, by route and method."),
    ("http_refused_total", "Requests that were refused: unauthorised, forbidden, rate, size, slow."),
    ("http_connections", "Connections to the HTTP server that are open."),
    ("job_runs_total", "Runs of a job by outcome."),
    ("job_run_seconds_total", "Time spent in a job."),
    ("job_last_success_timestamp_seconds", "When a job last ended without failure."),
    ("records_total", "Records by source, kind and what became of them."),
    ("rejections_total", "Kept rejections by source and reason."),
    ("rejections_resolved_total", "Rejections that were taken in after all, by source and reason."),
    ("contract_breaches_total", "New predictions in which an attribute breaks the contract of the plan, by reason."),
    ("source_last_progress_timestamp_seconds", "When a source last took records in."),
    ("source_files_pending", "Files that a source has found and not yet finished."),
    ("source_folders_closed", "Folders of a source that cannot be looked into."),
    (
        "source_last_success_timestamp_seconds",
        "When a source that is asked last answered, and all of it was committed.",
    ),
    ("source_newest_record_timestamp_seconds", "The latest time that the records of a source that is asked state."),
    ("source_lag_seconds", "How far the latest time that the records of a source state is behind the clock."),
    ("source_pending", "Messages or objects of a source that wait to be read."),
    ("source_failing", "1 while a source that is asked fails, 0 while it answers."),
    ("source_failures_total", "Attempts to read a source that failed, by reason."),
    ("database_bytes", "Disk that the database takes."),
    ("dirty_buckets", "Buckets that wait to be folded."),
    ("rows_erased_total", "Rows that went when persons were erased, by table."),
    ("rows_retired_total", "Rows that retention has removed, by table."),
    ("oldest_prediction_timestamp_seconds", "When the oldest prediction that is kept was made."),
    ("frozen_before_timestamp_seconds", "Buckets before this instant are frozen: their rows are gone or about to go."),
    ("outbox_pending", "Notices that wait to be sent."),
    ("outbox_oldest_seconds", "Age of the oldest notice that waits; 0 when none does."),
    ("outbox_dead", "Notices that were given up and not sent again: dead letters."),
    ("outbox_sent_total", "Notices that were sent, by route."),
    ("outbox_attempts_failed_total", "Attempts to send a notice that failed, by route."),
    ("outbox_dead_total", "Notices that were given up, by route."),
    ("replays_total", "Past estimates that were made again, by outcome: agrees, differs, cannot."),
    ("replay_last_timestamp_seconds", "When past estimates were last made again."),
    ("replay_differing", "Estimates whose last replay differs from what is stored, by model."),
];

/// Endings of the families that accompany a metric, with what they add to its help.
const COMPANIONS: [(&str, &str); 4] = [
    ("_lower", " Lower end of the 95 % interval."),
    ("_upper", " Upper end of the 95 % interval."),
    ("_null95", " Value that chance alone exceeds once in twenty without any change."),
    ("_p_value", " Probability of so large a value without any change."),
];

fn help_of(name: &str) -> Option<String> {
    let find = |name: &str| {
        let own = FAMILIES.iter().find(|(family, _)| *family == name).map(|(_, help)| *help);
        own.or_else(|| catalogue::find(name).map(|entry| entry.help))
    };
    find(name).map(str::to_owned).or_else(|| {
        COMPANIONS.iter().find_map(|(ending, more)| Some(format!("{}{more}", find(name.strip_suffix(ending)?)?)))
    })
}

/// One consistent set of numbers.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    families: BTreeMap<String, Vec<Metric>>,
}

impl Snapshot {
    /// Add a sample to a family, by its name without the prefix.
    ///
    /// # Panics
    /// In debug builds, when the family is not declared in [`FAMILIES`].
    pub fn add(&mut self, family: &str, labels: &[(&str, &str)], value: f64) {
        debug_assert!(help_of(family).is_some(), "the family {family} is not declared");
        let mut metric = Metric::default();
        let pairs = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        metric.set_label(pairs.collect());
        if family.ends_with("_total") {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.families.entry(family.to_owned()).or_default().push(metric);
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.families.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }
}

/// The present snapshot, as text that is made once and read at every scrape, and what goes over HTTP. Shared; cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    current: Arc<RwLock<Arc<Published>>>,
    registry: Registry,
    traffic: traffic::Traffic,
}

/// A snapshot as Prometheus reads it.
struct Published {
    is_empty: bool,
    /// The text, or why the encoder refused a family.
    text: Result<String, String>,
}

impl Exporter {
    /// An exporter without numbers yet.
    ///
    /// # Errors
    /// Never in practice: the registry is new.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let traffic = traffic::Traffic::new(&registry)?;
        let nothing = Published { is_empty: true, text: Ok(String::new()) };
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(nothing))), registry, traffic })
    }

    /// What goes over HTTP.
    #[must_use]
    pub fn traffic(&self) -> &traffic::Traffic {
        &self.traffic
    }

    /// Replace the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        let is_empty = snapshot.is_empty();
        let published = Published { is_empty, text: snapshot.text().map_err(|error| error.to_string()) };
        // A poisoned lock guards a pointer: whatever it points to is whole.
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(published);
    }

    /// Whether a snapshot has been published.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.present().is_empty
    }

    /// The text format of Prometheus.
    ///
    /// # Errors
    /// When the encoder refuses a family.
    pub fn render(&self) -> prometheus::Result<String> {
        let present = self.present();
        let own = present.text.as_ref().map_err(|error| prometheus::Error::Msg(error.clone()))?;
        let traffic = text(&self.registry.gather())?;
        Ok([own.as_str(), &traffic].concat())
    }

    fn present(&self) -> Arc<Published> {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Snapshot {
    /// The text format of Prometheus. It is made when the snapshot is published: a scrape of a large fleet costs a copy.
    fn text(self) -> prometheus::Result<String> {
        let families = self.families.into_iter().map(|(name, metrics)| {
            let mut family = MetricFamily::default();
            family.set_name(format!("dosimeter_{name}"));
            family.set_help(help_of(&name).unwrap_or_default());
            family.set_field_type(if name.ends_with("_total") { MetricType::COUNTER } else { MetricType::GAUGE });
            family.set_metric(metrics);
            family
        });
        text(&families.collect::<Vec<_>>())
    }
}

fn text(families: &[MetricFamily]) -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_what_is_gone_are_gone() {
        let exporter = Exporter::new().expect("a registry");
        let mut first = Snapshot::default();
        first.add("auroc", &[("model", "a")], 0.9);
        first.add("auroc_lower", &[("model", "a")], 0.8);
        exporter.publish(first);
        let text = exporter.render().expect("text");
        assert!(text.contains("dosimeter_auroc{model=\"a\"} 0.9"), "{text}");
        assert!(text.contains("# HELP dosimeter_auroc_lower Area under the ROC curve. Lower end"), "{text}");
        let mut second = Snapshot::default();
        second.add("job_runs_total", &[("job", "fold"), ("outcome", "done")], 3.0);
        exporter.publish(second);
        let text = exporter.render().expect("text");
        assert!(!text.contains("auroc"), "{text}");
        assert!(text.contains("# TYPE dosimeter_job_runs_total counter"), "{text}");
    }
}
