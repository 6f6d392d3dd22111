//! Publish: the latest estimates, open alerts and the daemon's own numbers become one snapshot for Prometheus.

mod recent;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::{Context, Job, Named, Result};
use crate::alert::State;
use crate::alert::silence::Mute;
use crate::config::{HealthRule, Severity, Watch};
use crate::domain::{BreachReason, MetricKey, Reason};
use crate::export::Snapshot;
use crate::metric::catalogue::{self, Tier};
use crate::runtime::Outcome;
use crate::source::feed::Failure;
use crate::source::file;
use crate::store::catalog::Version;
use crate::store::cursor::Pulled;
use crate::store::estimate::StoredEstimate;

/// Put a snapshot together and publish it.
///
/// # Errors
/// When the store fails; then the snapshot before it stays.
pub async fn run(context: &Context) -> Result {
    let mut snapshot = Snapshot::default();
    let versions: HashMap<i32, Version> =
        context.store.list_versions().await?.into_iter().map(|version| (version.version_id, version)).collect();
    let estimates = context.store.latest_estimates().await?;
    // What the plan no longer has is no longer exposed.
    let is_planned = |estimate: &StoredEstimate| {
        let model = versions.get(&estimate.version_id).and_then(|version| context.plan.model(&version.model));
        model.is_some_and(|model| model.windows.iter().any(|window| window.to_string() == estimate.window_name))
    };
    let estimates: Vec<StoredEstimate> = estimates.into_iter().filter(is_planned).collect();
    for estimate in &estimates {
        if let Some(version) = versions.get(&estimate.version_id) {
            add_estimate(context, &mut snapshot, version, estimate);
        }
    }
    add_windows(&mut snapshot, &versions, &estimates);
    recent::add_days(context, &mut snapshot, &versions, &estimates).await?;
    recent::add_open_alerts(context, &mut snapshot).await?;
    add_alerts(context, &mut snapshot, &versions).await?;
    add_streams(context, &mut snapshot, &versions).await?;
    add_health(context, &mut snapshot).await?;
    add_daemon(context, &mut snapshot).await?;
    add_rows(context, &mut snapshot).await?;
    add_record(context, &mut snapshot).await?;
    let series = snapshot.len() + 1;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    snapshot.add("series", &[], series as f64);
    context.exporter.publish(snapshot);
    Ok(Outcome::Done)
}

fn add_estimate(context: &Context, snapshot: &mut Snapshot, version: &Version, estimate: &StoredEstimate) {
    let Some((_, numbers)) = context.model_of(version) else { return };
    let Some(output) = numbers.quantities.iter().find(|(_, id)| **id == estimate.output_id).map(|(name, _)| name)
    else {
        return;
    };
    let slice = estimate.slice.to_string();
    let place = [("model", version.model.as_str()), ("version", &version.name), ("output", output)];
    let window = ("window", estimate.window_name.as_str());
    for (key, outcome) in &estimate.metrics {
        let mut labels = place.to_vec();
        match outcome {
            Err(reason) if estimate.slice.is_all() => {
                let metric = key.to_string();
                labels.extend([window, ("metric", metric.as_str()), ("reason", reason.code())]);
                snapshot.add("undefined", &labels, 1.0);
            }
            Err(_) => {}
            Ok(_) if !is_exposed(context, version, &key.name) => {}
            Ok(value) => {
                labels.push(("slice", &slice));
                // A reference does not depend on the window: it is exposed once, with the shortest one.
                if key.name.starts_with("reference_") {
                    if is_first_window(context, version, estimate) {
                        snapshot.add(&key.name, &labels, value.value);
                    }
                    continue;
                }
                labels.push(window);
                labels.extend(parameters(key));
                snapshot.add(&key.name, &labels, value.value);
                if let Some(interval) = &value.interval {
                    snapshot.add(&format!("{}_lower", key.name), &labels, interval.lower);
                    snapshot.add(&format!("{}_upper", key.name), &labels, interval.upper);
                }
                if let (Some(null), Some(p)) = (value.null_95, value.p_value) {
                    snapshot.add(&format!("{}_null95", key.name), &labels, null);
                    snapshot.add(&format!("{}_p_value", key.name), &labels, p);
                }
            }
        }
    }
}

