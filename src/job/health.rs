//! Health: does the data of each model still come, and whole?
//!
//! Facts are collected here and judged by pure functions (`detect::health`); what was judged is stored, and `detect` makes alerts
//! of it, `publish` metrics, the API answers. What has to read the rows of weeks is judged once an hour.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::alerting::{Finding, Open};
use super::{Context, Error, Result};
use crate::alert::health::{Facts, write};
use crate::alert::silence::Subject;
use crate::config::{HealthRule, Model, Patience, Quantity, RecordKind, Response, Severity, Source};
use crate::detect::health::silence::{self, Arrivals};
use crate::detect::health::{self, Judgement, schema, truth, unwatched};
use crate::detect::limit::Verdict;
use crate::domain::Slice;
use crate::runtime::Outcome;
use crate::source::file;
use crate::source::mapping::Mapping;
use crate::store::alert::AlertKey;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::health::{HealthRow, Span};
use crate::store::lease::Lease;

const DAY: Duration = Duration::from_secs(86_400);
/// Without a past, predictions and sources may be silent for so long: a weekend is shorter.
const SILENT_DAYS: u32 = 3;
/// Without a past, truth about a finding may be.
const TRUTHLESS_DAYS: u32 = 7;
/// What reads the rows of weeks is judged no sooner than this after the last time.
const PAUSE: TimeDelta = TimeDelta::hours(1);
/// Truth that arrived longer ago than this is not looked at.
const TRUTH_HORIZON: TimeDelta = TimeDelta::days(120);
/// A version without a case for so long is not expected to be listed.
const VERSION_HORIZON: TimeDelta = TimeDelta::days(28);
/// So many files of a source are looked at.
const MOST_FILES: i64 = 200;
/// What the subject of an attribute begins with: a source may have the same name.
const ATTRIBUTE: &str = "attribute ";

/// Judge every rule of every model.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let now = context.clock.now();
    let known = context.store.list_health().await?;
    let ages = context.store.model_ages().await?;
    let versions = context.store.list_versions().await?;
    let mut rows = Vec::new();
    for model in &context.plan.models {
        let numbers = context.catalog.models.get(&model.name).zip(ages.get(&model.name));
        let Some((numbers, (expected_since, _))) = numbers else { continue };
        let own = versions.iter().filter(|version| version.model == model.name);
        let versions = own.map(|version| version.version_id).collect();
        let sources: Vec<&Source> = context.plan.sources.iter().filter(|s| s.model == model.name).collect();
        let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        let spans = context.store.source_spans(&names).await?;
        let expected_since = *expected_since;
        let data =
            Data { context, model, numbers, versions, sources, names, spans, expected_since, known: &known, now };
        rows.extend(data.judge().await?);
    }
    let is_new = |row: &&HealthRow| {
        let before = known.iter().find(|before| before.key() == row.key());
        let same = |before: &HealthRow| HealthRow { judged_at: row.judged_at, ..before.clone() } == **row;
        before.is_none_or(|before| !same(before) || row.judged_at - before.judged_at >= TimeDelta::minutes(1))
    };
    let keys: HashSet<_> = rows.iter().map(HealthRow::key).collect();
    let gone: Vec<HealthRow> = known.iter().filter(|row| !keys.contains(&row.key())).cloned().collect();
    let new: Vec<HealthRow> = rows.iter().filter(is_new).cloned().collect();
    if new.is_empty() && gone.is_empty() {
        return Ok(Outcome::Idle);
    }
    context.store.store_health(lease, &new, &gone).await?;
    Ok(Outcome::Done)
}

/// What was judged, as findings for alerts. The alert of the whole model is its latest version's; one that is open stays with the
/// version that it was opened for. Of a model without a version there is none: its silence is seen by metric and API.
#[must_use]
pub fn findings<'a>(
    context: &'a Context,
    rows: &'a [HealthRow],
    versions: &'a [Version],
    open: &'a Open,
) -> Vec<Finding<'a>> {
    rows.iter().filter_map(|row| finding(context, row, versions, open)).collect()
}

