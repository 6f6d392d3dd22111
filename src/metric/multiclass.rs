//! A choice among classes: the confusion of true and predicted classes, and how well the scores tell classes apart.
//!
//! The predicted class is that of the greatest score, of several the first of the plan.

use super::{interval, real, volume, withhold};
use crate::domain::estimate::Interval;
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::divergence::{chi_square, hellinger, jensen_shannon, l_infinity, psi};
use crate::stats::fixed;
use crate::stats::interval::{Bounds, fisher_normal, wald, wilson};
use crate::stats::special::Z_95;
use crate::stats::spectrum::{Class, Spectrum};
use crate::summary::classes::{ClassSummary, TOP_BINS};
use crate::summary::{Bin, bin_of};

use super::calibration::bins;
use super::discrimination;

/// What is asked of a choice.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The classes, in the order of the plan.
    pub classes: &'a [String],
    /// What a decision costs: by true class, then by predicted class.
    pub costs: Option<&'a [Vec<f64>]>,
    /// Cases with truth below which performance is withheld.
    pub minimum_n: u64,
    /// The reference of the same choice and slice, or why there is none to compare with.
    pub reference: Result<&'a ClassSummary, Undefined>,
}

/// Answer every metric of a choice for one window, in a fixed order.
#[must_use]
pub fn evaluate(question: &Question<'_>, summary: &ClassSummary) -> Vec<(MetricKey, Outcome)> {
    let total = summary.complete();
    let mut answers = volume::of_labels(total, summary.labelled(), &summary.delays);
    let incomplete = Estimate::exact(real(summary.incomplete), total + summary.incomplete);
    answers.push((MetricKey::plain("incomplete_predictions"), Ok(incomplete)));
    answers.extend(withhold(performance(question, summary), summary.labelled(), question.minimum_n));
    if let Ok(reference) = question.reference {
        let of_reference = Table::of(question, reference);
        let known = [
            ("reference_multiclass_accuracy", of_reference.accuracy()),
            ("reference_multiclass_auroc_hand_till", of_reference.hand_till()),
        ];
        answers.extend(known.map(|(name, outcome)| (MetricKey::plain(name), outcome)));
    }
    answers.extend(drift(question, summary));
    answers
}

fn performance(question: &Question<'_>, summary: &ClassSummary) -> Vec<(MetricKey, Outcome)> {
    let table = Table::of(question, summary);
    let mut answers: Vec<(MetricKey, Outcome)> = [
        ("multiclass_accuracy", table.accuracy()),
        ("multiclass_balanced_accuracy", table.mean_of(&Table::recall, false)),
        ("multiclass_mcc", table.varied(&Cells::mcc)),
        ("multiclass_kappa", table.varied(&|cells| cells.kappa(false))),
        ("multiclass_quadratic_kappa", table.varied(&|cells| cells.kappa(true))),
        ("multiclass_precision_macro", table.mean_of(&Table::precision, false)),
        ("multiclass_precision_weighted", table.mean_of(&Table::precision, true)),
        ("multiclass_f1_macro", table.mean_of(&Table::f1, false)),
        ("multiclass_f1_weighted", table.mean_of(&Table::f1, true)),
        ("multiclass_auroc_ovr_macro", table.one_against_rest(false)),
        ("multiclass_auroc_ovr_weighted", table.one_against_rest(true)),
        ("multiclass_auroc_hand_till", table.hand_till()),
        ("multiclass_top_2_accuracy", table.top(2)),
        ("multiclass_top_3_accuracy", table.top(3)),
        ("multiclass_brier", table.mean_loss(0)),
        ("multiclass_log_loss", table.mean_loss(2)),
        ("multiclass_top_label_ece", table.defined().map(|()| bins::error_of(&summary.top))),
        ("multiclass_classwise_ece", table.classwise_error()),
    ]
    .into_iter()
    // There is no second or third guess among so few classes.
    .filter(|(name, _)| match *name {
        "multiclass_top_2_accuracy" => table.k > 2,
        "multiclass_top_3_accuracy" => table.k > 3,
        _ => true,
    })
    .map(|(name, outcome)| (MetricKey::plain(name), outcome))
    .collect();
    if let Some(costs) = question.costs {
        answers.push((MetricKey::plain("multiclass_expected_cost"), table.expected_cost(costs)));
        answers.push((MetricKey::plain("multiclass_normalised_cost"), table.normalised_cost(costs)));
    }
    for (at, class) in question.classes.iter().enumerate() {
        answers.push((MetricKey::of_class("class_precision", class), table.precision(at)));
        answers.push((MetricKey::of_class("class_recall", class), table.recall(at)));
        answers.push((MetricKey::of_class("class_f1", class), table.f1(at)));
        answers.push((MetricKey::of_class("class_auroc", class), table.area(at, None)));
    }
    answers
}

