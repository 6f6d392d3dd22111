//! `dosimeter reference`: what a version is compared with.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{ConfigArg, PersonArgs, VersionArgs, show, with_app};
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::reference::{Maker, freeze, import};

#[derive(Debug, Subcommand)]
pub(super) enum ReferenceCommand {
    /// Freeze what is known now about a window of cases. It is in force once it is approved.
    Freeze {
        #[command(flatten)]
        maker: MakerArgs,
        /// First day or instant of the window.
        #[arg(long, value_parser = parse_instant)]
        from: DateTime<Utc>,
        /// First day or instant after it.
        #[arg(long, value_parser = parse_instant)]
        to: DateTime<Utc>,
    },
    /// Import a file (CSV, NDJSON, Parquet) with the columns output, score, truth and one per slice dimension.
    Import {
        /// The file: one row per case and output; truth is 0, 1 or blank.
        file: PathBuf,
        #[command(flatten)]
        maker: MakerArgs,
    },
    /// List references, the latest first.
    List(ConfigArg),
    /// Approve a reference: from now on its version is compared with it.
    Approve {
        /// Its number.
        id: i32,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct MakerArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    person: PersonArgs,
}

pub(super) fn run(command: ReferenceCommand) -> anyhow::Result<()> {
    let made = |(id, cases): (i32, u64)| {
        println!("reference {id}, {cases} cases; it is in force once approved: dosimeter reference approve {id}");
    };
    match command {
        ReferenceCommand::Freeze { maker, from, to } => {
            let config = maker.config.clone();
            with_app(&config, async move |app| {
                let model = maker.version.model(&app.context().plan)?;
                made(freeze(&app.context(), &maker.as_maker(&model), Window { from, to }).await?);
                Ok(())
            })
        }
        ReferenceCommand::Import { file, maker } => {
            let config = maker.config.clone();
            with_app(&config, async move |app| {
                let model = maker.version.model(&app.context().plan)?;
                made(import(&app.context(), &maker.as_maker(&model), &file).await?);
                Ok(())
            })
        }
        ReferenceCommand::List(config) => with_app(&config, async |app| {
            print!("{}", show::references(&app.context().store.list_references().await?));
            Ok(())
        }),
        ReferenceCommand::Approve { id, config, person } => with_app(&config, async move |app| {
            let context = app.context();
            context.store.approve_reference(id, &person.by, &person.reason, context.clock.now()).await?;
            println!("reference {id} is in force");
            Ok(())
        }),
    }
}

impl MakerArgs {
    fn as_maker<'a>(&'a self, model: &'a str) -> Maker<'a> {
        Maker { model, version: self.version.version.as_deref(), person: &self.person.by, reason: &self.person.reason }
    }
}