fn is_exposed(context: &Context, version: &Version, metric: &str) -> bool {
    let wanted = context.plan.model(&version.model).is_some_and(|model| model.expose.iter().any(|name| name == metric));
    wanted || catalogue::find(metric).is_some_and(|entry| entry.tier == Tier::Exposed)
}

fn is_first_window(context: &Context, version: &Version, estimate: &StoredEstimate) -> bool {
    let model = context.plan.model(&version.model);
    model.and_then(|model| model.windows.first()).is_some_and(|first| first.to_string() == estimate.window_name)
}

fn parameters(key: &MetricKey) -> impl Iterator<Item = (&str, &str)> {
    let threshold = key.threshold.as_deref().map(|threshold| ("threshold", threshold));
    let dimension = key.dimension.as_deref().map(|dimension| ("dimension", dimension));
    let class = key.class.as_deref().map(|class| ("class", class));
    threshold.into_iter().chain(dimension).chain(class)
}

/// Whether the record is anchored, verified, and fits together.
async fn add_record(context: &Context, snapshot: &mut Snapshot) -> std::result::Result<(), super::Error> {
    let status = context.store.record_status().await?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = |number: i64| number as f64;
    snapshot.add("audit_entries", &[], count(status.entries));
    snapshot.add("audit_seals", &[], count(status.seals));
    if let Some(at) = status.anchored_at {
        snapshot.add("audit_anchored_timestamp_seconds", &[], timestamp(at));
    }
    if let Some((at, breaches)) = status.verified {
        snapshot.add("audit_verified_timestamp_seconds", &[], timestamp(at));
        snapshot.add("audit_breaches", &[], count(breaches));
    }
    Ok(())
}

/// Where the alarm engine stands.
async fn add_streams(
    context: &Context,
    snapshot: &mut Snapshot,
    versions: &HashMap<i32, Version>,
) -> std::result::Result<(), super::Error> {
    let standings = context.store.list_standings().await?;
    let watched = super::watch::watched(&context.plan.budget, &standings);
    for stored in context.store.list_streams().await? {
        let Some(Named { version, output, .. }) = context.name_stream(&stored.key, versions.values()) else { continue };
        let place = [
            ("model", version.model.as_str()),
            ("version", version.name.as_str()),
            ("watch", stored.key.watch.as_str()),
            ("output", output),
            ("slice", stored.key.slice.as_str()),
        ];
        snapshot.add("stream_watched", &place, f64::from(u8::from(stored.stream.is_ok())));
        snapshot.add("stream_listed", &place, f64::from(u8::from(watched.contains(&stored.stream_id))));
        for stratum in stored.stream.iter().flat_map(|stream| &stream.strata) {
            if let Some(null) = &stratum.null {
                let labels = [&place[..], &[("days", stratum.days.as_str())]].concat();
                snapshot.add("stream_limit", &labels, null.limit);
            }
        }
        for standing in standings.iter().filter(|standing| standing.stream_id == stored.stream_id) {
            let labels = [&place[..], &[("tier", standing.tier.as_str())]].concat();
            snapshot.add("evidence", &labels, standing.last.as_ref().map_or(0.0, |last| last.evidence));
            snapshot.add("evidence_threshold", &labels, standing.threshold);
        }
    }
    for ((version_id, maturity_days, with_truth), last) in context.store.last_seals().await? {
        let Some(version) = versions.get(&version_id) else { continue };
        let maturity = format!("{maturity_days}d");
        let truth = if with_truth { "yes" } else { "no" };
        let labels = [
            ("model", version.model.as_str()),
            ("version", version.name.as_str()),
            ("maturity", maturity.as_str()),
            ("with_truth", truth),
        ];
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        snapshot.add("sealed_until_timestamp_seconds", &labels, (last.day.timestamp() + 86_400) as f64);
    }
    let raised: HashMap<String, i64> = context.store.count_alarms(context.clock.now()).await?.into_iter().collect();
    let budget = context.plan.budget;
    for (tier, allowed) in [("page", budget.pages), ("ticket", budget.tickets)] {
        let labels = [("tier", tier)];
        snapshot.add("alarms_allowed_per_year", &labels, allowed);
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        snapshot.add("alarms_raised_365d", &labels, raised.get(tier).copied().unwrap_or_default() as f64);
    }
    Ok(())
}

