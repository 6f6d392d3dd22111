//! A stream: one measure of one output in one slice. What it bets on, what "well" is, and what its sealed days come to.
//!
//! A stream is frozen when it is made: what it bets on does not change any more, so its evidence is a function of what is sealed
//! and can be had again at any time.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bets::{Bank, Loss, blocks};
use super::chart::Chart;
use super::dependence::{self, DesignEffect};
use super::detector::Detector;
use super::null_value::{self, Margin, NullValue, mean_of};
use super::sealing::{Buckets, Days, coverage};
use crate::config::{Measure, Method, Side, Unit, Watch, Weekends};
use crate::domain::MetricKey;
use crate::metric::discrimination;
use crate::metric::drift::binned;
use crate::stats::channel::{self, Scale};
use crate::stats::interval::{Bounds, logit_normal, wald, wilson};
use crate::stats::special::normal_upper_quantile;
use crate::stats::spectrum::{Class, Spectrum};
use crate::summary::sealed::Sealed;

/// A stream, ready to take in sealed days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// What is measured.
    pub measure: Measure,
    /// The operating point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// What a unit is.
    pub unit: Unit,
    /// Which way is watched.
    pub side: Side,
    /// Days from a case to its seal.
    pub lag: i64,
    /// Names its random partitions.
    pub seed: String,
    /// The kinds of days, each with its own bets.
    pub strata: Vec<Stratum>,
    /// Why other kinds of days are not watched.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unwatched: Vec<String>,
    /// How much the reference's cases of one day hang together, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependence: Option<DesignEffect>,
    /// The share of the reference's cases that had truth when they came of age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

/// One kind of days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// Which.
    pub days: Days,
    /// What is bet on, or the chart.
    pub engine: Engine,
    /// What "well" is; absent for calibration and drift, whose tolerance says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null: Option<NullValue>,
    /// Units of a day, on average over the reference.
    pub size: f64,
    /// The reference's variance of a unit's loss: of a case, or of a day's mean.
    pub variance: f64,
}

/// What a stream is watched by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Bets.
    Bets(Bank),
    /// A control chart of the days' means, standardised by the reference's mean and deviation of them.
    Chart {
        /// The chart.
        chart: Chart,
        /// The mean loss of the reference's days.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
}

/// What has gathered so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Of bets.
    Bets(Detector),
    /// Of a chart: its sum or average, and since when it has been above zero.
    Chart {
        /// The sum or the average.
        value: f64,
        /// Since when it has been above zero.
        since: Option<DateTime<Utc>>,
    },
}

impl State {
    /// Multiply the evidence, when a threshold has fallen because the budget's shares have changed. A chart has its own limit.
    pub fn scale(&mut self, factor: f64) {
        if let Self::Bets(detector) = self {
            detector.scale(factor);
        }
    }
}

/// What one day made of the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The evidence `M`, or what the chart came to.
    pub evidence: f64,
    /// When the change began, by the bet that has won most or the sum that grew.
    pub change: Option<DateTime<Utc>>,
    /// Whether this is an alarm; then the state has started anew.
    pub alarms: bool,
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// The sealed day that brought it.
    pub bucket: DateTime<Utc>,
    /// The evidence `M`, or what the chart came to.
    pub evidence: f64,
    /// When the change began, as sealed, by the bet that won or the sum that grew.
    pub change: Option<DateTime<Utc>>,
    /// What the watch measured from then on, where it has a mean.
    pub measured: Option<f64>,
}

/// What a stream's days came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// Days with units.
    pub buckets: u64,
    /// Its alarms; the evidence starts anew after each.
    pub alarms: Vec<Alarm>,
    /// The evidence at the end.
    pub evidence: f64,
    /// The greatest evidence.
    pub greatest: f64,
    /// The share of cases that had truth when they came of age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

/// The loss of a measure; `None` of those that are no mean of losses.
#[must_use]
pub fn loss_of(measure: Measure, threshold: f64) -> Option<Loss> {
    Some(match measure {
        Measure::Sensitivity => Loss::Missed(threshold),
        Measure::Specificity => Loss::FalselyFlagged(threshold),
        Measure::Ppv => Loss::FlaggedInVain(threshold),
        Measure::Error => Loss::Error(threshold),
        Measure::Brier => Loss::Brier,
        Measure::LogLoss => Loss::LogLoss,
        Measure::AlertRate => Loss::Flagged(threshold),
        // Cases count as 1 when they belong, or lack a value, and as 0 otherwise.
        Measure::SliceShare | Measure::FeatureMissing => Loss::Flagged(0.5),
        Measure::Auroc | Measure::Calibration | Measure::ScoreDrift | Measure::FeatureDrift => return None,
    })
}

