//! A predicted value against the true one: errors, agreement, calibration.
//!
//! With `y` the truth, `f` the prediction and `e = f - y`. Moments come from exact sums, so values far from zero cost no digit.

use num_bigint::BigInt;

use super::{bracket, drift, interval, real, volume, withhold};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::exact::{self, UNIT, sum_to_f64};
use crate::stats::interval::{Bounds, fisher_normal, wald, wilson};
use crate::stats::special::Z_95;
use crate::stats::spectrum::Spectrum;
use crate::summary::value::ValueSummary;

/// What is asked of a value.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// How far a prediction may be from the truth.
    pub tolerance: Option<f64>,
    /// Cases with truth below which performance is withheld.
    pub minimum_n: u64,
    /// The reference of the same value and slice, or why there is none to compare with.
    pub reference: Result<&'a ValueSummary, Undefined>,
}

/// Answer every metric of a value for one window, in a fixed order.
#[must_use]
pub fn evaluate(question: &Question<'_>, summary: &ValueSummary) -> Vec<(MetricKey, Outcome)> {
    let (total, labelled) = (summary.rows(), summary.labelled());
    let mut answers = volume::of_labels(total, labelled, &summary.delays);
    answers.extend(withhold(performance(question, summary), labelled, question.minimum_n));
    if let Ok(reference) = question.reference {
        let of_reference = Moments::of(reference);
        let known = [("reference_mae", of_reference.mae()), ("reference_bias", of_reference.bias())];
        answers.extend(known.map(|(name, outcome)| (MetricKey::plain(name), outcome)));
    }
    let reference = question.reference.as_ref().map(|reference| &reference.predictions);
    answers.extend(drift::of_spectra(reference, &summary.predictions));
    answers
}

fn performance(question: &Question<'_>, summary: &ValueSummary) -> Vec<(MetricKey, Outcome)> {
    let moments = Moments::of(summary);
    let (lower, upper) = moments.limits_of_agreement();
    let (slope, intercept) = moments.calibration();
    let mut answers = vec![
        ("mae", moments.mae()),
        ("rmse", moments.rmse()),
        ("bias", moments.bias()),
        ("loa_lower", lower),
        ("loa_upper", upper),
        ("median_absolute_error", moments.median_absolute_error()),
        ("mape", moments.mape()),
        ("r2", moments.r2()),
        ("pearson_r", moments.pearson()),
        ("ccc", moments.concordance()),
        ("icc", moments.intraclass()),
        ("value_calibration_slope", slope),
        ("value_calibration_intercept", intercept),
    ];
    if let Some(tolerance) = question.tolerance {
        answers.push(("within_tolerance", moments.within(tolerance)));
    }
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// The sums of a window, as numbers.
struct Moments<'a> {
    summary: &'a ValueSummary,
    n: f64,
    mean_y: f64,
    mean_f: f64,
    /// Sums of squares and products about the means.
    yy: f64,
    ff: f64,
    yf: f64,
    /// Sum of the squared errors.
    ee: f64,
    /// Sum of the squared errors about their mean.
    spread: f64,
    /// Sum of the squared absolute errors about their mean.
    absolute_spread: f64,
}

impl<'a> Moments<'a> {
    fn of(summary: &'a ValueSummary) -> Self {
        let n = summary.labelled();
        let of_n = BigInt::from(n.max(1));
        let [y, f, _, absolute, _] = &summary.sums.single;
        let [yy, ff, yf, ee, _] = &summary.sums.product;
        // n times the sum about the means, without rounding; one division at the end.
        let about = |products: &BigInt, one: &BigInt, other: &BigInt| {
            exact::ratio(&(products * &of_n - one * other), &of_n, -2 * UNIT)
        };
        let error = f - y;
        Self {
            summary,
            n: real(n),
            mean_y: exact::ratio(y, &of_n, -UNIT),
            mean_f: exact::ratio(f, &of_n, -UNIT),
            yy: about(yy, y, y),
            ff: about(ff, f, f),
            yf: about(yf, y, f),
            ee: exact::ratio(ee, &BigInt::from(1), -2 * UNIT),
            spread: about(&(yy + ff - yf * 2), &error, &error),
            absolute_spread: about(ee, absolute, absolute),
        }
    }

    fn defined(&self, least: u64) -> Result<(), Undefined> {
        let n = self.summary.labelled();
        volume::has_truth(self.summary.rows(), n)?;
        if n < least { Err(Undefined::TooFew { n, least }) } else { Ok(()) }
    }

    fn single(&self, at: usize) -> f64 {
        sum_to_f64(&self.summary.sums.single[at])
    }

    fn plain(&self, value: f64) -> Estimate {
        Estimate::exact(value, self.summary.labelled())
    }

