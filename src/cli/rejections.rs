//! `dosimeter rejections`: what was refused, and why.

use clap::{Args, Subcommand};

use super::show::{self, Format};
use super::{ConfigArg, with_app};
use crate::store::rejection::RejectionFilter;

#[derive(Debug, Subcommand)]
pub(super) enum RejectionsCommand {
    /// List refused records, the latest first, each with its file, line, field, reason and remedy.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Of one source only.
    #[arg(long)]
    source: Option<String>,
    /// For one reason only: bad-score, conflict, ...
    #[arg(long)]
    reason: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: i64,
    /// How to print them; JSON has the mapped columns of each record too.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(command: RejectionsCommand) -> anyhow::Result<()> {
    let RejectionsCommand::List(args) = command;
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let ListArgs { source, reason, limit, format, .. } = args;
        let filter = RejectionFilter { source, reason, before: None, limit };
        let rejections = app.context().store.list_rejections(&filter).await?;
        match format {
            Format::Table => print!("{}", show::rejections(&rejections)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rejections)?),
        }
        Ok(())
    })
}
