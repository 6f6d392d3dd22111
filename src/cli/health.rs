//! `dosimeter health`: whether the data of each model comes, and whole.

use clap::Args;

use super::show::{self, Format};
use super::{ConfigArg, with_app};

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Of one model only.
    #[arg(long)]
    model: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: HealthArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        if let Some(model) = args.model.as_ref().filter(|model| context.plan.model(model).is_none()) {
            let names: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
            anyhow::bail!("there is no model {model:?}; known are {}", names.join(", "));
        }
        let mut rows = context.store.list_health().await?;
        rows.retain(|row| args.model.as_ref().is_none_or(|model| row.model == *model));
        match args.format {
            Format::Table => print!("{}", show::health(&rows)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        }
        Ok(())
    })
}
