//! A stream: one measure of one output in one slice. What it bets on, what "well" is, and what its sealed days come to.
//!
//! A stream is frozen when it is made: what it bets on does not change any more, so its evidence is a function of what is sealed
//! and can be had again at any time.

mod make;
mod told;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bets::Bank;
use super::budget::Share;
use super::chart::Chart;
use super::day::{Day, Mean};
use super::dependence::DesignEffect;
use super::detector::Detector;
use super::loss::Loss;
use super::null_value::{NullValue, mean_of};
use super::sealing::{Buckets, Days, coverage};
use crate::config::{Measure, Side, Tier, Unit, Watch};
use crate::domain::Estimate;
use crate::stats::channel::{self, Scale};
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
    /// What has a mean, where the measure is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Mean>,
    /// What a unit is.
    pub unit: Unit,
    /// Which way is watched.
    pub side: Side,
    /// The number of the version that it is compared with, of pairs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub against: Option<i32>,
    /// The reference through whose projector its cases are seen, of embeddings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen_through: Option<i32>,
    /// Whether what it is about is a category.
    #[serde(default)]
    pub categorical: bool,
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

    /// Let the evidence be no more than this. What is below evidence has all its promises.
    fn cap(&mut self, most: f64) {
        if let Self::Bets(detector) = self {
            let over = detector.evidence().log - libm::log(most);
            if over > 0.0 {
                detector.scale(libm::exp(-over));
            }
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
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayedAlarm)]
pub struct Alarm {
    /// The sealed day that brought it.
    pub bucket: DateTime<Utc>,
    /// The evidence `M`, or what the chart came to.
    pub evidence: f64,
    /// When the change began, as sealed, by the bet that won or the sum that grew.
    pub change: Option<DateTime<Utc>>,
    /// What the watch measured from then on, where it has a mean.
    pub measured: Option<Estimate>,
}

/// What a stream's days came to.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
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

/// What has a mean of a watch, and which way it is bet to go; `None` of measures that are none.
fn mean_of_watch(watch: &Watch) -> Option<Mean> {
    let at = watch.threshold.unwrap_or_default();
    let loss = match watch.measure {
        Measure::Sensitivity => Some(Loss::Missed(at)),
        Measure::Specificity => Some(Loss::FalselyFlagged(at)),
        Measure::Ppv => Some(Loss::FlaggedInVain(at)),
        Measure::Error => Some(Loss::Error(at)),
        Measure::Cost => Some(Loss::Cost { at, costs: watch.costs? }),
        Measure::Brier => Some(Loss::Brier),
        Measure::LogLoss => Some(Loss::LogLoss),
        Measure::AlertRate => Some(Loss::Flagged(at)),
        // Cases count as 1 when they belong, or lack a value, and as 0 otherwise.
        Measure::SliceShare | Measure::FeatureMissing => Some(Loss::Flagged(0.5)),
        Measure::Auroc => None,
        Measure::Calibration | Measure::ScoreDrift | Measure::FeatureDrift | Measure::EmbeddingDrift => return None,
    };
    let mean = Mean { loss, paired: watch.against.is_some(), ..Mean::AREA };
    Some(if watch.side == Side::Down { mean.turned() } else { mean })
}

impl Stream {
    /// What is looked at of a sealed day: its cases, or which of them lack a value.
    fn view<'s>(&self, sealed: &'s Sealed) -> Day<'s> {
        let mut day = Day::from(&sealed.spectrum);
        if self.measure == Measure::FeatureMissing {
            let present: u64 = sealed.spectrum.totals().iter().sum();
            let missing = sealed.matured.saturating_sub(present);
            let cells = [(0.0, present), (1.0, missing)].map(|(at, n)| (channel::key(at), Class::Unlabelled, n));
            let cells = cells.into_iter().filter(|(.., n)| *n > 0).collect();
            day.spectrum = Cow::Owned(Spectrum::from_cells(Scale::Probability, cells));
        }
        if self.measure == Measure::EmbeddingDrift && sealed.seen_through != self.seen_through {
            // Distances that another projector has measured are not comparable.
            day.spectrum = Cow::Owned(Spectrum::empty(Scale::Real));
            return day;
        }
        if self.unit == Unit::Subject {
            day.subjects = &sealed.subjects;
        }
        let pairs = self.against.and_then(|version| sealed.pairs.get(&version));
        day.pairs = pairs.map_or(&[], Vec::as_slice);
        day
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
                let increments = bank.increments(&day.to_rfc3339(), self.view(sealed))?;
                let evidence = detector.take(day, &increments);
                let alarms = evidence.log >= libm::log(threshold);
                if alarms {
                    detector.reset();
                }
                Some(Seen { evidence: libm::exp(evidence.log.min(MOST)), change: evidence.change, alarms })
            }
            (Engine::Chart { chart, mean, deviation }, State::Chart { value, since }) => {
                let (_, own) = mean_of(self.mean?, &self.view(sealed), self.unit)?;
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

    /// Take a sealed day in as a tier does: what is only listed raises no alarm, and its evidence goes no further than where it is listed for
    /// certain.
    pub fn look(&self, state: &mut State, day: (DateTime<Utc>, &Sealed), share: &Share) -> Option<Seen> {
        if share.tier != Tier::Watch {
            return self.take(state, day, share.threshold);
        }
        let seen = self.take(state, day, f64::INFINITY)?;
        state.cap(share.threshold);
        Some(Seen { evidence: seen.evidence.min(share.threshold), ..seen })
    }

    /// Take sealed days in, in their order, with an alarm whenever the evidence reaches a threshold.
    #[must_use]
    pub fn replay(&self, buckets: &Buckets, threshold: f64) -> Replay {
        self.follow(buckets, &Share { tier: Tier::Page, weight: 1.0, threshold })
    }

    /// Take sealed days in, in their order, as a tier does.
    #[must_use]
    pub fn follow(&self, buckets: &Buckets, share: &Share) -> Replay {
        let mut state = self.start();
        let coverage = if self.measure.needs_truth() { coverage(buckets) } else { None };
        let mut replay = Replay { buckets: 0, alarms: Vec::new(), evidence: 0.0, greatest: 0.0, coverage };
        for (day, sealed) in buckets {
            let Some(seen) = self.look(&mut state, (*day, sealed), share) else { continue };
            replay.buckets += 1;
            replay.evidence = seen.evidence;
            replay.greatest = replay.greatest.max(seen.evidence);
            if seen.alarms {
                let since = seen.change.unwrap_or(*day);
                let measured = self.estimated(buckets.range(since..=*day).map(|(_, sealed)| sealed));
                replay.alarms.push(Alarm { bucket: *day, evidence: seen.evidence, change: seen.change, measured });
            }
        }
        replay
    }
}

/// The greatest logarithm of evidence that is told.
const MOST: f64 = 700.0;