/// The mix of predicted classes against the reference's.
fn drift(question: &Question<'_>, summary: &ClassSummary) -> Vec<(MetricKey, Outcome)> {
    let n = summary.complete();
    let reference = if n == 0 { Err(Undefined::NoPredictions) } else { question.reference.clone() };
    let checked = |distance: &dyn Fn(&[u64], &[u64]) -> Option<Estimate>| {
        let reference = reference.clone()?;
        distance(&reference.predicted, &summary.predicted).ok_or(Undefined::OneCell)
    };
    let estimate = |distance| super::drift::estimate(distance, n);
    let answers = [
        ("predicted_psi", checked(&|a, b| psi(a, b).map(estimate))),
        ("predicted_js", checked(&|a, b| jensen_shannon(a, b).map(estimate))),
        ("predicted_hellinger", checked(&|a, b| hellinger(a, b).map(estimate))),
        ("predicted_chi2", checked(&|a, b| chi_square(a, b).map(estimate))),
        ("predicted_l_infinity", checked(&|a, b| l_infinity(a, b).map(|value| Estimate::exact(value, n)))),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// A window's summary with the names of its classes.
struct Table<'a> {
    classes: &'a [String],
    k: usize,
    summary: &'a ClassSummary,
    cells: Cells,
}

impl<'a> Table<'a> {
    fn of(question: &Question<'a>, summary: &'a ClassSummary) -> Self {
        let k = question.classes.len();
        // The neutral summary has no cells at all.
        let mut counts: Vec<f64> = summary.confusion.iter().map(|count| real(*count)).collect();
        counts.resize(k * k, 0.0);
        Self { classes: question.classes, k, summary, cells: Cells { k, counts } }
    }

    fn n(&self) -> u64 {
        self.summary.labelled()
    }

    fn defined(&self) -> Result<(), Undefined> {
        volume::has_truth(self.summary.complete(), self.n())
    }

    /// Cases of a class: true ones, and predicted ones with truth.
    fn margins(&self, of: usize) -> (u64, u64) {
        let cell = |truth: usize, predicted: usize| self.summary.confusion[truth * self.k + predicted];
        ((0..self.k).map(|at| cell(of, at)).sum(), (0..self.k).map(|at| cell(at, of)).sum())
    }

    fn hits(&self) -> u64 {
        (0..self.k).map(|at| self.summary.confusion[at * self.k + at]).sum()
    }

    fn has_every_class(&self) -> Result<(), Undefined> {
        self.defined()?;
        match (0..self.k).find(|at| self.margins(*at).0 == 0) {
            Some(at) => Err(Undefined::NoCaseOf { class: self.classes[at].clone() }),
            None => Ok(()),
        }
    }

    fn accuracy(&self) -> Outcome {
        self.defined()?;
        volume::share(self.hits(), self.n())
    }

    fn top(&self, k: usize) -> Outcome {
        self.defined()?;
        volume::share(self.summary.ranks.iter().take(k).sum(), self.n())
    }

    fn precision(&self, of: usize) -> Outcome {
        self.defined()?;
        match self.margins(of).1 {
            0 => Err(Undefined::NeverPredicted { class: self.classes[of].clone() }),
            predicted => volume::share(self.summary.confusion[of * self.k + of], predicted),
        }
    }

    fn recall(&self, of: usize) -> Outcome {
        self.defined()?;
        match self.margins(of).0 {
            0 => Err(Undefined::NoCaseOf { class: self.classes[of].clone() }),
            truths => volume::share(self.summary.confusion[of * self.k + of], truths),
        }
    }

    /// `F1 = 2 J / (1 + J)` of the share `J` of hits among the cases that are of the class or predicted to be: its interval is that
    /// of the share.
    fn f1(&self, of: usize) -> Outcome {
        self.defined()?;
        let hits = self.summary.confusion[of * self.k + of];
        let (truths, predicted) = self.margins(of);
        let either = truths + predicted - hits;
        if either == 0 {
            return Err(Undefined::NoCaseOf { class: self.classes[of].clone() });
        }
        let bounds = wilson(hits, either, Z_95);
        let of_share = |share: f64| 2.0 * share / (1.0 + share);
        let bounds = Bounds { lower: of_share(bounds.lower), upper: of_share(bounds.upper) };
        let value = 2.0 * real(hits) / real(truths + predicted);
        Ok(Estimate { interval: interval(bounds, "wilson-of-share"), ..Estimate::exact(value, either) })
    }

    /// The mean over the classes of something that each has an interval of, weighted by the cases of the class or not; the
    /// distances from the values to their ends are squared and added.
    fn mean_of(&self, of: &dyn Fn(&Self, usize) -> Outcome, weighted: bool) -> Outcome {
        self.has_every_class()?;
        let parts = (0..self.k).map(|at| {
            let weight = if weighted { real(self.margins(at).0) / real(self.n()) } else { 1.0 / real(self.k as u64) };
            Ok((weight, of(self, at)?))
        });
        let parts = parts.collect::<Result<Vec<_>, Undefined>>()?;
        let value: f64 = parts.iter().map(|(weight, part)| weight * part.value).sum();
        let reach = |end: fn(&Interval) -> f64| {
            let gap = |(weight, part): &(f64, Estimate)| {
                let gap = weight * (part.interval.as_ref().map_or(0.0, end) - part.value);
                gap * gap
            };
            libm::sqrt(parts.iter().map(gap).sum())
        };
        let bounds = Bounds { lower: value - reach(|ends| ends.lower), upper: value + reach(|ends| ends.upper) };
        let bounds = Bounds { lower: bounds.lower.max(0.0), upper: bounds.upper.min(1.0) };
        Ok(Estimate { interval: interval(bounds, "square-and-add"), ..Estimate::exact(value, self.n()) })
    }

    /// A correlation of truth and prediction: both have to vary.
    fn varied(&self, of: &dyn Fn(&Cells) -> f64) -> Outcome {
        self.defined()?;
        let n = self.n();
        let same = |what: &str| Err(Undefined::AllTheSame { what: what.to_owned() });
        match (0..self.k).map(|at| self.margins(at)).find(|(truths, predicted)| *truths == n || *predicted == n) {
            Some((truths, _)) if truths == n => same("the true classes"),
            Some(_) => same("the predicted classes"),
            None => Ok(self.smooth(of)),
        }
    }

    /// The delta method over the multinomial cells, `Var = (sum p g^2 - (sum p g)^2) / N`, the gradient by central differences; the
    /// interval on Fisher's scale.
    fn smooth(&self, of: &dyn Fn(&Cells) -> f64) -> Estimate {
        let n = real(self.n());
        let shares = Cells { k: self.k, counts: self.cells.counts.iter().map(|count| count / n).collect() };
        let value = of(&shares);
        let gradient = |at: usize| {
            let step = 1e-4 * shares.counts[at];
            let moved = |by: f64| {
                let mut cells = shares.clone();
                cells.counts[at] += by;
                of(&cells)
            };
            (moved(step) - moved(-step)) / (2.0 * step)
        };
        let filled = (0..self.k * self.k).filter(|at| shares.counts[*at] > 0.0);
        let (mut mean, mut square) = (0.0, 0.0);
        for at in filled {
            let (p, g) = (shares.counts[at], gradient(at));
            mean += p * g;
            square += p * g * g;
        }
        let standard_error = libm::sqrt((square - mean * mean).max(0.0) / n);
        // At its ends the metric does not move with the cells: the method says nothing there.
        let varied = standard_error > 1e-9 && value.abs() < 1.0;
        Estimate {
            interval: interval(fisher_normal(value, standard_error, Z_95), "delta").filter(|_| varied),
            standard_error: varied.then_some(standard_error),
            ..Estimate::exact(value, self.n())
        }
    }

    /// AUROC of the scores of one class: its cases against those of another, or of all others.
    fn area(&self, of: usize, against: Option<usize>) -> Outcome {
        self.defined()?;
        let scores = |truth: usize| &self.summary.scores[of * self.k + truth];
        let mut both = as_class(scores(of), Class::Positive);
        let others = (0..self.k).filter(|at| *at != of && against.is_none_or(|only| *at == only));
        others.for_each(|other| both.merge(&as_class(scores(other), Class::Negative)));
        discrimination::area(&both)
    }

    /// Mean AUROC of each class against all others; weighted by the cases of the class.
    fn one_against_rest(&self, weighted: bool) -> Outcome {
        self.has_every_class()?;
        let areas = (0..self.k).map(|at| {
            let weight = if weighted { real(self.margins(at).0) / real(self.n()) } else { 1.0 / real(self.k as u64) };
            Ok((weight, self.area(at, None)?))
        });
        Ok(self.weighted_mean(&areas.collect::<Result<Vec<_>, Undefined>>()?))
    }

    /// Hand and Till's M: the mean over pairs of classes of how well the scores of each tell the two apart.
    fn hand_till(&self) -> Outcome {
        self.has_every_class()?;
        let pairs = real((self.k * (self.k - 1)) as u64);
        let both = (0..self.k).flat_map(|i| (0..self.k).filter(move |j| *j != i).map(move |j| (i, j)));
        let areas = both.map(|(i, j)| Ok((1.0 / pairs, self.area(i, Some(j))?)));
        Ok(self.weighted_mean(&areas.collect::<Result<Vec<_>, Undefined>>()?))
    }

    /// The parts share cases, so their ends are taken to move together: an upper bound of the width.
    fn weighted_mean(&self, parts: &[(f64, Estimate)]) -> Estimate {
        let mean = |of: &dyn Fn(&Estimate) -> Option<f64>| -> Option<f64> {
            parts.iter().map(|(weight, part)| Some(weight * of(part)?)).sum()
        };
        let value = parts.iter().map(|(weight, part)| weight * part.value).sum();
        let lower = mean(&|part| part.interval.as_ref().map(|ends| ends.lower));
        let upper = mean(&|part| part.interval.as_ref().map(|ends| ends.upper));
        let exact = parts.iter().all(|(_, part)| part.exactness == Exactness::Exact);
        Estimate {
            interval: lower.zip(upper).and_then(|(lower, upper)| interval(Bounds { lower, upper }, "full-correlation")),
            standard_error: mean(&|part| part.standard_error.filter(|error| *error > 0.0)),
            exactness: if exact { Exactness::Exact } else { Exactness::Approximate },
            ..Estimate::exact(value, self.n())
        }
    }

    /// The mean of a loss and its normal interval, from its sum and that of its square.
    fn mean_loss(&self, at: usize) -> Outcome {
        self.defined()?;
        let n = real(self.n());
        let mean = fixed::to_f64(self.summary.losses[at]) / n;
        let square = fixed::to_f64(self.summary.losses[at + 1]) / n;
        Ok(self.normal(mean, square))
    }

    fn normal(&self, mean: f64, square: f64) -> Estimate {
        let least = self.n().saturating_sub(1).max(1);
        let standard_error = libm::sqrt((square - mean * mean).max(0.0) / real(least));
        let bounds = wald(mean, standard_error, Z_95);
        let bounds = Bounds { lower: bounds.lower.max(0.0), upper: bounds.upper };
        // Losses that are all the same say nothing of how sure their mean is.
        let varied = standard_error > 0.0 && self.n() > 1;
        Estimate {
            interval: interval(bounds, "normal").filter(|_| varied),
            standard_error: varied.then_some(standard_error),
            ..Estimate::exact(mean, self.n())
        }
    }

    /// The mean over classes of the expected calibration error of their scores.
    fn classwise_error(&self) -> Outcome {
        self.defined()?;
        let of_class = |of: usize| {
            let mut table = vec![Bin::default(); TOP_BINS];
            for truth in 0..self.k {
                let spectrum = &self.summary.scores[of * self.k + truth];
                for channel in spectrum.channels() {
                    let (low, high) = spectrum.range(channel);
                    let score = 0.5 * (low + high);
                    let n = channel.total();
                    let bin = &mut table[bin_of(score, TOP_BINS)];
                    *(if truth == of { &mut bin.positives } else { &mut bin.negatives }) += n;
                    bin.score_sum += fixed::from_f64(score) * i128::from(n);
                }
            }
            bins::error_of(&table).value
        };
        let value = (0..self.k).map(of_class).sum::<f64>() / real(self.k as u64);
        let exact = self.summary.scores.iter().all(Spectrum::is_exact);
        let exactness = if exact { Exactness::Exact } else { Exactness::Approximate };
        Ok(Estimate { exactness, ..Estimate::exact(value, self.n()) })
    }

    fn expected_cost(&self, costs: &[Vec<f64>]) -> Outcome {
        self.defined()?;
        let n = real(self.n());
        let mean = |of: &dyn Fn(f64) -> f64| {
            let cells = self.cells.counts.iter().zip(costs.iter().flatten());
            cells.map(|(count, cost)| count * of(*cost)).sum::<f64>() / n
        };
        Ok(self.normal(mean(&|cost| cost), mean(&|cost| cost * cost)))
    }

    /// Mean cost over that of the best constant decision.
    fn normalised_cost(&self, costs: &[Vec<f64>]) -> Outcome {
        let cost = self.expected_cost(costs)?.value;
        let constant = |decision: usize| {
            let truths = self.summary.truths();
            truths.iter().zip(costs).map(|(n, row)| real(*n) * row[decision]).sum::<f64>() / real(self.n())
        };
        let best = (0..self.k).map(constant).fold(f64::INFINITY, f64::min);
        if best > 0.0 { Ok(Estimate::exact(cost / best, self.n())) } else { Err(Undefined::NoWeight) }
    }
}

/// A spectrum whose rows are all of one class.
fn as_class(spectrum: &Spectrum, class: Class) -> Spectrum {
    spectrum.map_counts(|counts| {
        let mut own = [0; crate::stats::spectrum::CLASSES];
        own[class.index()] = counts.iter().sum();
        own
    })
}

/// Counts or shares by true class (rows) and predicted class (columns).
#[derive(Clone, Debug)]
struct Cells {
    k: usize,
    counts: Vec<f64>,
}

impl Cells {
    fn cell(&self, truth: usize, predicted: usize) -> f64 {
        self.counts[truth * self.k + predicted]
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Cases by true class, and by predicted class.
    fn margins(&self) -> (Vec<f64>, Vec<f64>) {
        let truths = (0..self.k).map(|of| (0..self.k).map(|at| self.cell(of, at)).sum());
        let predicted = (0..self.k).map(|of| (0..self.k).map(|at| self.cell(at, of)).sum());
        (truths.collect(), predicted.collect())
    }

    /// Gorodkin's `R_K`.
    fn mcc(&self) -> f64 {
        let total = self.total();
        let (truths, predicted) = self.margins();
        let hits: f64 = (0..self.k).map(|at| self.cell(at, at)).sum();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let of_truths = total * total - dot(&truths, &truths);
        let of_predicted = total * total - dot(&predicted, &predicted);
        (hits * total - dot(&truths, &predicted)) / libm::sqrt(of_truths * of_predicted)
    }

    /// Cohen's kappa; with disagreement that grows with the square of the distance, or all alike.
    fn kappa(&self, quadratic: bool) -> f64 {
        let total = self.total();
        let (truths, predictions) = self.margins();
        let (mut observed, mut expected) = (0.0, 0.0);
        for (truth, of_truth) in truths.iter().enumerate() {
            for (predicted, of_predicted) in predictions.iter().enumerate().filter(|(at, _)| *at != truth) {
                let distance = real(truth.abs_diff(predicted) as u64);
                let weight = if quadratic { distance * distance } else { 1.0 };
                observed += weight * self.cell(truth, predicted) / total;
                expected += weight * of_truth * of_predicted / (total * total);
            }
        }
        1.0 - observed / expected
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "golden numbers come with a tolerance")]
mod tests {
    use super::*;
    use crate::summary::classes::Choice;
    use serde_json::Value;

    fn summarise(case: &Value) -> ClassSummary {
        let numbers = |value: &Value| value.as_array().expect("a list").clone();
        let truths: Vec<u64> = numbers(&case["truth"]).iter().map(|v| v.as_u64().expect("a class")).collect();
        let scores = numbers(&case["scores"]);
        let choices: Vec<Choice> = scores
            .iter()
            .zip(&truths)
            .map(|(row, truth)| Choice {
                scores: Some(numbers(row).iter().map(|v| v.as_f64().expect("a score")).collect()),
                truth: Some((usize::try_from(*truth).expect("small"), 3)),
            })
            .collect();
        ClassSummary::of(numbers(&case["classes"]).len(), choices.iter())
    }

    #[test]
    fn every_golden_number_is_met() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/multiclass.json")).expect("JSON");
        let mut compared = 0;
        for case in golden["cases"].as_array().expect("cases") {
            let classes: Vec<String> = serde_json::from_value(case["classes"].clone()).expect("names");
            let summary = summarise(case);
            let question =
                Question { classes: &classes, costs: None, minimum_n: 0, reference: Err(Undefined::NoReference) };
            let answers = evaluate(&question, &summary);
            for (name, expected) in case["metrics"].as_object().expect("metrics") {
                // Mean recall is balanced accuracy, and weighted recall is accuracy.
                let ours = match name.as_str() {
                    "recall_macro" => "multiclass_balanced_accuracy".to_owned(),
                    "recall_weighted" => "multiclass_accuracy".to_owned(),
                    "cohen_kappa" => "multiclass_kappa".to_owned(),
                    name if name.starts_with("class_") || name.starts_with("multiclass_") => name.to_owned(),
                    name => format!("multiclass_{name}"),
                };
                let (_, outcome) = answers
                    .iter()
                    .find(|(key, _)| key.to_string() == ours)
                    .unwrap_or_else(|| panic!("{ours} is not answered"));
                let expected = expected.as_f64().expect("a number");
                let value = outcome.as_ref().unwrap_or_else(|why| panic!("{}: {ours}: {why}", case["name"])).value;
                assert!((value - expected).abs() < 1e-10, "{}: {ours} {value} against {expected}", case["name"]);
                compared += 1;
            }
        }
        assert!(compared > 80, "{compared} numbers");
    }

    fn two_classes(confusion: [u64; 4]) -> ClassSummary {
        let [a, b, c, d] = confusion;
        ClassSummary { predicted: vec![a + c, b + d], confusion: confusion.to_vec(), ..ClassSummary::default() }
    }

    fn answer(summary: &ClassSummary, of: fn(&Table<'_>) -> Outcome) -> Estimate {
        let classes = ["a".to_owned(), "b".to_owned()];
        let question =
            Question { classes: &classes, costs: None, minimum_n: 0, reference: Err(Undefined::NoReference) };
        of(&Table::of(&question, summary)).expect("defined")
    }

    /// The delta method of kappa has a closed form: Fleiss, Cohen and Everitt 1969, as statsmodels has it.
    #[test]
    fn numerical_gradients_give_the_closed_form() {
        let (po, pe) = (0.85, 0.5);
        let kappa = (po - pe) / (1.0 - pe);
        let cell = |i: usize, j: usize| [[0.40, 0.10], [0.05, 0.45]][i][j];
        let (rows, columns) = ([0.5, 0.5], [0.45, 0.55]);
        let (mut a, mut b) = (0.0, 0.0);
        for i in 0..2 {
            let t = 1.0 - (rows[i] + columns[i]) * (1.0 - kappa);
            a += cell(i, i) * t * t;
            for j in (0..2).filter(|j| *j != i) {
                b += cell(i, j) * (columns[i] + rows[j]) * (columns[i] + rows[j]);
            }
        }
        let c = kappa - pe * (1.0 - kappa);
        let closed = ((a + (1.0 - kappa) * (1.0 - kappa) * b - c * c) / 100.0_f64).sqrt() / (1.0 - pe);
        let ours = answer(&two_classes([40, 10, 5, 45]), |table| table.varied(&|cells| cells.kappa(false)));
        assert!((ours.standard_error.expect("an error") - closed).abs() < 1e-8);
    }

    /// A class of three cases, all of them right, is no sure thing.
    #[test]
    fn a_rare_class_without_a_miss_leaves_the_interval_wide() {
        let summary = two_classes([90, 10, 0, 3]);
        let mean = answer(&summary, |table| table.mean_of(&Table::recall, false));
        let interval = mean.interval.expect("an interval");
        assert!((mean.value - 0.95).abs() < 1e-12);
        assert!(interval.lower < 0.75 && interval.upper < 0.99, "{interval:?}");
        let f1 = answer(&two_classes([50, 0, 1, 0]), |table| table.f1(1));
        assert_eq!((f1.value, f1.n), (0.0, 1));
        assert!(f1.interval.expect("an interval").upper > 0.8, "one case proves nothing");
    }

    #[test]
    fn what_is_not_there_has_a_reason() {
        let classes = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let question =
            Question { classes: &classes, costs: None, minimum_n: 0, reference: Err(Undefined::NoReference) };
        let nothing = evaluate(&question, &ClassSummary::default());
        let reason = |answers: &[(MetricKey, Outcome)], name: &str| {
            let (_, outcome) = answers.iter().find(|(key, _)| key.to_string() == name).expect("answered");
            outcome.clone().expect_err("undefined")
        };
        assert_eq!(reason(&nothing, "multiclass_accuracy"), Undefined::NoPredictions);
        let choice = |scores: [f64; 3], truth| Choice { scores: Some(scores.to_vec()), truth };
        let choices = [
            choice([0.8, 0.1, 0.1], Some((0, 1))),
            choice([0.3, 0.3, 0.4], Some((1, 1))),
            choice([0.0, 0.5, 0.5], None),
        ];
        let incomplete = Choice { scores: None, truth: Some((2, 1)) };
        let some = evaluate(&question, &ClassSummary::of(3, choices.iter().chain([&incomplete])));
        assert_eq!(reason(&some, "class_recall[c]"), Undefined::NoCaseOf { class: "c".into() });
        assert_eq!(reason(&some, "class_precision[b]"), Undefined::NeverPredicted { class: "b".into() });
        assert_eq!(reason(&some, "multiclass_auroc_hand_till"), Undefined::NoCaseOf { class: "c".into() });
        let value = |name: &str| {
            some.iter().find(|(key, _)| key.name == name).expect("answered").1.clone().expect("defined").value
        };
        assert_eq!(value("incomplete_predictions"), 1.0);
        assert_eq!(value("multiclass_accuracy"), 0.5);
        assert_eq!(value("predictions"), 3.0, "with a score for every class");
    }
}