fn finding<'a>(
    context: &'a Context,
    row: &'a HealthRow,
    versions: &'a [Version],
    open: &'a Open,
) -> Option<Finding<'a>> {
    let model = context.plan.model(&row.model)?;
    let is_told = |rule: &HealthRule| *rule != HealthRule::Contract || model.health.contract != Some(Response::Count);
    let rule = HealthRule::parse(&row.rule).filter(|rule| model.health.has(*rule) && is_told(rule))?;
    let severity = Severity::parse(&row.severity)?;
    let (output, output_id) =
        context.catalog.models.get(&row.model)?.quantities.get_key_value(&Quantity::Whole.name())?;
    let name = rule.alert_name(&row.subject);
    let mut own = versions.iter().filter(|version| version.model == row.model);
    let (version_id, version) = if rule == HealthRule::UnknownVersion {
        own.find(|version| version.name == row.subject).map(|version| (version.version_id, version.name.as_str()))?
    } else {
        let latest = own.next_back().map(|version| (version.version_id, version.name.as_str()));
        open.version_of(&row.model, &name).or(latest)?
    };
    let slice = Slice::all().to_string();
    let key = AlertKey { rule: name.clone(), version_id, output_id: *output_id, slice: slice.clone() };
    let verdict = match row.verdict.as_str() {
        "broken" => Verdict::Breached,
        "kept" => Verdict::Kept,
        _ => Verdict::Undecided(row.reason.clone()),
    };
    Some(Finding {
        key,
        model: &row.model,
        version,
        output,
        concern: name.clone(),
        severity,
        verdict,
        hold: hold(rule),
        reason: row.reason.clone(),
        estimate_id: None,
        picture: None,
        anew: false,
        report: Box::new(move |standing, event| {
            let subject = Subject { model: &row.model, version, rule: &name, output, slice: &slice };
            Some(write(&Facts {
                event,
                rule,
                subject,
                severity,
                reason: &row.reason,
                usual: row.usual.as_deref(),
                since: row.since,
                holds_since: standing.since,
                public_url: &context.plan.service.public_url,
                grafana_url: context.plan.service.grafana_url.as_deref(),
            }))
        }),
    })
}

/// How long a rule must be broken before anybody is told: a share of the network comes and goes.
fn hold(rule: HealthRule) -> Duration {
    match rule {
        HealthRule::StaleSource => Duration::from_secs(900),
        _ => Duration::ZERO,
    }
}

/// The data of one model.
struct Data<'a> {
    context: &'a Context,
    model: &'a Model,
    numbers: &'a ModelNumbers,
    versions: Vec<i32>,
    sources: Vec<&'a Source>,
    names: Vec<String>,
    spans: BTreeMap<String, Span>,
    expected_since: DateTime<Utc>,
    known: &'a [HealthRow],
    now: DateTime<Utc>,
}

