//! dosimeter: a production monitor for clinical models.
pub mod clock;
pub mod config;
pub mod domain;
pub mod metric;
pub mod stats;
pub mod summary;
