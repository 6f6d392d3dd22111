//! Making a stream: its kinds of days, their null values and bets, of a watch and a reference.

use super::{Engine, Stratum, Stream, mean_of_watch};
use crate::config::{Measure, Method, Side, Unit, Watch, Weekends};
use crate::detect::bets::{Bank, blocks};
use crate::detect::chart::Chart;
use crate::detect::day::{Day, Mean};
use crate::detect::dependence::{self, DesignEffect};
use crate::detect::loss::Way;
use crate::detect::null_value::{self, Margin, NullValue, mean_of};
use crate::detect::sealing::{Buckets, Days, coverage};
use crate::metric::drift::binned;
use crate::stats::spectrum::{Channel, Spectrum};
use crate::summary::sealed::CATEGORIES;

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
            mean: mean_of_watch(watch),
            unit: watch.unit,
            side: watch.side,
            against: None,
            seen_through: reference.values().find_map(|sealed| sealed.seen_through),
            categorical: watch.categorical,
            lag,
            seed: seed.to_owned(),
            strata: Vec::new(),
            unwatched: Vec::new(),
            dependence: None,
            coverage: if watch.measure.needs_truth() { coverage(reference) } else { None },
        };
        let cases: u64 = reference.values().flat_map(|sealed| sealed.spectrum.totals()).sum();
        if watch.unit == Unit::Subject && cases > 0 && reference.values().all(|sealed| sealed.named == 0) {
            return Err(
                "no case of the reference names its subject; send subjects, or take unit = \"cluster\"".to_owned()
            );
        }
        let is_chart = watch.method != Method::Evidence;
        // A contract is the same on every day, and so is what is stated of probabilities, or of two versions.
        let is_stated = watch.limit.is_some() || watch.against.is_some() || watch.measure == Measure::Calibration;
        let alike = is_stated || watch.weekends == Weekends::Alike;
        let kinds = if alike { vec![Days::All] } else { vec![Days::Working, Days::Weekend] };
        stream.dependence = stream.design_effect(reference, &kinds);
        let maker = stream.clone();
        let of_kind = |days: Days| -> Vec<Day<'_>> {
            let own = reference.iter().filter(|(day, _)| days == Days::All || days == Days::of(**day, lag));
            own.map(|(_, sealed)| maker.view(sealed)).collect()
        };
        // The kinds share the confidence as they share the budget.
        let delta = (1.0 - confidence) / kinds.len() as f64;
        for days in kinds {
            let made = if is_chart {
                maker.charted(watch, (days, &of_kind(days)))
            } else {
                maker.stratum(watch, (days, &of_kind(days)), 1.0 - delta)
            };
            match made {
                Ok(stratum) => stream.strata.push(stratum),
                Err(reason) => stream.unwatched.push(reason),
            }
        }
        if stream.strata.is_empty() { Err(stream.unwatched.join("; ")) } else { Ok(stream) }
    }

    /// How much the units of one day have hung together since the stream was made, by days that have been sealed for it.
    #[must_use]
    pub fn rechecked(&self, sealed: &Buckets) -> Option<DesignEffect> {
        let kinds: Vec<Days> = self.strata.iter().map(|stratum| stratum.days).collect();
        self.design_effect(sealed, &kinds)
    }

    /// How much the units of one day hang together, each kind of day about its own mean.
    pub(super) fn design_effect(&self, buckets: &Buckets, kinds: &[Days]) -> Option<DesignEffect> {
        let of_kind = |days: &Days| {
            let own = buckets.iter().filter(|(day, _)| *days == Days::All || *days == Days::of(**day, self.lag));
            own.map(|(_, sealed)| self.sample(&self.view(sealed))).collect()
        };
        DesignEffect::of(&kinds.iter().map(of_kind).collect::<Vec<_>>())
    }

    /// One kind of days with its bets.
    fn stratum(&self, watch: &Watch, (days, own): (Days, &[Day<'_>]), confidence: f64) -> Result<Stratum, String> {
        let samples: Vec<dependence::Bucket> =
            own.iter().map(|day| self.sample(day)).filter(|(n, ..)| *n > 0).collect();
        let (n, sum, square) = samples.iter().fold((0, 0.0, 0.0), |(n, s, q), day| (n + day.0, s + day.1, q + day.2));
        let size = n as f64 / own.len().max(1) as f64;
        let Some(mean) = self.mean else {
            let engine = Engine::Bets(self.distribution(watch, (days, own), confidence)?);
            return Ok(Stratum { days, engine, null: None, size, variance: LEAST_VARIANCE });
        };
        // Each way of two has half of what may go wrong.
        let confidence = if self.side == Side::Both { 1.0 - 0.5 * (1.0 - confidence) } else { confidence };
        let margin = Margin { confidence, tolerance: watch.tolerance };
        let null = |mean: Mean| match watch.limit {
            _ if mean.paired => Ok(null_value::no_difference(mean, watch.tolerance)),
            Some(limit) => Ok(null_value::by_contract(mean, limit)),
            None => null_value::of_reference(mean, (days, own), (self.unit, margin), self.dependence.as_ref()),
        };
        let means: Vec<f64> = own.iter().filter_map(|day| Some(mean_of(mean, day, self.unit)?.1)).collect();
        let bank = |mean: Mean, m0: f64| {
            // Without a reference a day is taken to have thirty cases of 0/1 losses.
            let variance = match self.unit {
                Unit::Cluster => variance(&means).unwrap_or(m0 * (1.0 - m0) / 30.0),
                Unit::Case | Unit::Subject if n > 1 => square / n as f64 - (sum / n as f64) * (sum / n as f64),
                Unit::Case | Unit::Subject => m0 * (1.0 - m0),
            };
            let variance = variance.max(LEAST_VARIANCE);
            let bank = match mean.loss {
                _ if mean.paired => Bank::of_pairs(mean, m0, self.unit),
                Some(_) if self.unit == Unit::Case && mean.is_binary() => Bank::of_counts(mean, m0),
                Some(_) => Bank::of_means(mean, m0, variance, self.unit),
                None => Bank::of_area(mean.way, m0, (self.unit, variance), &self.seed),
            };
            (bank, variance)
        };
        let mut first = null(mean)?;
        let (mut own_bank, variance) = bank(mean, first.value);
        if self.side == Side::Both {
            let other = null(mean.turned())?;
            let (down, _) = bank(mean.turned(), other.value);
            first.other_limit = Some(other.limit);
            own_bank = Bank::Both { up: Box::new(own_bank), down: Box::new(down) };
        }
        Ok(Stratum { days, engine: Engine::Bets(own_bank), null: Some(first), size, variance })
    }

    /// The bets of a measure that is no mean: on calibration, or on a distribution.
    fn distribution(&self, watch: &Watch, (days, own): (Days, &[Day<'_>]), confidence: f64) -> Result<Bank, String> {
        if self.measure == Measure::Calibration {
            return Ok(Bank::of_calibration(self.side, watch.tolerance, self.unit));
        }
        let filled = own.iter().filter(|day| !day.spectrum.channels().is_empty()).count();
        let margin = (1.0 - confidence, watch.tolerance);
        let bank = if self.categorical {
            Bank::of_categories(own, margin, self.unit)
        } else {
            Bank::of_drift(own, margin, self.unit)
        };
        bank.filter(|_| filled >= null_value::LEAST_DAYS).ok_or_else(|| null_value::too_few(days, filled))
    }

    /// One kind of days with its chart.
    fn charted(&self, watch: &Watch, (days, own): (Days, &[Day<'_>])) -> Result<Stratum, String> {
        let none = || {
            format!("the reference's {} do not tell how the {} varies; take a longer one", days.as_str(), self.measure)
        };
        let of = self.mean.ok_or_else(none)?;
        let means: Vec<(u64, f64)> = own.iter().filter_map(|day| mean_of(of, day, self.unit)).collect();
        let values: Vec<f64> = means.iter().map(|(_, mean)| *mean).collect();
        let variance = variance(&values).filter(|v| *v > 1e-12 && values.len() >= null_value::LEAST_DAYS);
        let variance = variance.ok_or_else(none)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let chart = match watch.method {
            Method::Ewma => Chart::ewma(watch.run_length),
            Method::Cusum | Method::Evidence => Chart::cusum(watch.run_length),
        };
        let terms = of.in_its_terms(mean);
        let n: u64 = means.iter().map(|(n, _)| n).sum();
        let null = NullValue { value: mean, limit: terms, other_limit: None, reference: Some(terms), n };
        let engine = Engine::Chart { chart, mean, deviation: libm::sqrt(variance) };
        Ok(Stratum { days, engine, null: Some(null), size: n as f64 / own.len() as f64, variance })
    }

    /// Units of a day, the sum of their losses and of the squares: what the design effect and variances are told from.
    fn sample(&self, day: &Day<'_>) -> dependence::Bucket {
        let sums = |values: Vec<(f64, u64)>| {
            values.into_iter().filter(|(_, n)| *n > 0).fold((0, 0.0, 0.0), |(n, sum, square), (value, count)| {
                (n + count, sum + value * count as f64, square + value * value * count as f64)
            })
        };
        let middle = |spectrum: &Spectrum, of: &dyn Fn(&Channel, f64) -> Vec<(f64, u64)>| -> Vec<(f64, u64)> {
            let own = |channel: &Channel| {
                let (low, high) = spectrum.range(channel);
                of(channel, 0.5 * low + 0.5 * high)
            };
            spectrum.channels().iter().flat_map(own).filter(|(_, n)| *n > 0).collect()
        };
        match (self.mean, self.measure) {
            (Some(mean), _) if mean.loss.is_some() => mean.sums(day, self.unit),
            (Some(_), _) => {
                let losses = blocks(&day.thinned(self.unit, &self.seed), Way::Rise, &self.seed);
                sums(losses.unwrap_or_default().into_iter().map(|loss| (loss, 1)).collect())
            }
            // How far the truth is from what was stated.
            (None, Measure::Calibration) => sums(day.units(self.unit, |spectrum| {
                middle(spectrum, &|channel, stated| {
                    vec![(1.0 - stated, channel.positive()), (-stated, channel.negative())]
                })
            })),
            // Scores in steps of a tenth.
            (None, Measure::ScoreDrift) => {
                let tenths: Vec<f64> = (1..10).map(|at| f64::from(at) / 10.0).collect();
                sums(day.units(self.unit, |spectrum| {
                    binned(spectrum, &tenths).into_iter().enumerate().map(|(at, n)| (at as f64, n)).collect()
                }))
            }
            // Any number of a category will do, as long as it is always the same.
            (None, _) if self.categorical => sums(day.units(self.unit, |spectrum| {
                middle(spectrum, &|channel, _| vec![(channel.key as f64 / CATEGORIES as f64, channel.total())])
            })),
            (None, _) => sums(
                day.units(self.unit, |spectrum| middle(spectrum, &|channel, value| vec![(value, channel.total())])),
            ),
        }
    }
}

/// Bets are tuned for no less: what hardly varies would be bet on without bounds.
const LEAST_VARIANCE: f64 = 1e-6;

fn variance(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.len() > 1).then(|| values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0))
}