    fn with_error(&self, value: f64, standard_error: f64) -> Estimate {
        // Errors that are all the same say nothing of how sure their mean is.
        let varied = standard_error > 0.0;
        Estimate {
            interval: interval(wald(value, standard_error, Z_95), "normal").filter(|_| varied),
            standard_error: varied.then_some(standard_error),
            ..self.plain(value)
        }
    }

    /// A mean of values from their sum and that of their squares; normal interval from their standard deviation.
    fn mean(&self, sum: f64, about: f64) -> Outcome {
        self.defined(1)?;
        let value = sum / self.n;
        if self.n < 2.0 {
            return Ok(self.plain(value));
        }
        Ok(self.with_error(value, libm::sqrt(about.max(0.0) / (self.n - 1.0) / self.n)))
    }

    fn mae(&self) -> Outcome {
        self.mean(self.single(3), self.absolute_spread)
    }

    fn bias(&self) -> Outcome {
        self.mean(self.single(2), self.spread)
    }

    /// Root mean square error; the interval is that of the mean square, by its root.
    fn rmse(&self) -> Outcome {
        self.defined(1)?;
        let square = self.ee / self.n;
        let value = libm::sqrt(square);
        let fourth = exact::ratio(&self.summary.sums.product[4], &BigInt::from(1), -2 * UNIT);
        if self.n < 2.0 {
            return Ok(self.plain(value));
        }
        let of_square = libm::sqrt((fourth - self.n * square * square).max(0.0) / (self.n - 1.0) / self.n);
        let bounds = wald(square, of_square, Z_95);
        let bounds = Bounds { lower: libm::sqrt(bounds.lower.max(0.0)), upper: libm::sqrt(bounds.upper) };
        let varied = of_square > 0.0;
        Ok(Estimate {
            interval: interval(bounds, "normal-of-square").filter(|_| varied),
            standard_error: varied.then(|| of_square / (2.0 * value)),
            ..self.plain(value)
        })
    }

    /// Bland and Altman's limits `bias -+ z sd`, each with the error `sd sqrt(1/n + z^2 / (2 (n - 1)))`.
    fn limits_of_agreement(&self) -> (Outcome, Outcome) {
        let limit = |side: f64| {
            self.defined(2)?;
            let sd = libm::sqrt(self.spread.max(0.0) / (self.n - 1.0));
            let error = sd * libm::sqrt(1.0 / self.n + Z_95 * Z_95 / (2.0 * (self.n - 1.0)));
            Ok(self.with_error(self.single(2) / self.n + side * Z_95 * sd, error))
        };
        (limit(-1.0), limit(1.0))
    }

    /// Mean relative error over the cases whose truth is not zero.
    fn mape(&self) -> Outcome {
        self.defined(1)?;
        match self.summary.not_zero {
            0 => Err(Undefined::NoWeight),
            n => Ok(Estimate::exact(self.single(4) / real(n), n)),
        }
    }

    fn varied_truth(&self) -> Result<(), Undefined> {
        self.defined(2)?;
        if self.yy > 0.0 { Ok(()) } else { Err(Undefined::AllTheSame { what: "the true values".to_owned() }) }
    }

    fn varied(&self) -> Result<(), Undefined> {
        self.varied_truth()?;
        if self.ff > 0.0 { Ok(()) } else { Err(Undefined::AllTheSame { what: "the predicted values".to_owned() }) }
    }

    fn r2(&self) -> Outcome {
        self.varied_truth()?;
        Ok(self.plain(1.0 - self.ee / self.yy))
    }

    fn pearson(&self) -> Outcome {
        self.varied()?;
        let r = (self.yf / libm::sqrt(self.yy) / libm::sqrt(self.ff)).clamp(-1.0, 1.0);
        if self.n < 4.0 || r.abs() >= 1.0 {
            return Ok(self.plain(r));
        }
        // Fisher's scale, on which the error is 1 / sqrt(n - 3).
        let standard_error = (1.0 - r * r) / libm::sqrt(self.n - 3.0);
        let bounds = fisher_normal(r, standard_error, Z_95);
        Ok(Estimate { interval: interval(bounds, "fisher"), standard_error: Some(standard_error), ..self.plain(r) })
    }

