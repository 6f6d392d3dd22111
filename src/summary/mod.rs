//! Summary: the sufficient statistics of one (version, output, slice, bucket).
//!
//! A summary is a commutative monoid: [`Summary::default`] is its identity and [`Summary::merge`] its addition, exact and
//! independent of order. It carries no configuration, so a merge cannot fail; windows, thresholds and confidence levels
//! belong to the question. Slices overlap: merge over time and sites, never over slices.
//! Look next at `metric`, which reads summaries, and at [`fold`], which makes them from rows.

pub mod agreement;
pub mod body;
mod by_case;
mod by_place;
pub mod classes;
pub mod codec;
pub mod embedding;
pub mod feature;
pub mod fold;
pub mod sealed;
pub mod value;

use std::collections::BTreeMap;

use crate::stats::channel::Scale;
use crate::stats::fixed;
use crate::stats::moments::Moments;
use crate::stats::spectrum::{CAP, CLASSES, Class, Spectrum};

/// Bin counts of the equal-width reliability tables that are kept exactly beside a coarsened spectrum.
pub const BIN_COUNTS: [usize; 2] = [10, 15];

/// Sufficient statistics of one bucket, or of a merged window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    spectrum: Spectrum,
    moments: Moments,
    delays: BTreeMap<u32, u64>,
    beside: Beside,
}

/// What a coarsened spectrum can no longer tell exactly. Empty beside an exact one, which tells everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Rows by class with a score of at least the threshold, by the bits of the threshold.
    pub thresholds: BTreeMap<u64, [u64; CLASSES]>,
    /// A reliability table for each of [`BIN_COUNTS`].
    pub tables: Vec<Vec<Bin>>,
}

/// One bin of a reliability table: the labelled rows whose score falls in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Rows whose truth is negative.
    pub negatives: u64,
    /// Rows whose truth is positive.
    pub positives: u64,
    /// Sum of the scores, in fixed point.
    pub score_sum: i128,
}

impl Bin {
    /// Add the rows of another bin.
    pub fn add(&mut self, other: &Self) {
        self.negatives += other.negatives;
        self.positives += other.positives;
        self.score_sum += other.score_sum;
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(self, copies: u64) -> Self {
        Self {
            negatives: self.negatives * copies,
            positives: self.positives * copies,
            score_sum: self.score_sum * i128::from(copies),
        }
    }
}

impl Summary {
    /// Summarise exact cells `(key, class, count)` and the delays of the labelled rows in whole hours.
    ///
    /// A bucket past the cap keeps its counts at `thresholds` and its reliability tables exactly.
    #[must_use]
    pub fn new(cells: Vec<(u64, Class, u64)>, delays: BTreeMap<u32, u64>, thresholds: &[f64]) -> Self {
        let spectrum = Spectrum::from_cells(Scale::Probability, cells);
        let mut moments = Moments::default();
        for channel in spectrum.channels() {
            let (p, _) = spectrum.range(channel);
            for class in Class::ALL {
                if channel.counts[class.index()] > 0 {
                    moments.add(p, class, channel.counts[class.index()]);
                }
            }
        }
        Self::of_exact(spectrum, moments, delays, thresholds)
    }

    /// Put an exact spectrum and its sums together, as [`Summary::new`] would have made them.
    #[must_use]
    pub fn of_exact(spectrum: Spectrum, moments: Moments, delays: BTreeMap<u32, u64>, thresholds: &[f64]) -> Self {
        let mut summary = Self { spectrum, moments, delays, beside: Beside::default() };
        summary.cap(thresholds);
        summary
    }

    /// Put stored parts together again.
    ///
    /// # Errors
    /// When the parts cannot belong to one summary.
    pub fn from_parts(
        spectrum: Spectrum,
        moments: Moments,
        delays: BTreeMap<u32, u64>,
        beside: Beside,
    ) -> Result<Self, &'static str> {
        let shape: Vec<usize> = beside.tables.iter().map(Vec::len).collect();
        if spectrum.is_exact() && (!shape.is_empty() || !beside.thresholds.is_empty()) {
            return Err("an exact spectrum has nothing beside it");
        }
        if !spectrum.is_exact() && shape != BIN_COUNTS {
            return Err("a coarse spectrum needs its reliability tables beside it");
        }
        Ok(Self { spectrum, moments, delays, beside })
    }

    /// Scores by truth.
    #[must_use]
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// Power sums and losses.
    #[must_use]
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Labelled rows by the whole hours between prediction and truth.
    #[must_use]
    pub fn delays(&self) -> &BTreeMap<u32, u64> {
        &self.delays
    }

    /// What is kept beside a coarse spectrum.
    #[must_use]
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// Rows by class.
    #[must_use]
    pub fn totals(&self) -> [u64; CLASSES] {
        self.spectrum.totals()
    }