/// Open alerts by rule and the state that people read, so that what is silenced here pages nobody by way of Prometheus either;
/// a rule without alerts shows zeros.
async fn add_alerts(
    context: &Context,
    snapshot: &mut Snapshot,
    versions: &HashMap<i32, Version>,
) -> std::result::Result<(), super::Error> {
    let words = || State::OPEN.into_iter().map(State::as_str).chain(Mute::WORDS);
    let open = context.store.list_open_alerts().await?;
    let mut counts: BTreeMap<(&str, String, &str, &str), f64> = BTreeMap::new();
    for model in &context.plan.models {
        let rules = model.alerts.iter().map(|rule| (rule.name.as_str(), rule.severity));
        let watches =
            model.watches.iter().flat_map(|watch| told(watch).map(|severity| (watch.name.as_str(), severity)));
        for (rule, severity) in rules.chain(watches) {
            for state in words() {
                counts.insert((&model.name, rule.to_owned(), severity.as_str(), state), 0.0);
            }
        }
        for rule in HealthRule::ALL.into_iter().filter(|rule| model.health.has(*rule)) {
            for (severity, state) in severities(rule).iter().flat_map(|severity| words().map(|word| (*severity, word)))
            {
                counts.insert((&model.name, rule.alert_name(""), severity.as_str(), state), 0.0);
            }
        }
    }
    for alert in &open {
        let model = versions.get(&alert.key.version_id).map(|version| version.model.as_str()).unwrap_or_default();
        // Of a rule on data the subjects are counted together: what a name in them says is nobody's label.
        let health = HealthRule::of_alert(&alert.key.rule);
        let name = health.map_or_else(|| alert.key.rule.clone(), |rule| rule.alert_name(""));
        let is_planned = counts.keys().any(|(of_model, rule, ..)| *of_model == model && *rule == name);
        if is_planned && words().any(|word| word == alert.shown()) {
            *counts.entry((model, name, &alert.severity, alert.shown())).or_default() += 1.0;
        }
    }
    for ((model, rule, severity, state), count) in counts {
        let labels = [("model", model), ("rule", rule.as_str()), ("severity", severity), ("state", state)];
        snapshot.add("alerts", &labels, count);
    }
    Ok(())
}

/// The severities that the alerts of a watch can have: what may page opens a ticket first.
fn told(watch: &Watch) -> impl Iterator<Item = Severity> + '_ {
    Severity::ALL.into_iter().filter(|severity| watch.tier.severity().is_some_and(|most| *severity >= most))
}

/// The severities that the alerts of a rule on data can have.
fn severities(rule: HealthRule) -> &'static [Severity] {
    match rule {
        HealthRule::NoPredictions | HealthRule::Replay => &[Severity::Page],
        HealthRule::Rejections | HealthRule::Contract => &[Severity::Page, Severity::Ticket],
        _ => &[Severity::Ticket],
    }
}

/// Rules on data by model: broken when one of their subjects is, absent while they are off or nothing can be said.
async fn add_health(context: &Context, snapshot: &mut Snapshot) -> std::result::Result<(), super::Error> {
    let mut broken: BTreeMap<(String, &str), f64> = BTreeMap::new();
    for row in context.store.list_health().await? {
        let Some(model) = context.plan.model(&row.model) else { continue };
        let rule = HealthRule::parse(&row.rule).filter(|rule| model.health.has(*rule) && row.verdict != "undecided");
        if let Some(rule) = rule {
            let value = broken.entry((row.model, rule.as_str())).or_default();
            *value = value.max(f64::from(u8::from(row.verdict == "broken")));
        }
    }
    for ((model, rule), value) in broken {
        snapshot.add("health", &[("model", &model), ("rule", rule)], value);
    }
    for (model, (_, versions)) in context.store.model_ages().await? {
        if context.plan.model(&model).is_some() {
            #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
            snapshot.add("model_versions", &[("model", &model)], versions as f64);
        }
    }
    let beat = context.pulse.beat();
    if let Some(at) = beat.passed_at {
        snapshot.add("heartbeat_timestamp_seconds", &[], timestamp(at));
    }
    for (outcome, count) in [("sent", beat.sent), ("failed", beat.failed)] {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        snapshot.add("heartbeat_pings_total", &[("outcome", outcome)], count as f64);
    }
    Ok(())
}