    /// Lin's concordance `2 s_yf / (s_y^2 + s_f^2 + (mean difference)^2)`, with his error on Fisher's scale (1989, 2000).
    fn concordance(&self) -> Outcome {
        self.varied()?;
        let (y, f, yf) = (self.yy / self.n, self.ff / self.n, self.yf / self.n);
        let shift = self.single(2) / self.n;
        let ccc = 2.0 * yf / (y + f + shift * shift);
        let r = yf / libm::sqrt(y) / libm::sqrt(f);
        let (c2, r2) = (ccc * ccc, r * r);
        if self.n < 3.0 || r2 >= 1.0 || r == 0.0 || c2 >= 1.0 {
            return Ok(self.plain(ccc));
        }
        let u2 = shift * shift / libm::sqrt(y) / libm::sqrt(f);
        let variance = ((1.0 - r2) * c2 * (1.0 - c2) / r2 + 2.0 * c2 * ccc * (1.0 - ccc) * u2 / r
            - 0.5 * c2 * c2 * u2 * u2 / r2)
            / (self.n - 2.0);
        let standard_error = libm::sqrt(variance.max(0.0));
        let bounds = fisher_normal(ccc, standard_error, Z_95);
        Ok(Estimate { interval: interval(bounds, "fisher"), standard_error: Some(standard_error), ..self.plain(ccc) })
    }

    /// ICC(2,1): two-way random effects, absolute agreement, of a single rater; truth and prediction are the raters.
    fn intraclass(&self) -> Outcome {
        self.varied_truth()?;
        let n = self.n;
        // Sums of squares: between cases, between the two raters, and what is left.
        let rows = 0.5 * (self.yy + self.ff + 2.0 * self.yf);
        let shift = self.single(2) / n;
        let columns = 0.5 * n * shift * shift;
        let rest = 0.5 * (self.yy + self.ff - 2.0 * self.yf);
        let (rows, rest) = (rows / (n - 1.0), rest / (n - 1.0));
        Ok(self.plain((rows - rest) / (rows + rest + 2.0 * (columns - rest) / n)))
    }

    /// The line of truth on prediction, by least squares: slope and intercept.
    fn calibration(&self) -> (Outcome, Outcome) {
        let defined = self.varied().and_then(|()| self.defined(3));
        let slope = self.yf / self.ff;
        let residual = (self.yy - slope * self.yf).max(0.0) / (self.n - 2.0);
        let of_slope = libm::sqrt(residual / self.ff);
        let of_intercept = libm::sqrt(residual * (1.0 / self.n + self.mean_f * self.mean_f / self.ff));
        let intercept = self.mean_y - slope * self.mean_f;
        let answer = |value, error| defined.clone().map(|()| self.with_error(value, error));
        (answer(slope, of_slope), answer(intercept, of_intercept))
    }

    fn within(&self, tolerance: f64) -> Outcome {
        self.defined(1)?;
        let errors = &self.summary.errors;
        // A difference of two decimals is off by the rounding of both: 0.3 - 0.2 is no more than 0.1.
        let predictions = &self.summary.predictions;
        let size = |channel| [predictions.range(channel).0.abs(), predictions.range(channel).1.abs()];
        let largest = predictions.channels().iter().flat_map(size).fold(tolerance, f64::max);
        let tolerance = tolerance + 4.0 * f64::EPSILON * largest;
        let count = |spectrum: &Spectrum| spectrum.totals().iter().sum::<u64>();
        let n = self.summary.labelled();
        let surely = count(&errors.filtered(|(low, high)| low >= -tolerance && high <= tolerance));
        let possibly = count(&errors.filtered(|(low, high)| high >= -tolerance && low <= tolerance));
        let value = real(surely) / real(n);
        Ok(Estimate {
            interval: interval(wilson(surely, n, Z_95), "wilson"),
            exactness: bracket(value, real(possibly) / real(n)),
            ..self.plain(value)
        })
    }

    /// The median of the absolute errors: of an even number the mean of the two in the middle.
    fn median_absolute_error(&self) -> Outcome {
        self.defined(1)?;
        let errors = &self.summary.errors;
        let absolute = |(low, high): (f64, f64)| {
            let least = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
            (least, low.abs().max(high.abs()))
        };
        let of_end = |end: &dyn Fn((f64, f64)) -> f64| {
            let mut sizes: Vec<(f64, u64)> = errors
                .channels()
                .iter()
                .map(|channel| (end(absolute(errors.range(channel))), channel.total()))
                .collect();
            sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
            let n = self.summary.labelled();
            let at = |rank: u64| {
                let mut seen = 0;
                let found = sizes.iter().find(|(_, count)| {
                    seen += count;
                    seen > rank
                });
                found.map_or(0.0, |(size, _)| *size)
            };
            0.5 * (at((n - 1) / 2) + at(n / 2))
        };
        let (lower, upper) = (of_end(&|ends| ends.0), of_end(&|ends| ends.1));
        let exactness = if errors.is_exact() { Exactness::Exact } else { bracket(lower, upper) };
        Ok(Estimate { exactness, ..self.plain(0.5 * (lower + upper)) })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "golden numbers come with a tolerance")]
mod tests {
    use super::*;
    use crate::summary::value::Valued;
    use serde_json::Value;

