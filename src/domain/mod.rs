//! The words of the field as types: predictions, assertions, truth, buckets, windows, slices, estimates.
//!
//! Must never: do I/O or know where a record came from.
//! Look next at `summary::fold`, which turns predictions and truth into summaries.

pub mod contract;
pub mod estimate;
pub mod prediction;
pub mod reason;
pub mod slice;
pub mod truth;
pub mod window;

pub use contract::{Breach, BreachReason, Column};
pub use estimate::{Estimate, Exactness, MetricKey, Outcome, Undefined};
pub use prediction::{Assertion, Opinion, Prediction, Real, Status};
pub use reason::Reason;
pub use slice::{Dimension, Slice};
pub use truth::{Truth, TruthPolicy, Uncertain};
pub use window::{Granularity, Window, WindowSpec};
