//! The spectrum: counts of score channels by truth, the mergeable table that almost every metric is read from.
//!
//! Invariants: keys ascend strictly, no channel is all zero, and the *level* (how many low bits the keys have lost) is the
//! least that kept a stored bucket under its cap. The result depends on the multiset of rows alone: any split, any order,
//! any site gives the same bytes.

use super::channel::Scale;

/// A stored bucket holds at most this many distinct channels.
pub const CAP: usize = 4096;

/// How many kinds of truth a row can have.
pub const CLASSES: usize = 3;

/// What is known of a row's truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// No truth, or none that the policy accepts.
    Unlabelled,
    /// The condition is absent.
    Negative,
    /// The condition is present.
    Positive,
}

impl Class {
    /// All classes in the order of their index.
    pub const ALL: [Self; CLASSES] = [Self::Unlabelled, Self::Negative, Self::Positive];

    /// Position in a `[u64; CLASSES]` of counts.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Rows of one channel: its (shifted) key and its counts by [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Key shifted right by the spectrum's level.
    pub key: u64,
    /// Rows by class.
    pub counts: [u64; CLASSES],
}

impl Channel {
    /// A channel without rows yet.
    #[must_use]
    pub fn empty(key: u64) -> Self {
        Self { key, counts: [0; CLASSES] }
    }

    /// Rows without truth.
    #[must_use]
    pub fn unlabelled(&self) -> u64 {
        self.counts[0]
    }
    /// Rows whose truth is negative.
    #[must_use]
    pub fn negative(&self) -> u64 {
        self.counts[1]
    }
    /// Rows whose truth is positive.
    #[must_use]
    pub fn positive(&self) -> u64 {
        self.counts[2]
    }
    /// Rows of any class.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Counts by channel and class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spectrum {
    scale: Scale,
    level: u8,
    channels: Vec<Channel>,
    totals: [u64; CLASSES],
}

impl Spectrum {
    /// A spectrum without rows.
    #[must_use]
    pub fn empty(scale: Scale) -> Self {
        Self { scale, ..Self::default() }
    }

    /// Build an exact spectrum (level 0) from unordered `(unshifted key, class, count)` cells; cells may repeat.
    #[must_use]
    pub fn from_cells(scale: Scale, mut cells: Vec<(u64, Class, u64)>) -> Self {
        cells.sort_unstable();
        let mut channels: Vec<Channel> = Vec::with_capacity(cells.len());
        for (key, class, count) in cells {
            match channels.last_mut() {
                Some(last) if last.key == key => last.counts[class.index()] += count,
                _ => {
                    let mut counts = [0; CLASSES];
                    counts[class.index()] = count;
                    channels.push(Channel { key, counts });
                }
            }
        }
        channels.retain(|channel| channel.total() > 0);
        Self { scale, level: 0, totals: add_up(&channels), channels }
    }

    /// Build an exact spectrum (level 0) from channels whose unshifted keys ascend strictly and of which none is empty.
    #[must_use]
    pub fn from_ascending(scale: Scale, channels: Vec<Channel>) -> Self {
        debug_assert!(channels.windows(2).all(|pair| pair[0].key < pair[1].key), "keys ascend");
        Self { scale, level: 0, totals: add_up(&channels), channels }
    }

