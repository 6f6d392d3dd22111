//! Streams as findings: an alarm of sealed evidence holds until the alert that it raised is closed.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::alerting::Finding;
use super::notice::Picture;
use super::{Context, Error, Named};
use crate::alert::alarm::{Facts, Moved, write};
use crate::config::{Model, Severity, Watch};
use crate::detect::dependence::DesignEffect;
use crate::detect::health::unwatched::Idle;
use crate::detect::limit::Verdict;
use crate::detect::sealing::recent_coverage;
use crate::detect::stream::Stream;
use crate::domain::{MetricKey, Slice};
use crate::store::alarm::StoredAlarm;
use crate::store::alert::AlertKey;
use crate::store::catalog::Version;
use crate::store::estimate::StoredEstimate;
use crate::store::stream::{StoredStream, StreamKey};

/// What the streams in force find.
///
/// # Errors
/// When the store fails.
pub async fn findings<'a>(
    context: &'a Context,
    versions: &'a [Version],
    estimates: &'a [StoredEstimate],
) -> std::result::Result<Vec<Finding<'a>>, Error> {
    let mut alarms: HashMap<StreamKey, Vec<StoredAlarm>> = HashMap::new();
    for alarm in context.store.list_unanswered_alarms().await? {
        alarms.entry(alarm.key.clone()).or_default().push(alarm);
    }
    let mut checks = context.store.latest_checks().await?;
    let mut findings = Vec::new();
    for stored in context.store.list_streams().await? {
        let Some(Named { version, model, watch, output }) = context.name_stream(&stored.key, versions.iter()) else {
            continue;
        };
        let own = alarms.remove(&stored.key).unwrap_or_default();
        let coverage = if own.is_empty() { None } else { coverage(context, &stored).await? };
        let check = checks.remove(&stored.stream_id).and_then(|check| check.effect);
        let stored = Arc::new(stored);
        let subject = Subject { context, version, model, watch, output, estimates, coverage, check, stored };
        findings.push(subject.finding(own));
    }
    Ok(findings)
}

/// Every stream in force of some versions by its watch, with what it lacks: it cannot be watched at all or on some days, or has had no unit since
/// the last day that it took in.
///
/// # Errors
/// When the store fails.
pub async fn idle(
    context: &Context,
    versions: &[i32],
    now: DateTime<Utc>,
) -> std::result::Result<Vec<(String, Vec<Idle>)>, Error> {
    let names = context.store.list_versions().await?;
    let since = context.store.unwatched_since().await?;
    let standings = context.store.list_standings().await?;
    let mut streams = Vec::new();
    for stored in context.store.list_streams().await?.into_iter().filter(|s| versions.contains(&s.key.version_id)) {
        let Some(Named { version, output, .. }) = context.name_stream(&stored.key, names.iter()) else { continue };
        let idle = |reason: &str, since| Idle {
            place: format!("{}, {output}, {}", version.name, stored.key.slice),
            reason: reason.to_owned(),
            since,
        };
        let own = match &stored.stream {
            Err(reason) => vec![idle(reason, since.get(&stored.stream_id).copied().unwrap_or(now))],
            Ok(stream) => {
                let last = standings.iter().filter(|standing| standing.stream_id == stored.stream_id);
                let last = last.filter_map(|standing| Some(standing.last.as_ref()?.day + TimeDelta::days(1))).max();
                let last = last.unwrap_or(stored.starts);
                let mut own: Vec<Idle> = stream.unwatched.iter().map(|reason| idle(reason, stored.starts)).collect();
                // What is not sealed yet has not been looked at: that days pass is no lack.
                if stored.looked_until > last {
                    own.push(idle("no case of its kind has been sealed", last));
                }
                own
            }
        };
        streams.push((stored.key.watch.clone(), own));
    }
    Ok(streams)
}

/// One stream.
struct Subject<'a> {
    context: &'a Context,
    version: &'a Version,
    model: &'a Model,
    watch: &'a Watch,
    output: &'a str,
    estimates: &'a [StoredEstimate],
    coverage: Option<f64>,
    check: Option<DesignEffect>,
    stored: Arc<StoredStream>,
}

/// The share of a stream's cases that had truth in time lately.
async fn coverage(context: &Context, stored: &StoredStream) -> std::result::Result<Option<f64>, Error> {
    if !stored.with_truth {
        return Ok(None);
    }
    let from = stored.starts.max(stored.looked_until - TimeDelta::days(28));
    let days = context.store.load_sealed(stored.book(), stored.place(), (from, stored.looked_until)).await?;
    Ok(recent_coverage(&days, stored.looked_until))
}

