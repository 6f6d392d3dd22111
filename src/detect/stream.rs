//! A stream: one measure of one output in one slice. What it bets on, what "well" is, and what its sealed buckets came to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::bets::{Bank, Loss, area, blocks};
use super::chart::Chart;
use super::dependence::DesignEffect;
use super::detector::Detector;
use super::null_value::{self, Margin, NullValue};
use super::planner;
use crate::config::{Measure, Method, Unit, Watch};
use crate::domain::Slice;
use crate::stats::spectrum::Spectrum;

/// Sealed cases by bucket.
pub type Buckets = BTreeMap<DateTime<Utc>, Spectrum>;

/// A stream, ready to take in buckets.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The watch.
    pub watch: Watch,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: Slice,
    /// Its share of the budget.
    pub weight: f64,
    /// The evidence at which it alarms.
    pub threshold: f64,
    /// What it bets on, or the chart.
    pub engine: Engine,
    /// What "well" is; absent for calibration and drift, whose tolerance says it.
    pub null: Option<NullValue>,
    /// Units of a reference's bucket, on average.
    pub size: f64,
    /// The reference's variance of a unit's loss: of a case, or of a bucket's mean.
    variance: f64,
}

/// What a stream is watched by.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// Bets.
    Bets(Bank),
    /// A control chart of the buckets' means, standardised by the reference's mean and deviation of them.
    Chart {
        /// The chart.
        chart: Chart,
        /// The mean loss of the reference's buckets.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// The bucket that brought it.
    pub bucket: DateTime<Utc>,
    /// The evidence `M`, or what the chart came to.
    pub evidence: f64,
    /// When the change began, by the bet that won or the sum that grew.
    pub change: Option<DateTime<Utc>>,
    /// What the watch measured from then on, where it has a mean.
    pub measured: Option<f64>,
}

/// What a stream's buckets came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// Buckets with units.
    pub buckets: u64,
    /// Its alarms; the evidence starts anew after each.
    pub alarms: Vec<Alarm>,
    /// The evidence at the end.
    pub evidence: f64,
    /// The greatest evidence.
    pub greatest: f64,
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
        Measure::Auroc | Measure::Calibration | Measure::ScoreDrift => return None,
    })
}

impl Stream {
    /// Make a stream of a watch.
    ///
    /// `confidence` is that of its own null value; `threshold` its share of the budget has given it.
    ///
    /// # Errors
    /// What the reference lacks, and the remedy.
    pub fn new(
        watch: &Watch,
        (output, slice): (&str, &Slice),
        reference: &[Spectrum],
        confidence: f64,
        (weight, threshold): (f64, f64),
    ) -> Result<Self, String> {
        let margin = Margin { confidence, tolerance: watch.tolerance };
        let missing = || {
            format!(
                "the reference has no cases to tell the {} of {output}, {slice} from; take a longer one, or give the watch a limit",
                watch.measure
            )
        };
        let loss = loss_of(watch.measure, watch.threshold.unwrap_or_default());
        let null = match (watch.limit, loss, watch.measure) {
            (Some(limit), ..) => {
                let known = loss.map(|loss| DesignEffect::of(&null_value::buckets_of(loss, reference)));
                Some(NullValue { design_effect: known.flatten(), ..null_value::by_contract(loss, limit) })
            }
            (None, Some(loss), _) => Some(null_value::of_loss(loss, reference, margin).ok_or_else(missing)?),
            (None, None, Measure::Auroc) => Some(null_value::of_area(reference, margin).ok_or_else(missing)?),
            (None, None, _) => None,
        };
        let m0 = null.as_ref().map_or(0.0, |null| null.value);
        if null.is_some() && !(0.0 < m0 && m0 < 1.0) {
            return Err(missing());
        }
        let means: Vec<f64> = reference.iter().filter_map(|spectrum| mean_of(loss, spectrum)).collect();
        let seed = format!("{}/{output}/{slice}", watch.name);
        let (size, of_case) = sizes(loss, reference, &seed);
        // Without a reference a bucket is taken to have thirty cases of 0/1 losses.
        let variance = match watch.unit {
            Unit::Cluster => variance(&means).unwrap_or(m0 * (1.0 - m0) / 30.0).max(1e-6),
            Unit::Case => of_case.unwrap_or(m0 * (1.0 - m0)).max(1e-6),
        };
        let bank = match (loss, watch.measure) {
            (Some(loss @ (Loss::Brier | Loss::LogLoss)), _) => Bank::of_means(loss, m0, variance, watch.unit),
            (Some(loss), _) if watch.unit == Unit::Case => Bank::of_counts(loss, m0),
            (Some(loss), _) => Bank::of_means(loss, m0, variance, Unit::Cluster),
            (None, Measure::Calibration) => Bank::of_calibration(watch.tolerance, watch.unit),
            (None, Measure::ScoreDrift) => {
                let mut pooled = Spectrum::default();
                reference.iter().for_each(|spectrum| pooled.merge(spectrum));
                Bank::of_drift(&pooled, 1.0 - confidence, watch.tolerance, watch.unit).ok_or_else(missing)?
            }
            (None, _) => Bank::of_area(m0, watch.unit, variance, &seed),
        };
        let watch = watch.clone();
        let (output, slice) = (output.to_owned(), slice.clone());
        let engine = Engine::Bets(bank);
        Ok(Self { watch, output, slice, weight, threshold, engine, null, size, variance })
    }

