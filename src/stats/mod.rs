//! Statistics over plain values: the spectrum, fixed-point moments, intervals, divergences.
//!
//! Must never: do I/O, read a clock, log, or depend on hash order. Every transcendental function comes from `libm`,
//! never from the platform, so that a number is the same bits on every machine.
//! Look next at `summary`, which puts these pieces together for one bucket.

pub mod channel;
pub mod divergence;
pub mod exact;
pub mod fixed;
pub mod interval;
pub mod isotonic;
pub mod moments;
pub mod projector;
pub mod resample;
pub mod special;
pub mod spectrum;
