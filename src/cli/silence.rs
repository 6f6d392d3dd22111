//! `dosimeter silence`: what nobody is told of for a while.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::alert::silence::{ANY, Matcher};
use crate::domain::window::parse_instant;
use crate::person;

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Tell nobody about whatever these names cover; one that is left out, or *, covers any.
    ///
    /// Example: dosimeter silence add --config dosimeter.toml --model chest-xray --slice site=north --for 8h
    /// --reason "the scanner is exchanged"
    Add {
        #[command(flatten)]
        config: ConfigArg,
        /// The model.
        #[arg(long, default_value = ANY)]
        model: String,
        /// The version.
        #[arg(long, default_value = ANY)]
        version: String,
        /// The rule or watch.
        #[arg(long, default_value = ANY)]
        rule: String,
        /// The output.
        #[arg(long, default_value = ANY)]
        output: String,
        /// The slice, exactly: all, site=north, "sex=F & site=north".
        #[arg(long, default_value = ANY)]
        slice: String,
        /// When it begins; now if left out.
        #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
        from: Option<DateTime<Utc>>,
        /// How long: 30m, 4h, 2d.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        length: Duration,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// List silences, the latest first: those in force and those to come.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// End a silence early: people are told of what still holds.
    End {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

pub(super) fn run(command: SilenceCommand) -> anyhow::Result<()> {
    match command {
        SilenceCommand::Add { config, model, version, rule, output, slice, from, length, person } => {
            let matcher = Matcher { model, version, rule, output, slice };
            with_app(&config, async move |app| {
                let (id, ends_at) =
                    person::add_silence(&app.context(), matcher, from, length, &person.person()?).await?;
                println!("silence {id}: until {}", show::minute(ends_at));
                Ok(())
            })
        }
        SilenceCommand::List { config, all } => with_app(&config, async move |app| {
            let context = app.context();
            print!("{}", show::silences(&context.store.list_silences(all, context.clock.now(), 1000).await?));
            Ok(())
        }),
        SilenceCommand::End { id, config, person } => with_app(&config, async move |app| {
            person::end_silence(&app.context(), id, &person.person()?).await?;
            println!("silence {id}: ended");
            Ok(())
        }),
    }
}