impl Data<'_> {
    async fn judge(&self) -> std::result::Result<Vec<HealthRow>, Error> {
        let health = &self.model.health;
        let mut rows = Vec::new();
        if let Some(patience) = health.no_predictions {
            rows.extend(self.predictions(patience).await?);
        }
        if let Some(patience) = health.no_truth {
            rows.extend(self.truth(patience).await?);
        }
        rows.extend(self.coverage_and_delay().await?);
        if let Some(limit) = health.rejections {
            rows.extend(self.rejections(limit).await?);
        }
        if let Some(patience) = health.stale_source {
            rows.extend(self.stale_sources(patience).await?);
        }
        if let Some(limit) = health.schema {
            rows.extend(self.columns().await?);
            rows.extend(self.attributes(limit).await?);
        }
        if let Some(response) = health.contract.filter(|_| !self.model.contract.is_empty()) {
            rows.extend(self.contract(response).await?);
        }
        if health.unknown_version && !self.model.versions.is_empty() {
            let recent = self.context.store.recent_versions(&self.model.name, self.now - VERSION_HORIZON).await?;
            rows.extend(recent.iter().map(|(version, first_seen_at)| {
                let judgement = health::version(version, &self.model.versions, *first_seen_at);
                self.row(HealthRule::UnknownVersion, version, Severity::Ticket, judgement)
            }));
        }
        if let Some(patience) = health.unwatched {
            rows.extend(self.unwatched(patience).await?);
        }
        if health.replay {
            rows.push(self.replays().await?);
        }
        Ok(rows)
    }

    /// Whether past estimates are what they were made of.
    async fn replays(&self) -> std::result::Result<HealthRow, Error> {
        let state = self.context.store.replay_states().await?.remove(&self.model.name).unwrap_or_default();
        let differing: Vec<_> =
            state.differing.into_iter().map(|one| (one.estimate_id, one.words, one.since)).collect();
        Ok(self.row(HealthRule::Replay, "", Severity::Page, health::replays(state.replayed, &differing)))
    }

    /// The streams of each watch that have no evidence.
    async fn unwatched(&self, patience: Duration) -> std::result::Result<Vec<HealthRow>, Error> {
        if self.model.watches.is_empty() {
            return Ok(Vec::new());
        }
        let streams = super::streams::idle(self.context, &self.versions, self.now).await?;
        let rows = self.model.watches.iter().filter_map(|watch| {
            let own: Vec<_> = streams.iter().filter(|(name, _)| *name == watch.name).collect();
            let idle: Vec<unwatched::Idle> = own.iter().flat_map(|(_, idle)| idle.clone()).collect();
            let judgement = unwatched::judge(own.len(), &idle, patience, self.now);
            (!own.is_empty()).then(|| self.row(HealthRule::Unwatched, &watch.name, Severity::Ticket, judgement))
        });
        Ok(rows.collect())
    }

    fn row(&self, rule: HealthRule, subject: &str, severity: Severity, judgement: Judgement) -> HealthRow {
        let Judgement { verdict, reason, usual, since } = judgement;
        let verdict = match verdict {
            Verdict::Breached => "broken",
            Verdict::Kept => "kept",
            Verdict::Undecided(_) => "undecided",
        };
        let mut row = HealthRow {
            model: self.model.name.clone(),
            rule: rule.as_str().to_owned(),
            subject: subject.to_owned(),
            severity: severity.as_str().to_owned(),
            verdict: verdict.to_owned(),
            reason,
            usual,
            since,
            changed_at: self.now,
            judged_at: self.now,
        };
        let before = self.known.iter().find(|before| before.key() == row.key() && before.verdict == row.verdict);
        row.changed_at = before.map_or(self.now, |before| before.changed_at);
        row
    }

    /// What a rule was judged to be within the last hour about the subjects that are meant; `None` when it is to be judged.
    fn fresh(&self, rule: HealthRule, is_meant: impl Fn(&str) -> bool) -> Option<Vec<HealthRow>> {
        let own = self.known.iter().filter(|row| row.model == self.model.name && row.rule == rule.as_str());
        let own: Vec<HealthRow> = own.filter(|row| is_meant(&row.subject)).cloned().collect();
        let is_fresh = !own.is_empty() && own.iter().all(|row| self.now - row.judged_at < PAUSE);
        is_fresh.then_some(own)
    }

    fn sources_of(&self, record: RecordKind) -> Vec<String> {
        let own = self.sources.iter().filter(|source| source.record == record);
        own.map(|source| source.name.clone()).collect()
    }

    /// What sources together have brought, judged as one silence.
    async fn silence(
        &self,
        what: &str,
        sources: &[String],
        patience: Patience,
    ) -> std::result::Result<Judgement, Error> {
        let spans = sources.iter().filter_map(|source| self.spans.get(source).copied());
        let Span { first, last } = spans.fold(Span::default(), Span::union);
        if let Some(judgement) = last.and_then(|last| silence::short(what, patience, last, self.now)) {
            return Ok(judgement);
        }
        let from = last.unwrap_or(self.now) - TimeDelta::weeks(silence::WEEKS);
        let hours = self.context.store.arrival_hours(sources, from).await?;
        let arrivals = Arrivals { first, last, hours: &hours, expected_since: self.expected_since };
        Ok(silence::judge(what, patience, SILENT_DAYS * DAY, &arrivals, self.now))
    }

    async fn predictions(&self, patience: Patience) -> std::result::Result<Option<HealthRow>, Error> {
        let sources = self.sources_of(RecordKind::Predictions);
        if sources.is_empty() {
            return Ok(None);
        }
        let judgement = self.silence("prediction", &sources, patience).await?;
        Ok(Some(self.row(HealthRule::NoPredictions, "", Severity::Page, judgement)))
    }

    /// The findings that some source brings truth about, by name and number: truth is shared among models.
    fn findings(&self) -> Vec<(&str, i32)> {
        let sources = self.context.plan.sources.iter().filter(|source| source.record == RecordKind::Assertions);
        let models: Vec<&Model> = sources.filter_map(|source| self.context.plan.model(&source.model)).collect();
        let has_source = |finding: &str| models.iter().any(|model| model.finding(finding).is_some());
        let own = self.model.findings().into_iter().filter(|(finding, ..)| has_source(finding));
        own.filter_map(|(finding, ..)| Some((finding, *self.numbers.findings.get(finding)?))).collect()
    }

    async fn truth(&self, patience: Patience) -> std::result::Result<Vec<HealthRow>, Error> {
        if let Some(rows) = self.fresh(HealthRule::NoTruth, |_| true) {
            return Ok(rows);
        }
        let findings = self.findings();
        if findings.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<i32> = findings.iter().map(|(_, number)| *number).collect();
        let arrivals = self.context.store.truth_arrivals(&numbers, self.now - TRUTH_HORIZON).await?;
        let nothing = (Span::default(), BTreeSet::new());
        let rows = findings.into_iter().map(|(finding, number)| {
            let (Span { first, last }, hours) = arrivals.get(&number).unwrap_or(&nothing);
            let expected_since = self.expected_since.max(self.now - TRUTH_HORIZON);
            let arrivals = Arrivals { first: *first, last: *last, hours, expected_since };
            let what = format!("truth about {finding}");
            let judgement = silence::judge(&what, patience, TRUTHLESS_DAYS * DAY, &arrivals, self.now);
            self.row(HealthRule::NoTruth, finding, Severity::Ticket, judgement)
        });
        Ok(rows.collect())
    }

    async fn coverage_and_delay(&self) -> std::result::Result<Vec<HealthRow>, Error> {
        let health = &self.model.health;
        let wanted: Vec<HealthRule> =
            [HealthRule::Coverage, HealthRule::Delay].into_iter().filter(|rule| health.has(*rule)).collect();
        let findings: Vec<i32> = self.findings().into_iter().map(|(_, number)| number).collect();
        if wanted.is_empty() || findings.is_empty() {
            return Ok(Vec::new());
        }
        let fresh: Vec<Option<Vec<HealthRow>>> = wanted.iter().map(|rule| self.fresh(*rule, |_| true)).collect();
        if fresh.iter().all(Option::is_some) {
            return Ok(fresh.into_iter().flatten().flatten().collect());
        }
        let from = self.now - TimeDelta::days(truth::DAYS);
        let cohorts = self.context.store.truth_cohorts(&self.versions, &findings, from).await?;
        let today = truth::day_of(self.now);
        let coverage = health.coverage.map(|drop| (HealthRule::Coverage, truth::coverage(&cohorts, drop, today)));
        let delay = health.delay.map(|growth| (HealthRule::Delay, truth::delay(&cohorts, growth, today)));
        let judged = coverage.into_iter().chain(delay);
        Ok(judged.map(|(rule, judgement)| self.row(rule, "", Severity::Ticket, judgement)).collect())
    }

    /// Of each source two alerts: one that waits for the morning, and one that wakes somebody.
    async fn rejections(&self, limit: f64) -> std::result::Result<Vec<HealthRow>, Error> {
        let delivered = self.context.store.delivered(&self.names, self.now - DAY).await?;
        let rows = self.names.iter().flat_map(|source| {
            let own = delivered.get(source).cloned().unwrap_or_default();
            let [ticket, page] = health::rejections(limit, &own);
            [
                self.row(HealthRule::Rejections, source, Severity::Ticket, ticket),
                self.row(HealthRule::Rejections, &format!("{source}/most"), Severity::Page, page),
            ]
        });
        Ok(rows.collect())
    }

    /// A source that cannot be looked into, or does not answer, or is silent. That the only source of predictions, or of truth, is silent is said by
    /// those rules already.
    async fn stale_sources(&self, patience: Patience) -> std::result::Result<Vec<HealthRow>, Error> {
        let mut rows = Vec::new();
        let pulled = self.context.store.list_pulled().await?;
        for source in &self.sources {
            let failing = source.pull().and_then(|pull| {
                let message = pulled.get(&source.name)?.message.as_ref()?;
                Some(format!("{}: {message}", pull.upstream.place()))
            });
            let searched = source.files().cloned();
            let looked = tokio::task::spawn_blocking(move || {
                let found = searched.as_ref().map(file::discover).unwrap_or_default();
                let locked = found.locked();
                (found.missing, found.closed.into_iter().chain(locked).collect::<Vec<_>>())
            });
            let (missing, mut closed) = looked.await?;
            closed.extend(failing);
            let (rule, what) = match source.record {
                RecordKind::Predictions => (HealthRule::NoPredictions, "prediction"),
                RecordKind::Assertions => (HealthRule::NoTruth, "truth"),
            };
            let is_said = self.model.health.has(rule) && self.sources_of(source.record).len() == 1;
            let judgement = match health::obstacles(&missing, &closed) {
                Some(judgement) => judgement,
                None if is_said => health::readable(rule.as_str()),
                None => self.silence(what, std::slice::from_ref(&source.name), patience).await?,
            };
            rows.push(self.row(HealthRule::StaleSource, &source.name, Severity::Ticket, judgement));
        }
        Ok(rows)
    }

    /// Of each attribute that the contract names, what the new predictions of a day did against it.
    async fn contract(&self, response: Response) -> std::result::Result<Vec<HealthRow>, Error> {
        let sources = self.sources_of(RecordKind::Predictions);
        let store = &self.context.store;
        let (breaches, records) = store.breaches_since(self.numbers.model_id, &sources, self.now - DAY).await?;
        let severity = if response == Response::Page { Severity::Page } else { Severity::Ticket };
        let names: BTreeSet<&String> = self.model.contract.iter().map(|column| &column.name).collect();
        let rows = names.into_iter().map(|name| {
            let own = breaches.get(name).cloned().unwrap_or_default();
            let judgement = schema::contract(name, &own, records, self.model.health.contract_share);
            self.row(HealthRule::Contract, name, severity, judgement)
        });
        Ok(rows.collect())
    }

    async fn columns(&self) -> std::result::Result<Vec<HealthRow>, Error> {
        let mut rows = Vec::new();
        for source in &self.sources {
            let named: BTreeSet<String> = Mapping::new(source, self.model).columns().into_iter().collect();
            let files = self.context.store.file_columns(&source.name, MOST_FILES).await?;
            let judgement = schema::columns(&files, &named);
            rows.push(self.row(HealthRule::Schema, &source.name, Severity::Ticket, judgement));
        }
        Ok(rows)
    }

    async fn attributes(&self, limit: f64) -> std::result::Result<Vec<HealthRow>, Error> {
        if let Some(rows) = self.fresh(HealthRule::Schema, |subject| subject.starts_with(ATTRIBUTE)) {
            return Ok(rows);
        }
        let dimensions = self.model.dimensions.iter().map(|dimension| &dimension.name);
        let features = self.model.features.iter().map(|feature| &feature.name);
        let names: BTreeSet<String> = dimensions.chain(features).cloned().collect();
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let from = self.now - schema::horizon();
        let hours = self.context.store.filled_hours(&self.versions, &names, from).await?;
        let rows = names.iter().map(|name| {
            let own = hours.get(name).map(Vec::as_slice).unwrap_or_default();
            let subject = format!("{ATTRIBUTE}{name}");
            self.row(HealthRule::Schema, &subject, Severity::Ticket, schema::attribute(name, own, limit))
        });
        Ok(rows.collect())
    }
}
