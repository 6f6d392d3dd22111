//! `dosimeter sources`: every source, how far behind it is, and why it fails if it does.

use clap::Args;

use super::show::{self, Format};
use super::{ConfigArg, with_app};
use crate::query::sources::list;

#[derive(Debug, Args)]
pub(super) struct SourcesArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: SourcesArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let rows = list(&app.context()).await?;
        match args.format {
            Format::Table => print!("{}", show::sources(&rows)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        }
        Ok(())
    })
}