    /// Add another summary of the same output and slice.
    pub fn merge(&mut self, other: &Self) {
        if other.spectrum.channels().is_empty() {
            return;
        }
        if self.spectrum.channels().is_empty() {
            self.clone_from(other);
            return;
        }
        self.beside = match (self.spectrum.is_exact(), other.spectrum.is_exact()) {
            (true, true) => Beside::default(),
            (true, false) => self.beside_with(other.beside.thresholds.keys()).plus(&other.beside),
            (false, true) => other.beside_with(self.beside.thresholds.keys()).plus(&self.beside),
            (false, false) => self.beside.plus(&other.beside),
        };
        self.spectrum.merge(&other.spectrum);
        self.moments.merge(&other.moments);
        for (hours, count) in &other.delays {
            *self.delays.entry(*hours).or_default() += count;
        }
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        copy.spectrum.scale(copies);
        copy.moments.values_mut().for_each(|sum| *sum *= i128::from(copies));
        copy.delays.values_mut().for_each(|count| *count *= copies);
        copy.beside.thresholds.values_mut().flatten().for_each(|count| *count *= copies);
        copy.beside.tables.iter_mut().flatten().for_each(|bin| *bin = bin.times(copies));
        copy
    }

    /// The sum of many summaries, merged pairwise so that a long window costs little more than a short one.
    #[must_use]
    pub fn merge_all(mut summaries: Vec<Self>) -> Self {
        while summaries.len() > 1 {
            let mut pairs = summaries.into_iter();
            let mut halved = Vec::with_capacity(pairs.len().div_ceil(2));
            while let Some(mut first) = pairs.next() {
                if let Some(second) = pairs.next() {
                    first.merge(&second);
                }
                halved.push(first);
            }
            summaries = halved;
        }
        summaries.pop().unwrap_or_default()
    }

    /// Coarsen to the cap of a stored bucket; what coarsening would blur is computed first and kept beside.
    pub fn cap(&mut self, thresholds: &[f64]) {
        if self.spectrum.channels().len() <= CAP {
            return;
        }
        if self.spectrum.is_exact() {
            let bits: Vec<u64> = thresholds.iter().map(|threshold| threshold.to_bits()).collect();
            self.beside = self.beside_with(bits.iter());
        }
        self.spectrum.cap(CAP);
    }

    /// Rows by class with a score of at least `threshold`: `(surely, possibly)`. Both agree when the counts are exact.
    #[must_use]
    pub fn at_least(&self, threshold: f64) -> ([u64; CLASSES], [u64; CLASSES]) {
        match self.beside.thresholds.get(&threshold.to_bits()) {
            Some(counts) => (*counts, *counts),
            None => self.spectrum.at_least(threshold),
        }
    }

    /// The reliability table of `bins` equal-width bins, exact; `None` when scores were coarsened and this table is not
    /// one of [`BIN_COUNTS`].
    #[must_use]
    pub fn reliability(&self, bins: usize) -> Option<Vec<Bin>> {
        if self.spectrum.is_exact() {
            return Some(self.table(bins));
        }
        self.beside.tables.iter().find(|table| table.len() == bins).cloned()
    }

    fn beside_with<'a>(&self, thresholds: impl Iterator<Item = &'a u64>) -> Beside {
        Beside {
            thresholds: thresholds.map(|bits| (*bits, self.spectrum.at_least(f64::from_bits(*bits)).0)).collect(),
            tables: BIN_COUNTS.iter().map(|bins| self.table(*bins)).collect(),
        }
    }

    fn table(&self, bins: usize) -> Vec<Bin> {
        let mut table = vec![Bin::default(); bins];
        for channel in self.spectrum.channels() {
            let (p, _) = self.spectrum.range(channel);
            let bin = &mut table[bin_of(p, bins)];
            bin.negatives += channel.negative();
            bin.positives += channel.positive();
            bin.score_sum += fixed::from_f64(p) * i128::from(channel.negative() + channel.positive());
        }
        table
    }
}

impl Beside {
    /// The sum of two; a threshold that one side does not have is no longer known exactly.
    fn plus(&self, other: &Self) -> Self {
        let thresholds = self.thresholds.iter().filter_map(|(bits, mine)| {
            let theirs = other.thresholds.get(bits)?;
            Some((*bits, std::array::from_fn(|class| mine[class] + theirs[class])))
        });
        let tables = self.tables.iter().zip(&other.tables).map(|(mine, theirs)| {
            let add = |(mine, theirs): (&Bin, &Bin)| {
                let mut sum = *mine;
                sum.add(theirs);
                sum
            };
            mine.iter().zip(theirs).map(add).collect()
        });
        Self { thresholds: thresholds.collect(), tables: tables.collect() }
    }
}

/// The bin of a score among equal-width bins that are closed on the right; zero belongs to the first.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "bin counts are small")]
pub fn bin_of(p: f64, bins: usize) -> usize {
    (1..bins).take_while(|edge| p > *edge as f64 / bins as f64).count()
}

#[cfg(test)]
mod tests;
