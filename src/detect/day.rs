//! A sealed day as it is bet on: its units and what each of them loses.
//!
//! A unit is a case, all cases of one subject, or the whole day. What is bet on of a unit is the mean of its cases.

use std::borrow::Cow;
use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::loss::{Loss, Way};
use crate::config::Unit;
use crate::stats::spectrum::{Channel, Class, Spectrum};
use crate::summary::sealed::Pair;

/// The cases of one sealed day.
#[derive(Clone, Debug)]
pub struct Day<'s> {
    /// Their scores by truth.
    pub spectrum: Cow<'s, Spectrum>,
    /// The subjects with several of them, each with its cases.
    pub subjects: &'s [Spectrum],
    /// The cases that are compared with another version's.
    pub pairs: &'s [Pair],
}

impl<'s> From<&'s Spectrum> for Day<'s> {
    fn from(spectrum: &'s Spectrum) -> Self {
        Self { spectrum: Cow::Borrowed(spectrum), subjects: &[], pairs: &[] }
    }
}

impl Day<'_> {
    /// Values of units with how many units have each: `of` says what the cases of a spectrum have, and a subject has the mean of what its
    /// cases have.
    pub(super) fn units(&self, unit: Unit, of: impl Fn(&Spectrum) -> Vec<(f64, u64)>) -> Vec<(f64, u64)> {
        if unit != Unit::Subject || self.subjects.is_empty() {
            return of(&self.spectrum);
        }
        let several = self.subjects.iter().filter_map(|cases| Some((mean(of(cases).into_iter())?, 1)));
        let mut units = of(&self.alone());
        units.extend(several);
        units
    }

    /// The cases of subjects that have no other.
    fn alone(&self) -> Spectrum {
        let mut others: HashMap<u64, [u64; 3]> = HashMap::new();
        for channel in self.subjects.iter().flat_map(Spectrum::channels) {
            let counts = others.entry(channel.key).or_default();
            counts.iter_mut().zip(channel.counts).for_each(|(sum, count)| *sum += count);
        }
        let rest = self.spectrum.channels().iter().flat_map(|channel| {
            let others = others.get(&channel.key).copied().unwrap_or_default();
            Class::ALL.map(|class| {
                let at = class.index();
                (channel.key, class, channel.counts[at].saturating_sub(others[at]))
            })
        });
        // Sealed days are exact, so a channel's key is a score's.
        Spectrum::from_cells(self.spectrum.of_scale(), rest.collect())
    }

    /// One case of every subject, drawn by a seed; every case when cases or days are the units.
    pub(super) fn thinned(&self, unit: Unit, seed: &str) -> Cow<'_, Spectrum> {
        if unit != Unit::Subject || self.subjects.is_empty() {
            return Cow::Borrowed(&*self.spectrum);
        }
        let digest: [u8; 32] = Sha256::digest(format!("one case of each: {seed}")).into();
        let mut rng = ChaCha8Rng::from_seed(digest);
        let cells = |channel: &Channel| {
            let key = channel.key;
            Class::ALL.map(|class| (key, class, channel.counts[class.index()]))
        };
        let mut drawn = Vec::new();
        for subject in self.subjects {
            let mut at = rng.random_range(0..subject.totals().iter().sum::<u64>());
            for (key, class, count) in subject.channels().iter().flat_map(cells) {
                if at < count {
                    drawn.push((key, class, 1));
                    break;
                }
                at -= count;
            }
        }
        drawn.extend(self.alone().channels().iter().flat_map(cells));
        Cow::Owned(Spectrum::from_cells(self.spectrum.of_scale(), drawn))
    }
}

/// The mean of values, each so many times; `None` of none.
pub(super) fn mean(values: impl Iterator<Item = (f64, u64)>) -> Option<f64> {
    let add = |(sum, total): (f64, f64), (value, n): (f64, u64)| (sum + value * n as f64, total + n as f64);
    let (sum, total) = values.fold((0.0, 0.0), add);
    (total > 0.0).then(|| sum / total)
}

/// A mean between 0 and 1 that is bet to have risen, or to have fallen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// What each case loses; absent of one minus an area.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<Loss>,
    /// The bet: that it rises, for the worse of performance, or that it falls. Of a fall one minus the loss is what has a mean.
    pub way: Way,
    /// Whether it is how much more a case loses than by another version: half of one and the difference.
    pub paired: bool,
}