impl<'a> Subject<'a> {
    fn finding(self, alarms: Vec<StoredAlarm>) -> Finding<'a> {
        // The most urgent alarm speaks, and of those the first.
        let page = alarms.iter().find(|alarm| alarm.tier == Severity::Page.as_str());
        let decisive = page.or(alarms.first()).cloned();
        let severity = decisive.as_ref().and_then(|alarm| Severity::parse(&alarm.tier));
        // A watch that is only listed has no alarms.
        let severity = severity.or(self.watch.tier.severity()).unwrap_or(Severity::Ticket);
        let (verdict, reason) = match (&self.stored.stream, &decisive) {
            (_, Some(alarm)) => (
                Verdict::Breached,
                format!(
                    "evidence {:.1} reached {:.1} on {}",
                    alarm.evidence,
                    alarm.threshold,
                    alarm.day.format("%Y-%m-%d")
                ),
            ),
            (Err(reason), None) => (Verdict::Undecided(reason.clone()), reason.clone()),
            (Ok(_), None) => (Verdict::Kept, "there is no alarm that nobody has answered".to_owned()),
        };
        let StoredStream { key, .. } = &*self.stored;
        let at = self.watch.threshold.map_or_else(String::new, |at| format!(" at {at}"));
        Finding {
            key: AlertKey {
                rule: key.watch.clone(),
                version_id: key.version_id,
                output_id: key.output_id,
                slice: key.slice.clone(),
            },
            model: &self.model.name,
            version: &self.version.name,
            output: self.output,
            concern: format!("evidence about {}{at}", self.watch.measure),
            severity,
            verdict,
            hold: std::time::Duration::ZERO,
            anew: true,
            reason,
            estimate_id: None,
            picture: decisive.as_ref().map(|_| Picture::Stream {
                stored: self.stored.clone(),
                tier: severity,
                title: format!("{} of {}, {}", self.watch.measure, self.output, self.stored.key.slice),
            }),
            report: Box::new(move |_, event| {
                let alarm = decisive.as_ref()?;
                let stream = self.stored.stream.as_ref().ok()?;
                Some(write(&Facts {
                    event,
                    watch: self.watch,
                    model: &self.model.name,
                    version: &self.version.name,
                    output: self.output,
                    slice: &self.stored.key.slice,
                    stream,
                    severity,
                    evidence: alarm.evidence,
                    threshold: alarm.threshold,
                    weight: alarm.weight,
                    day: alarm.day,
                    change: alarm.change_at,
                    measured: alarm.measured.as_ref(),
                    coverage: self.coverage,
                    check: self.check.as_ref(),
                    moved: self.moved(stream),
                    public_url: &self.context.plan.service.public_url,
                    grafana_url: self.context.plan.service.grafana_url.as_deref(),
                }))
            }),
        }
    }

    /// What has moved beside it, by the latest estimates of the shortest window against the reference: the slices of the same output
    /// with the part of the change that each accounts for, and features by the distance of their distributions.
    fn moved(&self, stream: &Stream) -> Vec<Moved> {
        let Some(window) = self.model.windows.first().map(ToString::to_string) else { return Vec::new() };
        let own =
            || self.estimates.iter().filter(|e| e.version_id == self.version.version_id && e.window_name == window);
        let value = |estimate: &StoredEstimate, key: &MetricKey| {
            let outcome = estimate.metrics.iter().find(|(known, _)| known == key).map(|(_, outcome)| outcome);
            outcome.and_then(|outcome| outcome.as_ref().ok()).cloned()
        };
        let mut moved = Vec::new();
        if let Some(key) = stream.metric() {
            let reference = MetricKey { name: format!("reference_{}", key.name), ..key.clone() };
            let whole = own().find(|e| e.output_id == self.stored.key.output_id && e.slice.is_all());
            let whole = whole.and_then(|estimate| value(estimate, &key));
            let before = stream.reference();
            let parts = own().filter(|e| e.output_id == self.stored.key.output_id && e.slice.dimensions().len() == 1);
            // Without a number of everything there is nothing to be a part of.
            for (estimate, n) in parts.zip(std::iter::repeat(whole.map(|whole| whole.n))) {
                let Some(n) = n.filter(|n| *n > 0) else { continue };
                // Where the slice has no reference of its own, the whole's stands for it.
                let then = value(estimate, &reference).map(|then| then.value).or(before);
                if let (Some(now), Some(then)) = (value(estimate, &key), then) {
                    let (share, change) = (now.n as f64 / n as f64, now.value - then);
                    let name = estimate.slice.to_string();
                    moved.push(Moved { name, change, of_whole: Some(share * change), now: Some(now) });
                }
            }
            moved.sort_by(|a, b| b.part().total_cmp(&a.part()));
            moved.truncate(MOST);
        }
        let distance = MetricKey::plain("feature_js");
        let whole = Slice::all();
        let names: HashMap<i32, &str> = self
            .context
            .model_of(self.version)
            .map(|(_, numbers)| numbers.quantities.iter().map(|(name, id)| (*id, name.as_str())).collect())
            .unwrap_or_default();
        let mut features: Vec<Moved> = own()
            .filter(|estimate| estimate.slice == whole)
            .filter_map(|estimate| {
                let far = value(estimate, &distance)?;
                let name = names.get(&estimate.output_id)?;
                Some(Moved { name: (*name).to_owned(), change: far.value, of_whole: None, now: None })
            })
            .collect();
        features.sort_by(|a, b| b.change.total_cmp(&a.change));
        features.truncate(MOST);
        moved.into_iter().chain(features).collect()
    }
}

/// Slices, and features, that a notice names at most.
const MOST: usize = 6;
