//! dosimeter: a production monitor for clinical models.
//!
//! The modules stand in dependency order: each may use what stands above it and never what stands below; those in one
//! group of machinery never use one another. `tests/architecture.rs` reads this file and enforces it.

/// The injected clock.
pub mod clock;

// The calculator: values in, values out. No async, no SQL, no clock, no logging.

/// Statistics over plain values.
pub mod stats;
/// The words of the field as types.
pub mod domain;
/// Sufficient statistics that merge.
pub mod summary;
/// Questions asked of summaries.
pub mod metric;
/// What only few may read, encrypted.
pub mod vault;
/// Chains of hashes.
pub mod chain;
/// The plan: the validated configuration.
pub mod config;
/// When is a number bad enough to tell somebody?
pub mod detect;
/// The life of an alert, and what a notice says.
pub mod alert;
/// Who may do what over HTTP.
pub mod access;
/// What numbers look like.
pub mod picture;
/// Tables as CSV and Parquet.
pub mod table;

// The machinery: siblings that never use one another.

/// The only SQL, but for the queries of sources that are databases.
pub mod store;
/// Where records come from.
pub mod source;

/// How people are told.
pub mod notify;
/// What Prometheus reads.
pub mod export;
/// Jobs, tasks, privileges.
pub mod runtime;

// The joints: they put the machinery to use.

/// The one door of records.
pub mod intake;
/// Does the record fit together?
pub mod verify;
/// What the daemon does, step by step.
pub mod job;
/// Where what is sent is taken in.
pub mod desk;
/// What people do about alerts.
pub mod person;
/// What people do about refused records.
pub mod mending;
/// Erasure of persons.
pub mod erasure;
/// Answers to any question.
pub mod query;
/// What was published, as it was read then.
pub mod history;
/// Making references.
pub mod reference;
/// The evidence of a period as one archive.
pub mod bundle;
/// Metrics, health and the API.
pub mod http;
/// The wiring.
pub mod app;
/// A simulated radiology department.
pub mod demo;
/// The commands.
pub mod cli;
