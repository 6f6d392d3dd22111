//! Everything that needs more than the library alone: a Postgres server (`DATABASE_URL`), the built binary, Prometheus,
//! an SMTP server. One binary, so that it is linked once.

#![allow(
    clippy::disallowed_methods,
    reason = "tests and benchmarks read the environment and need not give the same bits everywhere"
)]
#![allow(missing_docs, reason = "nobody links this")]

mod alarms;
mod alerting;
mod api;
mod architecture;
mod audit;
mod backtest;
mod broken;
mod bundle;
mod channels;
mod configuration;
mod console;
mod contract;
mod crash;
mod daemon;
mod dashboards;
mod delivery;
mod docs;
mod embeddings;
mod erasure;
mod fleet;
mod health;
mod history;
mod http;
mod identifiers;
mod intake;
mod kinds;
mod lifecycle;
mod mailroom;
mod nannyml;
mod nih;
mod push;
mod questions;
mod reference;
mod rejections;
mod replay;
mod replicas;
mod retention;
mod rules;
mod schema;
mod sealing;
mod server;
mod storm;
mod sources;
mod support;
mod watching;
