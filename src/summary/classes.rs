//! Summary of a choice among classes: one score per class, and one class that is true.

use std::collections::BTreeMap;

use super::{Bin, bin_of};
use crate::stats::channel::{self, Scale};
use crate::stats::fixed;
use crate::stats::moments::EPSILON;
use crate::stats::spectrum::{CAP, Class, Spectrum};

/// Equal-width bins of the table of top scores.
pub const TOP_BINS: usize = 15;

/// One prediction of a choice.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Score of every class, in the order of the plan; `None` when one is missing.
    pub scores: Option<Vec<f64>>,
    /// The true class with the whole hours between prediction and truth.
    pub truth: Option<(usize, u32)>,
}

/// Predictions by true and predicted class. A commutative monoid, as every summary; that of no class is neutral.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSummary {
    /// Predictions without a score for every class: they count nowhere else.
    pub incomplete: u64,
    /// Predictions by predicted class, with and without truth.
    pub predicted: Vec<u64>,
    /// Predictions with truth: `confusion[truth * K + predicted]`.
    pub confusion: Vec<u64>,
    /// Predictions with truth by the rank of the true class, from 0.
    pub ranks: Vec<u64>,
    /// `scores[i * K + j]`: scores of class i among the cases of class j.
    pub scores: Vec<Spectrum>,
    /// Predictions with truth by the greatest score: a row is positive when that class is the true one.
    pub top: Vec<Bin>,
    /// Sums of the Brier score, of its square, of the log loss, of its square; in fixed point.
    pub losses: [i128; 4],
    /// Predictions with truth by the whole hours between prediction and truth.
    pub delays: BTreeMap<u32, u64>,
}

impl ClassSummary {
    /// Summarise the predictions of a choice among so many classes.
    #[must_use]
    pub fn of<'c>(classes: usize, choices: impl Iterator<Item = &'c Choice>) -> Self {
        let mut summary = Self {
            predicted: vec![0; classes],
            confusion: vec![0; classes * classes],
            ranks: vec![0; classes],
            top: vec![Bin::default(); TOP_BINS],
            ..Self::default()
        };
        let mut cells = vec![Vec::new(); classes * classes];
        for choice in choices {
            let Some(scores) = choice.scores.as_ref().filter(|scores| scores.len() == classes) else {
                summary.incomplete += 1;
                continue;
            };
            let predicted = predicted(scores);
            summary.predicted[predicted] += 1;
            if let Some((truth, hours)) = choice.truth.filter(|(truth, _)| *truth < classes) {
                summary.add_truth(scores, predicted, truth, hours);
                for (of, score) in scores.iter().enumerate() {
                    cells[of * classes + truth].push((channel::key(*score), Class::Unlabelled, 1));
                }
            }
        }
        let capped = cells.into_iter().map(|cells| {
            let mut spectrum = Spectrum::from_cells(Scale::Probability, cells);
            spectrum.cap(CAP);
            spectrum
        });
        summary.scores = capped.collect();
        summary
    }

    fn add_truth(&mut self, scores: &[f64], predicted: usize, truth: usize, hours: u32) {
        self.confusion[truth * scores.len() + predicted] += 1;
        self.ranks[rank(scores, truth)] += 1;
        let top = &mut self.top[bin_of(scores[predicted], TOP_BINS)];
        if predicted == truth {
            top.positives += 1;
        } else {
            top.negatives += 1;
        }
        top.score_sum += fixed::from_f64(scores[predicted]);
        let distance = |(of, score): (usize, &f64)| {
            let gap = score - f64::from(u8::from(of == truth));
            gap * gap
        };
        let brier: f64 = scores.iter().enumerate().map(distance).sum();
        let log_loss = -libm::log(scores[truth].clamp(EPSILON, 1.0 - EPSILON));
        let terms = [brier, brier * brier, log_loss, log_loss * log_loss];
        self.losses.iter_mut().zip(terms).for_each(|(sum, term)| *sum += fixed::from_f64(term));
        *self.delays.entry(hours).or_default() += 1;
    }

    /// How many classes there are; 0 in the neutral element.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.predicted.len()
    }

    /// Predictions with a score for every class.
    #[must_use]
    pub fn complete(&self) -> u64 {
        self.predicted.iter().sum()
    }

    /// Predictions with truth.
    #[must_use]
    pub fn labelled(&self) -> u64 {
        self.confusion.iter().sum()
    }

    /// Predictions with truth by true class.
    #[must_use]
    pub fn truths(&self) -> Vec<u64> {
        self.confusion.chunks(self.classes().max(1)).map(|row| row.iter().sum()).collect()
    }

    /// Add another summary of the same choice.
    pub fn merge(&mut self, other: &Self) {
        if other.classes() == 0 {
            return;
        }
        if self.classes() == 0 {
            self.clone_from(other);
            return;
        }
        self.incomplete += other.incomplete;
        let add = |mine: &mut Vec<u64>, theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        add(&mut self.predicted, &other.predicted);
        add(&mut self.confusion, &other.confusion);
        add(&mut self.ranks, &other.ranks);
        self.scores.iter_mut().zip(&other.scores).for_each(|(mine, theirs)| mine.merge(theirs));
        self.top.iter_mut().zip(&other.top).for_each(|(mine, theirs)| mine.add(theirs));
        self.losses.iter_mut().zip(other.losses).for_each(|(mine, theirs)| *mine += theirs);
        for (hours, count) in &other.delays {
            *self.delays.entry(*hours).or_default() += count;
        }
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        let counts = copy.predicted.iter_mut().chain(&mut copy.confusion).chain(&mut copy.ranks);
        counts.chain(copy.delays.values_mut()).for_each(|count| *count *= copies);
        copy.incomplete *= copies;
        copy.scores.iter_mut().for_each(|spectrum| spectrum.scale(copies));
        copy.top.iter_mut().for_each(|bin| *bin = bin.times(copies));
        copy.losses.iter_mut().for_each(|sum| *sum *= i128::from(copies));
        copy
    }
}

/// The class with the greatest score; of several the first.
fn predicted(scores: &[f64]) -> usize {
    (1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best })
}

/// How many classes come before one: those with a greater score, and earlier ones with the same.
fn rank(scores: &[f64], of: usize) -> usize {
    let before = |(at, score): &(usize, &f64)| **score > scores[of] || (**score == scores[of] && *at < of);
    scores.iter().enumerate().filter(before).count()
}
