//! Making a stream: its kinds of days, their null values and bets, of a watch and a reference.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::{Engine, Stratum, Stream, has_mean, loss_of};
use crate::config::{Measure, Method, Side, Unit, Watch, Weekends};
use crate::detect::bets::{Bank, blocks};
use crate::detect::chart::Chart;
use crate::detect::dependence::{self, DesignEffect};
use crate::detect::loss::Loss;
use crate::detect::null_value::{self, Margin, NullValue, mean_of};
use crate::detect::sealing::{Buckets, Days, coverage};
use crate::metric::drift::binned;
use crate::stats::spectrum::Spectrum;

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
            loss: loss_of(watch),
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

    /// One kind of days with its bets.
    fn stratum(&self, watch: &Watch, (days, own): (Days, &[&Spectrum]), confidence: f64) -> Result<Stratum, String> {
        let loss = self.loss;
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
        let loss = self.loss;
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
        match (self.loss, self.measure) {
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
}

fn variance(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.len() > 1).then(|| values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0))
}