    /// Make a stream that a control chart watches.
    ///
    /// # Errors
    /// What the reference lacks.
    pub fn of_chart(watch: &Watch, (output, slice): (&str, &Slice), reference: &[Spectrum]) -> Result<Self, String> {
        let loss = loss_of(watch.measure, watch.threshold.unwrap_or_default());
        let means: Vec<f64> = reference.iter().filter_map(|spectrum| mean_of(loss, spectrum)).collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let variance = variance(&means).filter(|variance| *variance > 1e-12).ok_or_else(|| {
            format!(
                "the reference's days do not tell how the {} of {output}, {slice} varies; take a longer one",
                watch.measure
            )
        })?;
        let chart = match watch.method {
            Method::Ewma => Chart::ewma(watch.run_length),
            Method::Cusum | Method::Evidence => Chart::cusum(watch.run_length),
        };
        let own = loss.map_or(1.0 - mean, |loss| null_value::in_its_terms(loss, mean));
        let null =
            NullValue { value: mean, limit: own, reference: Some(own), n: means.len() as u64, design_effect: None };
        let (size, _) = sizes(loss, reference, &watch.name);
        Ok(Self {
            output: output.to_owned(),
            slice: slice.clone(),
            weight: 0.0,
            threshold: chart.limit(),
            engine: Engine::Chart { chart, mean, deviation: libm::sqrt(variance) },
            null: Some(null),
            size,
            variance,
            watch: watch.clone(),
        })
    }

    /// What an alarm of this stream promises.
    #[must_use]
    pub fn promise(&self) -> String {
        match self.engine {
            Engine::Bets(_) => format!(
                "its share {:.4} of the budget of false {}s, whatever the other streams do",
                self.weight,
                self.watch.tier.as_str()
            ),
            Engine::Chart { .. } => format!(
                "{} days between false alarms of this stream alone, if its days are independent and normal",
                self.watch.run_length
            ),
        }
    }

    /// What keeps the promise from being kept: days hang together, and cases are taken for independent. `None` while it holds.
    #[must_use]
    pub fn stressed(&self) -> Option<DesignEffect> {
        let effect = self.null.as_ref()?.design_effect.filter(|_| self.watch.unit == Unit::Case)?;
        (!effect.allows_cases()).then_some(effect)
    }

    /// Take buckets in, in their order.
    #[must_use]
    pub fn replay(&self, buckets: &Buckets) -> Replay {
        match &self.engine {
            Engine::Bets(bank) => self.replay_bets(bank, buckets),
            Engine::Chart { chart, mean, deviation } => self.replay_chart(chart, (*mean, *deviation), buckets),
        }
    }

    fn replay_chart(&self, chart: &Chart, (mean, deviation): (f64, f64), buckets: &Buckets) -> Replay {
        let loss = loss_of(self.watch.measure, self.watch.threshold.unwrap_or_default());
        let mut replay = Replay { buckets: 0, alarms: Vec::new(), evidence: 0.0, greatest: 0.0 };
        let mut since = None;
        let values = buckets.iter().filter_map(|(bucket, spectrum)| Some((*bucket, mean_of(loss, spectrum)?)));
        for (bucket, value) in values {
            replay.buckets += 1;
            if replay.evidence <= 0.0 {
                since = Some(bucket);
            }
            replay.evidence = chart.next(replay.evidence, (value - mean) / deviation);
            replay.greatest = replay.greatest.max(replay.evidence.abs());
            if replay.evidence.abs() > chart.limit() {
                let own = buckets.range(since.unwrap_or(bucket)..=bucket).map(|(_, spectrum)| spectrum);
                let measured = self.measured(own);
                replay.alarms.push(Alarm { bucket, evidence: replay.evidence, change: since, measured });
                replay.evidence = 0.0;
            }
        }
        replay
    }

