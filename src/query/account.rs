//! The account of an alert: what broke, since when, how sure, compared with what, where, and what else has moved. Everything that a
//! person needs who was woken by it.
//!
//! *Before* is the reference, or the four weeks before the change; *after* is the time from the change on. What was published is taken as
//! it was published; what is drawn is read from summaries, or from rows when an earlier instant is asked about.
//! Look next at `http::console::alert`, which shows it.

use chrono::{DateTime, TimeDelta, Utc};

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
use crate::store::overview::Stand;
use crate::store::reference::Baseline;
use crate::store::rows::Knowledge;
use crate::store::stream::EvidencePoint;
use crate::summary::body::Body;
use crate::summary::fold::Parts;

/// Published windows that a series shows.
const WINDOWS: i64 = 60;
/// Without a reference, the days before the change that stand for it.
const BEFORE: i64 = 28;
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

/// A slice or a feature that may have moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Its name.
    pub name: String,
    /// What it was; of a feature nothing.
    pub before: Option<f64>,
    /// What it is: the metric of a slice, the distance of a feature.
    pub now: Estimate,
    /// The part of the change of everything that a slice accounts for.
    pub part: Option<f64>,
}

/// How the cases of the alert's slice fall on a dimension's values, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The dimension.
    pub dimension: String,
    /// Value, cases before, cases after; the value that has gained most first.
    pub values: Vec<(String, u64, u64)>,
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
    let (evidence, stream, change) = subject.evidence(alert, &cause).await?;
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
            let own = (place.version.version_id, output_id);
            context.store.list_windows(own, &alert.slice, &window.to_string(), WINDOWS, at).await?
        }
        None => Vec::new(),
    };
    let (before, after) = subject.sides(change, metric.as_ref()).await?;
    let published = subject.published().await?;
    let reference = stream.as_ref().and_then(Stream::reference);
    let reference = reference.or_else(|| before.metric.as_ref()?.as_ref().ok().map(|estimate| estimate.value));
    let limit = match (&cause, &stream) {
        (Cause::Rule(rule), _) => match rule.limit {
            Limit::Below(limit) => Some(("below", limit)),
            Limit::Above(limit) => Some(("above", limit)),
        },
        (_, Some(stream)) => {
            stream.strata.iter().find_map(|stratum| Some(("beyond", stratum.null.as_ref()?.limit)))
        }
        _ => None,
    };
    Ok(Account {
        slices: metric.as_ref().map(|key| subject.contributions(&published, key, reference)).unwrap_or_default(),
        features: subject.features(&published),
        mixes: subject.mixes(change).await?,
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
    /// raised the alert, or by another one of the same place; else by the alert itself.
    async fn evidence(
        &self,
        alert: &AlertRow,
        cause: &Cause,
    ) -> Result<(Option<Evidence>, Option<Stream>, DateTime<Utc>), Error> {
        let bucket = self.place.model.bucket;
        let otherwise = bucket.start_of(alert.since);
        if matches!(cause, Cause::Health(_) | Cause::Gone) {
            return Ok((None, None, otherwise));
        }
        let (version_id, store) = (self.place.version.version_id, &self.context.store);
        let mut stands = store.list_stands_of((version_id, self.output_id), &alert.slice, self.at).await?;
        stands.retain(|stand| !matches!(cause, Cause::Watch(watch) if watch.name != stand.watch));
        // The tier that was told of, else the one that has come farthest.
        let tier = Tier::parse(&alert.severity).map_or("", Tier::as_str);
        let share = |stand: &Stand| stand.evidence.zip(stand.threshold).map_or(0.0, |(evidence, at)| evidence / at);
        let rank = |stand: &Stand| (stand.watch == alert.rule, stand.tier == tier, share(stand));
        let chosen = stands.iter().max_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        });
        let Some(stand) = chosen else { return Ok((None, None, otherwise)) };
        let stream = store.find_stream(stand.stream_id).await?;
        let since = self.now - TimeDelta::days(180);
        let days = store.list_evidence(stand.stream_id, &stand.tier, since, self.at).await?;
        let lag = stream.as_ref().map_or(0, |stream| stream.lag);
        // What has not alarmed has no change to speak of.
        let alarmed = days.iter().any(|day| day.alarms);
        let change = stand.change_at.filter(|_| alarmed).map(|change| bucket.start_of(change - TimeDelta::days(lag)));
        let watch = self.place.model.watches.iter().find(|watch| watch.name == stand.watch);
        let promise = watch.zip(stream.as_ref()).zip(Tier::parse(&stand.tier)).and_then(|((watch, stream), tier)| {
            let threshold = stand.threshold?;
            let share = crate::detect::budget::Share { tier, weight: stand.weight, threshold };
            Some(stream.promise(watch, &[share]))
        });
        let evidence = Evidence { tier: stand.tier.clone(), days, promise };
        Ok((Some(evidence), stream, change.unwrap_or(otherwise)))
    }

    /// Before the change and since.
    async fn sides(&self, change: DateTime<Utc>, metric: Option<&MetricKey>) -> Result<(Side, Side), Error> {
        let bucket = self.place.model.bucket;
        let end = bucket.start_of(self.now) + bucket.length();
        let after = Window { from: change.min(end - bucket.length()), to: end };
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
            ("the four weeks before".to_owned(), Some(window), self.body(window).await?)
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
        let store = &self.context.store;
        match store.find_reference(self.place.version.version_id).await? {
            Some(reference_id) => Ok(Some(store.load_reference(reference_id).await?)),
            None => Ok(None),
        }
    }

    /// The place's summary of a window: the latest, or from rows as they were known.
    async fn body(&self, window: Window) -> Result<Option<Body>, Error> {
        if self.at.is_none() {
            let own = (self.place.version.version_id, self.output_id);
            let cells = self.context.store.list_bodies(own, &texts(self.slice), window).await?;
            let own = cells.into_iter().filter(|(cell, _)| cell.slice == *self.slice).map(|(_, body)| body);
            return Ok(Body::merge_all(own.collect()));
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

    /// The slices of one dimension by the part of everything's change that each accounts for: its share of the cases times its own
    /// change, as `job::streams` tells it in notices.
    fn contributions(&self, published: &[StoredEstimate], key: &MetricKey, before: Option<f64>) -> Vec<Moved> {
        let own = || published.iter().filter(|estimate| estimate.output_id == self.output_id);
        let whole = own().find(|estimate| estimate.slice.is_all()).and_then(|estimate| value(estimate, key));
        let reference = MetricKey { name: format!("reference_{}", key.name), ..key.clone() };
        let mut moved: Vec<Moved> = own()
            .filter(|estimate| estimate.slice.dimensions().len() == 1)
            .filter_map(|estimate| {
                let now = value(estimate, key)?;
                let before = value(estimate, &reference).map(|then| then.value).or(before);
                let share = whole.as_ref().filter(|whole| whole.n > 0).map(|whole| now.n as f64 / whole.n as f64);
                let part = share.zip(before).map(|(share, before)| share * (now.value - before));
                Some(Moved { name: estimate.slice.to_string(), before, now, part })
            })
            .collect();
        let size = |moved: &Moved| moved.part.map_or(0.0, f64::abs);
        moved.sort_by(|a, b| size(b).total_cmp(&size(a)));
        moved
    }

    fn features(&self, published: &[StoredEstimate]) -> Vec<Moved> {
        let key = MetricKey::plain("feature_js");
        let name = |output_id: i32| {
            let mut own = self.place.numbers.quantities.iter();
            own.find(|(_, id)| **id == output_id).map(|(name, _)| name.replace("(feature) ", ""))
        };
        let own = published.iter().filter(|estimate| estimate.output_id != self.output_id && estimate.slice.is_all());
        let mut moved: Vec<Moved> = own
            .filter_map(|estimate| {
                let now = value(estimate, &key)?;
                Some(Moved { name: name(estimate.output_id)?, before: None, now, part: None })
            })
            .collect();
        let far = |moved: &Moved| moved.now.value / moved.now.null_95.unwrap_or(1.0).max(1e-9);
        moved.sort_by(|a, b| far(b).total_cmp(&far(a)));
        moved
    }

    /// How the cases of the slice fall on the other dimensions' values, where the plan declares the crossing.
    async fn mixes(&self, change: DateTime<Utc>) -> Result<Vec<Mix>, Error> {
        let own = self.slice.dimensions();
        let crossed = |dimension: &str| {
            let mut names = own.clone();
            names.push(dimension.to_owned());
            names.sort();
            own.is_empty() || self.place.model.crossings.iter().any(|crossing| {
                let mut known = crossing.clone();
                known.sort();
                known == names
            })
        };
        let names: Vec<&str> = self.place.model.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| !own.iter().any(|o| o == name) && crossed(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let place = (self.place.version.version_id, self.output_id);
        let after = Window { from: change, to: self.now };
        let after = self.context.store.list_bodies(place, &texts(self.slice), after).await?;
        let after: Vec<(Slice, u64)> = after.into_iter().map(|(cell, body)| (cell.slice, body.rows())).collect();
        let before: Vec<(Slice, u64)> = match self.reference().await? {
            Some(baseline) => {
                let parts = baseline.parts.iter().filter(|((output, _), _)| *output == self.output_id);
                parts.map(|((_, slice), body)| (slice.clone(), body.rows())).collect()
            }
            None => {
                let before = Window { from: change - TimeDelta::days(BEFORE), to: change };
                let cells = self.context.store.list_bodies(place, &texts(self.slice), before).await?;
                cells.into_iter().map(|(cell, body)| (cell.slice, body.rows())).collect()
            }
        };
        let mut mixes: Vec<Mix> = names.iter().map(|name| mix(name, self.slice, &before, &after)).collect();
        mixes.retain(|mix| mix.values.iter().any(|(_, before, _)| *before > 0) && !mix.values.is_empty());
        mixes.sort_by(|a, b| b.distance().total_cmp(&a.distance()));
        Ok(mixes)
    }
}

/// How a slice's cells read in the text of a slice within it.
fn texts(slice: &Slice) -> Vec<String> {
    slice.cells().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The values of one dimension within a slice.
fn mix(dimension: &str, within: &Slice, before: &[(Slice, u64)], after: &[(Slice, u64)]) -> Mix {
    let value = |slice: &Slice| {
        let is_own = slice.cells().count() == within.cells().count() + 1
            && within.cells().all(|cell| slice.cells().any(|own| own == cell));
        slice.cells().find(|(name, _)| is_own && *name == dimension).map(|(_, value)| value.to_owned())
    };
    let mut values: std::collections::BTreeMap<String, (u64, u64)> = std::collections::BTreeMap::new();
    for (slice, rows) in before {
        if let Some(value) = value(slice) {
            values.entry(value).or_default().0 += rows;
        }
    }
    for (slice, rows) in after {
        if let Some(value) = value(slice) {
            values.entry(value).or_default().1 += rows;
        }
    }
    let values = values.into_iter().map(|(value, (before, after))| (value, before, after)).collect();
    let mut mix = Mix { dimension: dimension.to_owned(), values };
    let shares: Vec<(String, f64)> =
        mix.shares().into_iter().map(|(value, before, after)| (value.to_owned(), after - before)).collect();
    let gain = |value: &str| shares.iter().find(|(own, _)| own == value).map_or(0.0, |(_, gain)| *gain);
    mix.values.sort_by(|a, b| gain(&b.0).total_cmp(&gain(&a.0)));
    mix
}

impl Mix {
    /// Every value with its share of the cases before and after.
    #[must_use]
    pub fn shares(&self) -> Vec<(&str, f64, f64)> {
        let total = |pick: fn(&(String, u64, u64)) -> u64| self.values.iter().map(pick).sum::<u64>().max(1) as f64;
        let (before, after) = (total(|value| value.1), total(|value| value.2));
        let share = |(value, own_before, own_after): &(String, u64, u64)| {
            (*own_before as f64 / before, *own_after as f64 / after, value.as_str().to_owned())
        };
        let shares = self.values.iter().map(|value| (value, share(value)));
        shares.map(|(value, (before, after, _))| (value.0.as_str(), before, after)).collect()
    }

    /// The largest change of a value's share.
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.shares().iter().map(|(_, before, after)| (after - before).abs()).fold(0.0, f64::max)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_that_of_the_cases_within_the_slice() {
        let slice = |text: &str| text.parse::<Slice>().expect("a slice");
        let before = [
            (slice("site=south & vendor=A"), 90),
            (slice("site=south & vendor=B"), 10),
            (slice("site=north & vendor=B"), 500),
            (slice("vendor=B"), 700),
        ];
        let after = [(slice("site=south & vendor=B"), 40), (slice("site=south"), 40)];
        let own = mix("vendor", &slice("site=south"), &before, &after);
        assert_eq!(own.values, [("B".to_owned(), 10, 40), ("A".to_owned(), 90, 0)], "what has gained most stands first");
        assert!((own.distance() - 0.9).abs() < 1e-12, "{}", own.distance());
        let whole = mix("vendor", &Slice::all(), &before, &after);
        assert_eq!(whole.values, [("B".to_owned(), 700, 0)], "of everything only cells of one dimension count");
    }
}