impl Mean {
    /// That a loss rises.
    #[must_use]
    pub fn of(loss: Loss) -> Self {
        Self { loss: Some(loss), way: Way::Rise, paired: false }
    }

    /// That an area under the curve falls: one minus it rises.
    pub const AREA: Self = Self { loss: None, way: Way::Rise, paired: false };

    /// The same the other way.
    #[must_use]
    pub fn turned(self) -> Self {
        let way = match self.way {
            Way::Rise => Way::Fall,
            Way::Fall => Way::Rise,
        };
        Self { way, ..self }
    }

    /// What the units of a day lose, with how many of them lose so much. Empty of an area, which has no cases that lose.
    #[must_use]
    pub fn losses(self, day: &Day<'_>, unit: Unit) -> Vec<(f64, u64)> {
        let Some(loss) = self.loss else { return Vec::new() };
        if self.paired {
            let turn = |half: f64| if self.way == Way::Fall { 1.0 - half } else { half };
            let differences = day.pairs.iter().filter_map(|pair| loss.difference(pair));
            return differences.map(|difference| (turn(0.5 * (1.0 + difference)), 1)).collect();
        }
        day.units(unit, |spectrum| loss.of(spectrum, self.way))
    }

    /// Units and the sum of what they lose and of the squares.
    #[must_use]
    pub fn sums(self, day: &Day<'_>, unit: Unit) -> (u64, f64, f64) {
        let add = |(n, sum, square): (u64, f64, f64), (loss, units): (f64, u64)| {
            let count = units as f64;
            (n + units, sum + count * loss, square + count * loss * loss)
        };
        self.losses(day, unit).into_iter().fold((0, 0.0, 0.0), add)
    }

    /// Whether every case loses all or nothing.
    #[must_use]
    pub fn is_binary(self) -> bool {
        !self.paired && self.loss.is_some_and(Loss::is_binary)
    }

    /// It in the terms of its measure: sensitivity, not the share of missed cases; of pairs, the difference of the two versions.
    #[must_use]
    pub fn in_its_terms(self, mean: f64) -> f64 {
        let mean = if self.way == Way::Fall { 1.0 - mean } else { mean };
        if !self.paired {
            return Loss::in_its_terms(self.loss, mean);
        }
        let of_no_difference = Loss::in_its_terms(self.loss, 0.0);
        Loss::in_its_terms(self.loss, 2.0 * mean - 1.0) - of_no_difference
    }

    /// The mean of a value in the terms of its measure: the inverse of [`Mean::in_its_terms`].
    #[must_use]
    pub fn from_its_terms(self, value: f64) -> f64 {
        let mean = if self.paired {
            let of_no_difference = Loss::in_its_terms(self.loss, 0.0);
            0.5 * (1.0 + Loss::from_its_terms(self.loss, of_no_difference + value))
        } else {
            Loss::from_its_terms(self.loss, value)
        };
        if self.way == Way::Fall { 1.0 - mean } else { mean }
    }

