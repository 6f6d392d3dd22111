//! `dosimeter diff`: what was known then and what is known now.

use chrono::{DateTime, Utc};
use clap::Args;

use super::show::{self, Format};
use super::{ConfigArg, VersionArgs, with_app};
use crate::domain::window::parse_instant;
use crate::domain::{Slice, Window};
use crate::query::Question;
use crate::query::diff::diff;
use crate::store::rows::Knowledge;

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    /// The output, choice or value.
    #[arg(long)]
    output: String,
    /// The slice.
    #[arg(long, default_value = "all", value_parser = str::parse::<Slice>)]
    slice: Slice,
    /// First day or instant (UTC) of the window.
    #[arg(long, value_parser = parse_instant)]
    from: DateTime<Utc>,
    /// First day or instant after the window.
    #[arg(long, value_parser = parse_instant)]
    to: DateTime<Utc>,
    /// As known at this instant: what the hospital had observed and what had been taken in here.
    #[arg(long, value_parser = parse_instant)]
    then: DateTime<Utc>,
    /// As known at this other instant; now if absent.
    #[arg(long, value_parser = parse_instant)]
    now: Option<DateTime<Utc>>,
    /// Name the cases, too, by their pseudonyms.
    #[arg(long)]
    cases: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: DiffArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let question = Question {
            model: args.version.model(&context.plan)?,
            version: args.version.version,
            output: args.output,
            slice: args.slice,
            window: Window { from: args.from, to: args.to },
            knowledge: Knowledge::default(),
            thresholds: Vec::new(),
            reference_id: None,
            most_rows: None,
        };
        let found = diff(&context, &question, args.then, args.now).await?;
        match args.format {
            Format::Table => print!("{}", show::diff(&found, args.cases)),
            Format::Json => {
                let mut document = serde_json::to_value(&found)?;
                if args.cases {
                    document["cases"] = serde_json::to_value(&found.cases)?;
                }
                println!("{}", serde_json::to_string_pretty(&document)?);
            }
        }
        Ok(())
    })
}
