//! What was sealed on one day: the cases that entered the evidence, and how complete their truth was.

use crate::stats::channel::Scale;
use crate::stats::spectrum::Spectrum;

/// The cases sealed on one day, or on several together.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// Their scores by truth.
    pub spectrum: Spectrum,
    /// Cases that came of age, with truth or without.
    pub matured: u64,
    /// Those of them that were sealed at once. The other sealed cases are stragglers: of age earlier, without truth until now.
    pub settled: u64,
}

impl Default for Sealed {
    fn default() -> Self {
        Self { spectrum: Spectrum::from_cells(Scale::Probability, Vec::new()), matured: 0, settled: 0 }
    }
}
