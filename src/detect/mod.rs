//! Detectors: when is a number bad enough to tell somebody?
//!
//! Two kinds. [`limit`] compares an estimate with a fixed limit and promises no rate of false alarms. The others form an alarm
//! engine that does: [`day`] says what a unit is, [`bets`] turn the units sealed on one day into factors whose expectation is at most one while all is
//! well; [`detector`] multiplies them up (Shiryaev and Roberts' sum, an e-detector after Shin, Ramdas and Rinaldo 2024);
//! [`budget`] shares the false alarms that a year may have among the streams; [`null_value`] says what "well" is, from a
//! contract or a reference; [`sealing`] says when a case enters; [`dependence`] checks what the promise rests on; [`planner`] says beforehand what can be found.
//! [`health`] judges whether the data comes at all, and whole.
//! Must never: send, store or look at a clock; read an estimate in place of sealed evidence.
//! Look next at `alert`, which turns verdicts into alerts.

pub mod bets;
pub mod budget;
pub mod chart;
pub mod day;
pub mod dependence;
pub mod detector;
pub mod health;
pub mod limit;
pub mod loss;
pub mod null_value;
pub mod planner;
pub mod sealing;
pub mod stream;