    /// Rebuild a stored spectrum.
    ///
    /// # Errors
    /// When an invariant does not hold: keys out of order or out of range, or an empty channel.
    pub fn from_channels(scale: Scale, level: u8, channels: Vec<Channel>) -> Result<Self, &'static str> {
        if level >= 63 {
            return Err("spectrum level out of range");
        }
        if channels.windows(2).any(|pair| pair[0].key >= pair[1].key) {
            return Err("spectrum channels out of order");
        }
        if channels.last().is_some_and(|last| last.key > scale.max_key() >> level) {
            return Err("spectrum channel out of range");
        }
        if channels.iter().any(|channel| channel.total() == 0) {
            return Err("empty spectrum channel");
        }
        Ok(Self { scale, level, totals: add_up(&channels), channels })
    }

    /// How many low bits the keys have lost; 0 means that every score is known exactly.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Whether every score is known exactly.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.level == 0
    }

    /// Channels in ascending order of score.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// What its keys stand for.
    #[must_use]
    pub fn of_scale(&self) -> Scale {
        self.scale
    }

    /// The closed range of values of a channel; both ends agree when the spectrum is exact.
    #[must_use]
    pub fn range(&self, channel: &Channel) -> (f64, f64) {
        self.scale.range(channel.key, self.level)
    }

    /// Rows by class.
    #[must_use]
    pub fn totals(&self) -> [u64; CLASSES] {
        self.totals
    }

    /// Rows by class with a score of at least `threshold`, when they are known exactly.
    ///
    /// On a coarsened spectrum the channel that holds the threshold may lie on both sides; then the answer is the pair
    /// `(surely at or above, possibly at or above)`.
    #[must_use]
    pub fn at_least(&self, threshold: f64) -> ([u64; CLASSES], [u64; CLASSES]) {
        let mut surely = [0; CLASSES];
        let mut possibly = [0; CLASSES];
        for channel in &self.channels {
            let (low, high) = self.range(channel);
            for class in 0..CLASSES {
                if low >= threshold {
                    surely[class] += channel.counts[class];
                }
                if high >= threshold {
                    possibly[class] += channel.counts[class];
                }
            }
        }
        (surely, possibly)
    }

    /// Add another spectrum's rows. The result has the coarser of the two levels and no cap.
    pub fn merge(&mut self, other: &Self) {
        if other.channels.is_empty() {
            return;
        }
        if self.channels.is_empty() {
            self.clone_from(other);
            return;
        }
        let level = self.level.max(other.level);
        self.coarsen_to(level);
        let shift = level - other.level;
        let mut merged = Vec::with_capacity(self.channels.len() + other.channels.len());
        let mut mine = self.channels.iter().copied().peekable();
        let mut theirs =
            other.channels.iter().map(|channel| Channel { key: channel.key >> shift, ..*channel }).peekable();
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.key <= b.key => mine.next(),
                (_, Some(_)) => theirs.next(),
                (Some(_), None) => mine.next(),
                (None, None) => break,
            };
            if let Some(channel) = next {
                push_or_add(&mut merged, channel);
            }
        }
        self.level = level;
        self.channels = merged;
        add(&mut self.totals, other.totals);
    }

    /// The channels whose range passes a test.
    #[must_use]
    pub fn filtered(&self, test: impl Fn((f64, f64)) -> bool) -> Self {
        let own = self.channels.iter().filter(|channel| test(self.range(channel)));
        let channels: Vec<Channel> = own.copied().collect();
        Self { totals: add_up(&channels), channels, ..*self }
    }

    /// The same channels with other counts of the same rows.
    #[must_use]
    pub fn map_counts(&self, map: impl Fn([u64; CLASSES]) -> [u64; CLASSES]) -> Self {
        let channels: Vec<Channel> =
            self.channels.iter().map(|channel| Channel { counts: map(channel.counts), ..*channel }).collect();
        Self { totals: add_up(&channels), channels, ..*self }
    }

    /// Count every row so many times; at least once.
    pub fn scale(&mut self, times: u64) {
        self.channels.iter_mut().flat_map(|channel| &mut channel.counts).for_each(|count| *count *= times);
        self.totals.iter_mut().for_each(|count| *count *= times);
    }

    /// Drop low bits, one at a time, until at most `cap` channels are left.
    pub fn cap(&mut self, cap: usize) {
        while self.channels.len() > cap {
            self.coarsen_to(self.level + 1);
        }
    }

    fn coarsen_to(&mut self, level: u8) {
        let shift = level - self.level;
        if shift == 0 {
            return;
        }
        let mut coarse: Vec<Channel> = Vec::with_capacity(self.channels.len());
        for channel in &self.channels {
            push_or_add(&mut coarse, Channel { key: channel.key >> shift, ..*channel });
        }
        self.level = level;
        self.channels = coarse;
    }
}

fn add(counts: &mut [u64; CLASSES], more: [u64; CLASSES]) {
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}

fn add_up(channels: &[Channel]) -> [u64; CLASSES] {
    channels.iter().fold([0; CLASSES], |mut totals, channel| {
        add(&mut totals, channel.counts);
        totals
    })
}

fn push_or_add(channels: &mut Vec<Channel>, next: Channel) {
    match channels.last_mut() {
        Some(last) if last.key == next.key => add(&mut last.counts, next.counts),
        _ => channels.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel;

    #[test]
    fn a_capped_spectrum_has_the_least_level_that_fits() {
        let cells = (0..100_u32).map(|i| (channel::key(f64::from(i) / 128.0), Class::Negative, 1)).collect();
        let mut spectrum = Spectrum::from_cells(Scale::Probability, cells);
        spectrum.cap(10);
        assert!(spectrum.channels().len() <= 10);
        let mut finer = spectrum.clone();
        finer.cap(10);
        assert_eq!(finer, spectrum);
        assert_eq!(spectrum.totals(), [0, 100, 0]);
    }

    #[test]
    fn a_threshold_inside_a_coarse_channel_is_bracketed() {
        let cells = vec![(channel::key(0.30), Class::Positive, 4), (channel::key(0.31), Class::Negative, 3)];
        let mut spectrum = Spectrum::from_cells(Scale::Probability, cells);
        assert_eq!(spectrum.at_least(0.305), ([0, 3, 0], [0, 3, 0]));
        spectrum.cap(1);
        assert_eq!(spectrum.at_least(0.305), ([0, 0, 0], [0, 3, 4]));
    }
}
