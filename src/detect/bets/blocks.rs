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

/// One loss per case of the rarer class: the share of the other class's cases in its block that are in the wrong order with it, or of a
/// fall in the right one. The others are dealt out at random by a seed; sizes of blocks differ by one at most. `None` without both classes.
pub(in crate::detect) fn blocks(spectrum: &Spectrum, way: Way, seed: &str) -> Option<Vec<f64>> {
    let positions = |count: fn(&Channel) -> u64| -> Vec<usize> {
        let channels = spectrum.channels().iter().enumerate();
        channels
            .flat_map(|(at, channel)| std::iter::repeat_n(at, usize::try_from(count(channel)).unwrap_or(0)))
            .collect()
    };
    let (positives, negatives) = (positions(Channel::positive), positions(Channel::negative));
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let rare_is_positive = positives.len() <= negatives.len();
    let (rare, mut many) = if rare_is_positive { (positives, negatives) } else { (negatives, positives) };
    let digest: [u8; 32] = Sha256::digest(seed).into();
    many.shuffle(&mut ChaCha8Rng::from_seed(digest));
    let tie = if spectrum.is_exact() { 0.5 } else { f64::from(u8::from(way == Way::Fall)) };
    let mut losses = vec![(0.0, 0.0); rare.len()];
    for (at, other) in many.iter().enumerate() {
        let block = at % rare.len();
        let (positive, negative) = if rare_is_positive { (rare[block], *other) } else { (*other, rare[block]) };
        let loss = match negative.cmp(&positive) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => tie,
            std::cmp::Ordering::Less => 0.0,
        };
        losses[block].0 += loss;
        losses[block].1 += 1.0;
    }
    let turn = |loss: f64| if way == Way::Fall { 1.0 - loss } else { loss };
    Some(losses.into_iter().map(|(sum, n): (f64, f64)| turn(sum / n)).collect())
}
