//! What was sealed on one day: the cases that entered the evidence, and how complete their truth was.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::stats::channel::Scale;
use crate::stats::spectrum::{Class, Spectrum};

/// The cases sealed on one day, or on several together.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// Their scores by truth.
    pub spectrum: Spectrum,
    /// Cases that came of age, with truth or without.
    pub matured: u64,
    /// Those of them that were sealed at once. The other sealed cases are stragglers: of age earlier, without truth until now.
    pub settled: u64,
    /// Sealed cases whose subject is known.
    pub named: u64,
    /// The subjects with several of the sealed cases, each one's cases, in a canonical order. They name nobody.
    pub subjects: Vec<Spectrum>,
    /// The cases that another version has as well, by its number: in a canonical order.
    pub pairs: BTreeMap<i32, Vec<Pair>>,
    /// Of embeddings, the reference through whose projector they were seen.
    pub seen_through: Option<i32>,
}

/// One case that two versions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The key of this version's score.
    pub own: u64,
    /// The key of the other version's.
    pub other: u64,
    /// The truth.
    pub class: Class,
}

impl Default for Sealed {
    fn default() -> Self {
        Self::of(Spectrum::from_cells(Scale::Probability, Vec::new()), 0, 0)
    }
}

impl Sealed {
    /// Cases of which nothing is known but scores and truth.
    #[must_use]
    pub fn of(spectrum: Spectrum, matured: u64, settled: u64) -> Self {
        Self { spectrum, matured, settled, named: 0, subjects: Vec::new(), pairs: BTreeMap::new(), seen_through: None }
    }

    /// Whether there is nothing that a ledger would have to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.matured == 0 && self.spectrum.channels().is_empty() && self.pairs.is_empty()
    }
}

/// The cases of subjects that have several, each subject's as a spectrum, in a canonical order.
#[must_use]
pub fn grouped(scale: Scale, subjects: impl Iterator<Item = Vec<(u64, Class, u64)>>) -> Vec<Spectrum> {
    let several = subjects.filter(|cells| cells.len() > 1).map(|mut cells| {
        cells.sort_unstable();
        cells
    });
    let mut several: Vec<Vec<(u64, Class, u64)>> = several.collect();
    several.sort_unstable();
    several.into_iter().map(|cells| Spectrum::from_cells(scale, cells)).collect()
}

/// Keys of categories are below this.
pub const CATEGORIES: u64 = 1 << 62;

/// The key under which a category is sealed: the first 62 bits of the SHA-256 of its name. What was not there before has a key as well.
#[must_use]
pub fn category(name: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(name).into();
    digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte)) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel::key;
    use crate::summary::codec::{decode_sealed, encode_sealed};

    fn cells(scores: &[f64]) -> Vec<(u64, Class, u64)> {
        scores.iter().map(|score| (key(*score), Class::Positive, 1)).collect()
    }

    #[test]
    fn a_day_comes_back_as_it_was_sealed_and_what_is_plain_keeps_its_layout() {
        let plain = Sealed::of(Spectrum::from_cells(Scale::Probability, cells(&[0.1, 0.9, 0.9])), 4, 3);
        let bytes = encode_sealed(&plain);
        assert_eq!((bytes[0], decode_sealed(&bytes)), (7, Ok(plain.clone())));
        let pair = |own: f64, other: f64| Pair { own: key(own), other: key(other), class: Class::Negative };
        let more = Sealed {
            named: 3,
            subjects: grouped(Scale::Probability, [cells(&[0.9, 0.1]), cells(&[0.9])].into_iter()),
            pairs: BTreeMap::from([(3, vec![pair(0.1, 0.2), pair(0.1, 0.2)]), (7, Vec::new())]),
            seen_through: Some(12),
            ..plain
        };
        let bytes = encode_sealed(&more);
        assert_eq!((bytes[0], decode_sealed(&bytes)), (8, Ok(more)));
    }

    #[test]
    fn subjects_are_kept_in_an_order_that_does_not_tell_who_came_first() {
        let [a, b] = [cells(&[0.9, 0.1]), cells(&[0.2, 0.3, 0.2])];
        let of = |subjects: [&Vec<_>; 2]| grouped(Scale::Probability, subjects.into_iter().cloned());
        assert_eq!(of([&a, &b]), of([&b, &a]));
        assert_eq!(of([&a, &b]).len(), 2);
        assert!(category("A") < CATEGORIES && category("A") != category("a"));
    }
}
