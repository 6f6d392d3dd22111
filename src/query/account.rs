//! The account of an alert: what broke, since when, how sure, compared with what, where, and what else has moved. Everything that a
//! person needs who was woken by it.
//!
//! *Before* is the reference, or the four weeks before the change; *after* is the time from the change on. What was published is taken as
//! it was published; what is drawn is read from summaries, or from rows when an earlier instant is asked about.
//! Look next at `http::console::alert`, which shows it.

mod moved;

use chrono::{DateTime, TimeDelta, Utc};
pub use moved::{Mix, Moved};

use super::rows::labelled_rows;
use super::{Error, Place, Question, find, prepare};
use crate::config::{AlertRule, HealthRule, Limit, Model, Quantity, Tier, Watch};
use crate::detect::stream::Stream;
use crate::domain::{Estimate, MetricKey, Outcome, Slice, Window, WindowSpec};
use crate::job::Context;
use crate::job::answer::Asked;
use crate::metric::Depth;
use crate::store::alert::AlertRow;
use crate::store::estimate::StoredEstimate;
use crate::store::overview::{Stand, Within};
use crate::store::reference::Baseline;
use crate::store::rows::Knowledge;
use crate::store::series::{SeriesKey, Span};
use crate::store::stream::EvidencePoint;
use crate::summary::body::Body;
use crate::summary::fold::Parts;

/// Days whose published windows a series shows.
pub const DRAWN: i64 = 90;
/// Without a reference, the days before the change that stand for it.
const BEFORE: i64 = 28;
/// Alarms of another rule's stream that are older than an alert by so many days are about something else.
const EARLIEST: i64 = 45;
/// What the weeks before the change are called.
const WEEKS_BEFORE: &str = "four weeks before";
/// Rows that are read at most for what summaries do not hold.
const MOST_ROWS: i64 = 60_000;

/// What kind of rule raised an alert.
#[derive(Clone, Debug)]
pub enum Cause {
    /// A limit on a rolling estimate.
    Rule(AlertRule),
    /// Evidence of the alarm engine, or a chart's.
    Watch(Watch),
    /// The data of the model.
    Health(HealthRule),
    /// The plan no longer has it.
    Gone,
}

/// A place's cases before or after the change.
#[derive(Clone, Debug)]
pub struct Side {
    /// What it is, in words.
    pub name: String,
    /// Its cases; none of a reference that came from elsewhere.
    pub window: Option<Window>,
    /// Their summary, if there are any.
    pub body: Option<Body>,
    /// The metric of the alert.
    pub metric: Option<Outcome>,
}

impl Side {
    /// When it was, in a sentence.
    #[must_use]
    pub fn when(&self) -> String {
        if self.name == WEEKS_BEFORE { format!("in the {WEEKS_BEFORE}") } else { format!("on {}", self.name) }
    }
}

/// A case that the model got wrong, for a person to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its pseudonym.
    pub case_id: String,
    /// When the model spoke.
    pub occurred_at: DateTime<Utc>,
    /// What it said.
    pub score: f64,
    /// What is true.
    pub positive: bool,
}

/// Evidence of one tier, day by day.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// page, ticket or watch.
    pub tier: String,
    /// The days.
    pub days: Vec<EvidencePoint>,
    /// What an alarm promises.
    pub promise: Option<String>,
}

