//! `dosimeter curve`: what a diagram draws.

use clap::{Args, ValueEnum};

use super::query::{Format, QuestionArgs};
use super::{ConfigArg, show, with_app};
use crate::metric::curve::Curve;
use crate::query::curve::draw;

#[derive(Debug, Args)]
pub(super) struct CurveArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    question: QuestionArgs,
    /// Which curve.
    #[arg(long, value_enum)]
    kind: Kind,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// True-positive rate over false-positive rate.
    Roc,
    /// Precision over recall.
    PrecisionRecall,
    /// Share of positives over mean score, by ten equal-width bins, with Wilson intervals.
    Reliability,
    /// Share of positives over score, by isotonic regression.
    Isotonic,
    /// Net benefit over threshold, beside that of flagging everybody.
    NetBenefit,
    /// Share of rows by score, in twenty bins.
    Histogram,
}

pub(super) fn run(args: CurveArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let curve = match args.kind {
            Kind::Roc => Curve::Roc,
            Kind::PrecisionRecall => Curve::PrecisionRecall,
            Kind::Reliability => Curve::Reliability,
            Kind::Isotonic => Curve::Isotonic,
            Kind::NetBenefit => Curve::NetBenefit,
            Kind::Histogram => Curve::Histogram,
        };
        let answer = draw(&context, &args.question.question(&context.plan)?, curve).await?;
        if let Some(reason) = &answer.undefined {
            anyhow::bail!("there is no such curve: {reason}");
        }
        match args.format {
            Format::Table => print!("{}", show::curve(&answer)),
            Format::Csv => print!("{}", show::curve_csv(&answer)?),
            Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        }
        Ok(())
    })
}
