//! Pairs of positives and negatives: the area under the ROC curve as losses of independent units.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::detect::loss::Way;
use crate::stats::spectrum::{Channel, Spectrum};

/// What is bet on of a bucket's area under the ROC curve: one minus it, or of a fall of that the area. Ties are one half, but within a
/// coarse channel in the order that makes the bet no larger than it should be. `None` without both classes.
pub(crate) fn whole(spectrum: &Spectrum, way: Way) -> Option<f64> {
    let [_, negatives, positives] = spectrum.totals();
    if negatives == 0 || positives == 0 {
        return None;
    }
    let tie = match way {
        _ if spectrum.is_exact() => 0.5,
        Way::Rise => 1.0,
        Way::Fall => 0.0,
    };
    let (mut below, mut right) = (0.0, 0.0);
    for channel in spectrum.channels() {
        right += channel.positive() as f64 * (below + tie * channel.negative() as f64);
        below += channel.negative() as f64;
    }
    let area = right / (positives as f64 * negatives as f64);
    Some(if way == Way::Fall { area } else { 1.0 - area })
}

/// The cases of a bucket, ready to be dealt out in blocks: each case of the rarer class with a share of the others.
pub(in crate::detect) struct Deck {
    way: Way,
    /// Channels of the rarer class's cases, in their order.
    rare: Vec<u32>,
    /// Channels of the others.
    many: Vec<u32>,
    rare_is_positive: bool,
    tie: f64,
}

impl Deck {
    /// The cases of a spectrum. `None` without both classes.
    pub(in crate::detect) fn of(spectrum: &Spectrum, way: Way) -> Option<Self> {
        let positions = |count: fn(&Channel) -> u64| -> Vec<u32> {
            let mut positions = Vec::new();
            for (at, channel) in (0_u32..).zip(spectrum.channels()) {
                positions.resize(positions.len() + usize::try_from(count(channel)).unwrap_or(0), at);
            }
            positions
        };
        let (positives, negatives) = (positions(Channel::positive), positions(Channel::negative));
        if positives.is_empty() || negatives.is_empty() {
            return None;
        }
        let rare_is_positive = positives.len() <= negatives.len();
        let (rare, many) = if rare_is_positive { (positives, negatives) } else { (negatives, positives) };
        let tie = if spectrum.is_exact() { 0.5 } else { f64::from(u8::from(way == Way::Fall)) };
        Some(Self { way, rare, many, rare_is_positive, tie })
    }

    /// One loss per case of the rarer class: the share of the other class's cases in its block that are in the wrong order with it, or of a
    /// fall in the right one. The others are dealt out at random by a seed; sizes of blocks differ by one at most.
    pub(in crate::detect) fn deal(&self, seed: &str) -> Vec<f64> {
        let Self { way, rare, many, rare_is_positive, tie } = self;
        let mut many = many.clone();
        let digest: [u8; 32] = Sha256::digest(seed).into();
        many.shuffle(&mut ChaCha8Rng::from_seed(digest));
        let mut sums = vec![0.0; rare.len()];
        for round in many.chunks(rare.len()) {
            for ((sum, own), other) in sums.iter_mut().zip(rare).zip(round) {
                let (positive, negative) = if *rare_is_positive { (own, other) } else { (other, own) };
                *sum += match negative.cmp(positive) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => *tie,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        let (least, rest) = (many.len() / rare.len(), many.len() % rare.len());
        let loss = |(at, sum): (usize, f64)| {
            let wrong = sum / (least + usize::from(at < rest)) as f64;
            if *way == Way::Fall { 1.0 - wrong } else { wrong }
        };
        sums.into_iter().enumerate().map(loss).collect()
    }
}

/// The losses of the blocks of one deal. `None` without both classes.
pub(in crate::detect) fn blocks(spectrum: &Spectrum, way: Way, seed: &str) -> Option<Vec<f64>> {
    Deck::of(spectrum, way).map(|deck| deck.deal(seed))
}