    fn replay_bets(&self, bank: &Bank, buckets: &Buckets) -> Replay {
        let mut detector = Detector::new(bank.bets());
        let mut replay = Replay { buckets: 0, alarms: Vec::new(), evidence: 0.0, greatest: 0.0 };
        let limit = libm::log(self.threshold);
        for (bucket, spectrum) in buckets {
            let Some(increments) = bank.increments(&bucket.to_rfc3339(), spectrum) else { continue };
            replay.buckets += 1;
            let evidence = detector.take(*bucket, &increments);
            replay.evidence = libm::exp(evidence.log);
            replay.greatest = replay.greatest.max(replay.evidence);
            if evidence.log >= limit {
                let since = evidence.change.unwrap_or(*bucket);
                let measured = self.measured(buckets.range(since..=*bucket).map(|(_, spectrum)| spectrum));
                replay.alarms.push(Alarm {
                    bucket: *bucket,
                    evidence: replay.evidence,
                    change: evidence.change,
                    measured,
                });
                detector.reset();
            }
        }
        replay
    }

    fn measured<'s>(&self, buckets: impl Iterator<Item = &'s Spectrum>) -> Option<f64> {
        let mut pooled = Spectrum::default();
        buckets.for_each(|spectrum| pooled.merge(spectrum));
        let loss = loss_of(self.watch.measure, self.watch.threshold.unwrap_or_default());
        match loss {
            Some(loss) => {
                let (n, sum, _) = loss.sums(&pooled);
                (n > 0).then(|| null_value::in_its_terms(loss, sum / n as f64))
            }
            None if self.watch.measure == Measure::Auroc => area(&pooled),
            None => None,
        }
    }

    /// The smallest change, in the measure's own terms, that is found within so many buckets on average; and the same if the
    /// reference had no error. `None` where no change is found so soon, or the measure has no mean.
    #[must_use]
    pub fn smallest_change(&self, within: f64) -> Option<(f64, Option<f64>)> {
        let (Engine::Bets(own_bank), Some(null)) = (&self.engine, self.null.as_ref()) else { return None };
        let loss = loss_of(self.watch.measure, self.watch.threshold.unwrap_or_default());
        let own = |mean: f64| loss.map_or(1.0 - mean, |loss| null_value::in_its_terms(loss, mean));
        // A 0/1 loss varies with its mean; of others the reference's variance is kept.
        let is_binary = !matches!(loss, None | Some(Loss::Brier | Loss::LogLoss));
        let of_case = if self.watch.unit == Unit::Case { self.variance } else { self.variance * self.size };
        let variance = move |mean: f64| if is_binary { mean * (1.0 - mean) } else { of_case };
        let found = |bank: &Bank| planner::smallest(bank, self.size, &variance, self.threshold, within).map(own);
        let exact = null.reference.and_then(|reference| {
            let m0 = match loss {
                Some(Loss::LogLoss) => reference / libm::log(100.0),
                Some(Loss::Missed(_) | Loss::FalselyFlagged(_) | Loss::FlaggedInVain(_)) | None => 1.0 - reference,
                Some(_) => reference,
            };
            let bank = match (own_bank, self.watch.unit) {
                (Bank::Area { seed, .. }, unit) => Bank::of_area(m0, unit, self.variance, seed),
                (Bank::Loss { loss, .. }, Unit::Case) if is_binary => Bank::of_counts(*loss, m0),
                (Bank::Loss { loss, unit, .. }, _) => Bank::of_means(*loss, m0, self.variance, *unit),
                _ => return None,
            };
            found(&bank)
        });
        Some((found(own_bank)?, exact))
    }
}

fn mean_of(loss: Option<Loss>, spectrum: &Spectrum) -> Option<f64> {
    match loss {
        Some(loss) => {
            let (n, sum, _) = loss.sums(spectrum);
            (n > 0).then(|| sum / n as f64)
        }
        None => area(spectrum).map(|area| 1.0 - area),
    }
}

/// Units of a bucket on average, and the variance of a case's or a block's loss.
fn sizes(loss: Option<Loss>, reference: &[Spectrum], seed: &str) -> (f64, Option<f64>) {
    let buckets = reference.len().max(1) as f64;
    let Some(loss) = loss else {
        let losses: Vec<f64> = reference.iter().filter_map(|spectrum| blocks(spectrum, seed)).flatten().collect();
        return (losses.len() as f64 / buckets, variance(&losses));
    };
    let add =
        |(n, sum, square): (u64, f64, f64), bucket: (u64, f64, f64)| (n + bucket.0, sum + bucket.1, square + bucket.2);
    let (n, sum, square) = null_value::buckets_of(loss, reference).into_iter().fold((0, 0.0, 0.0), add);
    let mean = sum / n as f64;
    (n as f64 / buckets, (n > 0).then(|| square / n as f64 - mean * mean))
}

fn variance(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.len() > 1).then(|| values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0))
}
