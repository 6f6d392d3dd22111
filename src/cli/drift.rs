//! `dosimeter drift`: what has moved away from the reference.

use clap::Args;

use super::query::WindowArgs;
use super::show::{self, Format};
use super::{ConfigArg, VersionArgs, with_app};
use crate::domain::Slice;
use crate::query::Question;
use crate::query::drift::rank;

#[derive(Debug, Args)]
pub(super) struct DriftArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    window: WindowArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: DriftArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let question = Question {
            model: args.version.model(&context.plan)?,
            version: args.version.version,
            output: String::new(),
            slice: Slice::all(),
            window: args.window.window(),
            knowledge: args.window.knowledge(),
            thresholds: Vec::new(),
            reference_id: args.window.reference,
            most_rows: None,
        };
        let moved = rank(&context, &question).await?;
        match args.format {
            Format::Table => print!("{}", show::moved(&moved)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&moved)?),
        }
        Ok(())
    })
}