    fn question(tolerance: Option<f64>) -> Question<'static> {
        Question { tolerance, minimum_n: 0, reference: Err(Undefined::NoReference) }
    }

    #[test]
    fn every_golden_number_is_met() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/regression.json")).expect("JSON");
        let mut compared = 0;
        for case in golden["cases"].as_array().expect("cases") {
            let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).expect("numbers") };
            let (truth, predicted) = (numbers("truth"), numbers("predictions"));
            let rows = truth.iter().zip(&predicted).map(|(y, f)| Valued { predicted: *f, truth: Some((*y, 1)) });
            let answers = evaluate(&question(case["tolerance"].as_f64()), &ValueSummary::of(rows));
            for (name, expected) in case["metrics"].as_object().expect("metrics") {
                let (of, is_error) = name.strip_suffix("_se").map_or((name.as_str(), false), |of| (of, true));
                let of = if of.starts_with("calibration_") { format!("value_{of}") } else { of.to_owned() };
                let (_, outcome) =
                    answers.iter().find(|(key, _)| key.name == of).unwrap_or_else(|| panic!("{of} is not answered"));
                let estimate = outcome.as_ref().unwrap_or_else(|why| panic!("{}: {of}: {why}", case["name"]));
                let value = if is_error { estimate.standard_error.unwrap_or(0.0) } else { estimate.value };
                let expected = expected.as_f64().expect("a number");
                let room = 1e-9 * expected.abs().max(1.0);
                assert!((value - expected).abs() <= room, "{}: {name} {value} against {expected}", case["name"]);
                compared += 1;
            }
        }
        assert!(compared > 60, "{compared} numbers");
    }

    /// `epiR` and psych; the interval of concordance is that of the z transform.
    #[test]
    fn concordance_and_intraclass_correlation_are_those_of_r() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/regression.json")).expect("JSON");
        let of_r: Value = serde_json::from_str(include_str!("../../tests/golden/r.json")).expect("JSON");
        let cases = golden["cases"].as_array().expect("cases");
        for (case, r) in cases.iter().zip(of_r["regression"].as_array().expect("cases")) {
            assert_eq!(case["name"], r["name"]);
            let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).expect("numbers") };
            let (truth, predicted) = (numbers("truth"), numbers("predictions"));
            let rows = truth.iter().zip(&predicted).map(|(y, f)| Valued { predicted: *f, truth: Some((*y, 1)) });
            let answers = evaluate(&question(None), &ValueSummary::of(rows));
            let answer = |name: &str| {
                let (_, outcome) = answers.iter().find(|(key, _)| key.name == name).expect("answered");
                outcome.clone().expect("defined")
            };
            let close = |ours: f64, theirs: &Value, room: f64| {
                let theirs = theirs.as_f64().expect("a number");
                assert!((ours - theirs).abs() < room, "{}: {ours} against {theirs}", case["name"]);
            };
            close(answer("ccc").value, &r["ccc"], 1e-10);
            close(answer("icc").value, &r["icc"], 1e-9);
            if let Some(interval) = answer("ccc").interval {
                close(interval.lower, &r["ccc_interval"][0], 1e-9);
                close(interval.upper, &r["ccc_interval"][1], 1e-9);
            }
        }
    }

    #[test]
    fn what_is_not_there_has_a_reason() {
        let reason = |rows: &[Valued], name: &str| {
            let answers = evaluate(&question(None), &ValueSummary::of(rows.iter().copied()));
            let (_, outcome) = answers.iter().find(|(key, _)| key.name == name).expect("answered").clone();
            outcome.expect_err("undefined").code()
        };
        let row = |predicted, truth: Option<f64>| Valued { predicted, truth: truth.map(|truth| (truth, 1)) };
        assert_eq!(reason(&[], "mae"), "no-predictions");
        assert_eq!(reason(&[row(1.0, None)], "mae"), "no-truth");
        let constant = [row(1.0, Some(2.0)), row(3.0, Some(2.0)), row(4.0, Some(2.0))];
        assert_eq!(reason(&constant, "r2"), "all-the-same");
        assert_eq!(reason(&constant, "ccc"), "all-the-same");
        assert_eq!(reason(&[row(1.0, Some(0.0))], "mape"), "no-weight");
        assert_eq!(reason(&[row(1.0, Some(0.0))], "loa_upper"), "too-few");
        let tenths = (1..40).map(|at| f64::from(at) / 10.0);
        let rows = tenths.map(|truth| row(((truth + 0.1) * 10.0_f64).round() / 10.0, Some(truth)));
        let answers = evaluate(&question(Some(0.1)), &ValueSummary::of(rows));
        let (_, within) = answers.iter().find(|(key, _)| key.name == "within_tolerance").expect("answered");
        assert_eq!(within.as_ref().map(|estimate| estimate.value), Ok(1.0), "every error is a tenth");
    }
}
