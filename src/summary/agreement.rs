//! How readers agree on one finding: counts of pairs of opinions, by how many readers a case has.

use std::collections::BTreeMap;

use crate::domain::Opinion;

/// Kinds of opinion.
pub const OPINIONS: usize = 3;

/// Couples of readers that are told apart at most; further ones count in the tables of all readers only.
pub const MOST_COUPLES: usize = 200;

/// Cases that the same number of readers have read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Cases.
    pub cases: u64,
    /// Opinions by kind.
    pub opinions: [u64; OPINIONS],
    /// Ordered pairs of different readers of one case, by the kinds of their opinions.
    pub pairs: [[u64; OPINIONS]; OPINIONS],
}

/// A contingency table of two readers.
pub type Couple = [[u64; OPINIONS]; OPINIONS];

/// What readers said of the cases of one bucket. A commutative monoid, as every summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// By how many readers a case has; cases of one reader say nothing about agreement and are left out.
    pub by_readers: BTreeMap<u32, Readings>,
    /// By couple of readers, in alphabetical order.
    pub couples: BTreeMap<(String, String), Couple>,
}

/// The position of an opinion; `None` of a class or a value, which are no opinions of one finding.
fn index(opinion: Opinion) -> Option<usize> {
    match opinion {
        Opinion::Negative => Some(0),
        Opinion::Uncertain => Some(1),
        Opinion::Positive => Some(2),
        Opinion::Class(_) | Opinion::Value(_) => None,
    }
}

impl Agreement {
    /// Add a case with the opinion of each of its readers, in alphabetical order of reader.
    pub fn add(&mut self, opinions: &[(String, Opinion)]) {
        let opinions: Vec<(&String, usize)> =
            opinions.iter().filter_map(|(reader, opinion)| Some((reader, index(*opinion)?))).collect();
        let Ok(readers) = u32::try_from(opinions.len()) else { return };
        if readers < 2 {
            return;
        }
        let table = self.by_readers.entry(readers).or_default();
        table.cases += 1;
        let mut counts = [0_u64; OPINIONS];
        opinions.iter().for_each(|(_, opinion)| counts[*opinion] += 1);
        for (c, row) in table.pairs.iter_mut().enumerate() {
            table.opinions[c] += counts[c];
            for (k, pairs) in row.iter_mut().enumerate() {
                *pairs += counts[c] * (counts[k] - u64::from(c == k && counts[k] > 0));
            }
        }
        for (at, (first, mine)) in opinions.iter().enumerate() {
            for (second, theirs) in &opinions[at + 1..] {
                let couple = self.couples.entry(((*first).clone(), (*second).clone())).or_default();
                couple[*mine][*theirs] += 1;
            }
        }
    }

    /// Bound what is stored of a bucket: couples beyond the limit are forgotten, the rarest names first by alphabet.
    pub fn cap(&mut self) {
        while self.couples.len() > MOST_COUPLES {
            self.couples.pop_last();
        }
    }

    /// Cases with more than one reader.
    #[must_use]
    pub fn cases(&self) -> u64 {
        self.by_readers.values().map(|table| table.cases).sum()
    }

    /// Add another summary of the same finding.
    pub fn merge(&mut self, other: &Self) {
        let add = |mine: &mut [u64; OPINIONS], theirs: &[u64; OPINIONS]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        };
        for (readers, theirs) in &other.by_readers {
            let mine = self.by_readers.entry(*readers).or_default();
            mine.cases += theirs.cases;
            add(&mut mine.opinions, &theirs.opinions);
            mine.pairs.iter_mut().zip(&theirs.pairs).for_each(|(mine, theirs)| add(mine, theirs));
        }
        for (couple, theirs) in &other.couples {
            let mine = self.couples.entry(couple.clone()).or_default();
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| add(mine, theirs));
        }
    }

    /// So many copies of the same cases.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        for table in copy.by_readers.values_mut() {
            table.cases *= copies;
            table.opinions.iter_mut().chain(table.pairs.iter_mut().flatten()).for_each(|count| *count *= copies);
        }
        copy.couples.values_mut().flatten().flatten().for_each(|count| *count *= copies);
        copy
    }
}