/// When each window was estimated, and up to when: the same for all its outputs.
fn add_windows(snapshot: &mut Snapshot, versions: &HashMap<i32, Version>, estimates: &[StoredEstimate]) {
    let mut windows: BTreeMap<(String, String, String), (DateTime<Utc>, DateTime<Utc>)> = BTreeMap::new();
    for estimate in estimates {
        let Some(version) = versions.get(&estimate.version_id) else { continue };
        let key = (version.model.clone(), version.name.clone(), estimate.window_name.clone());
        let entry = windows.entry(key).or_insert((estimate.window.to, estimate.estimated_at));
        *entry = (entry.0.max(estimate.window.to), entry.1.max(estimate.estimated_at));
    }
    for ((model, version, window), (end, at)) in windows {
        let labels = [("model", model.as_str()), ("version", &version), ("window", &window)];
        snapshot.add("window_end_timestamp_seconds", &labels, timestamp(end));
        snapshot.add("estimated_timestamp_seconds", &labels, timestamp(at));
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
async fn add_daemon(context: &Context, snapshot: &mut Snapshot) -> std::result::Result<(), super::Error> {
    let now = context.clock.now();
    snapshot.add("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    snapshot.add("start_timestamp_seconds", &[], timestamp(context.started_at));
    snapshot.add("snapshot_timestamp_seconds", &[], timestamp(now));
    let records = context.records.all();
    for job in Job::ALL {
        let record = records.get(job.name()).cloned().unwrap_or_default();
        for (outcome, runs) in crate::runtime::Outcome::ALL.into_iter().zip(record.runs) {
            let labels = [("task", job.name()), ("outcome", outcome.as_str())];
            snapshot.add("job_runs_total", &labels, runs as f64);
        }
        snapshot.add("job_run_seconds_total", &[("task", job.name())], record.spent.as_secs_f64());
        if let Some(at) = record.last_success_at {
            snapshot.add("job_last_success_timestamp_seconds", &[("task", job.name())], timestamp(at));
        }
    }
    let status = context.store.status().await?;
    let progress = context.store.source_progress().await?;
    let pulled = context.store.list_pulled().await?;
    // What a plan need not name is shown once something was sent there.
    let implied = context.plan.implied_sources();
    let used = implied.iter().filter(|source| status.tallies.iter().any(|tally| tally.place == source.name));
    for source in context.plan.sources.iter().chain(used) {
        let name = ("source", source.name.as_str());
        let kind = match source.record {
            crate::config::RecordKind::Predictions => "prediction",
            crate::config::RecordKind::Assertions => "assertion",
        };
        for outcome in ["accepted", "duplicate", "ignored", "rejected"] {
            let total = status.total("record", &source.name, outcome) as f64;
            snapshot.add("records_total", &[name, ("kind", kind), ("outcome", outcome)], total);
        }
        for reason in Reason::ALL.map(Reason::as_str) {
            let total = status.total("rejection", &source.name, reason) as f64;
            snapshot.add("rejections_total", &[name, ("reason", reason)], total);
            let resolved = status.total("resolved", &source.name, reason) as f64;
            snapshot.add("rejections_resolved_total", &[name, ("reason", reason)], resolved);
        }
        if let Some(at) = progress.get(&source.name) {
            snapshot.add("source_last_progress_timestamp_seconds", &[name], timestamp(*at));
        }
        if source.pull().is_some() {
            add_pulled(snapshot, name, pulled.get(&source.name), now);
            for reason in Failure::REASONS {
                let total = status.total("pull", &source.name, reason) as f64;
                snapshot.add("source_failures_total", &[name, ("reason", reason)], total);
            }
        }
        let Some(model) = context.plan.model(&source.model) else { continue };
        let mapping = source.mapping_digest(model, &context.plan.intake);
        let finished = context.store.finished_files(&source.name, &mapping).await?;
        let Some(searched) = source.files().cloned() else { continue };
        let found = tokio::task::spawn_blocking(move || file::discover(&searched)).await?;
        let pending = found.files.iter().filter(|file| !super::ingest::is_unchanged(file, &finished));
        snapshot.add("source_files_pending", &[name], pending.count() as f64);
        snapshot.add("source_folders_closed", &[name], found.closed.len() as f64);
    }
    for model in &context.plan.models {
        let columns: BTreeSet<&str> = model.contract.iter().map(|column| column.name.as_str()).collect();
        for (column, reason) in
            columns.iter().flat_map(|column| BreachReason::ALL.map(|reason| (*column, reason.as_str())))
        {
            let total = status.total("contract", &model.name, &format!("{column}/{reason}")) as f64;
            let labels = [("model", model.name.as_str()), ("column", column), ("reason", reason)];
            snapshot.add("contract_breaches_total", &labels, total);
        }
    }
    for (model, dirty) in status.dirty.iter().filter(|(model, _)| context.plan.model(model).is_some()) {
        snapshot.add("dirty_buckets", &[("model", model)], *dirty as f64);
    }
    snapshot.add("database_bytes", &[], status.database_bytes as f64);
    snapshot.add("outbox_pending", &[], status.outbox_pending as f64);
    let oldest = status.outbox_oldest.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    snapshot.add("outbox_oldest_seconds", &[], oldest);
    snapshot.add("outbox_dead", &[], status.outbox_dead as f64);
    for verdict in ["agrees", "differs", "cannot"] {
        snapshot.add("replays_total", &[("outcome", verdict)], status.total("replay", "", verdict) as f64);
    }
    let replays = context.store.replay_states().await?;
    if let Some(at) = replays.values().filter_map(|state| state.last_at).max() {
        snapshot.add("replay_last_timestamp_seconds", &[], timestamp(at));
    }
    for model in &context.plan.models {
        let differing = replays.get(&model.name).map_or(0, |state| state.differing.len());
        snapshot.add("replay_differing", &[("model", &model.name)], differing as f64);
    }
    for route in &context.plan.notify.routes {
        let labels = [("route", route.name.as_str()), ("channel", route.channel.as_str())];
        for (family, kind) in
            [("outbox_sent_total", "sent"), ("outbox_attempts_failed_total", "failed"), ("outbox_dead_total", "dead")]
        {
            snapshot.add(family, &labels, status.total("notice", &route.name, kind) as f64);
        }
    }
    Ok(())
}

/// What has been erased and retired, and how old what is kept is.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
async fn add_rows(context: &Context, snapshot: &mut Snapshot) -> std::result::Result<(), super::Error> {
    let status = context.store.status().await?;
    for table in ["prediction", "assertion", "record_key", "rejection", "identifier", "inference_event", "outbox"] {
        for (family, kind) in [("rows_erased_total", "erased"), ("rows_retired_total", "retired")] {
            snapshot.add(family, &[("table", table)], status.total(kind, table, "row") as f64);
        }
    }
    if let Some(at) = context.store.oldest_prediction().await? {
        snapshot.add("oldest_prediction_timestamp_seconds", &[], timestamp(at));
    }
    if let Some(at) = context.store.frozen_before().await? {
        snapshot.add("frozen_before_timestamp_seconds", &[], timestamp(at));
    }
    Ok(())
}

/// How far behind a source is that is asked again and again, and whether it answers.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn add_pulled(snapshot: &mut Snapshot, name: (&str, &str), pulled: Option<&Pulled>, now: DateTime<Utc>) {
    let Some(pulled) = pulled else { return };
    snapshot.add("source_failing", &[name], f64::from(u8::from(pulled.failing_since.is_some())));
    if let Some(at) = pulled.succeeded_at {
        snapshot.add("source_last_success_timestamp_seconds", &[name], timestamp(at));
    }
    if let Some(at) = pulled.newest_at {
        snapshot.add("source_newest_record_timestamp_seconds", &[name], timestamp(at));
        snapshot.add("source_lag_seconds", &[name], (now - at).as_seconds_f64().max(0.0));
    }
    if let Some(pending) = pulled.pending {
        snapshot.add("source_pending", &[name], pending as f64);
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}