    /// What one of the measure's own units is of it.
    #[must_use]
    pub fn own_unit(self) -> f64 {
        Loss::own_unit(self.loss) * if self.paired { 0.5 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel::{self, Scale};
    use crate::summary::sealed::grouped;

    fn case(p: f64, class: Class) -> (u64, Class, u64) {
        (channel::key(p), class, 1)
    }

    /// One subject with three positives of which two are missed, one with a missed and a negative, two with one found positive.
    fn day() -> (Spectrum, Vec<Spectrum>) {
        let (yes, no) = (Class::Positive, Class::Negative);
        let first = vec![case(0.1, yes), case(0.2, yes), case(0.9, yes)];
        let second = vec![case(0.2, yes), case(0.7, no)];
        let others = vec![case(0.9, yes), case(0.8, yes)];
        let all = [first.clone(), second.clone(), others].concat();
        let subjects = grouped(Scale::Probability, [first, second, vec![case(0.9, yes)]].into_iter());
        (Spectrum::from_cells(Scale::Probability, all), subjects)
    }

    #[test]
    fn many_cases_of_one_subject_count_once() {
        let (spectrum, subjects) = day();
        let day = Day { subjects: &subjects, ..Day::from(&spectrum) };
        let missed = Mean::of(Loss::Missed(0.5));
        assert_eq!(missed.sums(&day, Unit::Case), (6, 3.0, 3.0));
        // Two thirds, one, and two that lose nothing.
        let (n, sum, square) = missed.sums(&day, Unit::Subject);
        assert!(n == 4 && (sum - 5.0 / 3.0).abs() < 1e-12 && (square - 13.0 / 9.0).abs() < 1e-12, "{n} {sum} {square}");
        // Nobody but the second has a negative.
        assert_eq!(Mean::of(Loss::FalselyFlagged(0.5)).sums(&day, Unit::Subject), (1, 1.0, 1.0));
    }

    #[test]
    fn one_case_of_each_subject_is_drawn() {
        let (spectrum, subjects) = day();
        let day = Day { subjects: &subjects, ..Day::from(&spectrum) };
        for seed in ["a", "b", "c"] {
            let thinned = day.thinned(Unit::Subject, seed);
            assert_eq!(thinned.totals().iter().sum::<u64>(), 4, "{seed}");
            assert_eq!(thinned, day.thinned(Unit::Subject, seed));
        }
        let drawn: Vec<Cow<'_, Spectrum>> = (0..20).map(|seed| day.thinned(Unit::Subject, &seed.to_string())).collect();
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]), "the seed decides which");
        assert_eq!(*day.thinned(Unit::Case, "a"), spectrum);
    }

    #[test]
    fn a_mean_turned_is_one_minus_it_and_has_the_same_terms() {
        let (spectrum, _) = day();
        let day = Day::from(&spectrum);
        for loss in [Loss::Missed(0.5), Loss::Error(0.5), Loss::Brier, Loss::LogLoss, Loss::FlaggedInVain(0.5)] {
            let (mean, turned) = (Mean::of(loss), Mean::of(loss).turned());
            let of = |mean: Mean| {
                let (n, sum, _) = mean.sums(&day, Unit::Case);
                sum / n as f64
            };
            assert!((of(mean) + of(turned) - 1.0).abs() < 1e-12, "{loss:?}");
            assert!((mean.in_its_terms(of(mean)) - turned.in_its_terms(of(turned))).abs() < 1e-12, "{loss:?}");
            assert!((turned.from_its_terms(turned.in_its_terms(0.3)) - 0.3).abs() < 1e-12, "{loss:?}");
        }
    }

    #[test]
    fn pairs_lose_what_one_version_loses_more_than_the_other() {
        let pair = |own: f64, other: f64, class| Pair { own: channel::key(own), other: channel::key(other), class };
        let pairs = [
            pair(0.2, 0.9, Class::Positive),
            pair(0.9, 0.2, Class::Positive),
            pair(0.3, 0.6, Class::Positive),
            pair(0.9, 0.1, Class::Negative),
        ];
        let nothing = Spectrum::default();
        let day = Day { pairs: &pairs, ..Day::from(&nothing) };
        let missed = Mean { paired: true, ..Mean::of(Loss::Missed(0.5)) };
        // Two missed by this version alone, one by the other alone; the negative is no positive.
        assert_eq!(missed.losses(&day, Unit::Case), [(1.0, 1), (0.0, 1), (1.0, 1)]);
        let (n, sum, _) = missed.sums(&day, Unit::Case);
        let worse = missed.in_its_terms(sum / n as f64);
        assert!((worse + 1.0 / 3.0).abs() < 1e-12, "a sensitivity lower by a third: {worse}");
        assert!((missed.from_its_terms(worse) - sum / n as f64).abs() < 1e-12);
        let brier = Mean { paired: true, ..Mean::of(Loss::Brier) };
        let (n, sum, _) = brier.sums(&day, Unit::Case);
        let difference = (0.64 - 0.01 + 0.01 - 0.64 + 0.49 - 0.16 + 0.81 - 0.01) / 4.0;
        assert!((brier.in_its_terms(sum / n as f64) - difference).abs() < 1e-12);
        assert_eq!(brier.own_unit(), 0.5);
    }
}