/// The account of an alert.
#[derive(Clone, Debug)]
pub struct Account {
    /// What raised it.
    pub cause: Cause,
    /// The metric that it is about, where it is about one.
    pub metric: Option<MetricKey>,
    /// The window of the series.
    pub window: Option<WindowSpec>,
    /// From these exams on it is otherwise.
    pub change: DateTime<Utc>,
    /// Its place, as the summaries have it.
    pub slice: Slice,
    /// The published windows, the earliest first.
    pub series: Vec<StoredEstimate>,
    /// The limit and its side.
    pub limit: Option<(&'static str, f64)>,
    /// What the metric was on the reference.
    pub reference: Option<f64>,
    /// Before the change.
    pub before: Side,
    /// Since the change.
    pub after: Side,
    /// The evidence, if a stream watches it.
    pub evidence: Option<Evidence>,
    /// Slices of the same output, the one with the greatest part in the change first.
    pub slices: Vec<Moved>,
    /// Features of the input, the one that moved farthest first.
    pub features: Vec<Moved>,
    /// Dimensions whose mix within the slice has moved, the most first.
    pub mixes: Vec<Mix>,
    /// Cases whose truth comes later than this are rarely known yet: windows that end after it are provisional.
    pub provisional_from: Option<DateTime<Utc>>,
}

impl Account {
    /// The value of the alert's metric in a published estimate.
    #[must_use]
    pub fn value(&self, estimate: &StoredEstimate) -> Option<Outcome> {
        self.metric.as_ref().and_then(|key| outcome(estimate, key))
    }
}

/// A metric of a published estimate.
#[must_use]
pub fn outcome(estimate: &StoredEstimate, key: &MetricKey) -> Option<Outcome> {
    estimate.metrics.iter().find(|(known, _)| known == key).map(|(_, outcome)| outcome.clone())
}

fn value(estimate: &StoredEstimate, key: &MetricKey) -> Option<Estimate> {
    outcome(estimate, key)?.ok()
}

/// The metric that says most about a quantity in one number.
#[must_use]
pub fn main_metric(quantity: &Quantity<'_>) -> Option<&'static str> {
    match quantity {
        Quantity::Output(_) => Some("auroc"),
        Quantity::Classes(_) => Some("multiclass_accuracy"),
        Quantity::Value(_) => Some("mae"),
        Quantity::Feature(_) => Some("feature_js"),
        Quantity::Embedding => Some("embedding_mmd2"),
        Quantity::Readers(_) => Some("reader_agreement"),
        Quantity::Whole => Some("macro_auroc"),
    }
}

/// Give the account of an alert, as of now or of an earlier instant.
///
/// # Errors
/// When the plan no longer has its model or version, or the store fails.
pub async fn of(context: &Context, alert: &AlertRow, at: Option<DateTime<Utc>>) -> Result<Account, Error> {
    let place = find(context, &alert.model, Some(&alert.version)).await?;
    let now = at.unwrap_or_else(|| context.clock.now());
    let slice: Slice = alert.slice.parse().map_err(Error::Unknown)?;
    let cause = cause(&place.model, &alert.rule);
    let output_id = place.numbers.quantities.get(&alert.output).copied().unwrap_or_default();
    let subject = Subject { context, place: &place, output: &alert.output, output_id, slice: &slice, at, now };
    let (evidence, stream, changed) = subject.evidence(alert, &cause).await?;
    let bucket = place.model.bucket;
    let change = changed.unwrap_or_else(|| bucket.start_of(alert.since));
    let quantity = place.model.quantities().into_iter().find(|quantity| quantity.name() == alert.output);
    let metric = match (&cause, &stream, &quantity) {
        (Cause::Rule(rule), ..) => Some(rule.metric.clone()),
        (Cause::Watch(_), Some(stream), _) => stream.metric(),
        _ => None,
    };
    let metric = metric.or_else(|| quantity.as_ref().and_then(main_metric).map(MetricKey::plain));
    let window = match &cause {
        Cause::Rule(rule) => Some(rule.window),
        _ => place.model.windows.first().copied(),
    };
    let series = match window {
        Some(window) => {
            let (version_id, window_name) = (place.version.version_id, window.to_string());
            let key = SeriesKey { version_id, output_id, slice: slice.clone(), window_name };
            let span = Span { from: Some(now - TimeDelta::days(DRAWN)), to: None, as_of: at };
            context.store.list_series(&key, span, None, DRAWN).await?
        }
        None => Vec::new(),
    };
    // A rolling window that is past its limit may have been so by any of its days: without a stream that says when, all count.
    let judged = window.filter(|_| matches!(cause, Cause::Rule(_))).map(|window| window.at(change).from);
    let from = changed.or(judged).unwrap_or(change);
    let end = bucket.start_of(now) + bucket.length();
    let since = Window { from: from.min(end - bucket.length()), to: end };
    let (before, after) = subject.sides(since, metric.as_ref()).await?;
    let published = subject.published().await?;
    let reference = stream.as_ref().and_then(Stream::reference);
    let reference = reference.or_else(|| before.metric.as_ref()?.as_ref().ok().map(|estimate| estimate.value));
    let limit = match (&cause, &stream) {
        (Cause::Rule(rule), _) => match rule.limit {
            Limit::Below(limit) => Some(("below", limit)),
            Limit::Above(limit) => Some(("above", limit)),
        },
        (_, Some(stream)) => stream.strata.iter().find_map(|stratum| Some(("beyond", stratum.null.as_ref()?.limit))),
        _ => None,
    };
    Ok(Account {
        slices: metric.as_ref().map(|key| subject.contributions(&published, key, reference)).unwrap_or_default(),
        features: subject.features(&published),
        mixes: subject.mixes(since).await?,
        provisional_from: series.last().and_then(|last| delay(last, now)),
        cause,
        metric,
        window,
        change,
        slice: slice.clone(),
        series,
        limit,
        reference,
        before,
        after,
        evidence,
    })
}

/// From when on cases are younger than nine tenths of the labels take.
#[must_use]
pub fn delay(estimate: &StoredEstimate, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let delay = value(estimate, &MetricKey::plain("label_delay_p90_seconds"))?.value;
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds of a delay")]
    let delay = TimeDelta::try_seconds(delay as i64)?;
    Some(now - delay)
}

fn cause(model: &Model, rule: &str) -> Cause {
    if let Some(found) = model.alerts.iter().find(|known| known.name == rule) {
        return Cause::Rule(found.clone());
    }
    if let Some(found) = model.watches.iter().find(|known| known.name == rule) {
        return Cause::Watch(found.clone());
    }
    HealthRule::of_alert(rule).map_or(Cause::Gone, Cause::Health)
}

struct Subject<'a> {
    context: &'a Context,
    place: &'a Place,
    output: &'a str,
    output_id: i32,
    slice: &'a Slice,
    at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl Subject<'_> {
    /// The evidence of the stream that watches the place, its definition, and from which exams on it is otherwise: by the stream that
    /// raised the alert, or by another one of the same place that has alarmed.
    async fn evidence(
        &self,
        alert: &AlertRow,
        cause: &Cause,
    ) -> Result<(Option<Evidence>, Option<Stream>, Option<DateTime<Utc>>), Error> {
        let bucket = self.place.model.bucket;
        if matches!(cause, Cause::Health(_) | Cause::Gone) {
            return Ok((None, None, None));
        }
        let (version_id, store) = (self.place.version.version_id, &self.context.store);
        let mut stands = store.list_stands_of((version_id, self.output_id), Some(&alert.slice), self.at).await?;
        stands.retain(|stand| !matches!(cause, Cause::Watch(watch) if watch.name != stand.watch));
        // The tier that was told of, else the one that has come farthest.
        let tier = Tier::parse(&alert.severity).map_or("", Tier::as_str);
        let share = |stand: &Stand| stand.evidence.zip(stand.threshold).map_or(0.0, |(evidence, at)| evidence / at);
        let rank = |stand: &Stand| (stand.watch == alert.rule, stand.tier == tier, share(stand));
        let chosen = stands.iter().max_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        });
        let Some(stand) = chosen else { return Ok((None, None, None)) };
        let stream = store.find_stream(stand.stream_id).await?;
        let since = self.now - TimeDelta::days(180);
        let days = store.list_evidence(stand.stream_id, &stand.tier, since, self.at).await?;
        let lag = stream.as_ref().map_or(0, |stream| stream.lag);
        // After an alarm the evidence begins anew: the first one says when it all began.
        let earliest = alert.since - TimeDelta::days(EARLIEST);
        let change = store.first_change(stand.stream_id, alert.alert_id, earliest, self.at).await?;
        let change = change.map(|change| bucket.start_of(change - TimeDelta::days(lag)));
        let watch = self.place.model.watches.iter().find(|watch| watch.name == stand.watch);
        let promise = watch.zip(stream.as_ref()).zip(Tier::parse(&stand.tier)).and_then(|((watch, stream), tier)| {
            let threshold = stand.threshold?;
            let share = crate::detect::budget::Share { tier, weight: stand.weight, threshold };
            Some(stream.promise(watch, &[share]))
        });
        let evidence = Evidence { tier: stand.tier.clone(), days, promise };
        Ok((Some(evidence), stream, change))
    }

    /// Before the change and since.
    async fn sides(&self, after: Window, metric: Option<&MetricKey>) -> Result<(Side, Side), Error> {
        let version_id = self.place.version.version_id;
        let reference = self.reference().await?;
        let known = reference.as_ref().and_then(|baseline| {
            let body = baseline.parts.get(&(self.output_id, self.slice.clone()))?;
            Some((baseline, body.clone()))
        });
        let before = if let Some((baseline, body)) = known {
            let window = self.context.store.reference_window(version_id).await?;
            let window = window.filter(|(id, _)| *id == baseline.reference_id).and_then(|(_, window)| window);
            (format!("reference {}", baseline.reference_id), window, Some(body))
        } else {
            let window = Window { from: after.from - TimeDelta::days(BEFORE), to: after.from };
            (WEEKS_BEFORE.to_owned(), Some(window), self.body(window).await?)
        };
        let since = format!("since {}", after.from.format("%-d %B"));
        let after = (since, Some(after), self.body(after).await?);
        let side = |(name, window, body): (String, Option<Window>, Option<Body>)| {
            let metric = metric.zip(body.as_ref()).and_then(|(key, body)| self.metric(body, key));
            Side { name, window, body, metric }
        };
        Ok((side(before), side(after)))
    }

    async fn reference(&self) -> Result<Option<std::sync::Arc<Baseline>>, Error> {
        let (store, version) = (&self.context.store, &self.place.version);
        let in_force = match self.at {
            None => store.find_reference(version.version_id).await?,
            Some(at) => {
                let mut known = store.list_references().await?;
                known.retain(|own| own.model == version.model && own.version == version.name);
                let approved = known.iter().filter(|own| own.approved_at.is_some_and(|approved| approved <= at));
                approved.max_by_key(|own| (own.approved_at, own.reference_id)).map(|own| own.reference_id)
            }
        };
        match in_force {
            Some(reference_id) => Ok(Some(store.load_reference(reference_id).await?)),
            None => Ok(None),
        }
    }

    /// The place's summary of a window: the latest, or from rows as they were known.
    async fn body(&self, window: Window) -> Result<Option<Body>, Error> {
        if self.at.is_none() {
            let own = (self.place.version.version_id, self.output_id);
            let cells = self.context.store.list_bodies(own, Within::Slice(self.slice), window).await?;
            return Ok(Body::merge_all(cells.into_iter().map(|(_, body)| body).collect()));
        }
        match prepare(self.context, &self.question(window).await?).await {
            Ok(prepared) => Ok(Body::merge_all(prepared.bodies())),
            // Too many rows: it is not drawn.
            Err(Error::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn question(&self, window: Window) -> Result<Question, Error> {
        let recorded = match self.at {
            Some(at) => Some(self.context.store.last_batch_before(at).await?),
            None => None,
        };
        Ok(Question {
            model: self.place.model.name.clone(),
            version: Some(self.place.version.name.clone()),
            output: self.output.to_owned(),
            slice: self.slice.clone(),
            window,
            knowledge: Knowledge { known_at: self.at, recorded },
            thresholds: Vec::new(),
            reference_id: None,
            most_rows: Some(MOST_ROWS),
        })
    }

    fn metric(&self, body: &Body, key: &MetricKey) -> Option<Outcome> {
        let quantity = self.place.model.quantities().into_iter().find(|quantity| quantity.name() == self.output)?;
        let asked = Asked {
            model: &self.place.model,
            numbers: &self.place.numbers,
            quantity,
            output_id: self.output_id,
            slice: self.slice,
            reference: None,
            depth: Depth::Published,
        };
        let parts = Parts::from([((self.output_id, self.slice.clone()), body.clone())]);
        asked.answer(&parts)?.into_iter().find(|(known, _)| known == key).map(|(_, outcome)| outcome)
    }

    /// The estimates of the shortest window, of the output and of every feature.
    async fn published(&self) -> Result<Vec<StoredEstimate>, Error> {
        let Some(window) = self.place.model.windows.first() else { return Ok(Vec::new()) };
        let numbers = &self.place.numbers.quantities;
        let features = self.place.model.features.iter();
        let features = features.filter_map(|feature| numbers.get(&Quantity::Feature(feature).name()).copied());
        let outputs: Vec<i32> = features.chain([self.output_id]).collect();
        let store = &self.context.store;
        Ok(store.list_published(self.place.version.version_id, &window.to_string(), &outputs, self.at).await?)
    }
}

/// The cases since the change that the model got most wrong, by the truth of the instant: pseudonyms, for a person to look at.
///
/// # Errors
/// When the alert is not about a probability, there are too many rows, or the store fails.
pub async fn cases(
    context: &Context,
    alert: &AlertRow,
    window: Window,
    at: Option<DateTime<Utc>>,
    most: usize,
) -> Result<Vec<Case>, Error> {
    let place = find(context, &alert.model, Some(&alert.version)).await?;
    let slice: Slice = alert.slice.parse().map_err(Error::Unknown)?;
    let output_id = place.numbers.quantities.get(&alert.output).copied().unwrap_or_default();
    let now = at.unwrap_or_else(|| context.clock.now());
    let subject = Subject { context, place: &place, output: &alert.output, output_id, slice: &slice, at, now };
    let question = subject.question(window).await?;
    let prepared = prepare(context, &question).await?;
    let mut rows = labelled_rows(context, &prepared, &question).await?;
    let wrong = |score: f64, positive: bool| if positive { 1.0 - score } else { score };
    rows.sort_by(|a, b| {
        let (a_wrong, b_wrong) = (wrong(a.score, a.positive), wrong(b.score, b.positive));
        b_wrong.total_cmp(&a_wrong).then_with(|| a.case_id.cmp(&b.case_id))
    });
    rows.truncate(most);
    let case = |row: super::rows::LabelledRow| Case {
        case_id: row.case_id,
        occurred_at: row.occurred_at,
        score: row.score,
        positive: row.positive,
    };
    Ok(rows.into_iter().map(case).collect())
}
