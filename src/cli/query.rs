//! `dosimeter query`: any window, slice and instant of knowledge.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use super::{ConfigArg, VersionArgs, show, with_app};
use crate::app::App;
use crate::config::Plan;
use crate::domain::window::parse_instant;
use crate::domain::{Slice, Window};
use crate::query::compare::{ask_with_bootstrap, by_subject};
use crate::query::{Question, ask};
use crate::store::rows::Knowledge;

/// The window, at an instant of knowledge, and what to compare with.
#[derive(Debug, Args)]
pub(super) struct WindowArgs {
    /// First day or instant (UTC) of the window.
    #[arg(long, value_parser = parse_instant)]
    from: DateTime<Utc>,
    /// First day or instant after the window.
    #[arg(long, value_parser = parse_instant)]
    to: DateTime<Utc>,
    /// Only truth that had been observed by then: what the hospital knew.
    #[arg(long, value_parser = parse_instant)]
    known_at: Option<DateTime<Utc>>,
    /// Only batches up to this number: what this installation had.
    #[arg(long)]
    recorded: Option<i64>,
    /// Compare with this reference instead of the one in force.
    #[arg(long, value_name = "ID")]
    pub(super) reference: Option<i32>,
}

impl WindowArgs {
    pub(super) fn window(&self) -> Window {
        Window { from: self.from, to: self.to }
    }

    pub(super) fn knowledge(&self) -> Knowledge {
        Knowledge { known_at: self.known_at, recorded: self.recorded }
    }
}

/// What is asked about: an output of a version in a slice and a window, at an instant of knowledge.
#[derive(Debug, Args)]
pub(super) struct QuestionArgs {
    #[command(flatten)]
    version: VersionArgs,
    /// The output, choice or value; also "(model)" for means over the outputs, "(feature) NAME", "(embedding)", "(readers) FINDING".
    #[arg(long)]
    output: String,
    /// The slice: all, view=AP, "sex=F & site=north"; it need not be declared in the plan.
    #[arg(long, default_value = "all", value_parser = str::parse::<Slice>)]
    slice: Slice,
    #[command(flatten)]
    window: WindowArgs,
    /// An operating point besides those of the plan; may be repeated.
    #[arg(long = "threshold")]
    thresholds: Vec<f64>,
}

impl QuestionArgs {
    /// The question; its model may be the only one of the plan.
    pub(super) fn question(self, plan: &Plan) -> anyhow::Result<Question> {
        Ok(Question {
            model: self.version.model(plan)?,
            version: self.version.version,
            output: self.output,
            slice: self.slice,
            window: self.window.window(),
            knowledge: self.window.knowledge(),
            thresholds: self.thresholds,
            reference_id: self.window.reference,
            most_rows: None,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    question: QuestionArgs,
    /// One metric by name (auroc, sensitivity, sensitivity@0.5, ...) or all; docs/metrics.md explains them.
    #[arg(long, default_value = "all")]
    metric: String,
    /// Intervals by drawing whole buckets with replacement so many times (1000 if no number is given), for every metric of
    /// published windows; takes seconds, and a window of at least 20 buckets.
    #[arg(long, value_name = "RESAMPLES", num_args = 0..=1, default_missing_value = "1000",
        value_parser = clap::value_parser!(u32).range(100..=100_000))]
    bootstrap: Option<u32>,
    /// Seed of the draws: the same seed gives the same intervals.
    #[arg(long, default_value_t = 1, requires = "bootstrap")]
    seed: u64,
    /// Also the AUROC whose variance lets the studies of one subject depend on each other; read from rows.
    #[arg(long)]
    by_subject: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

pub(super) fn run(args: QueryArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| query(app, args).await)
}

async fn query(app: &App, args: QueryArgs) -> anyhow::Result<()> {
    let context = app.context();
    let question = args.question.question(&context.plan)?;
    let mut answer = match args.bootstrap {
        Some(resamples) => ask_with_bootstrap(&context, &question, resamples, args.seed).await?,
        None => ask(&context, &question).await?,
    };
    if args.by_subject {
        answer.metrics.push(by_subject(&context, &question).await?);
    }
    if args.metric != "all" {
        let known: Vec<String> = answer.metrics.iter().map(|row| row.metric.clone()).collect();
        let plain = |metric: &str| metric.split(['@', '[']).next().unwrap_or_default().to_owned();
        let wanted = |metric: &str| {
            metric == args.metric || plain(metric) == args.metric || (args.by_subject && metric == "auroc_by_subject")
        };
        answer.metrics.retain(|row| wanted(&row.metric));
        let base = plain(&args.metric);
        let near: Vec<&String> =
            known.iter().filter(|name| name.contains(&base) || base.contains(&plain(name))).collect();
        let hint = if args.metric.contains('@') && known.iter().any(|name| plain(name) == base) {
            "that threshold is not in the plan; ask with --threshold".to_owned()
        } else if near.is_empty() {
            "docs/metrics.md lists them, and --metric all shows those of this question".to_owned()
        } else {
            format!("did you mean {}?", near.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "))
        };
        anyhow::ensure!(!answer.metrics.is_empty(), "there is no metric {:?} here; {hint}", args.metric);
    }
    match args.format {
        Format::Table => print!("{}", show::table(&answer)),
        Format::Csv => print!("{}", show::csv(&answer)?),
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
    }
    Ok(())
}
