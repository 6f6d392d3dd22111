//! `dosimeter compare`: is one version, or one slice, better than another?

use clap::Args;

use super::query::QuestionArgs;
use super::show::{self, Format};
use super::{ConfigArg, with_app};
use crate::domain::Slice;
use crate::query::compare::{Against, compare};

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    question: QuestionArgs,
    /// The version to compare with; on the cases that both have scored, the comparison is paired.
    #[arg(long)]
    against_version: Option<String>,
    /// The slice to compare with.
    #[arg(long, value_parser = str::parse::<Slice>)]
    against_slice: Option<Slice>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: CompareArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let against = Against { version: args.against_version, slice: args.against_slice };
        let comparison = compare(&context, &args.question.question(&context.plan)?, &against).await?;
        match args.format {
            Format::Table => print!("{}", show::comparison(&comparison)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&comparison)?),
        }
        Ok(())
    })
}