/// Whether a measure is a mean: of losses, or of pairs.
fn has_mean(measure: Measure) -> bool {
    measure != Measure::Calibration && !measure.is_drift()
}

impl Stream {
    /// Make the stream of a watch.
    ///
    /// `seed` names it; `lag` is how many days after a case its seal is; `confidence` is that of its null values together.
    ///
    /// # Errors
    /// What the reference lacks, and the remedy.
    pub fn new(watch: &Watch, (seed, lag): (&str, i64), reference: &Buckets, confidence: f64) -> Result<Self, String> {
        let mut stream = Self {
            measure: watch.measure,
            at: watch.threshold,
            unit: watch.unit,
            side: watch.side,
            lag,
            seed: seed.to_owned(),
            strata: Vec::new(),
            unwatched: Vec::new(),
            dependence: None,
            coverage: if watch.measure.needs_truth() { coverage(reference) } else { None },
        };
        let is_chart = watch.method != Method::Evidence;
        // A contract is the same on every day, and so is what is stated of probabilities.
        let alike = watch.limit.is_some() || watch.measure == Measure::Calibration || watch.weekends == Weekends::Alike;
        let kinds = if alike { vec![Days::All] } else { vec![Days::Working, Days::Weekend] };
        let seen: Vec<(DateTime<Utc>, Cow<'_, Spectrum>)> =
            reference.iter().map(|(day, sealed)| (*day, stream.view(sealed))).collect();
        let of_kind = |days: Days| -> Vec<&Spectrum> {
            let own = seen.iter().filter(|(day, _)| days == Days::All || days == Days::of(*day, lag));
            own.map(|(_, spectrum)| &**spectrum).collect()
        };
        let samples: Vec<Vec<dependence::Bucket>> = kinds
            .iter()
            .map(|days| of_kind(*days).into_iter().map(|spectrum| stream.sample(spectrum)).collect())
            .collect();
        stream.dependence = DesignEffect::of(&samples);
        // The kinds share the confidence as they share the budget.
        let delta = (1.0 - confidence) / kinds.len() as f64;
        for days in kinds {
            let made = if is_chart {
                stream.charted(watch, (days, &of_kind(days)))
            } else {
                stream.stratum(watch, (days, &of_kind(days)), 1.0 - delta)
            };
            match made {
                Ok(stratum) => stream.strata.push(stratum),
                Err(reason) => stream.unwatched.push(reason),
            }
        }
        if stream.strata.is_empty() { Err(stream.unwatched.join("; ")) } else { Ok(stream) }
    }

    /// What is looked at of a sealed day: its cases, or which of them lack a value.
    fn view<'s>(&self, sealed: &'s Sealed) -> Cow<'s, Spectrum> {
        if self.measure != Measure::FeatureMissing {
            return Cow::Borrowed(&sealed.spectrum);
        }
        let present: u64 = sealed.spectrum.totals().iter().sum();
        let missing = sealed.matured.saturating_sub(present);
        let cells = [(0.0, present), (1.0, missing)].map(|(at, n)| (channel::key(at), Class::Unlabelled, n));
        Cow::Owned(Spectrum::from_cells(Scale::Probability, cells.into_iter().filter(|(.., n)| *n > 0).collect()))
    }

    fn loss(&self) -> Option<Loss> {
        loss_of(self.measure, self.at.unwrap_or_default())
    }

    /// One kind of days with its bets.
    fn stratum(&self, watch: &Watch, (days, own): (Days, &[&Spectrum]), confidence: f64) -> Result<Stratum, String> {
        let loss = self.loss();
        // Each way of two has half of what may go wrong.
        let confidence = if self.side == Side::Both { 1.0 - 0.5 * (1.0 - confidence) } else { confidence };
        let margin = Margin { confidence, tolerance: watch.tolerance };
        let mut null = match watch.limit {
            Some(limit) => Some(null_value::by_contract(loss, limit)),
            None if has_mean(self.measure) => {
                Some(null_value::of_reference(loss, (days, own), (self.unit, margin), self.dependence.as_ref())?)
            }
            None => None,
        };
        let m0 = null.as_ref().map_or(0.0, |null| null.value);
        let samples: Vec<dependence::Bucket> =
            own.iter().map(|spectrum| self.sample(spectrum)).filter(|(n, ..)| *n > 0).collect();
        let (n, sum, square) = samples.iter().fold((0, 0.0, 0.0), |(n, s, q), day| (n + day.0, s + day.1, q + day.2));
        let size = n as f64 / own.len().max(1) as f64;
        let means: Vec<f64> = own.iter().filter_map(|spectrum| Some(mean_of(loss, spectrum)?.1)).collect();
        // Without a reference a day is taken to have thirty cases of 0/1 losses.
        let variance = match self.unit {
            Unit::Cluster => variance(&means).unwrap_or(m0 * (1.0 - m0) / 30.0),
            Unit::Case if n > 1 => square / n as f64 - (sum / n as f64) * (sum / n as f64),
            Unit::Case => m0 * (1.0 - m0),
        };
        let variance = variance.max(1e-6);
        let bank = match (loss, self.measure) {
            (Some(loss), _) if self.unit == Unit::Case && loss.is_binary() => Bank::of_counts(loss, m0),
            (Some(loss), _) => Bank::of_means(loss, m0, variance, self.unit),
            (None, Measure::Calibration) => Bank::of_calibration(watch.tolerance, self.unit),
            (None, Measure::ScoreDrift | Measure::FeatureDrift) => {
                let filled = own.iter().filter(|day| !day.channels().is_empty()).count();
                let bank = Bank::of_drift(own, (1.0 - confidence, watch.tolerance), self.unit);
                bank.filter(|_| filled >= null_value::LEAST_DAYS).ok_or_else(|| null_value::too_few(days, filled))?
            }
            (None, _) => Bank::of_area(m0, self.unit, variance, &self.seed),
        };
        let bank = match (self.side, loss) {
            (Side::Both, Some(Loss::Flagged(at))) => {
                let loss = Loss::Cleared(at);
                let below =
                    null_value::of_reference(Some(loss), (days, own), (self.unit, margin), self.dependence.as_ref())?;
                let down = match self.unit {
                    Unit::Case => Bank::of_counts(loss, below.value),
                    Unit::Cluster => Bank::of_means(loss, below.value, variance, self.unit),
                };
                null = null.map(|null| NullValue { lower_limit: Some(below.limit), ..null });
                Bank::Both { up: Box::new(bank), down: Box::new(down) }
            }
            _ => bank,
        };
        Ok(Stratum { days, engine: Engine::Bets(bank), null, size, variance })
    }

    /// One kind of days with its chart.
    fn charted(&self, watch: &Watch, (days, own): (Days, &[&Spectrum])) -> Result<Stratum, String> {
        let loss = self.loss();
        let means: Vec<(u64, f64)> = own.iter().filter_map(|spectrum| mean_of(loss, spectrum)).collect();
        let values: Vec<f64> = means.iter().map(|(_, mean)| *mean).collect();
        let variance = variance(&values).filter(|v| *v > 1e-12 && values.len() >= null_value::LEAST_DAYS);
        let variance = variance.ok_or_else(|| {
            format!("the reference's {} do not tell how the {} varies; take a longer one", days.as_str(), self.measure)
        })?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let chart = match watch.method {
            Method::Ewma => Chart::ewma(watch.run_length),
            Method::Cusum | Method::Evidence => Chart::cusum(watch.run_length),
        };
        let terms = Loss::in_its_terms(loss, mean);
        let n: u64 = means.iter().map(|(n, _)| n).sum();
        let null = NullValue { value: mean, limit: terms, lower_limit: None, reference: Some(terms), n };
        let engine = Engine::Chart { chart, mean, deviation: libm::sqrt(variance) };
        Ok(Stratum { days, engine, null: Some(null), size: n as f64 / own.len() as f64, variance })
    }

    /// Units of a day, the sum of their losses and of the squares: what the design effect and variances are told from.
    fn sample(&self, spectrum: &Spectrum) -> dependence::Bucket {
        let sums = |values: &mut dyn Iterator<Item = (f64, u64)>| {
            values.fold((0, 0.0, 0.0), |(n, sum, square), (value, count)| {
                (n + count, sum + value * count as f64, square + value * value * count as f64)
            })
        };
        match (self.loss(), self.measure) {
            (Some(loss), _) => loss.sums(spectrum),
            // How far the truth is from what was stated.
            (None, Measure::Calibration) => {
                let residuals = spectrum.channels().iter().flat_map(|channel| {
                    let (low, high) = spectrum.range(channel);
                    let stated = 0.5 * (low + high);
                    [(1.0 - stated, channel.positive()), (-stated, channel.negative())]
                });
                sums(&mut residuals.filter(|(_, n)| *n > 0))
            }
            // Scores in steps of a tenth.
            (None, Measure::ScoreDrift) => {
                let tenths: Vec<f64> = (1..10).map(|at| f64::from(at) / 10.0).collect();
                sums(&mut binned(spectrum, &tenths).into_iter().enumerate().map(|(at, n)| (at as f64, n)))
            }
            (None, Measure::FeatureDrift) => {
                let values = spectrum.channels().iter().map(|channel| {
                    let (low, high) = spectrum.range(channel);
                    (0.5 * low + 0.5 * high, channel.total())
                });
                sums(&mut values.into_iter())
            }
            (None, _) => sums(&mut blocks(spectrum, &self.seed).unwrap_or_default().into_iter().map(|loss| (loss, 1))),
        }
    }

    /// The kind of a day; `None` of one that is not watched.
    fn stratum_of(&self, day: DateTime<Utc>) -> Option<&Stratum> {
        let days = Days::of(day, self.lag);
        self.strata.iter().find(|stratum| stratum.days == Days::All || stratum.days == days)
    }

    /// No evidence yet.
    #[must_use]
    pub fn start(&self) -> State {
        match self.strata.first().map(|stratum| &stratum.engine) {
            Some(Engine::Bets(bank)) => State::Bets(Detector::new(bank.bets())),
            _ => State::Chart { value: 0.0, since: None },
        }
    }

    /// Take a sealed day in; `None` when nothing is bet on it: no unit, or a kind of day that is not watched.
    ///
    /// `threshold` is the evidence at which there is an alarm; a chart has its own. After an alarm the state starts anew.
    pub fn take(&self, state: &mut State, (day, sealed): (DateTime<Utc>, &Sealed), threshold: f64) -> Option<Seen> {
        let stratum = self.stratum_of(day)?;
        match (&stratum.engine, state) {
            (Engine::Bets(bank), State::Bets(detector)) => {
                let increments = bank.increments(&day.to_rfc3339(), &self.view(sealed))?;
                let evidence = detector.take(day, &increments);
                let alarms = evidence.log >= libm::log(threshold);
                if alarms {
                    detector.reset();
                }
                Some(Seen { evidence: libm::exp(evidence.log.min(MOST)), change: evidence.change, alarms })
            }
            (Engine::Chart { chart, mean, deviation }, State::Chart { value, since }) => {
                let (_, own) = mean_of(self.loss(), &self.view(sealed))?;
                if *value <= 0.0 {
                    *since = Some(day);
                }
                *value = chart.next(*value, (own - mean) / deviation);
                let seen = Seen { evidence: *value, change: *since, alarms: *value > chart.limit() };
                if seen.alarms {
                    *value = 0.0;
                }
                Some(seen)
            }
            _ => None,
        }
    }

    /// The limit of a chart; of bets the threshold that the budget gives.
    #[must_use]
    pub fn limit(&self, threshold: f64) -> f64 {
        match self.strata.first().map(|stratum| &stratum.engine) {
            Some(Engine::Chart { chart, .. }) => chart.limit(),
            _ => threshold,
        }
    }

    /// Take sealed days in, in their order.
    #[must_use]
    pub fn replay(&self, buckets: &Buckets, threshold: f64) -> Replay {
        let mut state = self.start();
        let coverage = if self.measure.needs_truth() { coverage(buckets) } else { None };
        let mut replay = Replay { buckets: 0, alarms: Vec::new(), evidence: 0.0, greatest: 0.0, coverage };
        for (day, sealed) in buckets {
            let Some(seen) = self.take(&mut state, (*day, sealed), threshold) else { continue };
            replay.buckets += 1;
            replay.evidence = seen.evidence;
            replay.greatest = replay.greatest.max(seen.evidence);
            if seen.alarms {
                let since = seen.change.unwrap_or(*day);
                let measured = self.measured(buckets.range(since..=*day).map(|(_, sealed)| sealed));
                replay.alarms.push(Alarm { bucket: *day, evidence: seen.evidence, change: seen.change, measured });
            }
        }
        replay
    }

    /// What the watch measures over sealed days together, in its own terms; `None` without cases, or without a mean.
    #[must_use]
    pub fn measured<'s>(&self, days: impl Iterator<Item = &'s Sealed>) -> Option<f64> {
        let mut pooled = Spectrum::default();
        days.for_each(|sealed| pooled.merge(&self.view(sealed)));
        let loss = self.loss();
        let (_, mean) = mean_of(loss, &pooled).filter(|_| has_mean(self.measure))?;
        Some(Loss::in_its_terms(loss, mean))
    }

    /// The same with its 95 % interval, where there is one: Wilson's of shares, that of an area on the logit scale, of other losses the
    /// normal one.
    #[must_use]
    pub fn estimated<'s>(&self, days: impl Iterator<Item = &'s Sealed>) -> Option<(f64, Option<(f64, f64)>)> {
        let mut pooled = Spectrum::default();
        days.for_each(|sealed| pooled.merge(&self.view(sealed)));
        let loss = self.loss();
        let (_, mean) = mean_of(loss, &pooled).filter(|_| has_mean(self.measure))?;
        let z = normal_upper_quantile(0.025);
        let bounds = match loss {
            None => {
                let error = discrimination::area(&pooled).ok()?.standard_error.filter(|error| *error > 0.0);
                error.map(|error| logit_normal(mean, error, z))
            }
            Some(loss) => {
                let (n, sum, square) = loss.sums(&pooled);
                let count = n as f64;
                // The losses of a share are counts.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cases")]
                let bounds = if loss.is_binary() {
                    wilson(sum.round() as u64, n, z)
                } else {
                    wald(mean, libm::sqrt((square / count - mean * mean).max(0.0) / count), z)
                };
                Some(bounds)
            }
        };
        let own = |bounds: Bounds| {
            let ends = [bounds.lower, bounds.upper].map(|end| Loss::in_its_terms(loss, end));
            (ends[0].min(ends[1]), ends[0].max(ends[1]))
        };
        Some((Loss::in_its_terms(loss, mean), bounds.map(own)))
    }

    /// The metric of the catalogue that is the same thing; `None` where there is none.
    #[must_use]
    pub fn metric(&self) -> Option<MetricKey> {
        let name = match self.measure {
            Measure::Auroc => "auroc",
            Measure::Sensitivity => "sensitivity",
            Measure::Specificity => "specificity",
            Measure::Ppv => "ppv",
            Measure::Brier => "brier",
            Measure::LogLoss => "log_loss",
            Measure::AlertRate => "alert_rate",
            _ => return None,
        };
        Some(MetricKey { threshold: self.at.map(|at| at.to_string()), ..MetricKey::plain(name) })
    }

    /// What an alarm of this stream promises.
    #[must_use]
    pub fn promise(&self, watch: &Watch, shares: &[Share]) -> String {
        if watch.method != Method::Evidence {
            return format!(
                "{} days between false alarms of this stream alone, if its days are independent and normal and the reference's mean \
                 and deviation exact",
                watch.run_length
            );
        }
        let share = |share: &Share| format!("{:.4} of the budget of false {}s", share.weight, share.tier.as_str());
        let shares: Vec<String> = shares.iter().map(share).collect();
        format!("its share, {}, whatever the other streams do", shares.join(" and "))
    }

    /// What keeps the promise from being kept, in words; `None` while nothing is known to. `coverage` is the share of cases that had
    /// truth in time since the reference.
    #[must_use]
    pub fn stressed(&self, coverage: Option<f64>) -> Option<String> {
        let dependent = match (self.unit, self.dependence) {
            (Unit::Cluster, _) => None,
            (Unit::Case, Some(effect)) if effect.allows_cases() => None,
            (Unit::Case, Some(effect)) => Some(format!(
                "cases of a day hang together: their design effect is {:.2}, at most {:.2}, and {} is allowed; take unit = \"cluster\"",
                effect.value,
                effect.upper,
                dependence::MOST
            )),
            (Unit::Case, None) => Some(
                "the reference does not tell whether cases of a day hang together; take unit = \"cluster\"".to_owned(),
            ),
        };
        let moved = self.coverage.zip(coverage).filter(|(then, now)| (then - now).abs() > COVERAGE_MOVED);
        let selected = moved.map(|(then, now)| {
            format!(
                "{:.0} % of cases have truth in time, of the reference {:.0} %: those with truth may be others than before",
                100.0 * now,
                100.0 * then
            )
        });
        let reasons: Vec<String> = dependent.into_iter().chain(selected).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The greatest logarithm of evidence that is told.
const MOST: f64 = 700.0;

/// How far the share of cases with truth in time may be from the reference's.
pub const COVERAGE_MOVED: f64 = 0.05;

/// A stream's part in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The tier.
    pub tier: crate::config::Severity,
    /// Its share of the tier's budget.
    pub weight: f64,
    /// The evidence at which it alarms.
    pub threshold: f64,
}

fn variance(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.len() > 1).then(|| values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0))
}
